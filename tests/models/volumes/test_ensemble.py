"""The published rule that makes one mask of three axes."""

import numpy as np
import pytest

from bunet.models.volumes import ensemble


def test_probability_is_the_softmax_of_the_second_class() -> None:
    torch = pytest.importorskip("torch")
    logits = np.random.default_rng(1).normal(0, 5, (2, 16, 16)).astype(np.float32)
    expected = torch.softmax(torch.from_numpy(logits), 0)[1].numpy()
    np.testing.assert_allclose(ensemble.probability(logits), expected, rtol=1e-5, atol=1e-7)
    far = np.array([[[1000.0, -1000.0]], [[0.0, 0.0]]])
    assert ensemble.probability(far).tolist() == [[0.0, 1.0]]
    with pytest.raises(ValueError, match="two logits"):
        ensemble.probability(np.zeros((3, 4, 4)))


def test_bounds_are_strict() -> None:
    total = np.array([1.9, 2.0, 2.1], np.float32)
    assert ensemble.likely(total, 3).tolist() == [False, False, True]
    assert ensemble.likely(np.array([0.66, 0.67]), 1).tolist() == [False, True]
    assert [ensemble.elected(np.arange(4), n).tolist() for n in (1, 2, 3)] == [
        [False, True, True, True],
        [False, False, True, True],
        [False, False, True, True],
    ]
    with pytest.raises(ValueError, match="4 axes"):
        ensemble.elected(total, 4)


def test_maximum_filter_takes_the_27_neighbours() -> None:
    mask = np.random.default_rng(2).random((7, 5, 6)) < 0.05
    padded = np.pad(mask, 1)
    expected = np.zeros_like(mask)
    for dz in range(3):
        for dy in range(3):
            for dx in range(3):
                expected |= padded[dz : dz + 7, dy : dy + 5, dx : dx + 6]
    assert mask.any()
    assert not expected.all()
    np.testing.assert_array_equal(ensemble.maximum_filter(mask), expected)
