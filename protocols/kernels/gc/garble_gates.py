"""One gate on a tile of 64 instances, in the three tiers: input, XOR, garbled AND, evaluated AND.

A wire is 128 words of the flat uint64 array `wires`: the labels of 64 instances, low word first. `a`, `b`, `c` are
wire numbers; c may equal a or b. Half gates as in ZRE15 (Zahur, Rosulek, Evans, Eurocrypt 2015, figure 2); see
`bunet.protocols.kernels.gc.garble` for the hash and its keys. An AND's two ciphertexts a instance stand at
`tables[at : at + 256]`: the garbler's half for all 64 instances, then the evaluator's half.

not_a, not_b: uint64, 1 where the gate reads the complement of its operand: the garbler swaps the labels' meaning, the
evaluator does nothing. key: uint64[2]; high, low: the gate's 128-bit tweak with bit 0 of low clear; the garbler's half
is hashed under AES key (key ^ tweak), the evaluator's half under (key ^ tweak ^ 1). scratch: uint64[SCRATCH_WORDS],
private to one walk over a tile's gates in order, which begins with first_keys of its first gate's tweak; low >> 1 counts
AND gates from 0 in its low 15 bits.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.gc.garble_vaes import (
    copy_vaes,
    evaluate_and_vaes,
    first_keys_vaes,
    garble_and_vaes,
    input_vaes,
    local_vaes,
    output_vaes,
    xor_vaes,
)
from bunet.protocols.kernels.gc.layout import TILE, WORDS
from bunet.protocols.kernels.machine.compiled import kernel
from bunet.protocols.kernels.machine.simd import and128, load128, lsb_mask128, pair128, sigma128, store128, xor128
from bunet.protocols.kernels.machine.tier import TIER
from bunet.protocols.kernels.machine.types import V128, Word, Words
from bunet.protocols.kernels.symmetric.aes_bitsliced import encrypt_lanes, expand_lanes
from bunet.protocols.kernels.symmetric.aes_rounds import aes128, key_schedule128

# --- aesni: one instance a step when garbling, two when evaluating ---------------------------------------------------


@kernel
def _keys_aesni(key: Words, high: Word, low: Word, scratch: Words) -> None:
    """This gate's two schedules to scratch[0:22] and scratch[22:44]."""
    key_schedule128(pair128(key[0] ^ low, key[1] ^ high), scratch, 0)
    key_schedule128(pair128(key[0] ^ low ^ np.uint64(1), key[1] ^ high), scratch, 22)


@kernel
def xor_aesni(wires: Words, a: int, b: int, c: int) -> None:
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    for i in range(0, WORDS, 2):
        store128(wires, c + i, xor128(load128(wires, a + i), load128(wires, b + i)))


@kernel
def garble_and_aesni(
    wires: Words,
    a: int,
    b: int,
    c: int,
    not_a: Word,
    not_b: Word,
    tables: Words,
    at: int,
    delta: Words,
    key: Words,
    high: Word,
    low: Word,
    scratch: Words,
) -> None:
    _keys_aesni(key, high, low, scratch)
    offset = load128(delta, 0)
    sigma_offset = sigma128(offset)
    flip_a = pair128(delta[0] & (np.uint64(0) - not_a), delta[1] & (np.uint64(0) - not_a))
    flip_b = pair128(delta[0] & (np.uint64(0) - not_b), delta[1] & (np.uint64(0) - not_b))
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    for i in range(0, WORDS, 4):
        a0, a1 = xor128(load128(wires, a + i), flip_a), xor128(load128(wires, a + i + 2), flip_a)
        b0, b1 = xor128(load128(wires, b + i), flip_b), xor128(load128(wires, b + i + 2), flip_b)
        x0, x2, x4, x6 = sigma128(a0), sigma128(a1), sigma128(b0), sigma128(b1)
        x1, x3 = xor128(x0, sigma_offset), xor128(x2, sigma_offset)
        x5, x7 = xor128(x4, sigma_offset), xor128(x6, sigma_offset)
        u = aes128((x0, x1, x2, x3), scratch, 0, 2)
        v = aes128((x4, x5, x6, x7), scratch, 22, 2)
        hash_a0, hash_a1 = xor128(u[0], x0), xor128(u[2], x2)
        hash_b0, hash_b1 = xor128(v[0], x4), xor128(v[2], x6)
        select_b0, select_b1 = lsb_mask128(b0), lsb_mask128(b1)
        table_0 = xor128(xor128(hash_a0, xor128(u[1], x1)), and128(select_b0, offset))
        table_1 = xor128(xor128(hash_a1, xor128(u[3], x3)), and128(select_b1, offset))
        both_0, both_1 = xor128(hash_b0, xor128(v[1], x5)), xor128(hash_b1, xor128(v[3], x7))
        store128(tables, at + i, table_0)
        store128(tables, at + i + 2, table_1)
        store128(tables, at + WORDS + i, xor128(both_0, a0))
        store128(tables, at + WORDS + i + 2, xor128(both_1, a1))
        left_0 = xor128(hash_a0, and128(lsb_mask128(a0), table_0))
        left_1 = xor128(hash_a1, and128(lsb_mask128(a1), table_1))
        store128(wires, c + i, xor128(left_0, xor128(hash_b0, and128(select_b0, both_0))))
        store128(wires, c + i + 2, xor128(left_1, xor128(hash_b1, and128(select_b1, both_1))))


