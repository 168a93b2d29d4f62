"""AES-128: key schedules, counter mode, and the tweakable hash of rows, on the best instructions of the machine.

All tiers agree bit for bit and run in constant time. A block is a row (low, high) of uint64: little-endian bytes.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.machine.compiled import inlined_by_llvm, kernel
from bunet.protocols.kernels.machine.memory import aligned
from bunet.protocols.kernels.machine.simd import (
    add128,
    add512,
    broadcast128,
    counters512,
    lanes512,
    load128,
    load512,
    pair128,
    sigma128,
    sigma512,
    store128,
    store512,
    xor128,
    xor512,
)
from bunet.protocols.kernels.machine.tier import TIER
from bunet.protocols.kernels.machine.types import V128, V512, Index, Registers, Word, Words
from bunet.protocols.kernels.symmetric.aes_bitsliced import LANE_BLOCKS, LANES, encrypt_lanes, expand_lanes
from bunet.protocols.kernels.symmetric.aes_rounds import aes128, aes512, aes512_expanding, key_schedule128, key_schedule512

TILE = 64  # rows hashed under one key; see hash_rows, and `Security.hash_tile_bits`
GROUP = TILE * LANES if TIER == "portable" else 4 * TILE  # rows that hash_group takes at a time
SCHEDULE_WORDS = 22
_WORD = np.dtype(np.uint64)  # compares with an array's dtype faster than np.uint64 does
GROUP_KEYS = SCHEDULE_WORDS * (GROUP // TILE)  # words of a group's key schedules


# --- key schedules -------------------------------------------------------------------------------------------------


@kernel
def _schedule_aesni(key: Words, out: Words) -> None:  # pragma: no cover - compiled
    key_schedule128(load128(key, 0), out, 0)


@kernel
def _schedule_portable(key: Words, out: Words) -> None:  # pragma: no cover - compiled
    expand_lanes(key[0:1], key[1:2], out.reshape((22, 1)))


_schedule = _schedule_portable if TIER == "portable" else _schedule_aesni


def expand_key(key: bytes) -> np.ndarray:
    """The eleven round keys of a 16-byte key: uint64 (22,), round r at [2r:2r+2] (FIPS-197 section 5.2)."""
    if len(key) != 16:
        raise ValueError(f"an AES-128 key has 16 bytes, not {len(key)}")
    out = np.empty(SCHEDULE_WORDS, np.uint64)
    _schedule(np.frombuffer(bytearray(key), np.uint64), out)
    return out


def expand_interleaved(keys: np.ndarray) -> np.ndarray:
    """Schedules of 4 * g keys, uint8 (4g, 16) -> uint64 (g, 11, 8): [i, r, 2l:2l+2] is round r of key 4i + l."""
    if keys.dtype != np.uint8 or keys.ndim != 2 or keys.shape[1] != 16 or keys.shape[0] % 4:
        raise ValueError(f"keys must be uint8 (4g, 16), not {keys.dtype} {keys.shape}")
    schedules = np.stack([expand_key(key.tobytes()) for key in keys])
    return np.ascontiguousarray(schedules.reshape(-1, 4, 11, 2).transpose(0, 2, 1, 3)).reshape(-1, 11, 8)


# --- counter mode --------------------------------------------------------------------------------------------------


# _ctr32(schedule, counters, out, at) -> counters: 32 blocks to out[at:at+64]; the counters move on by 32. What they are
# is the tier's own: _first_counters(counter, nonce).


@kernel
def _ctr32_vaes(schedule: Words, counters: V512, out: Words, at: Index) -> V512:  # pragma: no cover - compiled
    none = np.uint64(0)
    x1, x2 = add512(counters, lanes512(np.uint64(4), none)), add512(counters, lanes512(np.uint64(8), none))
    x3, x4 = add512(counters, lanes512(np.uint64(12), none)), add512(counters, lanes512(np.uint64(16), none))
    x5, x6 = add512(counters, lanes512(np.uint64(20), none)), add512(counters, lanes512(np.uint64(24), none))
    x7 = add512(counters, lanes512(np.uint64(28), none))
    y = aes512((counters, x1, x2, x3, x4, x5, x6, x7), schedule, 0, 2)
    store512(out, at, y[0])
    store512(out, at + 8, y[1])
    store512(out, at + 16, y[2])
    store512(out, at + 24, y[3])
    store512(out, at + 32, y[4])
    store512(out, at + 40, y[5])
    store512(out, at + 48, y[6])
    store512(out, at + 56, y[7])
    return add512(counters, lanes512(np.uint64(32), none))


@kernel
def _ctr32_aesni(schedule: Words, counters: V128, out: Words, at: Index) -> V128:  # pragma: no cover - compiled
    none = np.uint64(0)
    for o in range(at, at + 64, 16):
        x1, x2 = add128(counters, pair128(np.uint64(1), none)), add128(counters, pair128(np.uint64(2), none))
        x3, x4 = add128(counters, pair128(np.uint64(3), none)), add128(counters, pair128(np.uint64(4), none))
        x5, x6 = add128(counters, pair128(np.uint64(5), none)), add128(counters, pair128(np.uint64(6), none))
        x7 = add128(counters, pair128(np.uint64(7), none))
        y = aes128((counters, x1, x2, x3, x4, x5, x6, x7), schedule, 0, 2)
        store128(out, o, y[0])
        store128(out, o + 2, y[1])
        store128(out, o + 4, y[2])
        store128(out, o + 6, y[3])
        store128(out, o + 8, y[4])
        store128(out, o + 10, y[5])
        store128(out, o + 12, y[6])
        store128(out, o + 14, y[7])
        counters = add128(counters, pair128(np.uint64(8), none))
    return counters


_ctr32, _first_counters = (_ctr32_vaes, counters512) if TIER == "vaes" else (_ctr32_aesni, pair128)


@kernel
def _ctr_simd(schedule: Words, nonce: Word, counter: Word, out: Words) -> None:  # pragma: no cover - compiled
    counters = _first_counters(counter, nonce)
    full = out.size - out.size % 64
    for at in range(0, full, 64):
        counters = _ctr32(schedule, counters, out, at)
    if full < out.size:
        last = np.empty(64, np.uint64)
        _ctr32(schedule, counters, last, np.int64(0))
        for i in range(out.size - full):  # numba compiles a slice assignment a hundred times slower
            out[full + i] = last[i]


@kernel
def _ctr_portable(schedule: Words, nonce: Word, counter: Word, out: Words) -> None:  # pragma: no cover - compiled
    blocks = out.size >> 1
    if blocks == 0:
        return
    lanes = min(LANES, (blocks + LANE_BLOCKS - 1) // LANE_BLOCKS)
    schedules = np.empty((22, lanes), np.uint64)
    for i in range(22):
        for l in range(lanes):
            schedules[i, l] = schedule[i]
    rows = np.empty((lanes * LANE_BLOCKS, 2), np.uint64)
    for start in range(0, blocks, rows.shape[0]):
        for i in range(rows.shape[0]):
            rows[i, 0] = counter + np.uint64(start + i)
            rows[i, 1] = nonce
        encrypt_lanes(rows, schedules, lanes)
        for i in range(min(rows.shape[0], blocks - start)):
            out[2 * (start + i)] = rows[i, 0]
            out[2 * (start + i) + 1] = rows[i, 1]


# ctr_words(schedule, nonce, counter, out): `ctr` for compiled callers, unchecked; nonce, counter: uint64.
ctr_words = _ctr_portable if TIER == "portable" else _ctr_simd


def ctr(schedule: np.ndarray, nonce: int | np.uint64, counter: int | np.uint64, out: np.ndarray) -> None:
    """out (uint64, contiguous, 2n words): block i = AES(low = counter + i modulo 2^64, high = nonce).

    schedule: uint64 (22,) of `expand_key`. nonce, counter: 0..2^64-1.
    """
    if out.dtype != _WORD or out.ndim != 1 or out.size % 2 or not out.flags.c_contiguous:
        raise ValueError("ctr writes to a contiguous one-dimensional uint64 array of even size")
    if schedule.dtype != _WORD or schedule.shape != (SCHEDULE_WORDS,):
        raise ValueError("ctr takes the uint64 (22,) schedule of expand_key")
    ctr_words(schedule, np.uint64(nonce), np.uint64(counter), out)


# --- hashing -------------------------------------------------------------------------------------------------------


# hash_group(key, tweak, tile, schedules, keys, mask, rows, start, out, at): for compiled callers. Hashes
# rows[start : start + GROUP] ^ mask to out[at : at + GROUP]; the first TILE of them under key ^ (tile, tweak), the next
# under tile + 1, and so on. key, mask: uint64 (2,); tweak, tile: uint64; rows, out: uint64 (n, 2), C-contiguous, may be
# the same. schedules: uint64 (2 * GROUP_KEYS,): the tier may want this group's key schedules at schedules[keys:], where
# keys is 0 and GROUP_KEYS in turns, and leave the next group's in the other half; first_keys makes the first ones.


@inlined_by_llvm
def _first_keys_vaes(key: Words, tweak: Word, tile: Word, schedules: Words) -> None:  # pragma: no cover - compiled
    key_schedule512(xor512(broadcast128(key, 0), counters512(tile, tweak)), schedules, 0)


@kernel
def _no_keys(key: Words, tweak: Word, tile: Word, schedules: Words) -> None:  # pragma: no cover - compiled
    """For tiers that expand the keys where they need them."""


@inlined_by_llvm
def _sigma_rows(rows: Words, r: Index, offset: V512) -> Registers:  # pragma: no cover - compiled
    """sigma of 32 rows, ^ offset: sigma is linear, and here the offset costs nothing."""
    x0, x1 = xor512(sigma512(load512(rows, r)), offset), xor512(sigma512(load512(rows, r + 8)), offset)
    x2, x3 = xor512(sigma512(load512(rows, r + 16)), offset), xor512(sigma512(load512(rows, r + 24)), offset)
    x4, x5 = xor512(sigma512(load512(rows, r + 32)), offset), xor512(sigma512(load512(rows, r + 40)), offset)
    x6, x7 = xor512(sigma512(load512(rows, r + 48)), offset), xor512(sigma512(load512(rows, r + 56)), offset)
    return x0, x1, x2, x3, x4, x5, x6, x7


@inlined_by_llvm
def _store_sums(out: Words, o: Index, x: Registers, y: Registers) -> None:  # pragma: no cover - compiled
    store512(out, o, xor512(y[0], x[0]))
    store512(out, o + 8, xor512(y[1], x[1]))
    store512(out, o + 16, xor512(y[2], x[2]))
    store512(out, o + 24, xor512(y[3], x[3]))
    store512(out, o + 32, xor512(y[4], x[4]))
    store512(out, o + 40, xor512(y[5], x[5]))
    store512(out, o + 48, xor512(y[6], x[6]))
    store512(out, o + 56, xor512(y[7], x[7]))


@inlined_by_llvm
def _hash_group_vaes(
    key: Words,
    tweak: Word,
    tile: Word,
    schedules: Words,
    keys: Index,
    mask: Words,
    rows: Words,
    start: Index,
    out: Words,
    at: Index,
) -> None:  # pragma: no cover - compiled
    # Inlined, for a call with arrays counts references, and locked instructions drain the pipeline.
    offset = sigma512(broadcast128(mask, 0))
    x = _sigma_rows(rows, 2 * start, offset)
    coming = xor512(broadcast128(key, 0), counters512(tile + np.uint64(4), tweak))
    _store_sums(out, 2 * at, x, aes512_expanding(x, schedules, keys, 8, coming, GROUP_KEYS - keys))
    for i in range(1, 8):
        x = _sigma_rows(rows, 2 * start + 64 * i, offset)
        _store_sums(out, 2 * at + 64 * i, x, aes512(x, schedules, keys + 2 * (i >> 1), 8))


@kernel
def _hash_group_aesni(
    key: Words,
    tweak: Word,
    tile: Word,
    schedules: Words,
    keys: Index,
    mask: Words,
    rows: Words,
    start: Index,
    out: Words,
    at: Index,
) -> None:  # pragma: no cover - compiled
    offset = load128(mask, 0)
    for t in range(4):
        key_schedule128(xor128(load128(key, 0), pair128(tile + np.uint64(t), tweak)), schedules, 0)
        for i in range(8):
            r = 2 * start + 128 * t + 16 * i
            x0 = sigma128(xor128(offset, load128(rows, r)))
            x1 = sigma128(xor128(offset, load128(rows, r + 2)))
            x2 = sigma128(xor128(offset, load128(rows, r + 4)))
            x3 = sigma128(xor128(offset, load128(rows, r + 6)))
            x4 = sigma128(xor128(offset, load128(rows, r + 8)))
            x5 = sigma128(xor128(offset, load128(rows, r + 10)))
            x6 = sigma128(xor128(offset, load128(rows, r + 12)))
            x7 = sigma128(xor128(offset, load128(rows, r + 14)))
            y = aes128((x0, x1, x2, x3, x4, x5, x6, x7), schedules, 0, 2)
            o = 2 * at + 128 * t + 16 * i
            store128(out, o, xor128(y[0], x0))
            store128(out, o + 2, xor128(y[1], x1))
            store128(out, o + 4, xor128(y[2], x2))
            store128(out, o + 6, xor128(y[3], x3))
            store128(out, o + 8, xor128(y[4], x4))
            store128(out, o + 10, xor128(y[5], x5))
            store128(out, o + 12, xor128(y[6], x6))
            store128(out, o + 14, xor128(y[7], x7))


@kernel
def _hash_group_portable(
    key: Words,
    tweak: Word,
    tile: Word,
    schedules: Words,
    keys: Index,
    mask: Words,
    rows: Words,
    start: Index,
    out: Words,
    at: Index,
) -> None:  # pragma: no cover - compiled
    low, high = np.empty(LANES, np.uint64), np.empty(LANES, np.uint64)
    for l in range(LANES):
        low[l] = key[0] ^ (tile + np.uint64(l))
        high[l] = key[1] ^ tweak
    lanes = schedules[:GROUP_KEYS].reshape((SCHEDULE_WORDS, LANES))
    expand_lanes(low, high, lanes)
    blocks, inputs = np.empty((GROUP, 2), np.uint64), np.empty((GROUP, 2), np.uint64)
    for i in range(GROUP):
        x, y = rows[start + i, 0] ^ mask[0], rows[start + i, 1] ^ mask[1]
        inputs[i, 0], inputs[i, 1] = y, x ^ y
        blocks[i, 0], blocks[i, 1] = y, x ^ y
    encrypt_lanes(blocks, lanes, LANES)
    for i in range(GROUP):
        out[at + i, 0] = blocks[i, 0] ^ inputs[i, 0]
        out[at + i, 1] = blocks[i, 1] ^ inputs[i, 1]


hash_group = {"vaes": _hash_group_vaes, "aesni": _hash_group_aesni, "portable": _hash_group_portable}[TIER]
first_keys = _first_keys_vaes if TIER == "vaes" else _no_keys


@kernel
def hash_words(key: Words, tweak: Word, first_tile: Word, rows: Words, out: Words) -> None:  # pragma: no cover - compiled
    """`hash_rows` for compiled callers, unchecked; tweak, first_tile: uint64."""
    mask, schedules = np.zeros(2, np.uint64), aligned(2 * GROUP_KEYS)
    count = rows.shape[0]
    full = count - count % GROUP
    keys = np.int64(0)  # a plain 0 would compile a version of its own
    first_keys(key, tweak, first_tile, schedules)
    for start in range(0, full, GROUP):
        tile = first_tile + np.uint64(start // TILE)
        hash_group(key, tweak, tile, schedules, keys, mask, rows, start, out, start)
        keys = GROUP_KEYS - keys
    if full < count:
        tile, origin = first_tile + np.uint64(full // TILE), np.int64(0)
        last = np.zeros((GROUP, 2), np.uint64)
        for i in range(count - full):
            last[i, 0], last[i, 1] = rows[full + i, 0], rows[full + i, 1]
        hash_group(key, tweak, tile, schedules, keys, mask, last, origin, last, origin)
        for i in range(count - full):
            out[full + i, 0], out[full + i, 1] = last[i, 0], last[i, 1]


def hash_rows(key: np.ndarray, tweak: int, rows: np.ndarray, out: np.ndarray, first_tile: int = 0) -> None:
    """out[i] = AES_k(sigma(x)) ^ sigma(x) for x = rows[i], k = key ^ (low: first_tile + i // TILE, high: tweak).

    key: uint64 (2,), public, uniform, of this session. tweak: 0..2^64-1, used for nothing else under this key.
    rows, out: uint64 (n, 2), C-contiguous, may be the same array. sigma(low, high) = (high, low ^ high).

    This is MITCCRH of Guo, Katz, Wang, Weng and Yu (CRYPTO 2020, eprint 2019/1168): the tweak re-keys the cipher, sigma
    is a linear orthomorphism (GKWY20, S&P 2020, eprint 2019/074). What masks with it relies on hashes of x ^ R, with x known
    and R a secret offset, being random: multi-instance tweakable circular correlation robustness. With AES as an ideal
    cipher, an adversary that makes p cipher calls tells q such hashes from random ones with an advantage of at most

        2 u p / 2^rho + (u - 1) q / 2^128,

    where u is the largest number of them under one key, their x being distinct, and rho the entropy of R in bits. A call
    meets one of at most u secret inputs, or one of at most u secret outputs, with a chance of u / 2^rho each: for a given
    key sigma(x ^ R), and what the cipher must have put out, are one-to-one in R. And the outputs of a permutation are
    distinct, which random ones fail to be with a chance of u (u - 1) / 2^129 a key, for q / u keys.

    Here keys repeat only within a tile and each row meets the unknown offset once, so u = TILE = 64; rho = 127, for bit 0 of
    delta is fixed. That makes p / 2^120 + q / 2^122: rows of 128 bits give 120 bits of security against cipher calls
    (2^80 calls succeed with a chance of 2^-40), however many rows are hashed below 2^80. Of the 8 bits, 6 are the price of a
    key schedule for 64 rows, one that of the fixed bit and one the proof's factor of 2. With a single key for all
    hashes u would be q.
    """
    for name, array in (("rows", rows), ("out", out)):
        if array.dtype != _WORD or array.ndim != 2 or array.shape[1] != 2 or not array.flags.c_contiguous:
            raise ValueError(f"{name} must be a C-contiguous uint64 (n, 2) array")
    if len(rows) != len(out):
        raise ValueError(f"rows {rows.shape} and out {out.shape} differ in shape")
    if key.dtype != _WORD or key.shape != (2,):
        raise ValueError("the hash key must be uint64 (2,)")
    hash_words(key, np.uint64(tweak), np.uint64(first_tile), rows, out)
