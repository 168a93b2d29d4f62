"""Bit packing of share values, and 128x128 bit transposes.

Value i of `width` bits lies at bits [i * width, (i + 1) * width) of the packed bytes, least significant bit first.
"""

from __future__ import annotations

import sys

import numpy as np

from bunet.protocols.kernels.machine.compiled import kernel
from bunet.protocols.kernels.machine.simd import load_word, store_word
from bunet.protocols.kernels.machine.tier import TIER
from bunet.protocols.kernels.machine.types import Index, Octets, Shares, Word, Words
from bunet.protocols.kernels.packing.bits_bmi import spread8, spread8_wide, squeeze8, squeeze8_wide
from bunet.protocols.kernels.packing.bits_gfni import transpose_gfni

if sys.byteorder != "little":
    raise ImportError("the kernels need a little-endian machine")


def packed_bytes(count: int, width: int) -> int:
    """Bytes of `count` packed values: ceil(count * width / 8)."""
    return (count * width + 7) // 8


@kernel
def _joined(values: Shares, i: int, count: int, w: Word) -> Word:  # pragma: no cover - compiled
    """values[i : i + count] (at most 64 bits) as one word."""
    word = np.uint64(values[i])
    for j in range(1, count):
        word |= np.uint64(values[i + j]) << (w * np.uint64(j))
    return word


@kernel
def _pack_joined(values: Shares, width: int, joined: int, out: Words, at: int) -> None:  # pragma: no cover - compiled
    """`pack_words` for a literal number of values that make one word of 8 to 64 bits."""
    size = width * joined
    whole = values.shape[0] - values.shape[0] % joined
    w, one, last = np.uint64(width), np.uint64(1), np.uint64(size - 1)
    before = np.uint64(0)
    bit = 64 * at
    for i in range(0, whole, joined):
        word = _joined(values, i, joined, w)
        shift = np.uint64(bit & 7)
        store_word(out, bit >> 3, word << shift | (before >> one) >> (last - shift))
        before = word
        bit += size
    shift = np.uint64(bit & 7)
    word = np.uint64(0)
    for i in range(whole, values.shape[0]):
        word |= np.uint64(values[i]) << (w * np.uint64(i - whole))
    store_word(out, bit >> 3, word << shift | (before >> one) >> (last - shift))
    if (bit & 7) + width * (values.shape[0] - whole) > 64:
        store_word(out, (bit >> 3) + 8, (word >> one) >> (np.uint64(63) - shift))


@kernel
def _pack_narrow_plain(values: Shares, width: int, out: Words, at: int) -> None:  # pragma: no cover - compiled
    if width <= 8:
        _pack_joined(values, width, 8, out, at)
    else:
        _pack_joined(values, width, 4, out, at)


@kernel
def _pack_narrow_bmi(values: Shares, width: int, out: Words, at: int) -> None:  # pragma: no cover - compiled
    groups = values.shape[0] >> 3
    byte = 8 * at
    if width <= 8:
        for g in range(groups):
            squeeze8(values, 8 * g, width, out, byte + width * g)
    else:
        for g in range(groups):
            squeeze8_wide(values, 8 * g, width, out, byte + width * g)
    rest, byte = values.shape[0] & 7, byte + width * groups
    if rest:
        last = np.zeros(8, values.dtype)
        packed = np.empty(2, np.uint64)
        for i in range(rest):
            last[i] = values[8 * groups + i]
        origin = np.int64(0)
        if width <= 8:
            squeeze8(last, origin, width, packed, origin)
        else:
            squeeze8_wide(last, origin, width, packed, origin)
        store_word(out, byte, packed[0])
        if rest * width > 64:
            store_word(out, byte + 8, packed[1])


_pack_narrow = _pack_narrow_bmi if TIER == "vaes" else _pack_narrow_plain


