"""One gate on a tile of 64 instances, in the three tiers: input, XOR, garbled AND, evaluated AND.

A wire is 128 words of the flat uint64 array `wires`: the labels of 64 instances, low word first. `a`, `b`, `c` are
wire numbers; c may equal a or b. Half gates as in ZRE15 (Zahur, Rosulek, Evans, Eurocrypt 2015, figure 2); see
`bunet.protocols.kernels.garble` for the hash and its keys. An AND's two ciphertexts a instance stand at
`tables[at : at + 256]`: the garbler's half for all 64 instances, then the evaluator's half.

not_a, not_b: uint64, 1 where the gate reads the complement of its operand: the garbler swaps the labels' meaning, the
evaluator does nothing. key: uint64[2]; high, low: the gate's 128-bit tweak with bit 0 of low clear; the garbler's half
is hashed under AES key (key ^ tweak), the evaluator's half under (key ^ tweak ^ 1). scratch: uint64[SCRATCH_WORDS],
private to one walk over a tile's gates in order; low >> 1 counts AND gates from 0 in its low 15 bits.
"""

from __future__ import annotations

from bunet.protocols.kernels.tier import TIER

# isort: split
import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from bunet.protocols.kernels.aes_bitsliced import encrypt_lanes, expand_lanes
from bunet.protocols.kernels.aes_rounds import aes128, aes512_pair, key_schedule128, key_schedule512
from bunet.protocols.kernels.simd import (
    I64,
    VECTOR512,
    and128,
    and512,
    broadcast128,
    counters512,
    data_pointer,
    emit_load,
    emit_shuffle,
    emit_splat,
    load128,
    load512,
    lsb_mask128,
    lsb_mask512,
    pair128,
    sigma128,
    sigma512,
    splat512,
    store128,
    store512,
    v512,
    xor128,
    xor512,
)

TILE = 64  # instances; also the number of hashes under one key that an evaluator does not know
WORDS = 2 * TILE  # words of a wire
SCRATCH_WORDS = 176  # key schedules of two pairs of gates


# --- vaes: 8 instances a step, the keys of two gates expanded at once and one pair ahead -----------------------------


@njit(nogil=True, cache=True)
def _pair_keys(key, high, low, scratch, offset):
    """Schedules of the tweaks low .. low+3, interleaved, to scratch[offset : offset + 88]; low is a multiple of 4."""
    key_schedule512(xor512(counters512(low, high), broadcast128(key, 0)), scratch, offset)


@njit(nogil=True, cache=True)
def _keys_vaes(key, high, low, scratch):
    """Offset in scratch of this gate's first key (the second is 2 words on, rounds are 8 words apart)."""
    gate = (low >> np.uint64(1)) & np.uint64(0x7FFF)
    here = 88 * np.intp((low >> np.uint64(2)) & np.uint64(1))
    if gate == 0:
        _pair_keys(key, high, low, scratch, here)
    if gate & np.uint64(1) == 0:
        _pair_keys(key, high, low + np.uint64(4), scratch, 88 - here)
    return here + 4 * np.intp(gate & np.uint64(1))


@intrinsic
def _bit_masks(typing, words, index, bit):
    """Lane l all ones if that bit of words[index + l] is set, else zeros, for four lanes: v512."""

    def code(context, builder, signature, arguments):
        pointer = data_pointer(context, builder, signature.args[0], arguments[0])
        four = emit_load(builder, ir.VectorType(I64, 4), pointer, arguments[1])
        lanes = emit_shuffle(builder, four, None, [0, 0, 1, 1, 2, 2, 3, 3])
        left = builder.shl(lanes, emit_splat(builder, builder.sub(I64(63), arguments[2]), 8))
        return builder.ashr(left, ir.Constant(VECTOR512, [63] * 8))

    return v512(words, types.intp, types.uint64), code


@njit(nogil=True, cache=True)
def copy_vaes(wires, wire, labels, at):
    for i in range(0, WORDS, 8):
        store512(wires, wire * WORDS + i, load512(labels, at + i))


