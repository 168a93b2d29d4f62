"""Chains of share arithmetic modulo 2^width, each in one pass over memory instead of numpy's several. The same in every tier.

Shares are uint32 or uint64 arrays of any shape, contiguous or copied; results have the dtype of their width: uint32 up to 32
bits, uint64 above. Widths are 1..64. Everything is computed modulo 2^64 and then masked, without branches on values.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.machine.compiled import kernel
from bunet.protocols.kernels.machine.types import Octets, Shares, Word


def _mask(width: int) -> np.uint64:
    return np.uint64((1 << width) - 1)


def _arrays(values: np.ndarray, shape: tuple[int, ...], width: int) -> tuple[np.ndarray, np.ndarray]:
    """values as the kernels take them, and room for results; raises where they are no shares."""
    if values.dtype not in (np.uint32, np.uint64):
        raise TypeError(f"shares are uint32 or uint64, not {values.dtype}")
    if not 1 <= width <= 64:
        raise ValueError(f"width {width} is outside 1..64")
    return np.ascontiguousarray(values), np.empty(shape, np.uint32 if width <= 32 else np.uint64)


@kernel
def _shift(values: Shares, shift: Word, increment: Word, mask: Word, out: Shares) -> None:
    for i in range(values.size):
        out[i] = ((np.uint64(values[i]) >> shift) + increment) & mask


def shift(values: np.ndarray, bits: int, increment: int, width: int) -> np.ndarray:
    """floor(values / 2^bits) + increment modulo 2^width; bits 0..63, increment 0..2^64 - 1."""
    if not 0 <= bits <= 63:
        raise ValueError(f"a shift by {bits} is outside 0..63")
    source, out = _arrays(values, values.shape, width)
    _shift(source.reshape(-1), np.uint64(bits), np.uint64(increment), _mask(width), out.reshape(-1))
    return out


@kernel
def _top_bits(values: Shares, lift: Word, mask: Word, top: Word, out: Octets) -> None:
    for i in range(values.size):
        out[i] = ((np.uint64(values[i]) + lift) & mask) >> top


def top_bits(values: np.ndarray, lift: int, width: int) -> np.ndarray:
    """The top bit of values + lift modulo 2^width, uint8."""
    source, _ = _arrays(values, (0,), width)
    out = np.empty(values.shape, np.uint8)
    _top_bits(source.reshape(-1), np.uint64(lift), _mask(width), np.uint64(width - 1), out.reshape(-1))
    return out


@kernel
def _widen(
    values: Shares, products: Shares, sign: Word, lift: Word, mask: Word, bits: Word, wide_mask: Word, out: Shares
) -> None:
    top = bits - np.uint64(1)
    for i in range(values.size):
        x = (np.uint64(values[i]) + lift) & mask
        wraps = (x >> top) + sign * np.uint64(products[i])
        out[i] = (x - (wraps << bits) - lift) & wide_mask


def widen(values: np.ndarray, products: np.ndarray, sign: int, lift: int, small: int, wide: int) -> np.ndarray:
    """x - lift - 2^small (top bit of x + sign * products) modulo 2^wide, x = values + lift modulo 2^small.

    small < wide; products: shares of the values' shape, sign: 1 or -1.
    """
    if not 1 <= small < wide or products.shape != values.shape or sign not in (1, -1):
        raise ValueError(f"{products.shape} products do not widen {values.shape} shares from {small} to {wide} bits")
    source, out = _arrays(values, values.shape, wide)
    factors, _ = _arrays(products, (0,), wide)
    _widen(
        source.reshape(-1), factors.reshape(-1), np.uint64(sign % (1 << 64)), np.uint64(lift), _mask(small),
        np.uint64(small), _mask(wide), out.reshape(-1),
    )  # fmt: skip
    return out


@kernel
def _window_sums(values: Shares, mask: Word, out: Shares) -> None:
    for c in range(out.shape[0]):
        for i in range(out.shape[1]):
            upper, lower, row = values[c, 2 * i], values[c, 2 * i + 1], out[c, i]
            for j in range(row.size):
                total = np.uint64(upper[2 * j]) + np.uint64(upper[2 * j + 1])
                row[j] = (total + np.uint64(lower[2 * j]) + np.uint64(lower[2 * j + 1])) & mask


def window_sums(values: np.ndarray, width: int) -> np.ndarray:
    """Sums of 2x2 windows modulo 2^width: (channels, height, width of the image), both even, to (channels, half, half)."""
    if values.ndim != 3 or values.shape[1] % 2 or values.shape[2] % 2:
        raise ValueError(f"an image {values.shape} has no 2x2 windows")
    source, out = _arrays(values, (values.shape[0], values.shape[1] // 2, values.shape[2] // 2), width)
    _window_sums(source, _mask(width), out)
    return out


@kernel
def _add_to_rows(values: Shares, terms: Shares, mask: Word, out: Shares) -> None:
    for i in range(values.shape[0]):
        term, row, result = np.uint64(terms[i]), values[i], out[i]
        for j in range(row.size):
            result[j] = (np.uint64(row[j]) + term) & mask


def add_to_channels(values: np.ndarray, terms: np.ndarray, width: int) -> np.ndarray:
    """values (channels, ...) + terms (channels,), modulo 2^width."""
    if terms.shape != values.shape[:1]:
        raise ValueError(f"{terms.shape} terms are not one for each channel of {values.shape}")
    source, out = _arrays(values, values.shape, width)
    added, _ = _arrays(terms, (0,), width)
    if out.size:
        rows = len(values)
        _add_to_rows(source.reshape(rows, -1), added, _mask(width), out.reshape(rows, -1))
    return out


@kernel
def _add(a: Shares, b: Shares, mask: Word, out: Shares) -> None:
    for i in range(a.size):
        out[i] = (np.uint64(a[i]) + np.uint64(b[i])) & mask


def add(a: np.ndarray, b: np.ndarray, width: int) -> np.ndarray:
    """a + b modulo 2^width, of one shape."""
    if a.shape != b.shape:
        raise ValueError(f"{a.shape} and {b.shape} shares are not of one shape")
    first, out = _arrays(a, a.shape, width)
    second, _ = _arrays(b, (0,), width)
    _add(first.reshape(-1), second.reshape(-1), _mask(width), out.reshape(-1))
    return out


@kernel
def _times_sign(values: Shares, bits: Octets, mask: Word, out: Shares) -> None:
    for i in range(values.size):
        negative = np.uint64(0) - np.uint64(bits[i])  # all ones or zeros
        out[i] = ((np.uint64(values[i]) ^ negative) - negative) & mask


def times_sign(values: np.ndarray, bits: np.ndarray, width: int) -> np.ndarray:
    """values (1 - 2 bits) modulo 2^width; bits: uint8 0 or 1, of the values' shape."""
    source, out = _arrays(values, values.shape, width)
    _check_bits(bits, values)
    _times_sign(source.reshape(-1), np.ascontiguousarray(bits).reshape(-1), _mask(width), out.reshape(-1))
    return out


@kernel
def _times_bit_less(values: Shares, bits: Octets, less: Shares, mask: Word, out: Shares) -> None:
    for i in range(values.size):
        kept = np.uint64(values[i]) & (np.uint64(0) - np.uint64(bits[i]))
        out[i] = (kept - np.uint64(less[i])) & mask


def times_bit_less(values: np.ndarray, bits: np.ndarray, less: np.ndarray, width: int) -> np.ndarray:
    """values * bits - less modulo 2^width; less: shares, bits: uint8 0 or 1, of the values' shape."""
    source, out = _arrays(values, values.shape, width)
    taken, _ = _arrays(less, (0,), width)
    _check_bits(bits, values)
    _check_bits(bits, less)
    bits = np.ascontiguousarray(bits)
    _times_bit_less(source.reshape(-1), bits.reshape(-1), taken.reshape(-1), _mask(width), out.reshape(-1))
    return out


def _check_bits(bits: np.ndarray, values: np.ndarray) -> None:
    if bits.dtype != np.uint8 or bits.shape != values.shape:
        raise ValueError(f"bits must be uint8 {values.shape}, not {bits.dtype} {bits.shape}")
