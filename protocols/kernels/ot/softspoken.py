"""The local work of SoftSpoken OT extension: 2^k leaves a group are expanded and summed, without being stored.

A tile is 128 OTs, as in `extension`. There are m = 128 / k groups of 2^k leaves; leaf x of group g expands tile t to one
AES block r[g, x] (low word t, high word the stream number) under its own seed. Column j * m + g of a tile, for bit j < k,
is the sum (XOR) of r[g, x] over the x with bit j set; the total of group g is the sum over all x.

Schedules are uint64 (m / 4, 2^k, 11, 8): [i, x, r, 2l:2l+2] is round r of leaf x of group 4i + l.
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
    load128,
    load512,
    pair128,
    store128,
    store512,
    xor128,
    xor512,
)
from bunet.protocols.kernels.machine.tier import TIER
from bunet.protocols.kernels.machine.types import V512, Registers, Word, Words
from bunet.protocols.kernels.ot.extension import COLUMNS, PITCH, column_masks, store_rows, whole_batches
from bunet.protocols.kernels.ot.softspoken_simd import LEAF_WORDS, leaf_sums128, leaf_sums512, punctured_sums512
from bunet.protocols.kernels.symmetric import aes
from bunet.protocols.kernels.symmetric.aes_bitsliced import LANE_BLOCKS, LANES, encrypt_lanes

# Tiles summed together: as many as make up for loading a group's keys from the second-level cache.
BATCH = LANE_BLOCKS if TIER == "portable" else 32


def expand(leaves: np.ndarray) -> np.ndarray:
    """Schedules of the leaves, uint8 (m, 2^k, 16). They begin at a cache line: each load of a key would cross two else."""
    groups, count, size = leaves.shape
    keys = leaves.reshape(groups // 4, 4, count, size).transpose(0, 2, 1, 3)
    schedules = aligned(groups // 4 * count * LEAF_WORDS).reshape(-1, count, 11, 8)
    schedules[:] = aes.expand_interleaved(np.ascontiguousarray(keys).reshape(-1, size)).reshape(schedules.shape)
    return schedules


# --- receiver: columns and totals of a batch -----------------------------------------------------------------------
# _sums(schedules, tile, stream, choices, message, columns) sums all leaves: totals ^ choices (BATCH * 2,) to message
# (BATCH * 2 m,), and columns (BATCH * PITCH,)


@kernel
def _store_four(target: Words, at: int, stride: int, a: V512, b: V512, c: V512, d: V512) -> None:  # pragma: no cover - compiled
    store512(target, at, a)
    store512(target, at + stride, b)
    store512(target, at + 2 * stride, c)
    store512(target, at + 3 * stride, d)


@kernel
def _add(target: Words, at: int, value: V512) -> None:  # pragma: no cover - compiled
    store512(target, at, xor512(load512(target, at), value))


@kernel
def _next_cube(y: Registers, high: int, columns: Words, at: int) -> None:  # pragma: no cover - compiled
    """Four groups of k = 8 on two tiles: adds the sums y of the sixteen leaves whose high four bits are `high`."""
    _add(columns, at, y[1])
    _add(columns, at + 32, y[2])
    _add(columns, at + 64, y[3])
    _add(columns, at + 96, y[4])
    _add(columns, at + PITCH, y[6])
    _add(columns, at + PITCH + 32, y[7])
    _add(columns, at + PITCH + 64, y[8])
    _add(columns, at + PITCH + 96, y[9])
    for j in range(4):
        if high >> j & 1:
            _add(columns, at + 128 + 32 * j, y[0])
            _add(columns, at + PITCH + 128 + 32 * j, y[5])


@kernel
def _sums_vaes(
    schedules: Words, tile: Word, stream: Word, choices: Words, message: Words, columns: Words
) -> None:  # pragma: no cover - compiled
    """Sixteen leaves of four groups at a time, whose keys stay in the first-level cache, on all tiles."""
    quads, leaves = schedules.shape[0], schedules.shape[1]
    stride = 8 * quads
    if leaves == 256:
        columns[:] = np.uint64(0)
    for quad in range(quads):
        for first in range(0, leaves, 16):
            offset = LEAF_WORDS * (leaves * quad + first)
            for t in range(0, BATCH, 2):
                x = tile + np.uint64(t)
                counters = (lanes512(x, stream), lanes512(x + np.uint64(1), stream))
                at, u = PITCH * t + 8 * quad, stride * t + 8 * quad
                if leaves == 4:
                    y = leaf_sums512(counters, schedules, offset, 2)
                    store512(columns, at, y[1])
                    store512(columns, at + stride, y[2])
                    store512(columns, at + PITCH, y[4])
                    store512(columns, at + PITCH + stride, y[5])
                    store512(message, u, xor512(y[0], broadcast128(choices, 2 * t)))
                    store512(message, u + stride, xor512(y[3], broadcast128(choices, 2 * t + 2)))
                    continue
                z = leaf_sums512(counters, schedules, offset, 4)
                if first == 0:
                    _store_four(columns, at, stride, z[1], z[2], z[3], z[4])
                    _store_four(columns, at + PITCH, stride, z[6], z[7], z[8], z[9])
                    store512(message, u, xor512(z[0], broadcast128(choices, 2 * t)))
                    store512(message, u + stride, xor512(z[5], broadcast128(choices, 2 * t + 2)))
                else:
                    _next_cube(z, first >> 4, columns, at)
                    _add(message, u, z[0])
                    _add(message, u + stride, z[5])


@kernel
def _spread(choices: Words, width: int, message: Words) -> None:  # pragma: no cover - compiled
    """The two words of each tile's choices to each of the tile's groups."""
    for t in range(BATCH):
        for i in range(width * t, width * (t + 1), 2):
            message[i] = choices[2 * t]
            message[i + 1] = choices[2 * t + 1]


@kernel
def _sums_aesni(
    schedules: Words, tile: Word, stream: Word, choices: Words, message: Words, columns: Words
) -> None:  # pragma: no cover - compiled
    """One group at a time, four leaves on two tiles: all that sixteen registers hold."""
    quads, leaves = schedules.shape[0], schedules.shape[1]
    stride = 8 * quads  # words of a row of columns, one for each group
    columns[:] = np.uint64(0)
    _spread(choices, stride, message)
    for group in range(4 * quads):
        for high in range(leaves >> 2):
            offset = LEAF_WORDS * (leaves * (group >> 2) + 4 * high) + 2 * (group & 3)
            for t in range(0, BATCH, 2):
                x = tile + np.uint64(t)
                counters = (pair128(x, stream), pair128(x + np.uint64(1), stream))
                y = leaf_sums128(counters, schedules, offset, 2)
                for i in range(2):
                    total, first, second = y[3 * i], y[3 * i + 1], y[3 * i + 2]
                    at, u = PITCH * (t + i) + 2 * group, stride * (t + i) + 2 * group
                    store128(message, u, xor128(load128(message, u), total))
                    store128(columns, at, xor128(load128(columns, at), first))
                    store128(columns, at + stride, xor128(load128(columns, at + stride), second))
                    at += 2 * stride
                    rest = high
                    while rest:
                        if rest & 1:
                            store128(columns, at, xor128(load128(columns, at), total))
                        at += stride
                        rest >>= 1


@kernel
def _sums_portable(
    schedules: Words, tile: Word, stream: Word, choices: Words, message: Words, columns: Words
) -> None:  # pragma: no cover - compiled
    """A lane is a leaf of a group: lane s is leaf s // m of group s % m, on 64 tiles at once."""
    groups, leaves = 4 * schedules.shape[0], schedules.shape[1]
    keys = np.empty((22, LANES), np.uint64)
    rows = np.empty((LANES * LANE_BLOCKS, 2), np.uint64)
    columns[:] = np.uint64(0)
    _spread(choices, 2 * groups, message)
    for first in range(0, leaves * groups, LANES):
        for l in range(LANES):
            x, group = (first + l) // groups, (first + l) % groups
            for r in range(11):
                keys[2 * r, l] = schedules[group >> 2, x, r, 2 * (group & 3)]
                keys[2 * r + 1, l] = schedules[group >> 2, x, r, 2 * (group & 3) + 1]
            for t in range(BATCH):
                rows[LANE_BLOCKS * l + t, 0] = tile + np.uint64(t)
                rows[LANE_BLOCKS * l + t, 1] = stream
        encrypt_lanes(rows, keys, LANES)
        for l in range(LANES):
            x, group = (first + l) // groups, (first + l) % groups
            for t in range(BATCH):
                low, high = rows[LANE_BLOCKS * l + t, 0], rows[LANE_BLOCKS * l + t, 1]
                at, u, rest = PITCH * t + 2 * group, 2 * (groups * t + group), x
                message[u] ^= low
                message[u + 1] ^= high
                while rest:
                    if rest & 1:
                        columns[at] ^= low
                        columns[at + 1] ^= high
                    at += 2 * groups
                    rest >>= 1


