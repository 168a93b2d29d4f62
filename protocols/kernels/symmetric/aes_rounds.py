"""AES-128 on SIMD registers: whole encryptions and key schedules as single intrinsics.

A tuple of registers is encrypted in step, round by round, so that the pipelines stay full; eight registers saturate
current processors. Round keys are uint64 words in an array: round r at `offset + stride * r`, so that one key of a
schedule interleaved by four (see `key_schedule512`) is addressed as offset 2 * lane, stride 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llvmlite import ir
from numba.core import types

from bunet.protocols.kernels.machine.compiled import intrinsic
from bunet.protocols.kernels.machine.simd import (
    I8,
    I64,
    VECTOR128,
    VECTOR256,
    VECTOR512,
    data_pointer,
    emit_broadcast128,
    emit_call,
    emit_load,
    emit_settled,
    emit_shuffle,
    emit_store,
    v128,
    v256,
    v512,
)
from bunet.protocols.kernels.machine.types import Builder, Context, Emission, Intrinsic, NumbaType, Signature, Value, Values

_ROUND = {VECTOR128: "llvm.x86.aesni.aesenc", VECTOR512: "llvm.x86.aesni.aesenc.512"}
_LAST = {
    VECTOR128: "llvm.x86.aesni.aesenclast",
    VECTOR256: "llvm.x86.aesni.aesenclast.256",
    VECTOR512: "llvm.x86.aesni.aesenclast.512",
}
_RCON = (1, 2, 4, 8, 16, 32, 64, 128, 0x1B, 0x36)


Keys: TypeAlias = Callable[[int], Sequence[Value]]  # of a round, one for each register


def emit_aes(builder: Builder, registers: list[Value], keys: Keys, beside: Callable[[int], None] | None = None) -> list[Value]:
    """Encryptions of the registers; keys(r) gives one round-key register for each of them.

    beside(r), if given, emits other work after round r = 0..10.
    """
    vector = registers[0].type
    for r in range(11):
        if r == 0:
            registers = [builder.xor(x, k) for x, k in zip(registers, keys(0), strict=True)]
        else:
            name = _LAST[vector] if r == 10 else _ROUND[vector]
            registers = [emit_call(builder, name, vector, [x, k]) for x, k in zip(registers, keys(r), strict=True)]
        if beside is not None:
            beside(r)
    return registers


def _unpack(builder: Builder, registers: list[Value], count: int) -> list[Value]:
    return [builder.extract_value(registers, i) for i in range(count)]


def _address(builder: Builder, offset: Value, stride: Value, r: int) -> Value:
    return builder.add(offset, builder.mul(stride, I64(r)))


def _encryptor(load_key: Callable[[Builder, Value, Value], Value]) -> Intrinsic:
    @intrinsic
    def aes(typing: Any, registers: NumbaType, schedule: NumbaType, offset: NumbaType, stride: NumbaType) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            count = signature.args[0].count
            pointer = data_pointer(context, builder, signature.args[1], arguments[1])

            def keys(r: int) -> list[Value]:
                return [load_key(builder, pointer, _address(builder, arguments[2], arguments[3], r))] * count

            results = emit_aes(builder, _unpack(builder, arguments[0], count), keys)
            return context.make_tuple(builder, signature.return_type, results)

        return registers(registers, schedule, types.intp, types.intp), code

    return aes


# aes*(tuple of registers, schedule, offset, stride) -> tuple of registers
aes128 = _encryptor(lambda builder, pointer, index: emit_load(builder, VECTOR128, pointer, index))
aes512 = _encryptor(emit_broadcast128)  # one key for all lanes
aes512_wide = _encryptor(lambda builder, pointer, index: emit_load(builder, VECTOR512, pointer, index))  # a key a lane


def _next_key(builder: Builder, key: Value, rcon: int) -> Value:
    """One step of the key schedule (FIPS-197 section 5.2) in each lane.

    SubWord comes from the last AES round: with the rotated word in all four columns ShiftRows changes nothing.
    """
    vector, size = key.type, key.type.count * 8
    octets = ir.VectorType(I8, size)
    data, zero = builder.bitcast(key, octets), ir.Constant(octets, [0] * size)

    def lanes(octets_of_one: Sequence[int | None]) -> list[int]:
        return [size if i is None else i + lane for lane in range(0, size, 16) for i in octets_of_one]

    rotated = emit_shuffle(builder, data, None, lanes([12 + (i + 1) % 4 for i in range(16)]))
    constant = ir.Constant(vector, [rcon | rcon << 32] * vector.count)
    word = emit_call(builder, _LAST[vector], vector, [builder.bitcast(rotated, vector), constant])
    for shift in (4, 8):  # prefix xor over the four columns
        moved = emit_shuffle(builder, data, zero, lanes([i - shift if i >= shift else None for i in range(16)]))
        data = builder.xor(data, moved)
    return builder.xor(builder.bitcast(data, vector), word)


def _emit_schedule(builder: Builder, key: Value, pointer: Value, offset: Value) -> Callable[[int], None]:
    """A function of r = 0..10 that emits the store of round key r to pointer[offset + size of key * r]."""

    def round_key(r: int) -> None:
        nonlocal key
        emit_store(builder, key, pointer, builder.add(offset, I64(key.type.count * r)))
        if r < 10:
            key = emit_settled(builder, _next_key(builder, key, _RCON[r]))

    return round_key


def _scheduler(register: NumbaType) -> Intrinsic:
    @intrinsic
    def key_schedule(typing: Any, key: NumbaType, out: NumbaType, offset: NumbaType) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            pointer = data_pointer(context, builder, signature.args[1], arguments[1])
            round_key = _emit_schedule(builder, arguments[0], pointer, arguments[2])
            for r in range(11):
                round_key(r)
            return context.get_dummy_value()

        return types.void(register, out, types.intp), code

    return key_schedule


# key_schedule*(key register, out, offset): eleven round keys to out[offset:]; the wider ones expand a key a lane,
# with round r of all l lanes at out[offset + 2 * l * r : offset + 2 * l * (r + 1)]
key_schedule128, key_schedule256, key_schedule512 = _scheduler(v128), _scheduler(v256), _scheduler(v512)


# A key schedule is one chain of dependent instructions. If they come all at once, they fill the processor's queues and
# the encryptions behind them stand still. So the two below expand a key to come beside an encryption, round by round.


@intrinsic
def aes512_expanding(
    typing: Any,
    registers: NumbaType,
    schedule: NumbaType,
    offset: NumbaType,
    stride: NumbaType,
    key: NumbaType,
    target: NumbaType,
) -> Emission:
    """`aes512`, and beside it `key_schedule512` of `key` to schedule[target:], which must not be in use."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        count = signature.args[0].count
        pointer = data_pointer(context, builder, signature.args[1], arguments[1])

        def keys(r: int) -> list[Value]:
            return [emit_broadcast128(builder, pointer, _address(builder, arguments[2], arguments[3], r))] * count

        beside = _emit_schedule(builder, arguments[4], pointer, arguments[5])
        results = emit_aes(builder, _unpack(builder, arguments[0], count), keys, beside)
        return context.make_tuple(builder, signature.return_type, results)

    return registers(registers, schedule, types.intp, types.intp, v512, types.intp), code


