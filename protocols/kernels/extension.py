"""The local work of OT extension: IKNP's columns, and the hashing of additive correlated OT.

A tile is 128 OTs: 128 columns of 128 bits, uint64 (256,), column c at [2c:2c+2]. Its transpose is 128 rows.
Column c of tile t is one AES block under that column's seed: low word t, high word the stream number.
Seeds come as interleaved schedules (32, 11, 8) of `aes.expand_interleaved`.
"""

from __future__ import annotations

from bunet.protocols.kernels.aes import GROUP, TILE, hash_group
from bunet.protocols.kernels.aes_bitsliced import LANE_BLOCKS, LANES, encrypt_lanes
from bunet.protocols.kernels.aes_rounds import aes128, aes512_wide
from bunet.protocols.kernels.bits import pack_words, transpose_tile, unpack_words
from bunet.protocols.kernels.simd import lanes512, pair128, store128, store512
from bunet.protocols.kernels.tier import TIER

# isort: split
import numpy as np
from numba import njit

COLUMNS = 128
BATCH = LANE_BLOCKS if TIER == "portable" else 8  # tiles expanded together


# --- columns of a batch of tiles: _columns(schedules, tile, stream, out), out uint64 (BATCH * 256,) ------------------


@njit(nogil=True, cache=True)
def _columns_vaes(schedules, tile, stream, out):  # pragma: no cover - compiled
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    x0, x1 = lanes512(tile, stream), lanes512(tile + one, stream)
    x2, x3 = lanes512(tile + two, stream), lanes512(tile + three, stream)
    x4, x5 = lanes512(tile + four, stream), lanes512(tile + four + one, stream)
    x6, x7 = lanes512(tile + four + two, stream), lanes512(tile + four + three, stream)
    for g in range(COLUMNS // 4):
        y = aes512_wide((x0, x1, x2, x3, x4, x5, x6, x7), schedules, 88 * g, 8)
        store512(out, 8 * g, y[0])
        store512(out, 8 * g + 256, y[1])
        store512(out, 8 * g + 512, y[2])
        store512(out, 8 * g + 768, y[3])
        store512(out, 8 * g + 1024, y[4])
        store512(out, 8 * g + 1280, y[5])
        store512(out, 8 * g + 1536, y[6])
        store512(out, 8 * g + 1792, y[7])


@njit(nogil=True, cache=True)
def _columns_aesni(schedules, tile, stream, out):  # pragma: no cover - compiled
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    x0, x1 = pair128(tile, stream), pair128(tile + one, stream)
    x2, x3 = pair128(tile + two, stream), pair128(tile + three, stream)
    x4, x5 = pair128(tile + four, stream), pair128(tile + four + one, stream)
    x6, x7 = pair128(tile + four + two, stream), pair128(tile + four + three, stream)
    for c in range(COLUMNS):
        y = aes128((x0, x1, x2, x3, x4, x5, x6, x7), schedules, 88 * (c >> 2) + 2 * (c & 3), 8)
        store128(out, 2 * c, y[0])
        store128(out, 2 * c + 256, y[1])
        store128(out, 2 * c + 512, y[2])
        store128(out, 2 * c + 768, y[3])
        store128(out, 2 * c + 1024, y[4])
        store128(out, 2 * c + 1280, y[5])
        store128(out, 2 * c + 1536, y[6])
        store128(out, 2 * c + 1792, y[7])


@njit(nogil=True, cache=True)
def _columns_portable(schedules, tile, stream, out):  # pragma: no cover - compiled
    keys = np.empty((22, LANES), np.uint64)
    rows = np.empty((LANES * LANE_BLOCKS, 2), np.uint64)
    for first in range(0, COLUMNS, LANES):
        for l in range(LANES):
            c = first + l
            for r in range(11):
                keys[2 * r, l] = schedules[c >> 2, r, 2 * (c & 3)]
                keys[2 * r + 1, l] = schedules[c >> 2, r, 2 * (c & 3) + 1]
            for t in range(BATCH):
                rows[LANE_BLOCKS * l + t, 0] = tile + np.uint64(t)
                rows[LANE_BLOCKS * l + t, 1] = stream
        encrypt_lanes(rows, keys, LANES)
        for l in range(LANES):
            for t in range(BATCH):
                out[256 * t + 2 * (first + l)] = rows[LANE_BLOCKS * l + t, 0]
                out[256 * t + 2 * (first + l) + 1] = rows[LANE_BLOCKS * l + t, 1]


_columns = {"vaes": _columns_vaes, "aesni": _columns_aesni, "portable": _columns_portable}[TIER]


# --- extension -----------------------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def store_rows(columns, rows, tile, scratch):  # pragma: no cover - compiled
    """The transpose of one tile's columns (256,) to its rows; the last tile may have fewer than 128."""
    flat = rows.reshape(rows.size)
    start, origin = 256 * tile, np.int64(0)
    if start + 256 <= flat.size:
        transpose_tile(columns, origin, flat, start)
    elif start < flat.size:
        transpose_tile(columns, origin, scratch, origin)
        for i in range(flat.size - start):
            flat[start + i] = scratch[i]


@njit(nogil=True, cache=True)
def extend_receiver(schedules0, schedules1, stream, choices, message, rows):  # pragma: no cover - compiled
    """IKNP receiver: message (256 * tiles,) u = G(k0) ^ G(k1) ^ choices, and rows (n, 2) t of G(k0).

    choices: uint64 (2 * tiles,), bit i of OT i; zeros beyond n.
    """
    zeros, ones = np.empty(256 * BATCH, np.uint64), np.empty(256 * BATCH, np.uint64)
    scratch = np.empty(256, np.uint64)
    tiles = message.size // 256
    for start in range(0, tiles, BATCH):
        _columns(schedules0, np.uint64(start), stream, zeros)
        _columns(schedules1, np.uint64(start), stream, ones)
        for k in range(min(BATCH, tiles - start)):
            tile = start + k
            a, b = zeros[256 * k : 256 * k + 256], ones[256 * k : 256 * k + 256]
            u = message[256 * tile : 256 * tile + 256]
            low, high = choices[2 * tile], choices[2 * tile + 1]
            for c in range(COLUMNS):
                u[2 * c] = a[2 * c] ^ b[2 * c] ^ low
                u[2 * c + 1] = a[2 * c + 1] ^ b[2 * c + 1] ^ high
            store_rows(a, rows, tile, scratch)


@njit(nogil=True, cache=True)
def extend_sender(schedules, delta, stream, message, rows):  # pragma: no cover - compiled
    """IKNP sender: rows (n, 2) q of G(k_s) ^ s * u, where s are the bits of delta and u the receiver's message."""
    chosen = np.empty(256 * BATCH, np.uint64)
    scratch = np.empty(256, np.uint64)
    masks = np.empty(256, np.uint64)
    for c in range(COLUMNS):
        bit = delta[c >> 6] >> np.uint64(c & 63) & np.uint64(1)
        masks[2 * c] = np.uint64(0) - bit
        masks[2 * c + 1] = np.uint64(0) - bit
    tiles = message.size // 256
    for start in range(0, tiles, BATCH):
        _columns(schedules, np.uint64(start), stream, chosen)
        for k in range(min(BATCH, tiles - start)):
            tile = start + k
            q = chosen[256 * k : 256 * k + 256]
            u = message[256 * tile : 256 * tile + 256]
            for i in range(256):
                q[i] ^= u[i] & masks[i]
            store_rows(q, rows, tile, scratch)


# --- additive correlated OT ----------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def _hash(key, tweak, mask, rows, start, padded, hashes):  # pragma: no cover - compiled
    """Hashes of rows[start : start + GROUP] ^ mask to hashes (GROUP, 2); beyond the last row, of zeros ^ mask."""
    tile, origin = np.uint64(start // TILE), np.int64(0)  # a plain 0 would compile versions of its own
    rest = rows.shape[0] - start
    if rest >= GROUP:
        hash_group(key, tweak, tile, mask, rows, start, hashes, origin)
    else:
        for i in range(rest):
            padded[i, 0], padded[i, 1] = rows[start + i, 0], rows[start + i, 1]
        for i in range(rest, GROUP):
            padded[i, 0], padded[i, 1] = np.uint64(0), np.uint64(0)
        hash_group(key, tweak, tile, mask, padded, origin, hashes, origin)


@njit(nogil=True, cache=True)
def correct(key, tweak, delta, rows, correlation, width, result, packed):  # pragma: no cover - compiled
    """result[i] = H(q), packed c[i] = H(q) + correlation[i] - H(q ^ delta), modulo 2^width, for q = rows[i].

    correlation, result: uint32 or uint64 (n,). packed: uint64, ceil(n * width / 64) + 1 words.
    """
    count = rows.shape[0]
    kind = result.dtype.type
    limit = kind(~np.uint64(0) >> np.uint64(64 - width))
    zero = np.zeros(2, np.uint64)
    padded = np.empty((GROUP, 2), np.uint64)
    hash0, hash1 = np.empty((GROUP, 2), np.uint64), np.empty((GROUP, 2), np.uint64)
    corrections = np.empty(GROUP, result.dtype)
    for start in range(0, count, GROUP):
        _hash(key, tweak, zero, rows, start, padded, hash0)
        _hash(key, tweak, delta, rows, start, padded, hash1)
        size = min(GROUP, count - start)
        offset, mine = correlation[start : start + size], result[start : start + size]
        for i in range(size):
            r = kind(hash0[i, 0])
            mine[i] = r & limit
            corrections[i] = (r + offset[i] - kind(hash1[i, 0])) & limit
        pack_words(corrections[:size], width, packed, start * width // 64)


@njit(nogil=True, cache=True)
def apply_correction(key, tweak, rows, choices, packed, width, result):  # pragma: no cover - compiled
    """result[i] = H(t) + choices[i] * c[i] modulo 2^width for t = rows[i]; packed: uint8 bytes of c, choices: 0 or 1."""
    count = rows.shape[0]
    kind = result.dtype.type
    limit = kind(~np.uint64(0) >> np.uint64(64 - width))
    zero = np.zeros(2, np.uint64)
    padded = np.empty((GROUP, 2), np.uint64)
    hashes = np.empty((GROUP, 2), np.uint64)
    corrections = np.empty(GROUP, result.dtype)
    for start in range(0, count, GROUP):
        _hash(key, tweak, zero, rows, start, padded, hashes)
        size = min(GROUP, count - start)
        unpack_words(packed[start * width // 8 :], width, corrections[:size])
        chosen, mine = choices[start : start + size], result[start : start + size]
        for i in range(size):
            mask = kind(0) - kind(chosen[i])
            mine[i] = (kind(hashes[i, 0]) + (corrections[i] & mask)) & limit