@kernel
def _open_aesni(a: V128, b: V128, hash_a: V128, hash_b: V128, tables: Words, at: int) -> V128:
    left = xor128(hash_a, and128(lsb_mask128(a), load128(tables, at)))
    right = xor128(hash_b, and128(lsb_mask128(b), xor128(load128(tables, at + WORDS), a)))
    return xor128(left, right)


@kernel
def evaluate_and_aesni(
    wires: Words, a: int, b: int, c: int, tables: Words, at: int, key: Words, high: Word, low: Word, scratch: Words
) -> None:
    _keys_aesni(key, high, low, scratch)
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    for i in range(0, WORDS, 8):
        a0, a1 = load128(wires, a + i), load128(wires, a + i + 2)
        a2, a3 = load128(wires, a + i + 4), load128(wires, a + i + 6)
        b0, b1 = load128(wires, b + i), load128(wires, b + i + 2)
        b2, b3 = load128(wires, b + i + 4), load128(wires, b + i + 6)
        x0, x1, x2, x3 = sigma128(a0), sigma128(a1), sigma128(a2), sigma128(a3)
        x4, x5, x6, x7 = sigma128(b0), sigma128(b1), sigma128(b2), sigma128(b3)
        u = aes128((x0, x1, x2, x3), scratch, 0, 2)
        v = aes128((x4, x5, x6, x7), scratch, 22, 2)
        j = at + i
        store128(wires, c + i, _open_aesni(a0, b0, xor128(u[0], x0), xor128(v[0], x4), tables, j))
        store128(wires, c + i + 2, _open_aesni(a1, b1, xor128(u[1], x1), xor128(v[1], x5), tables, j + 2))
        store128(wires, c + i + 4, _open_aesni(a2, b2, xor128(u[2], x2), xor128(v[2], x6), tables, j + 4))
        store128(wires, c + i + 6, _open_aesni(a3, b3, xor128(u[3], x3), xor128(v[3], x7), tables, j + 6))


# --- portable: bit-sliced, one lane of 64 blocks for each hash of the tile -------------------------------------------


@kernel
def copy_portable(wires: Words, wire: int, labels: Words, at: int) -> None:
    """The wire's labels := labels[at : at + 128]."""
    source, target = labels[at : at + WORDS], wires[wire * WORDS : (wire + 1) * WORDS]
    for i in range(WORDS):
        target[i] = source[i]


@kernel
def input_portable(wires: Words, wire: int, labels: Words, at: int, words: Words, start: int, bit: Word, delta: Words) -> None:
    """The wire's zero labels := labels[at : at + 128], offset by delta where that bit of words[start + i] is 1."""
    source, target = labels[at : at + WORDS], wires[wire * WORDS : (wire + 1) * WORDS]
    low, high = delta[0], delta[1]
    for i in range(TILE):
        mask = np.uint64(0) - (words[start + i] >> bit & np.uint64(1))
        target[2 * i] = source[2 * i] ^ (mask & low)
        target[2 * i + 1] = source[2 * i + 1] ^ (mask & high)


@kernel
def output_portable(wires: Words, wire: int, shares: Words, at: int, bit: Word) -> None:
    """shares[at + i] ^= bit 0 (point and permute) of the wire's label i, at position `bit`."""
    for i in range(TILE):
        shares[at + i] ^= (wires[wire * WORDS + 2 * i] & np.uint64(1)) << bit


@kernel
def local_portable(words: Words, start: int, source: Word, shares: Words, at: int, bit: Word) -> None:
    """shares[at + i] ^= bit `source` of words[start + i], at position `bit`."""
    for i in range(TILE):
        shares[at + i] ^= (words[start + i] >> source & np.uint64(1)) << bit


@kernel
def xor_portable(wires: Words, a: int, b: int, c: int) -> None:
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    for i in range(WORDS):
        wires[c + i] = wires[a + i] ^ wires[b + i]


