"""The hashing of additive correlated OT: corrections from the rows of an extension, and what they open to.

A row's hash is that of `aes.hash_rows`, in groups; its low bits mask a value of `width` bits.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.machine.arguments import U8, U32, U64, check
from bunet.protocols.kernels.machine.compiled import kernel
from bunet.protocols.kernels.machine.memory import aligned
from bunet.protocols.kernels.machine.types import Index, Octets, Shares, Word, Words
from bunet.protocols.kernels.packing.bits import pack_words, unpack_words
from bunet.protocols.kernels.symmetric.aes import GROUP, GROUP_KEYS, TILE, first_keys, hash_group


@kernel
def _hash(
    key: Words, tweak: Word, schedules: Words, keys: Index, mask: Words, rows: Words, start: int, padded: Words, hashes: Words
) -> None:  # pragma: no cover - compiled
    """Hashes of rows[start : start + GROUP] ^ mask to hashes (GROUP, 2); beyond the last row, of zeros ^ mask."""
    tile, origin = np.uint64(start // TILE), np.int64(0)  # a plain 0 would compile versions of its own
    rest = rows.shape[0] - start
    if rest >= GROUP:
        hash_group(key, tweak, tile, schedules, keys, mask, rows, start, hashes, origin)
    else:
        for i in range(rest):
            padded[i, 0], padded[i, 1] = rows[start + i, 0], rows[start + i, 1]
        for i in range(rest, GROUP):
            padded[i, 0], padded[i, 1] = np.uint64(0), np.uint64(0)
        hash_group(key, tweak, tile, schedules, keys, mask, padded, origin, hashes, origin)


def _check_correction(key: Words, rows: Words, width: int, *words: tuple[str, Shares]) -> None:
    """What both sides of a correction share. words: (name, array) of uint32 or uint64 (n,), both of one dtype."""
    check("key", key, U64, 2)
    check("rows", rows, U64, None, 2)
    dtype = words[0][1].dtype
    if dtype not in (U32, U64) or not 1 <= width <= 8 * dtype.itemsize:
        raise ValueError(f"corrections of {width} bits do not fit {dtype}")
    for name, array in words:
        check(name, array, dtype, rows.shape[0])


def correct(
    key: np.ndarray,
    tweak: np.uint64,
    delta: np.ndarray,
    rows: np.ndarray,
    correlation: np.ndarray,
    width: int,
    result: np.ndarray,
    packed: np.ndarray,
) -> None:
    """result[i] = H(q), packed c[i] = H(q) + correlation[i] - H(q ^ delta), modulo 2^width, for q = rows[i].

    correlation, result: uint32 or uint64 (n,). packed: uint64, ceil(n * width / 64) + 1 words. ValueError if they do not fit.
    """
    _check_correction(key, rows, width, ("result", result), ("correlation", correlation))
    check("delta", delta, U64, 2)
    check("packed", packed, U64, (rows.shape[0] * width + 63) // 64 + 1)
    _correct(key, tweak, delta, rows, correlation, width, result, packed)


@kernel
def _correct(
    key: Words, tweak: Word, delta: Words, rows: Words, correlation: Shares, width: int, result: Shares, packed: Words
) -> None:  # pragma: no cover - compiled
    count = rows.shape[0]
    scalar = result.dtype.type
    limit = scalar(~np.uint64(0) >> np.uint64(64 - width))
    zero, schedules = np.zeros(2, np.uint64), aligned(2 * GROUP_KEYS)
    padded = np.empty((GROUP, 2), np.uint64)
    hash0, hash1 = np.empty((GROUP, 2), np.uint64), np.empty((GROUP, 2), np.uint64)
    corrections = np.empty(GROUP, result.dtype)
    keys = np.int64(0)
    first_keys(key, tweak, np.uint64(0), schedules)
    for start in range(0, count, GROUP):
        _hash(key, tweak, schedules, keys, zero, rows, start, padded, hash0)
        _hash(key, tweak, schedules, keys, delta, rows, start, padded, hash1)
        size = min(GROUP, count - start)
        offset, share = correlation[start : start + size], result[start : start + size]
        for i in range(size):
            r = scalar(hash0[i, 0])
            share[i] = r & limit
            corrections[i] = (r + offset[i] - scalar(hash1[i, 0])) & limit
        pack_words(corrections[:size], width, packed, start * width // 64)
        keys = GROUP_KEYS - keys


def apply_correction(
    key: np.ndarray, tweak: np.uint64, rows: np.ndarray, choices: np.ndarray, packed: np.ndarray, width: int, result: np.ndarray
) -> None:
    """result[i] = H(t) + choices[i] * c[i] modulo 2^width for t = rows[i].

    packed: uint8 (ceil(n * width / 8),) of c; choices: uint8 (n,), 0 or 1. ValueError if dtypes or lengths do not fit.
    """
    _check_correction(key, rows, width, ("result", result))
    check("choices", choices, U8, rows.shape[0])
    check("packed", packed, U8, (rows.shape[0] * width + 7) // 8)
    _apply_correction(key, tweak, rows, choices, packed, width, result)


@kernel
def _apply_correction(
    key: Words, tweak: Word, rows: Words, choices: Octets, packed: Octets, width: int, result: Shares
) -> None:  # pragma: no cover - compiled
    count = rows.shape[0]
    scalar = result.dtype.type
    limit = scalar(~np.uint64(0) >> np.uint64(64 - width))
    zero, schedules = np.zeros(2, np.uint64), aligned(2 * GROUP_KEYS)
    padded = np.empty((GROUP, 2), np.uint64)
    hashes = np.empty((GROUP, 2), np.uint64)
    corrections = np.empty(GROUP, result.dtype)
    keys = np.int64(0)
    first_keys(key, tweak, np.uint64(0), schedules)
    for start in range(0, count, GROUP):
        _hash(key, tweak, schedules, keys, zero, rows, start, padded, hashes)
        size = min(GROUP, count - start)
        unpack_words(packed[start * width // 8 :], width, corrections[:size])
        bits, share = choices[start : start + size], result[start : start + size]
        for i in range(size):
            mask = scalar(0) - scalar(bits[i])
            share[i] = (scalar(hashes[i, 0]) + (corrections[i] & mask)) & limit
        keys = GROUP_KEYS - keys
