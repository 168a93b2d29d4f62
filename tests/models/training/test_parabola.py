"""A ReLU replaced by the nearest parabola."""

from typing import Any

import numpy as np
import pytest

from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_weights
from bunet.models.network.weights import WeightsError
from bunet.models.training.parabola import carried_over, nearest_square

SMALL: dict[str, Any] = {"features": 2, "depth": 2}


@pytest.mark.parametrize(("gamma", "beta"), [(1.0, 0.0), (0.7, 0.5), (-1.3, -0.4), (0.4, 0.6)])
def test_it_is_the_least_squares_fit_under_the_normal_distribution(gamma: float, beta: float) -> None:
    a, b = (float(v[0]) for v in nearest_square(np.array([gamma]), np.array([beta])))
    n = np.linspace(-8, 8, 40001)
    root = np.sqrt(np.exp(-0.5 * n * n))
    relu = np.maximum(gamma * n + beta, 0)
    best, *_ = np.linalg.lstsq(np.stack([n * n, n, n**0], 1) * root[:, None], relu * root, rcond=None)
    assert a * a == pytest.approx(best[0], rel=1e-3)
    assert 2 * a * b == pytest.approx(best[1], rel=1e-3)


def test_dead_and_linear_channels_stay_finite() -> None:
    a, b = nearest_square(np.array([0.0, 1.0, 1.0]), np.array([0.0, 50.0, -50.0]))
    assert np.isfinite(a).all()
    assert np.isfinite(b).all()
    assert (np.abs(b) < 20).all()


def test_only_the_norms_of_squared_levels_change() -> None:
    relu = seeded_weights(Architecture(**SMALL))
    hybrid = carried_over(relu, Architecture(**SMALL, activation="square,square,relu"))
    changed = {n for n in relu.tensors if not np.array_equal(relu.tensors[n], hybrid.tensors[n])}
    levels = ("encoder1", "encoder2", "decoder1", "decoder2")
    assert changed
    assert all(name.startswith(levels) and "norm" in name and name.endswith(("weight", "bias")) for name in changed)


def test_what_does_not_fit_is_refused() -> None:
    square = seeded_weights(Architecture(**SMALL, activation="square"))
    with pytest.raises(WeightsError, match="trained for squares"):
        carried_over(square, Architecture(**SMALL))
    with pytest.raises(WeightsError, match="do not have the sizes"):
        carried_over(square, Architecture(features=4, depth=2, activation="square"))
