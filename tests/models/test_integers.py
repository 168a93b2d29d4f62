"""Convolutions against their definition, in floats and in exact integers modulo 2^width."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.models import integers as convolve


def naive_conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Python integers, straight from the definition."""
    outputs, channels, kernel, _ = weight.shape
    _, height, width = x.shape
    half = kernel // 2
    out = np.zeros((outputs, height, width), dtype=object)
    for o in range(outputs):
        for i in range(height):
            for j in range(width):
                total = int(bias[o])
                for c in range(channels):
                    for dy in range(kernel):
                        for dx in range(kernel):
                            row, column = i + dy - half, j + dx - half
                            if 0 <= row < height and 0 <= column < width:
                                total += int(x[c, row, column]) * int(weight[o, c, dy, dx])
                out[o, i, j] = total
    return out


def naive_transpose(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    channels, outputs = weight.shape[:2]
    _, height, width = x.shape
    out = np.zeros((outputs, 2 * height, 2 * width), dtype=object)
    for o in range(outputs):
        for i in range(2 * height):
            for j in range(2 * width):
                out[o, i, j] = int(bias[o]) + sum(
                    int(x[c, i // 2, j // 2]) * int(weight[c, o, i % 2, j % 2]) for c in range(channels)
                )
    return out


def signed(values: np.ndarray, width: int) -> np.ndarray:
    """The representative in [-2^(width-1), 2^(width-1)) of Python integers."""
    half = 1 << (width - 1)
    return np.vectorize(lambda v: (int(v) + half) % (2 * half) - half, otypes=[np.int64])(values)


def integers(rng: np.random.Generator, shape: np.int64 | int | tuple[np.int64 | int, ...], bits: int) -> np.ndarray:
    return rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), shape, dtype=np.int64)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    kernel=st.sampled_from([1, 3, 5]),
    width=st.integers(1, 64),
    x_bits=st.integers(1, 64),
    weight_bits=st.integers(1, 62),
)
def test_integer_convolutions_equal_the_definition(seed: int, kernel: int, width: int, x_bits: int, weight_bits: int) -> None:
    rng = np.random.default_rng(seed)
    channels, outputs, height, columns = rng.integers(1, 4), rng.integers(1, 4), rng.integers(1, 6), rng.integers(1, 6)
    x = integers(rng, (channels, height, columns), x_bits)
    bias = integers(rng, outputs, weight_bits)
    weight = integers(rng, (outputs, channels, kernel, kernel), weight_bits)
    expected = signed(naive_conv(x, weight, bias), width)
    np.testing.assert_array_equal(convolve.conv_integer(x, weight, bias, width), expected)
    weight = integers(rng, (channels, outputs, 2, 2), weight_bits)
    expected = signed(naive_transpose(x, weight, bias), width)
    np.testing.assert_array_equal(convolve.conv_transpose_integer(x, weight, bias, width), expected)


def test_bands_of_rows_meet_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    x, weight = integers(rng, (3, 13, 7), 12), integers(rng, (4, 3, 3, 3), 12)
    whole = convolve.conv(x.astype(float), weight.astype(float))
    for elements in (1, 3 * 9 * 7 * 2, 3 * 9 * 7 * 5):
        monkeypatch.setattr(convolve, "BAND_ELEMENTS", elements)
        np.testing.assert_array_equal(convolve.conv(x.astype(float), weight.astype(float)), whole)


def test_norms_are_the_largest_sum_that_meets_one_output() -> None:
    weight = np.array([[[[1, -2], [3, 4]]], [[[-10, 20], [30, -40]]]], dtype=np.int64)
    assert convolve.l1_norm(weight) == 44, "transposed: a tap of each input channel"
    assert convolve.l1_norm(weight.reshape(2, 4, 1, 1)) == 100
    huge = np.full((1, 4, 3, 3), -(1 << 61), dtype=np.int64)
    assert convolve.IntegerWeights(huge, np.zeros(1, np.int64)).norm == 36 << 61


@pytest.mark.parametrize("width", [1, 8, 31, 32, 33, 63, 64])
def test_wrap_gives_the_signed_representative(width: int) -> None:
    values = integers(np.random.default_rng(width), 200, 64)
    np.testing.assert_array_equal(convolve.wrap(values, width), signed(values, width))
