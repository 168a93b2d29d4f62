"""SIMD registers as numba values, and the intrinsics on them.

`v512` is a register of eight uint64 (four 128-bit lanes, each low word first), `v256` one of four, `v128` one of two. They
are locals of kernels; nothing is boxed. Importing this module is safe anywhere; compiling a 512-bit function needs the `vaes`
tier, a 128-bit one works on any x86-64. Indices count array elements; addresses need no alignment unless said.

To write one's own: `emit_load`, `emit_store`, `emit_call` and `data_pointer` are the building blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import register_model

from bunet.protocols.kernels.machine.compiled import intrinsic, literal_intrinsic
from bunet.protocols.kernels.machine.types import (
    Builder,
    Context,
    Emission,
    Intrinsic,
    LlvmType,
    NumbaType,
    Signature,
    Value,
    Values,
    Word,
)

I8, I32, I64, I128 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.IntType(128)
VECTOR128 = ir.VectorType(I64, 2)
VECTOR256 = ir.VectorType(I64, 4)
VECTOR512 = ir.VectorType(I64, 8)
BYTES512 = ir.VectorType(I8, 64)


class Register128(types.Opaque):
    """numba type of a 128-bit register."""

    llvm = VECTOR128


class Register256(types.Opaque):
    """numba type of a 256-bit register."""

    llvm = VECTOR256


class Register512(types.Opaque):
    """numba type of a 512-bit register."""

    llvm = VECTOR512


class _RegisterModel(models.PrimitiveModel):  # type: ignore[misc]  # mypy does not read numba
    def __init__(self, manager: Any, register: NumbaType) -> None:
        super().__init__(manager, register, register.llvm)


register_model(Register128)(_RegisterModel)
register_model(Register256)(_RegisterModel)
register_model(Register512)(_RegisterModel)
v128 = Register128("v128")
v256 = Register256("v256")
v512 = Register512("v512")


# --- building blocks for code generators ---------------------------------------------------------------------------


def data_pointer(context: Context, builder: Builder, array_type: NumbaType, array: Value) -> Value:
    """Pointer to an array argument's first element."""
    return context.make_array(array_type)(context, builder, array).data


def emit_load(builder: Builder, vector: LlvmType, pointer: Value, index: Value | None = None, align: int = 8) -> Value:
    """Load of an LLVM vector (or integer) type from pointer + index elements."""
    if index is not None:
        pointer = builder.gep(pointer, [index])
    value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    value.align = align
    return value


def emit_store(builder: Builder, value: Value, pointer: Value, index: Value | None = None, align: int = 8) -> Value:
    if index is not None:
        pointer = builder.gep(pointer, [index])
    store = builder.store(value, builder.bitcast(pointer, value.type.as_pointer()))
    store.align = align
    return store


def emit_call(builder: Builder, name: str, result: LlvmType, arguments: Values) -> Value:
    """Call of an LLVM intrinsic by name."""
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def emit_shuffle(builder: Builder, a: Value, b: Value | None, indices: Sequence[int]) -> Value:
    """shuffle_vector with constant indices; b may be None."""
    return builder.shuffle_vector(a, a if b is None else b, ir.Constant(ir.VectorType(I32, len(indices)), indices))


def emit_splat(builder: Builder, scalar: Value, count: int) -> Value:
    """A vector whose `count` elements are the scalar."""
    vector = ir.VectorType(scalar.type, count)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, I32(0))
    return emit_shuffle(builder, first, None, [0] * count)


def emit_broadcast128(builder: Builder, pointer: Value, index: Value) -> Value:
    """The 128 bits at pointer[index:index+2] in all four lanes of a 512-bit register."""
    return emit_shuffle(builder, emit_load(builder, VECTOR128, pointer, index), None, [0, 1] * 4)


def emit_settled(builder: Builder, value: Value) -> Value:
    """The same value, computed here and now: what follows is neither begun before it nor merged with it.

    Without this LLVM reorders chains of work and the loads they need, until it has to spill registers or has put end to
    end what was meant to run side by side.
    """
    function_type = ir.FunctionType(value.type, [value.type])
    return builder.asm(function_type, "", "=v,0,~{memory}", [value], side_effect=True)


# --- memory --------------------------------------------------------------------------------------------------------


def _loader(register: NumbaType) -> Intrinsic:
    @intrinsic
    def load(typing: Any, array: NumbaType, index: NumbaType) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            pointer = data_pointer(context, builder, signature.args[0], arguments[0])
            return emit_load(builder, register.llvm, pointer, arguments[1])

        return register(array, types.intp), code

    return load