_sums = {"vaes": _sums_vaes, "aesni": _sums_aesni, "portable": _sums_portable}[TIER]


# --- sender: corrected columns of a batch --------------------------------------------------------------------------
# _corrected(schedules, tile, stream, message, masks, columns) sums the leaves but those of index 0 to columns
# (BATCH * PITCH,), and adds bit c of delta, as two words masks[2c:2c+2], times the message (BATCH * 2 m,)


@kernel
def _store_corrected(
    message: Words, at: int, masks: Words, mask: int, target: Words, place: int, value: V512
) -> None:  # pragma: no cover - compiled
    store512(target, place, xor512(value, and512(load512(message, at), load512(masks, mask))))


@kernel
def _corrected_vaes(
    schedules: Words, tile: Word, stream: Word, message: Words, masks: Words, columns: Words
) -> None:  # pragma: no cover - compiled
    """As `_sums_vaes`; the corrections are hidden in the time of the AES."""
    quads, leaves = schedules.shape[0], schedules.shape[1]
    stride = 8 * quads
    bits = 256 // stride
    for quad in range(quads):
        for t in range(0, BATCH, 2):
            x = tile + np.uint64(t)
            counters = (lanes512(x, stream), lanes512(x + np.uint64(1), stream))
            offset, m, u, at = LEAF_WORDS * leaves * quad, 8 * quad, stride * t + 8 * quad, PITCH * t + 8 * quad
            v, next = u + stride, at + PITCH  # of the second tile
            if leaves == 4:
                y = punctured_sums512(counters, schedules, offset, 2)
                _store_corrected(message, u, masks, m, columns, at, y[0])
                _store_corrected(message, u, masks, m + stride, columns, at + stride, y[1])
                _store_corrected(message, v, masks, m, columns, next, y[2])
                _store_corrected(message, v, masks, m + stride, columns, next + stride, y[3])
            else:
                z = punctured_sums512(counters, schedules, offset, 4)
                _store_corrected(message, u, masks, m, columns, at, z[0])
                _store_corrected(message, u, masks, m + stride, columns, at + stride, z[1])
                _store_corrected(message, u, masks, m + 2 * stride, columns, at + 2 * stride, z[2])
                _store_corrected(message, u, masks, m + 3 * stride, columns, at + 3 * stride, z[3])
                _store_corrected(message, v, masks, m, columns, next, z[4])
                _store_corrected(message, v, masks, m + stride, columns, next + stride, z[5])
                _store_corrected(message, v, masks, m + 2 * stride, columns, next + 2 * stride, z[6])
                _store_corrected(message, v, masks, m + 3 * stride, columns, next + 3 * stride, z[7])
                for j in range(4, bits):
                    mask = load512(masks, m + stride * j)
                    store512(columns, at + stride * j, and512(load512(message, u), mask))
                    store512(columns, next + stride * j, and512(load512(message, v), mask))
        for first in range(16, leaves, 16):
            for t in range(0, BATCH, 2):
                x = tile + np.uint64(t)
                counters = (lanes512(x, stream), lanes512(x + np.uint64(1), stream))
                offset, at = LEAF_WORDS * (leaves * quad + first), PITCH * t + 8 * quad
                _next_cube(leaf_sums512(counters, schedules, offset, 4), first >> 4, columns, at)