@kernel
def _hash_lanes(rows: Words, key: Words, high: Word, low: Word, lanes: int) -> None:
    """rows (64 * lanes, 2): first half of the lanes under tweak low, second half under low ^ 1: x becomes H(x)."""
    lows, highs = np.empty(lanes, np.uint64), np.empty(lanes, np.uint64)
    for l in range(lanes):
        lows[l] = key[0] ^ low ^ np.uint64(2 * l // lanes)
        highs[l] = key[1] ^ high
    schedules = np.empty((22, lanes), np.uint64)
    expand_lanes(lows, highs, schedules)
    sigma = np.empty_like(rows)
    for i in range(rows.shape[0]):
        sigma[i, 0] = rows[i, 1]
        sigma[i, 1] = rows[i, 0] ^ rows[i, 1]
    rows[:] = sigma
    encrypt_lanes(rows, schedules, lanes)
    for i in range(rows.shape[0]):
        rows[i, 0] ^= sigma[i, 0]
        rows[i, 1] ^= sigma[i, 1]


@kernel
def garble_and_portable(
    wires: Words,
    a: int,
    b: int,
    c: int,
    not_a: Word,
    not_b: Word,
    tables: Words,
    at: int,
    delta: Words,
    key: Words,
    high: Word,
    low: Word,
    scratch: Words,
) -> None:
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    zero, one = np.uint64(0), np.uint64(1)
    rows = np.empty((4 * TILE, 2), np.uint64)
    labels = np.empty((2, TILE, 2), np.uint64)
    for i in range(TILE):
        for h in range(2):
            x = wires[a + 2 * i + h] ^ (delta[h] & (zero - not_a))
            y = wires[b + 2 * i + h] ^ (delta[h] & (zero - not_b))
            labels[0, i, h], labels[1, i, h] = x, y
            rows[i, h], rows[TILE + i, h] = x, x ^ delta[h]
            rows[2 * TILE + i, h], rows[3 * TILE + i, h] = y, y ^ delta[h]
    _hash_lanes(rows, key, high, low, 4)
    for i in range(TILE):
        select_a, select_b = zero - (labels[0, i, 0] & one), zero - (labels[1, i, 0] & one)
        for h in range(2):
            hash_a, hash_b = rows[i, h], rows[2 * TILE + i, h]
            table = hash_a ^ rows[TILE + i, h] ^ (select_b & delta[h])
            both = hash_b ^ rows[3 * TILE + i, h]
            tables[at + 2 * i + h] = table
            tables[at + WORDS + 2 * i + h] = both ^ labels[0, i, h]
            wires[c + 2 * i + h] = hash_a ^ (select_a & table) ^ hash_b ^ (select_b & both)


@kernel
def evaluate_and_portable(
    wires: Words, a: int, b: int, c: int, tables: Words, at: int, key: Words, high: Word, low: Word, scratch: Words
) -> None:
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    zero, one = np.uint64(0), np.uint64(1)
    rows = np.empty((2 * TILE, 2), np.uint64)
    for i in range(TILE):
        for h in range(2):
            rows[i, h], rows[TILE + i, h] = wires[a + 2 * i + h], wires[b + 2 * i + h]
    _hash_lanes(rows, key, high, low, 2)
    for i in range(TILE):
        select_a, select_b = zero - (wires[a + 2 * i] & one), zero - (wires[b + 2 * i] & one)
        for h in range(2):
            left = rows[i, h] ^ (select_a & tables[at + 2 * i + h])
            right = tables[at + WORDS + 2 * i + h] ^ wires[a + 2 * i + h]
            # the last read of a and b in this word, so that c may be either
            wires[c + 2 * i + h] = left ^ rows[TILE + i, h] ^ (select_b & right)


@kernel
def first_keys_none(key: Words, high: Word, low: Word, scratch: Words) -> None:
    """Before a tile's first gate, whose tweak this is."""


first_keys = first_keys_vaes if TIER == "vaes" else first_keys_none
if TIER == "vaes":
    copy_labels, input_labels, output_bits, local_bits = copy_vaes, input_vaes, output_vaes, local_vaes
    xor_wires, garble_and, evaluate_and = xor_vaes, garble_and_vaes, evaluate_and_vaes
else:
    copy_labels, input_labels, output_bits, local_bits = copy_portable, input_portable, output_portable, local_portable
    xor_wires, garble_and, evaluate_and = xor_portable, garble_and_portable, evaluate_and_portable
if TIER == "aesni":
    xor_wires, garble_and, evaluate_and = xor_aesni, garble_and_aesni, evaluate_and_aesni
