"""Bit packing of share values, and 128x128 bit transposes.

Value i of `width` bits lies at bits [i * width, (i + 1) * width) of the packed bytes, least significant bit first.
"""

from __future__ import annotations

from bunet.protocols.kernels.bits_gfni import transpose_gfni
from bunet.protocols.kernels.simd import load_word
from bunet.protocols.kernels.tier import TIER

# isort: split
import sys

import numpy as np
from numba import njit

if sys.byteorder != "little":
    raise ImportError("the kernels need a little-endian machine")


def packed_bytes(count: int, width: int) -> int:
    """Bytes of `count` packed values: ceil(count * width / 8)."""
    return (count * width + 7) // 8


@njit(nogil=True, cache=True)
def pack_words(values, width, out, at):  # pragma: no cover - compiled
    """Packs values (each < 2^width) to out[at:] (uint64), whose last word is padded with zeros. For njit callers.

    Without branches: a word is stored at every step, and kept once it is full. Narrow values are first joined in pairs
    or fours, which shortens the chain of dependent steps. Returns the index after the last word written.
    """
    count = values.shape[0]
    joined = 4 if width <= 16 else 2 if width <= 32 else 1
    w = np.uint64(width)
    step = np.uint64(width * joined)
    full = count - count % joined
    word = np.uint64(0)
    fill = np.uint64(0)  # bits of `word` in use, 0..63
    for i in range(0, full, joined):
        if joined == 1:
            v = np.uint64(values[i])
        elif joined == 2:
            v = np.uint64(values[i]) | np.uint64(values[i + 1]) << w
        else:
            v = np.uint64(values[i]) | np.uint64(values[i + 1]) << w
            u = np.uint64(values[i + 2]) | np.uint64(values[i + 3]) << w
            v |= u << (w + w)
        word |= v << fill
        rest = (v >> np.uint64(1)) >> (np.uint64(63) - fill)
        out[at] = word
        fill += step
        at += np.int64(fill >> np.uint64(6))
        word = rest if fill >= np.uint64(64) else word
        fill &= np.uint64(63)
    for i in range(full, count):
        v = np.uint64(values[i])
        word |= v << fill
        out[at] = word
        rest = (v >> np.uint64(1)) >> (np.uint64(63) - fill)
        fill += w
        at += np.int64(fill >> np.uint64(6))
        word = rest if fill >= np.uint64(64) else word
        fill &= np.uint64(63)
    if fill:
        out[at] = word
        at += 1
    return at


@njit(nogil=True, cache=True)
def unpack_words(data, width, out):  # pragma: no cover - compiled
    """Values of the packed bytes `data` to out; data has at least packed_bytes(out.size, width) bytes."""
    count = out.shape[0]
    mask = ~np.uint64(0) >> np.uint64(64 - width)
    # values whose nine bytes lie inside the data need no care
    safe = min(count, max(0, ((data.shape[0] - 8) * 8 - 1) // width))
    kind = out.dtype.type
    if width <= 57:
        for i in range(safe):
            bit = i * width
            out[i] = kind((load_word(data, bit >> 3) >> np.uint64(bit & 7)) & mask)
    else:
        for i in range(safe):
            bit = i * width
            shift = np.uint64(bit & 7)
            high = np.uint64(data[(bit >> 3) + 8]) << np.uint64(1) << (np.uint64(63) - shift)
            out[i] = kind((load_word(data, bit >> 3) >> shift | high) & mask)
    for i in range(safe, count):
        value = np.uint64(0)
        for j in range(width):
            bit = i * width + j
            value |= (np.uint64(data[bit >> 3]) >> np.uint64(bit & 7) & np.uint64(1)) << np.uint64(j)
        out[i] = kind(value)


def _kind(width: int) -> np.dtype:
    if not 1 <= width <= 64:
        raise ValueError(f"width {width} is outside 1..64")
    return np.dtype(np.uint32 if width <= 32 else np.uint64)


def pack(values: np.ndarray, width: int) -> np.ndarray:
    """uint8 (packed_bytes(n, width),) of values (n,), uint32 or uint64, each below 2^width (1..64).

    A value that is too large raises ValueError: it would spill into its neighbours.
    """
    _kind(width)
    if values.dtype not in (np.uint32, np.uint64) or values.ndim != 1:
        raise ValueError(f"pack takes a one-dimensional uint32 or uint64 array, not {values.dtype} {values.shape}")
    values = np.ascontiguousarray(values)
    if width < 8 * values.itemsize and values.size and int(values.max()) >> width:
        raise ValueError(f"a value does not fit in {width} bits")
    out = np.empty((values.size * width + 63) // 64 + 1, np.uint64)
    pack_words(values, width, out, 0)
    return out.view(np.uint8)[: packed_bytes(values.size, width)]


def unpack(data: np.ndarray, count: int, width: int) -> np.ndarray:
    """The `count` values of packed bytes: uint32 (count,) for width <= 32, else uint64. The data may be read-only."""
    kind = _kind(width)
    if data.dtype != np.uint8 or data.ndim != 1 or count < 0 or data.size != packed_bytes(count, width):
        raise ValueError(
            f"{count} values of {width} bits are uint8 ({packed_bytes(max(count, 0), width)},), "
            f"not {data.dtype} {data.shape}"
        )
    out = np.empty(count, kind)
    unpack_words(np.ascontiguousarray(data), width, out)
    return out


# --- 128x128 bit transposes ----------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _transpose_plain(source, start, target, at):  # pragma: no cover - compiled
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
# target[at:at+256], uint64, C-contiguous; bit j of row i becomes bit i of row j. For njit callers.
transpose_tile = transpose_gfni if TIER == "vaes" else _transpose_plain


@njit(nogil=True, cache=True)
def _transpose(source, target):  # pragma: no cover - compiled
    for start in range(0, source.size, 256):
        transpose_tile(source, start, target, start)


def transpose(tiles: np.ndarray) -> np.ndarray:
    """Bit transposes of uint64 (n, 128, 2): bit j of row i of each tile becomes bit i of row j."""
    if tiles.dtype != np.uint64 or tiles.ndim != 3 or tiles.shape[1:] != (128, 2):
        raise ValueError(f"a tile is uint64 (n, 128, 2), not {tiles.dtype} {tiles.shape}")
    out = np.empty(tiles.shape, np.uint64)
    _transpose(np.ascontiguousarray(tiles).reshape(tiles.size), out.reshape(out.size))
    return out