@kernel
def _corrected_plain(
    schedules: Words, tile: Word, stream: Word, message: Words, masks: Words, columns: Words
) -> None:  # pragma: no cover - compiled
    width = 8 * schedules.shape[0]
    none, unused = np.zeros(2 * BATCH, np.uint64), np.empty(width * BATCH, np.uint64)
    _sums(schedules, tile, stream, none, unused, columns)
    for t in range(BATCH):
        u = message[width * t : width * t + width]
        for first in range(0, 256, width):
            q = columns[PITCH * t + first : PITCH * t + first + width]
            mask = masks[first : first + width]
            for i in range(width):
                q[i] ^= u[i] & mask[i]


_corrected = _corrected_vaes if TIER == "vaes" else _corrected_plain


# --- extension -----------------------------------------------------------------------------------------------------


def _check(schedules: Words, message: Words, rows: Words) -> int:
    """What both sides have in common; returns the number of tiles."""
    check("rows", rows, U64, None, 2)
    check("schedules", schedules, U64, None, None, 11, 8)
    groups, leaves = 4 * schedules.shape[0], schedules.shape[1]
    bits = leaves.bit_length() - 1
    if leaves != 1 << bits or bits * groups != COLUMNS or not 2 <= bits <= 8:
        raise ValueError(f"{groups} groups of {leaves} leaves do not make {COLUMNS} columns")
    tiles: int = (rows.shape[0] + COLUMNS - 1) // COLUMNS
    check("message", message, U64, 2 * groups * tiles)
    return tiles