@njit(nogil=True, cache=True)
def input_vaes(wires, wire, labels, at, words, start, bit, delta):
    offset = broadcast128(delta, 0)
    for i in range(0, TILE, 4):
        mask = _bit_masks(words, start + i, bit)
        store512(wires, wire * WORDS + 2 * i, xor512(load512(labels, at + 2 * i), and512(mask, offset)))


@njit(nogil=True, cache=True)
def xor_vaes(wires, a, b, c):
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    for i in range(0, WORDS, 8):
        store512(wires, c + i, xor512(load512(wires, a + i), load512(wires, b + i)))


@njit(nogil=True, cache=True)
def garble_and_vaes(wires, a, b, c, not_a, not_b, tables, at, delta, key, high, low, scratch):
    first = _keys_vaes(key, high, low, scratch)
    offset = broadcast128(delta, 0)
    sigma_offset = sigma512(offset)
    flip_a = and512(offset, splat512(np.uint64(0) - not_a))
    flip_b = and512(offset, splat512(np.uint64(0) - not_b))
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    for i in range(0, WORDS, 16):
        a0, a1 = xor512(load512(wires, a + i), flip_a), xor512(load512(wires, a + i + 8), flip_a)
        b0, b1 = xor512(load512(wires, b + i), flip_b), xor512(load512(wires, b + i + 8), flip_b)
        x0, x2, x4, x6 = sigma512(a0), sigma512(a1), sigma512(b0), sigma512(b1)
        x1, x3 = xor512(x0, sigma_offset), xor512(x2, sigma_offset)
        x5, x7 = xor512(x4, sigma_offset), xor512(x6, sigma_offset)
        y = aes512_pair((x0, x1, x2, x3, x4, x5, x6, x7), scratch, first, first + 2, 8)
        hash_a0, hash_a1 = xor512(y[0], x0), xor512(y[2], x2)
        hash_b0, hash_b1 = xor512(y[4], x4), xor512(y[6], x6)
        select_b0, select_b1 = lsb_mask512(b0), lsb_mask512(b1)
        table_0 = xor512(xor512(hash_a0, xor512(y[1], x1)), and512(select_b0, offset))
        table_1 = xor512(xor512(hash_a1, xor512(y[3], x3)), and512(select_b1, offset))
        both_0, both_1 = xor512(hash_b0, xor512(y[5], x5)), xor512(hash_b1, xor512(y[7], x7))
        store512(tables, at + i, table_0)
        store512(tables, at + i + 8, table_1)
        store512(tables, at + WORDS + i, xor512(both_0, a0))
        store512(tables, at + WORDS + i + 8, xor512(both_1, a1))
        left_0 = xor512(hash_a0, and512(lsb_mask512(a0), table_0))
        left_1 = xor512(hash_a1, and512(lsb_mask512(a1), table_1))
        store512(wires, c + i, xor512(left_0, xor512(hash_b0, and512(select_b0, both_0))))
        store512(wires, c + i + 8, xor512(left_1, xor512(hash_b1, and512(select_b1, both_1))))


@njit(nogil=True, cache=True)
def _open_vaes(a, b, hash_a, hash_b, tables, at):
    """The active output label of 4 instances from active labels, their hashes and the tables."""
    left = xor512(hash_a, and512(lsb_mask512(a), load512(tables, at)))
    right = xor512(hash_b, and512(lsb_mask512(b), xor512(load512(tables, at + WORDS), a)))
    return xor512(left, right)


@njit(nogil=True, cache=True)
def evaluate_and_vaes(wires, a, b, c, tables, at, key, high, low, scratch):
    first = _keys_vaes(key, high, low, scratch)
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    for i in range(0, WORDS, 32):
        a0, a1 = load512(wires, a + i), load512(wires, a + i + 8)
        a2, a3 = load512(wires, a + i + 16), load512(wires, a + i + 24)
        b0, b1 = load512(wires, b + i), load512(wires, b + i + 8)
        b2, b3 = load512(wires, b + i + 16), load512(wires, b + i + 24)
        x0, x1, x2, x3 = sigma512(a0), sigma512(a1), sigma512(a2), sigma512(a3)
        x4, x5, x6, x7 = sigma512(b0), sigma512(b1), sigma512(b2), sigma512(b3)
        y = aes512_pair((x0, x1, x2, x3, x4, x5, x6, x7), scratch, first, first + 2, 8)
        j = at + i
        store512(wires, c + i, _open_vaes(a0, b0, xor512(y[0], x0), xor512(y[4], x4), tables, j))
        store512(wires, c + i + 8, _open_vaes(a1, b1, xor512(y[1], x1), xor512(y[5], x5), tables, j + 8))
        store512(wires, c + i + 16, _open_vaes(a2, b2, xor512(y[2], x2), xor512(y[6], x6), tables, j + 16))
        store512(wires, c + i + 24, _open_vaes(a3, b3, xor512(y[3], x3), xor512(y[7], x7), tables, j + 24))