def _storer(register: NumbaType) -> Intrinsic:
    @intrinsic
    def store(typing: Any, array: NumbaType, index: NumbaType, value: NumbaType) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            pointer = data_pointer(context, builder, signature.args[0], arguments[0])
            emit_store(builder, arguments[2], pointer, arguments[1])
            return context.get_dummy_value()

        return types.void(array, types.intp, register), code

    return store


load512, store512 = _loader(v512), _storer(v512)
load128, store128 = _loader(v128), _storer(v128)


@intrinsic
def broadcast128(typing: Any, array: NumbaType, index: NumbaType) -> Emission:
    """array[index:index+2] (uint64) in all four lanes: v512."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        return emit_broadcast128(builder, data_pointer(context, builder, signature.args[0], arguments[0]), arguments[1])

    return v512(array, types.intp), code


def _prefetcher(write: int, locality: int) -> Intrinsic:
    @intrinsic
    def operation(typing: Any, array: NumbaType, index: NumbaType) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            pointer = builder.gep(data_pointer(context, builder, signature.args[0], arguments[0]), [arguments[1]])
            pointer = builder.bitcast(pointer, I8.as_pointer())
            function_type = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
            function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
            builder.call(function, [pointer, I32(write), I32(locality), I32(1)])
            return context.get_dummy_value()

        return types.void(array, types.intp), code

    return operation


# prefetch*(array, index): ask for the cache line of array[index], to read it or to write to it; it need not exist. The
# far one brings it to the second level only: what is asked for long before it is read would drive the work at hand out
# of the first.
prefetch, prefetch_far, prefetch_write = _prefetcher(0, 3), _prefetcher(0, 2), _prefetcher(1, 3)


@intrinsic
def load_word(typing: Any, array: NumbaType, offset: NumbaType) -> Emission:
    """uint64 at a byte offset of a uint8 array, unaligned, in the machine's (little-endian) order; any processor."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        return emit_load(builder, I64, data_pointer(context, builder, signature.args[0], arguments[0]), arguments[1], align=1)

    return types.uint64(array, types.intp), code


@intrinsic
def store_word(typing: Any, array: NumbaType, offset: NumbaType, value: NumbaType) -> Emission:
    """A uint64 to a byte offset of any array, unaligned, in the machine's (little-endian) order; any processor."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        pointer = data_pointer(context, builder, signature.args[0], arguments[0])
        place = builder.gep(builder.bitcast(pointer, I8.as_pointer()), [arguments[1]])
        emit_store(builder, arguments[2], place, align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.uint64), code


# --- arithmetic ----------------------------------------------------------------------------------------------------


def _binary(register: NumbaType, emit: Callable[[Builder, Value, Value], Value]) -> Intrinsic:
    @intrinsic
    def operation(typing: Any, a: NumbaType, b: NumbaType) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            return emit(builder, *arguments)

        return register(register, register), code

    return operation


def _ternary(register: NumbaType, name: str) -> Intrinsic:
    @intrinsic
    def operation(typing: Any, a: NumbaType, b: NumbaType, c: NumbaType) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            return emit_call(builder, name, register.llvm, list(arguments))

        return register(register, register, register), code

    return operation


xor512 = _binary(v512, lambda builder, a, b: builder.xor(a, b))
and512 = _binary(v512, lambda builder, a, b: builder.and_(a, b))
add512 = _binary(v512, lambda builder, a, b: builder.add(a, b))
sub512 = _binary(v512, lambda builder, a, b: builder.sub(a, b))
min512 = _binary(v512, lambda builder, a, b: emit_call(builder, "llvm.umin.v8i64", VECTOR512, [a, b]))  # unsigned
xor128 = _binary(v128, lambda builder, a, b: builder.xor(a, b))
and128 = _binary(v128, lambda builder, a, b: builder.and_(a, b))
add128 = _binary(v128, lambda builder, a, b: builder.add(a, b))
madd52lo = _ternary(v512, "llvm.x86.avx512.vpmadd52l.uq.512")  # a + low 52 bits of b * c (52-bit operands)
madd52hi = _ternary(v512, "llvm.x86.avx512.vpmadd52h.uq.512")  # a + high 52 bits of b * c


@intrinsic
def _mul_high(typing: Any, a: NumbaType, b: NumbaType) -> Emission:
    """High 64 bits of a uint64 product; any processor."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        a, b = (builder.zext(argument, I128) for argument in arguments)
        return builder.trunc(builder.lshr(builder.mul(a, b), ir.Constant(I128, 64)), I64)

    return types.uint64(types.uint64, types.uint64), code


