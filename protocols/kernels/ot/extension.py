"""The local work of OT extension by IKNP: columns, and their transposes, the rows.

A tile is 128 OTs: 128 columns of 128 bits, uint64 (256,), column c at [2c:2c+2]. Its transpose is 128 rows.
Column c of tile t is one AES block under that column's seed: low word t, high word the stream number.
Seeds come as interleaved schedules (32, 11, 8) of `aes.expand_interleaved`.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.machine.arguments import U64, check
from bunet.protocols.kernels.machine.compiled import kernel
from bunet.protocols.kernels.machine.memory import aligned
from bunet.protocols.kernels.machine.simd import (
    and512,
    broadcast128,
    lanes512,
    load512,
    pair128,
    prefetch_far,
    prefetch_write,
    store128,
    store512,
    xor512,
)
from bunet.protocols.kernels.machine.tier import TIER
from bunet.protocols.kernels.machine.types import V512, Registers, Word, Words
from bunet.protocols.kernels.packing.bits import transpose_tile
from bunet.protocols.kernels.symmetric.aes_bitsliced import LANE_BLOCKS, LANES, encrypt_lanes
from bunet.protocols.kernels.symmetric.aes_rounds import aes128, aes512_wide

COLUMNS = 128
SCHEDULES = (COLUMNS // 4, 11, 8)
PITCH = 264  # words from a tile's columns to the next: at 256 a column of all tiles would fall into two sets of the cache
BATCH = LANE_BLOCKS if TIER == "portable" else 8  # tiles expanded together


# --- a batch of tiles: columns by PITCH, messages by 256 words ------------------------------------------------------
# _receive(schedules0, schedules1, tile, stream, choices, zeros, u): zeros = G(k0), u = G(k0) ^ G(k1) ^ choices
# _choose(schedules, tile, stream, u, masks, chosen): chosen = G(k_s) ^ masks & u


@kernel
def _counters(tile: Word, stream: Word) -> Registers:  # pragma: no cover - compiled
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    x0, x1 = lanes512(tile, stream), lanes512(tile + one, stream)
    x2, x3 = lanes512(tile + two, stream), lanes512(tile + three, stream)
    x4, x5 = lanes512(tile + four, stream), lanes512(tile + four + one, stream)
    x6, x7 = lanes512(tile + four + two, stream), lanes512(tile + four + three, stream)
    return x0, x1, x2, x3, x4, x5, x6, x7


@kernel
def _store_message(u: Words, at: int, first: V512, second: V512, choices: Words, t: int) -> None:  # pragma: no cover - compiled
    prefetch_write(u, at + 256 * (BATCH + t))  # the next batch's
    store512(u, at + 256 * t, xor512(xor512(first, second), broadcast128(choices, 2 * t)))


@kernel
def _receive_vaes(
    schedules0: Words, schedules1: Words, tile: Word, stream: Word, choices: Words, zeros: Words, u: Words
) -> None:  # pragma: no cover - compiled
    x = _counters(tile, stream)
    for g in range(COLUMNS // 4):
        y = aes512_wide(x, schedules0, 88 * g, 8)
        store512(zeros, 8 * g, y[0])
        store512(zeros, 8 * g + PITCH, y[1])
        store512(zeros, 8 * g + 2 * PITCH, y[2])
        store512(zeros, 8 * g + 3 * PITCH, y[3])
        store512(zeros, 8 * g + 4 * PITCH, y[4])
        store512(zeros, 8 * g + 5 * PITCH, y[5])
        store512(zeros, 8 * g + 6 * PITCH, y[6])
        store512(zeros, 8 * g + 7 * PITCH, y[7])
        z = aes512_wide(x, schedules1, 88 * g, 8)
        _store_message(u, 8 * g, y[0], z[0], choices, 0)
        _store_message(u, 8 * g, y[1], z[1], choices, 1)
        _store_message(u, 8 * g, y[2], z[2], choices, 2)
        _store_message(u, 8 * g, y[3], z[3], choices, 3)
        _store_message(u, 8 * g, y[4], z[4], choices, 4)
        _store_message(u, 8 * g, y[5], z[5], choices, 5)
        _store_message(u, 8 * g, y[6], z[6], choices, 6)
        _store_message(u, 8 * g, y[7], z[7], choices, 7)


@kernel
def _store_chosen(chosen: Words, at: int, t: int, value: V512, u: Words, mask: V512) -> None:  # pragma: no cover - compiled
    prefetch_far(u, at + 256 * (BATCH + t))  # the next batch's
    store512(chosen, at + PITCH * t, xor512(value, and512(load512(u, at + 256 * t), mask)))


@kernel
def _choose_vaes(
    schedules: Words, tile: Word, stream: Word, u: Words, masks: Words, chosen: Words
) -> None:  # pragma: no cover - compiled
    x = _counters(tile, stream)
    for g in range(COLUMNS // 4):
        y, mask = aes512_wide(x, schedules, 88 * g, 8), load512(masks, 8 * g)
        _store_chosen(chosen, 8 * g, 0, y[0], u, mask)
        _store_chosen(chosen, 8 * g, 1, y[1], u, mask)
        _store_chosen(chosen, 8 * g, 2, y[2], u, mask)
        _store_chosen(chosen, 8 * g, 3, y[3], u, mask)
        _store_chosen(chosen, 8 * g, 4, y[4], u, mask)
        _store_chosen(chosen, 8 * g, 5, y[5], u, mask)
        _store_chosen(chosen, 8 * g, 6, y[6], u, mask)
        _store_chosen(chosen, 8 * g, 7, y[7], u, mask)


@kernel
def _columns_aesni(schedules: Words, tile: Word, stream: Word, out: Words) -> None:  # pragma: no cover - compiled
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    x0, x1 = pair128(tile, stream), pair128(tile + one, stream)
    x2, x3 = pair128(tile + two, stream), pair128(tile + three, stream)
    x4, x5 = pair128(tile + four, stream), pair128(tile + four + one, stream)
    x6, x7 = pair128(tile + four + two, stream), pair128(tile + four + three, stream)
    for c in range(COLUMNS):
        y = aes128((x0, x1, x2, x3, x4, x5, x6, x7), schedules, 88 * (c >> 2) + 2 * (c & 3), 8)
        store128(out, 2 * c, y[0])
        store128(out, 2 * c + PITCH, y[1])
        store128(out, 2 * c + 2 * PITCH, y[2])
        store128(out, 2 * c + 3 * PITCH, y[3])
        store128(out, 2 * c + 4 * PITCH, y[4])
        store128(out, 2 * c + 5 * PITCH, y[5])
        store128(out, 2 * c + 6 * PITCH, y[6])
        store128(out, 2 * c + 7 * PITCH, y[7])


@kernel
def _columns_portable(schedules: Words, tile: Word, stream: Word, out: Words) -> None:  # pragma: no cover - compiled
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
                out[PITCH * t + 2 * (first + l)] = rows[LANE_BLOCKS * l + t, 0]
                out[PITCH * t + 2 * (first + l) + 1] = rows[LANE_BLOCKS * l + t, 1]


_columns = _columns_portable if TIER == "portable" else _columns_aesni


@kernel
def _receive_plain(
    schedules0: Words, schedules1: Words, tile: Word, stream: Word, choices: Words, zeros: Words, u: Words
) -> None:  # pragma: no cover - compiled
    ones = np.empty(PITCH * BATCH, np.uint64)
    _columns(schedules0, tile, stream, zeros)
    _columns(schedules1, tile, stream, ones)
    for t in range(BATCH):
        for i in range(256):
            u[256 * t + i] = zeros[PITCH * t + i] ^ ones[PITCH * t + i] ^ choices[2 * t + (i & 1)]


@kernel
def _choose_plain(
    schedules: Words, tile: Word, stream: Word, u: Words, masks: Words, chosen: Words
) -> None:  # pragma: no cover - compiled
    _columns(schedules, tile, stream, chosen)
    for t in range(BATCH):
        for i in range(256):
            chosen[PITCH * t + i] ^= u[256 * t + i] & masks[i]


_receive, _choose = (_receive_vaes, _choose_vaes) if TIER == "vaes" else (_receive_plain, _choose_plain)


# --- extension -----------------------------------------------------------------------------------------------------


@kernel
def column_masks(delta: Words) -> Words:  # pragma: no cover - compiled
    """Each bit of delta as the two words of a column, all ones or zeros: uint64 (256,)."""
    masks = aligned(256)
    for c in range(COLUMNS):
        bit = delta[c >> 6] >> np.uint64(c & 63) & np.uint64(1)
        masks[2 * c] = np.uint64(0) - bit
        masks[2 * c + 1] = np.uint64(0) - bit
    return masks


@kernel
def store_rows(columns: Words, pitch: int, tile: int, count: int, flat: Words) -> None:  # pragma: no cover - compiled
    """The transposes of `count` tiles' columns, one `pitch` words after the other, to their rows from tile
    number `tile` on.

    flat: the rows as one-dimensional words; the last tile may have fewer than 128 of them.
    """
    whole = min(count, flat.size // 256 - tile)
    for t in range(whole):
        transpose_tile(columns, pitch * t, flat, 256 * (tile + t))
    if whole < count:
        last = np.empty(256, np.uint64)
        transpose_tile(columns, pitch * whole, last, np.int64(0))
        start = 256 * (tile + whole)
        for i in range(flat.size - start):
            flat[start + i] = last[i]


def extend_receiver(
    schedules0: np.ndarray,
    schedules1: np.ndarray,
    stream: np.uint64,
    choices: np.ndarray,
    message: np.ndarray,
    rows: np.ndarray,
) -> None:
    """IKNP receiver: message (256 * tiles,) u = G(k0) ^ G(k1) ^ choices, and rows (n, 2) t of G(k0).

    choices: uint64 (2 * tiles,), bit i of OT i; zeros beyond n. schedules0, schedules1: `aes.expand_interleaved` of 128 keys.
    ValueError if dtypes or lengths do not fit.
    """
    check("rows", rows, U64, len(rows), 2)
    tiles = (rows.shape[0] + COLUMNS - 1) // COLUMNS
    check("message", message, U64, 256 * tiles)
    check("choices", choices, U64, 2 * tiles)
    for schedules in (schedules0, schedules1):
        check("schedules", schedules, U64, *SCHEDULES)
    _extend_receiver(schedules0, schedules1, stream, choices, message, rows)


@kernel
def _extend_receiver(
    schedules0: Words, schedules1: Words, stream: Word, choices: Words, message: Words, rows: Words
) -> None:  # pragma: no cover - compiled
    zeros, padded = aligned(PITCH * BATCH), np.empty(256 * BATCH, np.uint64)
    few, flat = np.zeros(2 * BATCH, np.uint64), rows.reshape(rows.size)
    tiles = message.size // 256
    for start in range(0, tiles, BATCH):
        count = min(BATCH, tiles - start)
        if count == BATCH:
            bits, u = choices[2 * start : 2 * (start + BATCH)], message[256 * start : 256 * (start + BATCH)]
            _receive(schedules0, schedules1, np.uint64(start), stream, bits, zeros, u)
        else:
            for i in range(2 * count):
                few[i] = choices[2 * start + i]
            _receive(schedules0, schedules1, np.uint64(start), stream, few, zeros, padded)
            for i in range(256 * count):
                message[256 * start + i] = padded[i]
        store_rows(zeros, PITCH, start, count, flat)


@kernel
def _extend_sender(
    schedules: Words, delta: Words, stream: Word, first: int, message: Words, rows: Words
) -> None:  # pragma: no cover - compiled
    """As `extend_sender`, for tiles from number `first` on; the message has whole batches."""
    chosen, masks = aligned(PITCH * BATCH), column_masks(delta)
    flat = rows.reshape(rows.size)
    tiles = (rows.shape[0] + COLUMNS - 1) // COLUMNS
    for start in range(0, message.size // 256, BATCH):
        tile = first + start
        u = message[256 * start : 256 * (start + BATCH)]
        _choose(schedules, np.uint64(tile), stream, u, masks, chosen)
        store_rows(chosen, PITCH, tile, min(BATCH, tiles - tile), flat)


def whole_batches(message: np.ndarray, width: int, tiles: int) -> list[tuple[int, np.ndarray]]:
    """A message of `width` words a tile, read-only, in parts of whole batches of tiles, the last one padded with zeros.

    Each is (the number of the part's first tile, the part). All parts are of one type, for the compiler.
    """
    rest = message.size % (width * tiles)
    if not rest:
        return [(0, message)]
    whole = message.size - rest
    last = np.zeros(width * tiles, np.uint64)
    last[:rest] = message[whole:]
    last.setflags(write=False)
    return [(0, message[:whole]), (whole // width, last)] if whole else [(0, last)]


def extend_sender(schedules: np.ndarray, delta: np.ndarray, stream: np.uint64, message: np.ndarray, rows: np.ndarray) -> None:
    """IKNP sender: rows (n, 2) q of G(k_s) ^ s * u, where s are the bits of delta and u the receiver's message, read-only.

    ValueError if dtypes or lengths do not fit.
    """
    check("rows", rows, U64, len(rows), 2)
    check("message", message, U64, 256 * ((rows.shape[0] + COLUMNS - 1) // COLUMNS))
    check("schedules", schedules, U64, *SCHEDULES)
    check("delta", delta, U64, 2)
    for first, part in whole_batches(message, 256, BATCH):
        _extend_sender(schedules, delta, stream, first, part, rows)