# --- aesni: one instance a step when garbling, two when evaluating ---------------------------------------------------


@njit(nogil=True, cache=True)
def _keys_aesni(key, high, low, scratch):
    """This gate's two schedules to scratch[0:22] and scratch[22:44]."""
    key_schedule128(pair128(key[0] ^ low, key[1] ^ high), scratch, 0)
    key_schedule128(pair128(key[0] ^ low ^ np.uint64(1), key[1] ^ high), scratch, 22)


@njit(nogil=True, cache=True)
def xor_aesni(wires, a, b, c):
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    for i in range(0, WORDS, 2):
        store128(wires, c + i, xor128(load128(wires, a + i), load128(wires, b + i)))


@njit(nogil=True, cache=True)
def garble_and_aesni(wires, a, b, c, not_a, not_b, tables, at, delta, key, high, low, scratch):
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


@njit(nogil=True, cache=True)
def _open_aesni(a, b, hash_a, hash_b, tables, at):
    left = xor128(hash_a, and128(lsb_mask128(a), load128(tables, at)))
    right = xor128(hash_b, and128(lsb_mask128(b), xor128(load128(tables, at + WORDS), a)))
    return xor128(left, right)


@njit(nogil=True, cache=True)
def evaluate_and_aesni(wires, a, b, c, tables, at, key, high, low, scratch):
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


@njit(nogil=True, cache=True)
def copy_portable(wires, wire, labels, at):
    """The wire's labels := labels[at : at + 128]."""
    source, target = labels[at : at + WORDS], wires[wire * WORDS : (wire + 1) * WORDS]
    for i in range(WORDS):
        target[i] = source[i]


@njit(nogil=True, cache=True)
def input_portable(wires, wire, labels, at, words, start, bit, delta):
    """The wire's zero labels := labels[at : at + 128], offset by delta where that bit of words[start + i] is 1."""
    source, target = labels[at : at + WORDS], wires[wire * WORDS : (wire + 1) * WORDS]
    low, high = delta[0], delta[1]
    for i in range(TILE):
        mask = np.uint64(0) - (words[start + i] >> bit & np.uint64(1))
        target[2 * i] = source[2 * i] ^ (mask & low)
        target[2 * i + 1] = source[2 * i + 1] ^ (mask & high)


@njit(nogil=True, cache=True)
def xor_portable(wires, a, b, c):
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    for i in range(WORDS):
        wires[c + i] = wires[a + i] ^ wires[b + i]


@njit(nogil=True, cache=True)
def _hash_lanes(rows, key, high, low, lanes):
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


@njit(nogil=True, cache=True)
def garble_and_portable(wires, a, b, c, not_a, not_b, tables, at, delta, key, high, low, scratch):
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


@njit(nogil=True, cache=True)
def evaluate_and_portable(wires, a, b, c, tables, at, key, high, low, scratch):
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


copy_labels, input_labels = (copy_vaes, input_vaes) if TIER == "vaes" else (copy_portable, input_portable)
if TIER == "vaes":
    xor_wires, garble_and, evaluate_and = xor_vaes, garble_and_vaes, evaluate_and_vaes
elif TIER == "aesni":
    xor_wires, garble_and, evaluate_and = xor_aesni, garble_and_aesni, evaluate_and_aesni
else:
    xor_wires, garble_and, evaluate_and = xor_portable, garble_and_portable, evaluate_and_portable
