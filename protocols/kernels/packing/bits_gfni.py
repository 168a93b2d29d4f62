"""The 128x128 bit transpose on 512-bit registers: GFNI for the 8x8 blocks, byte interleaving for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import types

from bunet.protocols.kernels.machine.compiled import intrinsic
from bunet.protocols.kernels.machine.simd import (
    BYTES512,
    I8,
    I64,
    VECTOR512,
    data_pointer,
    emit_call,
    emit_load,
    emit_shuffle,
    emit_store,
)
from bunet.protocols.kernels.machine.types import Builder, Context, Emission, NumbaType, Signature, Value, Values

_IDENTITY = ir.Constant(BYTES512, [1 << (i % 8) for i in range(64)])


def _eight_rows(builder: Builder, pointer: Value, start: Value, block: int, half: int) -> Value:
    """Rows 8 * block .. 8 * block + 7, byte columns 8 * half .. 8 * half + 7, each 8x8 bit block transposed.

    The affine instruction multiplies bit matrices, so a product with the identity transposes; it wants the rows of a
    block in reverse order. Byte 8 * s + k of the result is bit column k of byte column s.
    """
    first = builder.add(start, I64(16 * block))
    rows = [builder.bitcast(emit_load(builder, VECTOR512, pointer, builder.add(first, I64(o))), BYTES512) for o in (0, 8)]
    columns = [(7 - k) * 16 + 8 * half + s for s in range(8) for k in range(8)]
    matrix = emit_shuffle(builder, rows[0], rows[1], columns)
    return emit_call(builder, "llvm.x86.vgf2p8affineqb.512", BYTES512, [_IDENTITY, matrix, ir.Constant(I8, 0)])


def _interleave(builder: Builder, a: Value, b: Value, size: int, high: int) -> Value:
    """Elements of `size` bytes of a and b in turns, from the low or high half of each 128-bit lane."""
    count = 16 // size // 2
    indices = [
        source + lane + (element + count * high) * size + byte
        for lane in range(0, 64, 16)
        for element in range(count)
        for source in (0, 64)
        for byte in range(size)
    ]
    return emit_shuffle(builder, a, b, indices)


def _merge(builder: Builder, groups: Sequence[Value]) -> list[Value]:
    """Sixteen registers into sixteen whose 128-bit lanes hold one byte of each, in order."""
    size = 1
    groups = [[group] for group in groups]
    while len(groups) > 1:
        groups = [
            [_interleave(builder, a, b, size, high) for a, b in zip(x, y, strict=True) for high in (0, 1)]
            for x, y in zip(groups[::2], groups[1::2], strict=True)
        ]
        size *= 2
    return [builder.bitcast(register, VECTOR512) for register in groups[0]]


def _transpose_lanes(builder: Builder, a: Sequence[Value]) -> list[Value]:
    """Four registers of four lanes: lane l of register v becomes lane v of register l."""
    low = [emit_shuffle(builder, a[i], a[i + 1], [0, 1, 2, 3, 8, 9, 10, 11]) for i in (0, 2)]
    high = [emit_shuffle(builder, a[i], a[i + 1], [4, 5, 6, 7, 12, 13, 14, 15]) for i in (0, 2)]
    even, odd = [0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]
    return [emit_shuffle(builder, pair[0], pair[1], order) for pair in (low, high) for order in (even, odd)]


@intrinsic
def transpose_gfni(typing: Any, source: NumbaType, start: NumbaType, target: NumbaType, at: NumbaType) -> Emission:
    """See `bits.transpose_tile`. Source and target must not overlap."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        origin = data_pointer(context, builder, signature.args[0], arguments[0])
        goal = data_pointer(context, builder, signature.args[2], arguments[2])
        for half in range(2):
            blocks = [_eight_rows(builder, origin, arguments[1], block, half) for block in range(16)]
            merged = _merge(builder, blocks)  # lane l of register v is row 64 * half + 16 * l + v of the result
            for v in range(0, 16, 4):
                for l, register in enumerate(_transpose_lanes(builder, merged[v : v + 4])):
                    place = builder.add(arguments[3], I64(128 * half + 2 * (16 * l + v)))
                    emit_store(builder, register, goal, place)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), code
