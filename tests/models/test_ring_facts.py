"""The facts that make narrow rings cheap (truncate-reduce, extension), for every value and every split into shares."""

from __future__ import annotations

import numpy as np
import pytest

from bunet.models.oracle import shifted


def splits(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All (signed x, share a, share b) with a + b = x modulo 2^width, as flat arrays."""
    size = 1 << width
    x, a = (grid.reshape(-1) for grid in np.meshgrid(np.arange(-(size // 2), size // 2), np.arange(size)))
    return x, a, (x - a) % size


@pytest.mark.parametrize("width", range(2, 9))
def test_truncate_reduce_gives_floor_or_one_more(width: int) -> None:
    x, a, b = splits(width)
    for shift in range(1, width):
        ring = 1 << (width - shift)
        floor = x >> shift
        shared = ((a >> shift) + (b >> shift)) % ring
        assert np.isin((floor - shared) % ring, (0, 1)).all()
        raised = ((((a + (1 << shift)) % (1 << width)) >> shift) + (b >> shift)) % ring
        more = (raised - floor) % ring
        assert np.isin(more, (0, 1)).all()
        # The share of splits that round up is (x mod 2^s + 1) / 2^s: the mean is x / 2^s and 2^-s of a unit.
        rest = x & ((1 << shift) - 1)
        for value in range(1 << shift):
            assert more[rest == value].mean() == (value + 1) / (1 << shift)


@pytest.mark.parametrize("width", range(2, 9))
def test_a_shift_of_zero_only_drops_high_bits(width: int) -> None:
    x, a, b = splits(width)
    for narrow in range(1, width + 1):
        np.testing.assert_array_equal((a + b) % (1 << narrow), x % (1 << narrow))


@pytest.mark.parametrize("width", range(3, 9))
def test_extension_with_one_bit_of_headroom_is_exact(width: int) -> None:
    x, a, b = splits(width)
    inside = np.abs(x) < 1 << (width - 2)
    x, a, b = x[inside], a[inside], b[inside]
    offset = 1 << (width - 2)
    a = (a + offset) % (1 << width)
    top_a, top_b = a >> (width - 1), b >> (width - 1)
    wraps = top_a + top_b - top_a * top_b
    for wide in (width + 1, width + 5):
        np.testing.assert_array_equal((a + b - (wraps << width) - offset) % (1 << wide), x % (1 << wide))


def test_extension_fails_without_headroom() -> None:
    width = 6
    x, a, b = splits(width)
    offset = 1 << (width - 2)
    a = (a + offset) % (1 << width)
    top_a, top_b = a >> (width - 1), b >> (width - 1)
    result = a + b - ((top_a + top_b - top_a * top_b) << width) - offset
    beyond = x >= 1 << (width - 2)
    assert (result[beyond] != x[beyond]).any()


def test_stochastic_rounding_of_the_oracle_follows_the_shares() -> None:
    x = np.repeat(np.arange(-16, 16, dtype=np.int64), 4000)
    rounded = shifted(x, 3, np.random.default_rng(1))
    up = rounded - (x >> 3)
    assert set(np.unique(up)) == {0, 1}
    for rest in range(8):
        assert abs(up[x % 8 == rest].mean() - (rest + 1) / 8) < 0.02


def test_nearest_rounds_halves_up_and_zero_shift_is_exact() -> None:
    x = np.arange(-20, 20, dtype=np.int64)
    np.testing.assert_array_equal(shifted(x, 2, "nearest"), np.floor(x / 4 + 0.5).astype(np.int64))
    extremes = np.array([-(1 << 63), (1 << 63) - 1], dtype=np.int64)
    np.testing.assert_array_equal(shifted(extremes, 1, "nearest"), [-(1 << 62), 1 << 62])
    for rounding in ("nearest", "floor", np.random.default_rng(0)):
        np.testing.assert_array_equal(shifted(x, 0, rounding), x)