def extend_receiver(
    schedules: np.ndarray, stream: np.uint64, choices: np.ndarray, message: np.ndarray, rows: np.ndarray
) -> None:
    """Receiver: message (2 m * tiles,) of totals ^ choices, and rows (n, 2) of the columns' transposes.

    schedules: uint64 (m / 4, 2^k, 11, 8), of all leaves. choices: uint64 (2 * tiles,), bit i of OT i; zeros beyond n.
    ValueError if dtypes or lengths do not fit.
    """
    check("choices", choices, U64, 2 * _check(schedules, message, rows))
    _extend_receiver(schedules, stream, choices, message, rows)


@kernel
def _extend_receiver(
    schedules: Words, stream: Word, choices: Words, message: Words, rows: Words
) -> None:  # pragma: no cover - compiled
    width = 8 * schedules.shape[0]
    columns, padded = aligned(PITCH * BATCH), aligned(width * BATCH)
    few, flat = np.zeros(2 * BATCH, np.uint64), rows.reshape(rows.size)
    tiles = message.size // width
    for start in range(0, tiles, BATCH):
        count = min(BATCH, tiles - start)
        if count == BATCH:
            bits, u = choices[2 * start : 2 * (start + BATCH)], message[width * start : width * (start + BATCH)]
            _sums(schedules, np.uint64(start), stream, bits, u, columns)
        else:
            few[: 2 * count] = choices[2 * start :]
            _sums(schedules, np.uint64(start), stream, few, padded, columns)
            message[width * start :] = padded[: width * count]
        store_rows(columns, PITCH, start, count, flat)


@kernel
def _extend_sender(
    schedules: Words, delta: Words, stream: Word, first: int, message: Words, rows: Words
) -> None:  # pragma: no cover - compiled
    """As `extend_sender`, for tiles from number `first` on; the message has whole batches."""
    width = 8 * schedules.shape[0]
    columns, masks = aligned(PITCH * BATCH), column_masks(delta)
    flat = rows.reshape(rows.size)
    tiles = (rows.shape[0] + COLUMNS - 1) // COLUMNS
    for start in range(0, message.size // width, BATCH):
        tile = first + start
        part = message[width * start : width * (start + BATCH)]
        _corrected(schedules, np.uint64(tile), stream, part, masks, columns)
        store_rows(columns, PITCH, tile, min(BATCH, tiles - tile), flat)


def extend_sender(schedules: np.ndarray, delta: np.ndarray, stream: np.uint64, message: np.ndarray, rows: np.ndarray) -> None:
    """Sender: rows (n, 2) of the columns' transposes, column c first corrected by bit c of delta times the message.

    schedules: leaf y is the receiver's leaf y ^ Delta of the same group; leaf 0 is unknown and any key may stand for it,
    for it is in no column. message: uint64 (2 m * tiles,), read-only. ValueError if dtypes or lengths do not fit.
    """
    _check(schedules, message, rows)
    check("delta", delta, U64, 2)
    for first, part in whole_batches(message, 8 * schedules.shape[0], BATCH):
        _extend_sender(schedules, delta, stream, first, part, rows)
