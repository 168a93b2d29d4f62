"""Fused share arithmetic against the same in numpy and plain integers."""

import numpy as np
import pytest

from bunet.protocols.kernels import shares

WIDTHS = (1, 2, 5, 31, 32, 33, 44, 63, 64)


def dtype(width: int) -> type:
    return np.uint32 if width <= 32 else np.uint64


def random_shares(width: int, shape: tuple[int, ...] = (3, 6, 8), seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 1 << width, shape, dtype=np.uint64)
    values.reshape(-1)[:2] = 0, (1 << width) - 1
    return values.astype(dtype(width))


def check(result: np.ndarray, expected: np.ndarray, width: int) -> None:
    assert result.dtype == dtype(width)
    assert result.tolist() == (expected % (1 << width)).tolist()


@pytest.mark.parametrize("wide", WIDTHS)
@pytest.mark.parametrize("small", WIDTHS)
def test_shift_and_widen(small: int, wide: int) -> None:
    values = random_shares(small)
    exact = values.astype(object)
    for bits in {0, 1, small - 1}:
        check(shares.shift(values, bits, 1, wide), (exact >> bits) + 1, wide)
    lift = 1 << max(small - 2, 0)
    lifted = (exact + lift) % (1 << small)
    top = shares.top_bits(values, lift, small)
    assert top.dtype == np.uint8
    assert top.tolist() == (lifted >> (small - 1)).tolist()
    if small < wide:
        products = random_shares(wide - small, seed=1)
        for sign in (1, -1):
            wraps = (lifted >> (small - 1)) + sign * products.astype(object)
            result = shares.widen(values, products, sign, lift, small, wide)
            check(result, lifted - (wraps << small) - lift, wide)


@pytest.mark.parametrize("width", WIDTHS)
def test_sums_of_windows_and_over_channels(width: int) -> None:
    values, terms = random_shares(width), random_shares(width, (3,), 2)
    exact = values.astype(object)
    windows = exact[:, ::2, ::2] + exact[:, ::2, 1::2] + exact[:, 1::2, ::2] + exact[:, 1::2, 1::2]
    check(shares.window_sums(values, width), windows, width)
    check(shares.window_sums(values.transpose(0, 2, 1), width), windows.transpose(0, 2, 1), width)
    values.flags.writeable = False
    check(shares.add_to_channels(values, terms, width), exact + terms.astype(object)[:, None, None], width)


@pytest.mark.parametrize("width", WIDTHS)
def test_products_by_bits(width: int) -> None:
    values, others = random_shares(width), random_shares(width, seed=3)
    bits = np.random.default_rng(4).integers(0, 2, values.shape, dtype=np.uint8)
    bits.reshape(-1)[:2] = 1
    exact, other = values.astype(object), others.astype(object)
    check(shares.add(values, others, width), exact + other, width)
    check(shares.times_sign(values, bits, width), exact * (1 - 2 * bits.astype(object)), width)
    check(shares.times_bit_less(values, bits, others, width), exact * bits - other, width)


def test_what_is_no_share_is_refused() -> None:
    values = random_shares(20)
    with pytest.raises(ValueError, match="not of one shape"):
        shares.add(values, values[:1], 20)
    for bits in (values, np.zeros((3, 6), np.uint8)):
        with pytest.raises(ValueError, match="bits must be uint8"):
            shares.times_sign(values, bits, 20)
    with pytest.raises(ValueError, match="bits must be uint8"):
        shares.times_bit_less(values, np.zeros(values.shape, np.uint8), values[:1], 20)
    with pytest.raises(TypeError, match="not int64"):
        shares.shift(values.astype(np.int64), 1, 0, 20)
    for width in (0, 65):
        with pytest.raises(ValueError, match=r"outside 1\.\.64"):
            shares.top_bits(values, 0, width)
    with pytest.raises(ValueError, match=r"outside 0\.\.63"):
        shares.shift(values, 64, 0, 20)
    with pytest.raises(ValueError, match="do not widen"):
        shares.widen(values, values, 1, 0, 20, 20)
    with pytest.raises(ValueError, match="do not widen"):
        shares.widen(values, values[:1], 1, 0, 20, 30)
    with pytest.raises(ValueError, match="no 2x2 windows"):
        shares.window_sums(values[:, :5], 20)
    with pytest.raises(ValueError, match="one for each channel"):
        shares.add_to_channels(values, values[0, 0], 20)


def test_terms_of_no_channel_are_added_to_nothing() -> None:
    nothing = np.empty((0, 4, 4), np.uint64)
    assert shares.add_to_channels(nothing, np.empty(0, np.uint64), 20).shape == nothing.shape
