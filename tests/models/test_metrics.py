"""Agreement of masks: counts, ratios, and the empty cases."""

import numpy as np
import pytest

from bunet.models.metrics import Agreement, agreement, dice_text, known_dice


def test_the_ratios_of_a_known_pair() -> None:
    found, true = np.array([1, 1, 1, 0, 0]), np.array([0, 1, 2, 1, 1])
    counts = agreement(found, true)
    assert counts == Agreement(both=2, found=3, true=4)
    assert counts.dice == agreement(found, true).dice == pytest.approx(4 / 7)
    assert counts.overlap == pytest.approx(2 / 5)
    assert counts.sensitivity == pytest.approx(1 / 2)


def test_empty_masks() -> None:
    nothing, something = np.zeros((2, 2)), np.ones((2, 2))
    assert agreement(nothing, nothing).dice == agreement(nothing, nothing).overlap == 1
    assert agreement(nothing, something).dice == agreement(nothing, something).sensitivity == 0
    assert agreement(something, nothing).sensitivity == 1


def test_pooling_is_addition() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 6, 6)) > 0.5, rng.random((2, 6, 6)) > 0.5
    assert agreement(a[0], b[0]) + agreement(a[1], b[1]) == agreement(a, b)


def test_shapes_must_match() -> None:
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and \(3, 2\)"):
        agreement(np.ones((2, 3)), np.ones((3, 2)))


def test_of_nothing_against_nothing_there_is_no_figure() -> None:
    nothing, something = np.zeros((3, 4)), np.eye(3, 4)
    assert agreement(nothing, nothing).known() == {"dice": None, "overlap": None, "sensitivity": None}
    assert agreement(something, something).known() == {"dice": 1.0, "overlap": 1.0, "sensitivity": 1.0}
    assert dice_text(known_dice(nothing, nothing)) == "both are empty"
    assert dice_text(known_dice(nothing, something)) == "0.0000"
