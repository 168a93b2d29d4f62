"""The passes of an NTT with AVX-512 IFMA, as numba intrinsics: each loops over a polynomial and does several levels.

A strided pass of radix 2^r takes 2^r registers at a stride and does r levels; a block pass, last of a forward and first of an
inverse transform, takes 2^4 consecutive registers and does four levels between registers and three inside them. Levels are
emitted one after the other over all registers, so that independent butterflies stand next to each other: a chain of
dependent ones fills the processor's schedulers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from numba import types
from numba.core import cgutils

from bunet.protocols.kernels.machine.compiled import intrinsic
from bunet.protocols.kernels.machine.simd import I64, VECTOR512, data_pointer, emit_load, emit_store, v512
from bunet.protocols.kernels.machine.types import Builder, Context, Emission, Intrinsic, NumbaType, Signature, Value, Values
from bunet.protocols.kernels.ring.ntt_emit import LAZY, Emitter, Factor, Factors, Lanes, between, registers, shuffled

Pairs: TypeAlias = list[tuple[int, Value]]

_BLOCK = 4  # log2 of the registers in a block pass

# Lanes of two registers before the level with half-distance 4, 2, 1, and the standard order after it.
_PAIRS = (
    ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
    ([0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
    ([0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]),
)
_INTERLEAVE = ([0, 8, 1, 9, 2, 10, 3, 11], [4, 12, 5, 13, 6, 14, 7, 15])
_SEPARATE = ([0, 2, 4, 6, 8, 10, 12, 14], [1, 3, 5, 7, 9, 11, 13, 15])


def _load(builder: Builder, array: Value, places: list[Value], bound: int) -> list[Lanes]:
    return [Lanes(emit_load(builder, VECTOR512, array, place), bound) for place in places]


def _strided(builder: Builder, groups: Value, stride: Value, radix: int, body: Callable[..., None]) -> None:
    """Emits body(places, index) for every set of registers of a pass; index: of the group's first factor."""
    size = builder.shl(stride, I64(radix))
    with cgutils.for_range(builder, groups) as group:
        start = builder.mul(group.index, size)
        with cgutils.for_range_slice(builder, I64(0), stride, I64(8), I64) as (offset, _):
            body(registers(builder, builder.add(start, offset), stride, 1 << radix), builder.add(groups, group.index))


def _blocks(builder: Builder, groups: Value, body: Callable[..., None]) -> None:
    """Emits body(places, index, pairs) for every block; pairs: (register, index of its first factor inside registers)."""
    with cgutils.for_range(builder, groups) as group:
        index = builder.add(groups, group.index)
        places = registers(builder, builder.mul(group.index, I64(8 << _BLOCK)), I64(8), 1 << _BLOCK)
        first = builder.shl(index, I64(_BLOCK))
        body(places, index, [(k, builder.add(first, I64(k))) for k in range(0, 1 << _BLOCK, 2)])


def forward_pass(radix: int, room: int, bound: int) -> Intrinsic:
    """Radix 2^radix on values below bound * q."""

    @intrinsic
    def one_pass(
        typing: Any,
        row: NumbaType,
        groups: NumbaType,
        stride: NumbaType,
        factors: NumbaType,
        companions: NumbaType,
        q: NumbaType,
        negative: NumbaType,
        twice: NumbaType,
        one: NumbaType,
    ) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            array, w, s = (data_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 3, 4))
            emit, load = Emitter(builder, room, *arguments[5:9]), Factors(builder, w, s)

            def body(places: list[Value], index: Value) -> None:
                lanes = _load(builder, array, places, bound)
                between(builder, load, lanes, radix, index, range(radix), lambda x, y, f, _: emit.forward(x, y, f))
                for place, lane in zip(places, lanes, strict=True):
                    emit_store(builder, lane.value, array, place)

            _strided(builder, arguments[1], arguments[2], radix, body)
            return context.get_dummy_value()

        return types.void(row, types.intp, types.intp, factors, companions, *[v512] * 4), code

    return one_pass


def forward_blocks(room: int, bound: int) -> Intrinsic:
    @intrinsic
    def last_pass(
        typing: Any,
        row: NumbaType,
        groups: NumbaType,
        factors: NumbaType,
        companions: NumbaType,
        q: NumbaType,
        negative: NumbaType,
        twice: NumbaType,
        one: NumbaType,
    ) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            array, w, s = (data_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 2, 3))
            emit, load = Emitter(builder, room, *arguments[4:8]), Factors(builder, w, s)

            def body(places: list[Value], index: Value, pairs: Pairs) -> None:
                lanes = _load(builder, array, places, bound)
                between(builder, load, lanes, _BLOCK, index, range(_BLOCK), lambda x, y, f, _: emit.forward(x, y, f))
                for level, orders in enumerate(_PAIRS):
                    for k, first in pairs:
                        x, y = shuffled(builder, lanes[k], lanes[k + 1], orders)
                        factor = load.spread(builder.shl(first, I64(level)), 2 << level)
                        lanes[k], lanes[k + 1] = emit.forward(x, y, factor)
                for k, _ in pairs:
                    x, y = (Lanes(emit.canonical(Lanes(lane.value, room)), 1) for lane in lanes[k : k + 2])
                    for place, z in zip(places[k : k + 2], shuffled(builder, x, y, _INTERLEAVE), strict=True):
                        emit_store(builder, z.value, array, place)

            _blocks(builder, arguments[1], body)
            return context.get_dummy_value()

        return types.void(row, types.intp, factors, companions, *[v512] * 4), code

    return last_pass


