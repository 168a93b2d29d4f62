"""The gates of `bunet.protocols.kernels.gc.garble_gates` on 512-bit registers: 4 instances in each, 8 or 16 a step.

Everything is inlined into the walk over the gates: a call with arrays counts references, and locked instructions drain
the pipeline. A gate's keys are expanded beside the first step of the gate before it, and its tables are asked for then:
streams of memory end for the processor with every page.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from bunet.protocols.kernels.gc.layout import TILE, WORDS
from bunet.protocols.kernels.machine.compiled import inlined_by_llvm, intrinsic
from bunet.protocols.kernels.machine.simd import (
    I64,
    VECTOR128,
    VECTOR256,
    VECTOR512,
    and512,
    broadcast128,
    data_pointer,
    emit_load,
    emit_shuffle,
    emit_splat,
    load512,
    lsb_mask512,
    prefetch_far,
    prefetch_write,
    shuffle512,
    sigma512,
    splat512,
    store512,
    v256,
    v512,
    xor512,
)
from bunet.protocols.kernels.machine.types import (
    V512,
    Builder,
    Context,
    Emission,
    Index,
    NumbaType,
    Registers,
    Signature,
    Value,
    Values,
    Word,
    Words,
)
from bunet.protocols.kernels.symmetric.aes_rounds import aes512_pair, aes512_pair_expanding, key_schedule256


@intrinsic
def _gate_keys(typing: Any, key: NumbaType, high: NumbaType, low: NumbaType) -> Emission:
    """The AES keys of a gate's two halves, key ^ (low, high) and key ^ (low | 1, high) for an even low: v256."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        session = emit_load(builder, VECTOR128, data_pointer(context, builder, signature.args[0], arguments[0]))
        low, high = emit_splat(builder, arguments[2], 4), emit_splat(builder, arguments[1], 4)
        tweaks = emit_shuffle(builder, low, high, [0, 4, 2, 6])
        tweaks = builder.or_(tweaks, ir.Constant(VECTOR256, [0, 0, 1, 0]))
        return builder.xor(emit_shuffle(builder, session, None, [0, 1, 0, 1]), tweaks)

    return v256(key, types.uint64, types.uint64), code


@inlined_by_llvm
def first_keys_vaes(key: Words, high: Word, low: Word, scratch: Words) -> None:
    key_schedule256(_gate_keys(key, high, low), scratch, 0)


@inlined_by_llvm
def _keys_vaes(low: Word) -> Index:
    """Offset in scratch of a gate's first key: the second is 2 words on, rounds are 4 words apart.

    The gate before left them there, as this one is to leave its successor's in the other half of scratch.
    """
    return 44 * np.intp((low >> np.uint64(1)) & np.uint64(1))


@intrinsic
def _bit_masks(typing: Any, words: NumbaType, index: NumbaType, bit: NumbaType) -> Emission:
    """Lane l all ones if that bit of words[index + l] is set, else zeros, for four lanes: v512."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        pointer = data_pointer(context, builder, signature.args[0], arguments[0])
        four = emit_load(builder, ir.VectorType(I64, 4), pointer, arguments[1])
        lanes = emit_shuffle(builder, four, None, [0, 0, 1, 1, 2, 2, 3, 3])
        left = builder.shl(lanes, emit_splat(builder, builder.sub(I64(63), arguments[2]), 8))
        return builder.ashr(left, ir.Constant(VECTOR512, [63] * 8))

    return v512(words, types.intp, types.uint64), code


@inlined_by_llvm
def copy_vaes(wires: Words, wire: int, labels: Words, at: int) -> None:
    for i in range(0, WORDS, 8):
        store512(wires, wire * WORDS + i, load512(labels, at + i))


@inlined_by_llvm
def input_vaes(wires: Words, wire: int, labels: Words, at: int, words: Words, start: int, bit: Word, delta: Words) -> None:
    offset = broadcast128(delta, 0)
    for i in range(0, TILE, 4):
        mask = _bit_masks(words, start + i, bit)
        store512(wires, wire * WORDS + 2 * i, xor512(load512(labels, at + 2 * i), and512(mask, offset)))


@intrinsic
def _moved_bits(typing: Any, words: NumbaType, source: NumbaType, target: NumbaType) -> Emission:
    """Bit `source` of every word at position `target`, all other bits zero: v512."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        down, up = (emit_splat(builder, argument, 8) for argument in arguments[1:])
        bits = builder.and_(builder.lshr(arguments[0], down), ir.Constant(VECTOR512, [1] * 8))
        return builder.shl(bits, up)

    return v512(v512, types.uint64, types.uint64), code