def _pair_keys(builder: Builder, pointer: Value, first: Value, second: Value, stride: Value, count: int) -> Keys:
    """Round keys for `emit_aes`: the first half of `count` registers under the key at `first`, the others at `second`."""

    def keys(r: int) -> list[Value]:
        a, b = (emit_broadcast128(builder, pointer, _address(builder, at, stride, r)) for at in (first, second))
        return [a] * (count // 2) + [b] * (count - count // 2)

    return keys


@intrinsic
def aes512_pair(
    typing: Any, registers: NumbaType, schedule: NumbaType, first: NumbaType, second: NumbaType, stride: NumbaType
) -> Emission:
    """The first half of the tuple under the key at offset `first`, the second half under the one at `second`."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        count = signature.args[0].count
        pointer = data_pointer(context, builder, signature.args[1], arguments[1])
        keys = _pair_keys(builder, pointer, arguments[2], arguments[3], arguments[4], count)
        results = emit_aes(builder, _unpack(builder, arguments[0], count), keys)
        return context.make_tuple(builder, signature.return_type, results)

    return registers(registers, schedule, types.intp, types.intp, types.intp), code


@intrinsic
def aes512_pair_expanding(
    typing: Any,
    registers: NumbaType,
    schedule: NumbaType,
    first: NumbaType,
    second: NumbaType,
    stride: NumbaType,
    key: NumbaType,
    target: NumbaType,
) -> Emission:
    """`aes512_pair`, and beside it `key_schedule256` of `key` to schedule[target:], which must not be in use."""

    def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
        count = signature.args[0].count
        pointer = data_pointer(context, builder, signature.args[1], arguments[1])
        keys = _pair_keys(builder, pointer, arguments[2], arguments[3], arguments[4], count)
        beside = _emit_schedule(builder, arguments[5], pointer, arguments[6])
        results = emit_aes(builder, _unpack(builder, arguments[0], count), keys, beside)
        return context.make_tuple(builder, signature.return_type, results)

    return registers(registers, schedule, types.intp, types.intp, types.intp, v256, types.intp), code