def _kept(room: int) -> int:
    """Bound of the values that one inverse pass leaves to the next."""
    return 4 if room == LAZY else 2


def _store_kept(emit: Emitter, lanes: list[Lanes], array: Value, places: list[Value]) -> None:
    for place, lane in zip(places, lanes, strict=True):
        kept = emit.reduce(lane) if lane.bound > _kept(emit.room) else lane
        emit_store(emit.builder, kept.value, array, place)


def inverse_blocks(room: int) -> Intrinsic:
    @intrinsic
    def first_pass(
        typing: Any,
        row: NumbaType,
        groups: NumbaType,
        factors: NumbaType,
        companions: NumbaType,
        q: NumbaType,
        negative: NumbaType,
        twice: NumbaType,
        one: NumbaType,
    ) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            array, w, s = (data_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 2, 3))
            emit, load = Emitter(builder, room, *arguments[4:8]), Factors(builder, w, s)

            def body(places: list[Value], index: Value, pairs: Pairs) -> None:
                lanes = _load(builder, array, places, 1)
                for k, _ in pairs:
                    lanes[k : k + 2] = shuffled(builder, lanes[k], lanes[k + 1], _SEPARATE)
                for level, orders in reversed(tuple(enumerate(_PAIRS))):
                    for k, first in pairs:
                        factor = load.spread(builder.shl(first, I64(level)), 2 << level)
                        x, y = emit.inverse(lanes[k], lanes[k + 1], factor)
                        lanes[k : k + 2] = shuffled(builder, x, y, orders)  # each of these orders is its own inverse
                levels = reversed(range(_BLOCK))
                between(builder, load, lanes, _BLOCK, index, levels, lambda x, y, f, _: emit.inverse(x, y, f))
                _store_kept(emit, lanes, array, places)

            _blocks(builder, arguments[1], body)
            return context.get_dummy_value()

        return types.void(row, types.intp, factors, companions, *[v512] * 4), code

    return first_pass


def inverse_pass(radix: int, room: int) -> Intrinsic:
    @intrinsic
    def one_pass(
        typing: Any,
        row: NumbaType,
        groups: NumbaType,
        stride: NumbaType,
        factors: NumbaType,
        companions: NumbaType,
        q: NumbaType,
        negative: NumbaType,
        twice: NumbaType,
        one: NumbaType,
    ) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            array, w, s = (data_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 3, 4))
            emit, load = Emitter(builder, room, *arguments[5:9]), Factors(builder, w, s)

            def body(places: list[Value], index: Value) -> None:
                lanes = _load(builder, array, places, _kept(room))
                levels = reversed(range(radix))
                between(builder, load, lanes, radix, index, levels, lambda x, y, f, _: emit.inverse(x, y, f))
                _store_kept(emit, lanes, array, places)

            _strided(builder, arguments[1], arguments[2], radix, body)
            return context.get_dummy_value()

        return types.void(row, types.intp, types.intp, factors, companions, *[v512] * 4), code

    return one_pass


def inverse_last(radix: int, room: int) -> Intrinsic:
    """The pass of a single group, to canonical coefficients; n: 1/N, last: the last factor / N, each with its companion."""

    @intrinsic
    def last_pass(
        typing: Any,
        row: NumbaType,
        stride: NumbaType,
        factors: NumbaType,
        companions: NumbaType,
        q: NumbaType,
        negative: NumbaType,
        twice: NumbaType,
        one: NumbaType,
        n: NumbaType,
        n_s: NumbaType,
        last: NumbaType,
        last_s: NumbaType,
    ) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            array, w, s = (data_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 2, 3))
            emit, load = Emitter(builder, room, *arguments[4:8]), Factors(builder, w, s)
            scale, scaled = arguments[8:10], arguments[10:12]

            def butterfly(x: Lanes, y: Lanes, factor: Factor, level: int) -> tuple[Lanes, Lanes]:
                return emit.inverse(x, y, scaled, scale) if level == 0 else emit.inverse(x, y, factor)

            def body(places: list[Value], index: Value) -> None:
                lanes = _load(builder, array, places, _kept(room))
                between(builder, load, lanes, radix, index, reversed(range(radix)), butterfly)
                for place, lane in zip(places, lanes, strict=True):
                    emit_store(builder, emit.canonical(lane), array, place)

            _strided(builder, I64(1), arguments[1], radix, body)
            return context.get_dummy_value()

        return types.void(row, types.intp, factors, companions, *[v512] * 8), code

    return last_pass