@inlined_by_llvm
def output_vaes(wires: Words, wire: int, shares: Words, at: int, bit: Word) -> None:
    for i in range(0, TILE, 8):
        labels = wire * WORDS + 2 * i
        low = shuffle512(load512(wires, labels), load512(wires, labels + 8), "02468ace")
        moved = _moved_bits(low, np.uint64(0), bit)
        store512(shares, at + i, xor512(load512(shares, at + i), moved))


@inlined_by_llvm
def local_vaes(words: Words, start: int, source: Word, shares: Words, at: int, bit: Word) -> None:
    for i in range(0, TILE, 8):
        moved = _moved_bits(load512(words, start + i), source, bit)
        store512(shares, at + i, xor512(load512(shares, at + i), moved))


@inlined_by_llvm
def xor_vaes(wires: Words, a: int, b: int, c: int) -> None:
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    for i in range(0, WORDS, 8):
        store512(wires, c + i, xor512(load512(wires, a + i), load512(wires, b + i)))


@inlined_by_llvm
def _hash_inputs(wires: Words, a: int, b: int, flip_a: V512, flip_b: V512, sigma_offset: V512) -> tuple[Registers, Registers]:
    """Labels a0, a1, b0, b1 of 8 instances, and sigma of them and of their complements, pair by pair."""
    a0, a1 = xor512(load512(wires, a), flip_a), xor512(load512(wires, a + 8), flip_a)
    b0, b1 = xor512(load512(wires, b), flip_b), xor512(load512(wires, b + 8), flip_b)
    x0, x2, x4, x6 = sigma512(a0), sigma512(a1), sigma512(b0), sigma512(b1)
    x1, x3 = xor512(x0, sigma_offset), xor512(x2, sigma_offset)
    x5, x7 = xor512(x4, sigma_offset), xor512(x6, sigma_offset)
    return (a0, a1, b0, b1), (x0, x1, x2, x3, x4, x5, x6, x7)


@inlined_by_llvm
def _store_garbled(
    labels: Registers, x: Registers, y: Registers, offset: V512, tables: Words, at: int, wires: Words, c: int
) -> None:
    """The tables and the zero label of 8 instances from what `_hash_inputs` gave and y = AES(x)."""
    prefetch_write(tables, at + 2 * WORDS)  # the next gate's
    prefetch_write(tables, at + 2 * WORDS + 8)
    prefetch_write(tables, at + 3 * WORDS)
    prefetch_write(tables, at + 3 * WORDS + 8)
    a0, a1, b0, b1 = labels
    hash_a0, hash_a1 = xor512(y[0], x[0]), xor512(y[2], x[2])
    hash_b0, hash_b1 = xor512(y[4], x[4]), xor512(y[6], x[6])
    select_b0, select_b1 = lsb_mask512(b0), lsb_mask512(b1)
    table_0 = xor512(xor512(hash_a0, xor512(y[1], x[1])), and512(select_b0, offset))
    table_1 = xor512(xor512(hash_a1, xor512(y[3], x[3])), and512(select_b1, offset))
    both_0, both_1 = xor512(hash_b0, xor512(y[5], x[5])), xor512(hash_b1, xor512(y[7], x[7]))
    store512(tables, at, table_0)
    store512(tables, at + 8, table_1)
    store512(tables, at + WORDS, xor512(both_0, a0))
    store512(tables, at + WORDS + 8, xor512(both_1, a1))
    left_0 = xor512(hash_a0, and512(lsb_mask512(a0), table_0))
    left_1 = xor512(hash_a1, and512(lsb_mask512(a1), table_1))
    store512(wires, c, xor512(left_0, xor512(hash_b0, and512(select_b0, both_0))))
    store512(wires, c + 8, xor512(left_1, xor512(hash_b1, and512(select_b1, both_1))))