mul_high: Callable[[Word, Word], Word] = _mul_high


def _shift(name: str) -> Intrinsic:
    @literal_intrinsic
    def operation(typing: Any, a: NumbaType, count: NumbaType) -> Emission:
        bits = count.literal_value

        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            return getattr(builder, name)(arguments[0], ir.Constant(VECTOR512, [bits] * 8))

        return v512(v512, count), code

    return operation


shift_left512 = _shift("shl")  # (a, literal count) word by word
shift_right512 = _shift("lshr")


# --- words and lanes -----------------------------------------------------------------------------------------------


@intrinsic
def zero512(typing: Any) -> Emission:
    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        return ir.Constant(VECTOR512, [0] * 8)

    return v512(), code


@intrinsic
def splat512(typing: Any, word: NumbaType) -> Emission:
    """All eight words equal."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        return emit_splat(builder, arguments[0], 8)

    return v512(types.uint64), code


@intrinsic
def lanes512(typing: Any, low: NumbaType, high: NumbaType) -> Emission:
    """All four 128-bit lanes (low, high)."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        low, high = (emit_splat(builder, argument, 8) for argument in arguments)
        return emit_shuffle(builder, low, high, [0, 8] * 4)

    return v512(types.uint64, types.uint64), code


@intrinsic
def counters512(typing: Any, low: NumbaType, high: NumbaType) -> Emission:
    """Lanes (low, high), (low+1, high), (low+2, high), (low+3, high); low wraps modulo 2^64."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        low, high = (emit_splat(builder, argument, 8) for argument in arguments)
        low = builder.add(low, ir.Constant(VECTOR512, [0, 0, 1, 0, 2, 0, 3, 0]))
        return emit_shuffle(builder, low, high, [0, 8, 2, 8, 4, 8, 6, 8])

    return v512(types.uint64, types.uint64), code


@intrinsic
def pair128(typing: Any, low: NumbaType, high: NumbaType) -> Emission:
    """The 128-bit register (low, high)."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        register = builder.insert_element(ir.Constant(VECTOR128, ir.Undefined), arguments[0], I32(0))
        return builder.insert_element(register, arguments[1], I32(1))

    return v128(types.uint64, types.uint64), code


@literal_intrinsic
def shuffle512(typing: Any, a: NumbaType, b: NumbaType, order: NumbaType) -> Emission:
    """Words of a (0..7) and b (8..f) in a literal order: shuffle512(a, b, "02468ace") takes the even words."""
    indices = [int(digit, 16) for digit in order.literal_value]

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        return emit_shuffle(builder, arguments[0], arguments[1], indices)

    return v512(v512, v512, order), code


def _sigma(register: NumbaType) -> Intrinsic:
    words = register.llvm.count

    @intrinsic
    def sigma(typing: Any, a: NumbaType) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            a, zero = arguments[0], ir.Constant(register.llvm, [0] * words)
            swapped = emit_shuffle(builder, a, None, [i ^ 1 for i in range(words)])
            high = emit_shuffle(builder, a, zero, [i if i & 1 else words for i in range(words)])
            return builder.xor(swapped, high)

        return register(register), code

    return sigma


# (low, high) -> (high, low ^ high) in each lane: a linear orthomorphism, GKWY20 (eprint 2019/074)
sigma512, sigma128 = _sigma(v512), _sigma(v128)


# lsb_mask*(a): all ones in each 128-bit lane whose bit 0 is set, else zeros


@intrinsic
def lsb_mask128(typing: Any, a: NumbaType) -> Emission:
    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        low = emit_shuffle(builder, arguments[0], None, [0, 0])
        bit = builder.and_(low, ir.Constant(VECTOR128, [1, 1]))
        return builder.sub(ir.Constant(VECTOR128, [0, 0]), bit)

    return v128(v128), code


@intrinsic
def lsb_mask512(typing: Any, a: NumbaType) -> Emission:
    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        octets = builder.bitcast(arguments[0], BYTES512)
        low = emit_shuffle(builder, octets, None, [i & ~15 for i in range(64)])
        # a product of bit matrices: every bit of a byte becomes its bit 0
        spread = ir.Constant(BYTES512, [1] * 64)
        name = "llvm.x86.vgf2p8affineqb.512"
        return builder.bitcast(emit_call(builder, name, BYTES512, [low, spread, ir.Constant(I8, 0)]), VECTOR512)

    return v512(v512), code