@kernel
def pack_words(values: Shares, width: int, out: Words, at: int) -> None:  # pragma: no cover - compiled
    """Packs values (each < 2^width) from out[at] on (uint64, with a word to spare behind them). For compiled callers.

    Narrow values are first joined to words of at most 64 bits. Each is stored at the byte in which it begins, together
    with the bits of its predecessor in that byte; what it lacks at its end its successor brings. So no step waits for the
    one before it. Up to 8 bytes behind the last value are overwritten; its byte is padded with zeros.
    """
    if width <= 16:
        _pack_narrow(values, width, out, at)
    elif width <= 32:
        _pack_joined(values, width, 2, out, at)
    else:
        _pack_joined(values, width, 1, out, at)


@kernel
def _unpack_narrow_plain(data: Octets, width: int, out: Shares) -> int:  # pragma: no cover - compiled
    """Whole groups of values to out, as far as words of data reach; returns how many values."""
    if width > 14:
        return 0
    # four values and the bits before them fit one word, so one load does for four
    whole: int = min(out.shape[0], max(0, ((data.shape[0] - 8) * 8 - 1) // width)) & ~3
    mask, w, scalar = ~np.uint64(0) >> np.uint64(64 - width), np.uint64(width), out.dtype.type
    for i in range(0, whole, 4):
        bit = i * width
        word = load_word(data, bit >> 3) >> np.uint64(bit & 7)
        out[i] = scalar(word & mask)
        out[i + 1] = scalar(word >> w & mask)
        out[i + 2] = scalar(word >> (w + w) & mask)
        out[i + 3] = scalar(word >> (w + w + w) & mask)
    return whole


@kernel
def _unpack_narrow_bmi(data: Octets, width: int, out: Shares) -> int:  # pragma: no cover - compiled
    """As `_unpack_narrow_plain`."""
    if width <= 8:
        groups: int = min(out.shape[0] >> 3, max(0, (data.shape[0] - 8) // width + 1))
        for g in range(groups):
            spread8(data, width * g, width, out, 8 * g)
    else:
        groups = min(out.shape[0] >> 3, max(0, (data.shape[0] - 16) // width + 1))
        for g in range(groups):
            spread8_wide(data, width * g, width, out, 8 * g)
    return 8 * groups


_unpack_narrow = _unpack_narrow_bmi if TIER == "vaes" else _unpack_narrow_plain


@kernel
def unpack_words(data: Octets, width: int, out: Shares) -> None:  # pragma: no cover - compiled
    """Values of the packed bytes `data` to out; data has at least packed_bytes(out.size, width) bytes."""
    count = out.shape[0]
    mask = ~np.uint64(0) >> np.uint64(64 - width)
    # values whose nine bytes lie inside the data need no care
    safe = min(count, max(0, ((data.shape[0] - 8) * 8 - 1) // width))
    scalar = out.dtype.type
    if width <= 16:
        done = _unpack_narrow(data, width, out)
        for i in range(done, safe):
            bit = i * width
            out[i] = scalar((load_word(data, bit >> 3) >> np.uint64(bit & 7)) & mask)
        safe = max(done, safe)
    elif width <= 57:
        for i in range(safe):
            bit = i * width
            out[i] = scalar((load_word(data, bit >> 3) >> np.uint64(bit & 7)) & mask)
    else:
        for i in range(safe):
            bit = i * width
            shift = np.uint64(bit & 7)
            high = np.uint64(data[(bit >> 3) + 8]) << np.uint64(1) << (np.uint64(63) - shift)
            out[i] = scalar((load_word(data, bit >> 3) >> shift | high) & mask)
    for i in range(safe, count):
        value = np.uint64(0)
        for j in range(width):
            bit = i * width + j
            value |= (np.uint64(data[bit >> 3]) >> np.uint64(bit & 7) & np.uint64(1)) << np.uint64(j)
        out[i] = scalar(value)


@kernel
def _union(values: Shares) -> Word:  # pragma: no cover - compiled
    """All bits that are set in any value."""
    bits: Word = values.dtype.type(0)
    for i in range(values.shape[0]):
        bits |= values[i]
    return bits


def _dtype(width: int) -> np.dtype:
    if not 1 <= width <= 64:
        raise ValueError(f"width {width} is outside 1..64")
    return np.dtype(np.uint32 if width <= 32 else np.uint64)


def pack(values: np.ndarray, width: int) -> np.ndarray:
    """uint8 (packed_bytes(n, width),) of values (n,), uint32 or uint64, each below 2^width (1..64).

    A value that is too large raises ValueError: it would spill into its neighbours.
    """
    _dtype(width)
    if values.dtype not in (np.uint32, np.uint64) or values.ndim != 1:
        raise ValueError(f"pack takes a one-dimensional uint32 or uint64 array, not {values.dtype} {values.shape}")
    values = np.ascontiguousarray(values)
    if width < 8 * values.itemsize and int(_union(values)) >> width:
        raise ValueError(f"a value does not fit in {width} bits")
    out = np.empty((values.size * width + 63) // 64 + 1, np.uint64)
    pack_words(values, width, out, 0)
    return out.view(np.uint8)[: packed_bytes(values.size, width)]


def unpack(data: np.ndarray, count: int, width: int) -> np.ndarray:
    """The `count` values of packed bytes: uint32 (count,) for width <= 32, else uint64. The data may be read-only."""
    dtype = _dtype(width)
    if data.dtype != np.uint8 or data.ndim != 1 or count < 0 or data.size != packed_bytes(count, width):
        raise ValueError(
            f"{count} values of {width} bits are uint8 ({packed_bytes(max(count, 0), width)},), not {data.dtype} {data.shape}"
        )
    out = np.empty(count, dtype)
    unpack_words(np.ascontiguousarray(data), width, out)
    return out


# --- 128x128 bit transposes ----------------------------------------------------------------------------------------


@kernel
def _transpose_plain(source: Words, start: Index, target: Words, at: Index) -> None:  # pragma: no cover - compiled
    work = np.empty(256, np.uint64)
    # the two 64-bit halves: rows 64..127 of the low words change place with rows 0..63 of the high words
    for k in range(64):
        work[2 * k] = source[start + 2 * k]
        work[2 * k + 1] = source[start + 128 + 2 * k]
        work[128 + 2 * k] = source[start + 2 * k + 1]
        work[129 + 2 * k] = source[start + 129 + 2 * k]
    mask = np.uint64(0x00000000FFFFFFFF)
    step = 32
    while step:
        shift = np.uint64(step)
        for base in range(0, 256, 4 * step):
            upper, lower = work[base : base + 2 * step], work[base + 2 * step : base + 4 * step]
            for l in range(2 * step):
                swap = (upper[l] >> shift ^ lower[l]) & mask
                lower[l] ^= swap
                upper[l] ^= swap << shift
        step >>= 1
        mask ^= mask << np.uint64(step)
    for i in range(256):
        target[at + i] = work[i]


# transpose_tile(source, start, target, at): 128 rows of 128 bits (two uint64 each) at source[start:start+256] to
# target[at:at+256], uint64, C-contiguous; bit j of row i becomes bit i of row j. For compiled callers.
transpose_tile = transpose_gfni if TIER == "vaes" else _transpose_plain


@kernel
def _transpose(source: Words, target: Words) -> None:  # pragma: no cover - compiled
    for start in range(0, source.size, 256):
        transpose_tile(source, start, target, start)


def transpose(tiles: np.ndarray) -> np.ndarray:
    """Bit transposes of uint64 (n, 128, 2): bit j of row i of each tile becomes bit i of row j."""
    if tiles.dtype != np.uint64 or tiles.ndim != 3 or tiles.shape[1:] != (128, 2):
        raise ValueError(f"a tile is uint64 (n, 128, 2), not {tiles.dtype} {tiles.shape}")
    out = np.empty(tiles.shape, np.uint64)
    _transpose(np.ascontiguousarray(tiles).reshape(tiles.size), out.reshape(out.size))
    return out