@inlined_by_llvm
def garble_and_vaes(
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
    keys = _keys_vaes(low)
    coming = _gate_keys(key, high, low + np.uint64(2))
    offset = broadcast128(delta, 0)
    sigma_offset = sigma512(offset)
    flip_a = and512(offset, splat512(np.uint64(0) - not_a))
    flip_b = and512(offset, splat512(np.uint64(0) - not_b))
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    labels, x = _hash_inputs(wires, a, b, flip_a, flip_b, sigma_offset)
    y = aes512_pair_expanding(x, scratch, keys, keys + 2, 4, coming, 44 - keys)
    _store_garbled(labels, x, y, offset, tables, at, wires, c)
    for i in range(16, WORDS, 16):
        labels, x = _hash_inputs(wires, a + i, b + i, flip_a, flip_b, sigma_offset)
        y = aes512_pair(x, scratch, keys, keys + 2, 4)
        _store_garbled(labels, x, y, offset, tables, at + i, wires, c + i)


@inlined_by_llvm
def _load_four(wires: Words, at: int) -> Registers:
    return load512(wires, at), load512(wires, at + 8), load512(wires, at + 16), load512(wires, at + 24)


@inlined_by_llvm
def _sigmas(a: Registers, b: Registers) -> Registers:
    return (
        *(sigma512(a[0]), sigma512(a[1]), sigma512(a[2]), sigma512(a[3])),
        *(sigma512(b[0]), sigma512(b[1]), sigma512(b[2]), sigma512(b[3])),
    )


@inlined_by_llvm
def _open(a: V512, b: V512, hash_a: V512, hash_b: V512, tables: Words, at: int) -> V512:
    """The active output label of 4 instances from active labels, their hashes and the tables."""
    prefetch_far(tables, at + 2 * WORDS)  # the next gate's: streams from memory by the page, which the processor ends early
    prefetch_far(tables, at + 3 * WORDS)
    left = xor512(hash_a, and512(lsb_mask512(a), load512(tables, at)))
    right = xor512(hash_b, and512(lsb_mask512(b), xor512(load512(tables, at + WORDS), a)))
    return xor512(left, right)


@inlined_by_llvm
def _store_opened(a: Registers, b: Registers, x: Registers, y: Registers, tables: Words, at: int, wires: Words, c: int) -> None:
    """The active output labels of 16 instances from those of the inputs, x = sigma of these and y = AES(x)."""
    store512(wires, c, _open(a[0], b[0], xor512(y[0], x[0]), xor512(y[4], x[4]), tables, at))
    store512(wires, c + 8, _open(a[1], b[1], xor512(y[1], x[1]), xor512(y[5], x[5]), tables, at + 8))
    store512(wires, c + 16, _open(a[2], b[2], xor512(y[2], x[2]), xor512(y[6], x[6]), tables, at + 16))
    store512(wires, c + 24, _open(a[3], b[3], xor512(y[3], x[3]), xor512(y[7], x[7]), tables, at + 24))


@inlined_by_llvm
def evaluate_and_vaes(
    wires: Words, a: int, b: int, c: int, tables: Words, at: int, key: Words, high: Word, low: Word, scratch: Words
) -> None:
    keys = _keys_vaes(low)
    coming = _gate_keys(key, high, low + np.uint64(2))
    a, b, c = a * WORDS, b * WORDS, c * WORDS
    a_labels, b_labels = _load_four(wires, a), _load_four(wires, b)
    x = _sigmas(a_labels, b_labels)
    y = aes512_pair_expanding(x, scratch, keys, keys + 2, 4, coming, 44 - keys)
    _store_opened(a_labels, b_labels, x, y, tables, at, wires, c)
    for i in range(32, WORDS, 32):
        a_labels, b_labels = _load_four(wires, a + i), _load_four(wires, b + i)
        x = _sigmas(a_labels, b_labels)
        y = aes512_pair(x, scratch, keys, keys + 2, 4)
        _store_opened(a_labels, b_labels, x, y, tables, at + i, wires, c + i)
