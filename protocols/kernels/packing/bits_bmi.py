"""Packing of narrow values, eight at a time: vector conversions gather them in words, BMI2 takes out the bits between.

Eight values of `width` bits are `width` whole bytes, so a group never shares a byte with the next.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from bunet.protocols.kernels.machine.compiled import intrinsic
from bunet.protocols.kernels.machine.simd import I8, I64, data_pointer, emit_call, emit_load, emit_store
from bunet.protocols.kernels.machine.types import Builder, Context, Emission, NumbaType, Signature, Value, Values


def _lane_mask(builder: Builder, width: Value, lane: int) -> Value:
    """The low `width` bits of each lane of 8 or 16 bits in a word."""
    ones = builder.lshr(I64(~0 & (1 << 64) - 1), builder.sub(I64(64), width))
    return builder.mul(ones, I64(sum(1 << bit for bit in range(0, 64, lane))))


def _byte_pointer(builder: Builder, context: Context, array_type: NumbaType, array: Value, offset: Value) -> Value:
    return builder.gep(builder.bitcast(data_pointer(context, builder, array_type, array), I8.as_pointer()), [offset])


@intrinsic
def squeeze8(typing: Any, values: NumbaType, start: NumbaType, width: NumbaType, out: NumbaType, offset: NumbaType) -> Emission:
    """values[start : start + 8] (uint32 or uint64, below 2^width; width 1..8, int64) packed to 8 bytes of `out`.

    offset: in bytes. Of the 8 bytes `width` are the values', the others zeros.
    """

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        values, start, width, out, offset = arguments
        word = context.get_value_type(signature.args[0].dtype)
        pointer = data_pointer(context, builder, signature.args[0], values)
        eight = emit_load(builder, ir.VectorType(word, 8), pointer, start, align=4)
        joined = builder.bitcast(builder.trunc(eight, ir.VectorType(I8, 8)), I64)
        packed = emit_call(builder, "llvm.x86.bmi.pext.64", I64, [joined, _lane_mask(builder, width, 8)])
        emit_store(builder, packed, _byte_pointer(builder, context, signature.args[3], out, offset), align=1)
        return context.get_dummy_value()

    return types.void(values, types.intp, types.intp, out, types.intp), code


@intrinsic
def squeeze8_wide(
    typing: Any, values: NumbaType, start: NumbaType, width: NumbaType, out: NumbaType, offset: NumbaType
) -> Emission:
    """As `squeeze8` for a width of 9..16, to 16 bytes."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        values, start, width, out, offset = arguments
        word = context.get_value_type(signature.args[0].dtype)
        pointer = data_pointer(context, builder, signature.args[0], values)
        eight = emit_load(builder, ir.VectorType(word, 8), pointer, start, align=4)
        joined = builder.bitcast(builder.trunc(eight, ir.VectorType(ir.IntType(16), 8)), ir.VectorType(I64, 2))
        mask = _lane_mask(builder, width, 16)
        first, second = (
            emit_call(builder, "llvm.x86.bmi.pext.64", I64, [builder.extract_element(joined, ir.IntType(32)(i)), mask])
            for i in range(2)
        )
        size = builder.shl(width, I64(2))  # of four values in bits, 36..64: a shift by 64 is none, so it is done in two
        above = builder.shl(builder.shl(second, builder.sub(size, I64(1))), I64(1))
        low, high = builder.or_(first, above), builder.lshr(second, builder.sub(I64(64), size))
        target = _byte_pointer(builder, context, signature.args[3], out, offset)
        emit_store(builder, low, target, align=1)
        emit_store(builder, high, builder.gep(target, [I64(8)]), align=1)
        return context.get_dummy_value()

    return types.void(values, types.intp, types.intp, out, types.intp), code


@intrinsic
def spread8(typing: Any, data: NumbaType, offset: NumbaType, width: NumbaType, out: NumbaType, start: NumbaType) -> Emission:
    """The inverse of `squeeze8`: 8 bytes of data to out[start : start + 8]."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        data, offset, width, out, start = arguments
        source = _byte_pointer(builder, context, signature.args[0], data, offset)
        packed = emit_load(builder, I64, source, align=1)
        joined = emit_call(builder, "llvm.x86.bmi.pdep.64", I64, [packed, _lane_mask(builder, width, 8)])
        word = context.get_value_type(signature.args[3].dtype)
        eight = builder.zext(builder.bitcast(joined, ir.VectorType(I8, 8)), ir.VectorType(word, 8))
        emit_store(builder, eight, data_pointer(context, builder, signature.args[3], out), start, align=4)
        return context.get_dummy_value()

    return types.void(data, types.intp, types.intp, out, types.intp), code


@intrinsic
def spread8_wide(
    typing: Any, data: NumbaType, offset: NumbaType, width: NumbaType, out: NumbaType, start: NumbaType
) -> Emission:
    """The inverse of `squeeze8_wide`: 16 bytes of data to out[start : start + 8]."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        data, offset, width, out, start = arguments
        source = _byte_pointer(builder, context, signature.args[0], data, offset)
        first = emit_load(builder, I64, source, align=1)
        # the second four values begin at bit 4 * width: in the middle of a byte if the width is odd
        middle = builder.gep(source, [builder.lshr(width, I64(1))])
        shift = builder.shl(builder.and_(width, I64(1)), I64(2))
        second = builder.lshr(emit_load(builder, I64, middle, align=1), shift)
        mask, word = _lane_mask(builder, width, 16), context.get_value_type(signature.args[3].dtype)
        joined = ir.Constant(ir.VectorType(I64, 2), ir.Undefined)
        for i, packed in enumerate((first, second)):
            four = emit_call(builder, "llvm.x86.bmi.pdep.64", I64, [packed, mask])
            joined = builder.insert_element(joined, four, ir.IntType(32)(i))
        eight = builder.zext(builder.bitcast(joined, ir.VectorType(ir.IntType(16), 8)), ir.VectorType(word, 8))
        emit_store(builder, eight, data_pointer(context, builder, signature.args[3], out), start, align=4)
        return context.get_dummy_value()

    return types.void(data, types.intp, types.intp, out, types.intp), code
