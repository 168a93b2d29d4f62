"""AES-128 on SIMD registers: whole encryptions and key schedules as single intrinsics.

A tuple of registers is encrypted in step, round by round, so that the pipelines stay full; eight registers saturate
current processors. Round keys are uint64 words in an array: round r at `offset + stride * r`, so that one key of a
schedule interleaved by four (see `key_schedule512`) is addressed as offset 2 * lane, stride 8.
"""

from __future__ import annotations

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

# isort: split
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_ROUND = {VECTOR128: "llvm.x86.aesni.aesenc", VECTOR512: "llvm.x86.aesni.aesenc.512"}
_LAST = {
    VECTOR128: "llvm.x86.aesni.aesenclast",
    VECTOR256: "llvm.x86.aesni.aesenclast.256",
    VECTOR512: "llvm.x86.aesni.aesenclast.512",
}
_RCON = (1, 2, 4, 8, 16, 32, 64, 128, 0x1B, 0x36)


def emit_aes(builder, registers, keys, beside=None):
    """Encryptions of the registers; keys(r) gives one round-key register for each of them.

    beside(r), if given, emits other work after round r = 0..10.
    """
    kind = registers[0].type
    for r in range(11):
        if r == 0:
            registers = [builder.xor(x, k) for x, k in zip(registers, keys(0), strict=True)]
        else:
            name = _LAST[kind] if r == 10 else _ROUND[kind]
            registers = [emit_call(builder, name, kind, [x, k]) for x, k in zip(registers, keys(r), strict=True)]
        if beside is not None:
            beside(r)
    return registers


def _unpack(builder, registers, count):
    return [builder.extract_value(registers, i) for i in range(count)]


def _address(builder, offset, stride, r):
    return builder.add(offset, builder.mul(stride, I64(r)))


def _encryptor(load_key):
    @intrinsic
    def aes(typing, registers, schedule, offset, stride):
        def code(context, builder, signature, arguments):
            count = signature.args[0].count
            pointer = data_pointer(context, builder, signature.args[1], arguments[1])

            def keys(r):
                return [load_key(builder, pointer, _address(builder, arguments[2], arguments[3], r))] * count

            results = emit_aes(builder, _unpack(builder, arguments[0], count), keys)
            return context.make_tuple(builder, signature.return_type, results)

        return registers(registers, schedule, types.intp, types.intp), code

    return aes


# aes*(tuple of registers, schedule, offset, stride) -> tuple of registers
aes128 = _encryptor(lambda builder, pointer, index: emit_load(builder, VECTOR128, pointer, index))
aes512 = _encryptor(emit_broadcast128)  # one key for all lanes
aes512_wide = _encryptor(lambda builder, pointer, index: emit_load(builder, VECTOR512, pointer, index))  # a key a lane


def _next_key(builder, key, rcon):
    """One step of the key schedule (FIPS-197 section 5.2) in each lane.

    SubWord comes from the last AES round: with the rotated word in all four columns ShiftRows changes nothing.
    """
    kind, size = key.type, key.type.count * 8
    octets = ir.VectorType(I8, size)
    data, zero = builder.bitcast(key, octets), ir.Constant(octets, [0] * size)

    def lanes(index):
        return [size if index(i) is None else index(i) + lane for lane in range(0, size, 16) for i in range(16)]

    rotated = emit_shuffle(builder, data, None, lanes(lambda i: 12 + (i + 1) % 4))
    constant = ir.Constant(kind, [rcon | rcon << 32] * kind.count)
    word = emit_call(builder, _LAST[kind], kind, [builder.bitcast(rotated, kind), constant])
    for shift in (4, 8):  # prefix xor over the four columns
        moved = emit_shuffle(builder, data, zero, lanes(lambda i, s=shift: i - s if i >= s else None))
        data = builder.xor(data, moved)
    return builder.xor(builder.bitcast(data, kind), word)


def _emit_schedule(builder, key, pointer, offset):
    """A function of r = 0..10 that emits the store of round key r to pointer[offset + size of key * r]."""

    def round_key(r):
        nonlocal key
        emit_store(builder, key, pointer, builder.add(offset, I64(key.type.count * r)))
        if r < 10:
            key = emit_settled(builder, _next_key(builder, key, _RCON[r]))

    return round_key


def _scheduler(register):
    @intrinsic
    def key_schedule(typing, key, out, offset):
        def code(context, builder, signature, arguments):
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
def aes512_expanding(typing, registers, schedule, offset, stride, key, target):
    """`aes512`, and beside it `key_schedule512` of `key` to schedule[target:], which must not be in use."""

    def code(context, builder, signature, arguments):
        count = signature.args[0].count
        pointer = data_pointer(context, builder, signature.args[1], arguments[1])

        def keys(r):
            return [emit_broadcast128(builder, pointer, _address(builder, arguments[2], arguments[3], r))] * count

        beside = _emit_schedule(builder, arguments[4], pointer, arguments[5])
        results = emit_aes(builder, _unpack(builder, arguments[0], count), keys, beside)
        return context.make_tuple(builder, signature.return_type, results)

    return registers(registers, schedule, types.intp, types.intp, v512, types.intp), code


def _pair_keys(builder, pointer, first, second, stride, count):
    """Round keys for `emit_aes`: the first half of `count` registers under the key at `first`, the others at `second`."""

    def keys(r):
        a, b = (emit_broadcast128(builder, pointer, _address(builder, at, stride, r)) for at in (first, second))
        return [a] * (count // 2) + [b] * (count - count // 2)

    return keys


@intrinsic
def aes512_pair(typing, registers, schedule, first, second, stride):
    """The first half of the tuple under the key at offset `first`, the second half under the one at `second`."""

    def code(context, builder, signature, arguments):
        count = signature.args[0].count
        pointer = data_pointer(context, builder, signature.args[1], arguments[1])
        keys = _pair_keys(builder, pointer, arguments[2], arguments[3], arguments[4], count)
        results = emit_aes(builder, _unpack(builder, arguments[0], count), keys)
        return context.make_tuple(builder, signature.return_type, results)

    return registers(registers, schedule, types.intp, types.intp, types.intp), code


@intrinsic
def aes512_pair_expanding(typing, registers, schedule, first, second, stride, key, target):
    """`aes512_pair`, and beside it `key_schedule256` of `key` to schedule[target:], which must not be in use."""

    def code(context, builder, signature, arguments):
        count = signature.args[0].count
        pointer = data_pointer(context, builder, signature.args[1], arguments[1])
        keys = _pair_keys(builder, pointer, arguments[2], arguments[3], arguments[4], count)
        beside = _emit_schedule(builder, arguments[5], pointer, arguments[6])
        results = emit_aes(builder, _unpack(builder, arguments[0], count), keys, beside)
        return context.make_tuple(builder, signature.return_type, results)

    return registers(registers, schedule, types.intp, types.intp, types.intp, v256, types.intp), code
