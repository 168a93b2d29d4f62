"""The last six levels of a forward NTT on eight blocks of 64 coefficients at a time, one in each lane: for `convolve_ifma`."""

from __future__ import annotations

from typing import Any

from numba import types

from bunet.protocols.kernels.machine.compiled import intrinsic, kernel
from bunet.protocols.kernels.machine.simd import I64, VECTOR512, data_pointer, emit_load, emit_store, splat512, v512
from bunet.protocols.kernels.machine.types import (
    Builder,
    Context,
    Emission,
    Intrinsic,
    NumbaType,
    Signature,
    Value,
    Values,
    Words,
)
from bunet.protocols.kernels.ring.modular import NEGATIVE, ONE_52, TWICE, Q
from bunet.protocols.kernels.ring.ntt_emit import LAZY, TIGHT, Emitter, Factor, Factors, Lanes, between, registers

BLOCK = 64  # coefficients that the last six levels of a forward transform mix


class _LaneFactors(Factors):
    """Factors that differ from lane to lane: rows of eight."""

    def one(self, index: Value) -> Factor:
        at = self.builder.mul(index, I64(8))
        return [emit_load(self.builder, VECTOR512, p, at) for p in self.pointers]


def _forward_lanes(room: int, final: bool) -> Intrinsic:
    @intrinsic
    def lanes_pass(
        typing: Any,
        a: NumbaType,
        offset: NumbaType,
        stride: NumbaType,
        out: NumbaType,
        to: NumbaType,
        pitch: NumbaType,
        factors: NumbaType,
        at: NumbaType,
        index: NumbaType,
        q: NumbaType,
        negative: NumbaType,
        twice: NumbaType,
        one: NumbaType,
    ) -> Emission:
        def code(context: Context, builder: Builder, signature: Signature, arguments: Values) -> Value:
            array, target, table = (data_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 3, 6))
            w = builder.gep(table, [arguments[7]])
            s = builder.gep(w, [I64(8 * BLOCK)])
            emit, load = Emitter(builder, room, *arguments[9:13]), _LaneFactors(builder, w, s)
            places = registers(builder, arguments[1], arguments[2], 8)
            lanes = [Lanes(emit_load(builder, VECTOR512, array, place), 1 if room == LAZY else room) for place in places]
            between(builder, load, lanes, 3, arguments[8], range(3), lambda x, y, f, _: emit.forward(x, y, f))
            places = registers(builder, arguments[4], arguments[5], 8)
            for place, lane in zip(places, lanes, strict=True):
                value = emit.canonical(Lanes(lane.value, room)) if final else lane.value
                emit_store(builder, value, target, place)
            return context.get_dummy_value()

        index = types.intp
        return types.void(a, index, index, out, index, index, factors, index, index, *[v512] * 4), code

    return lanes_pass


_lanes_lazy, _lanes_tight = _forward_lanes(LAZY, False), _forward_lanes(TIGHT, False)
_lanes_last_lazy, _lanes_last_tight = _forward_lanes(LAZY, True), _forward_lanes(TIGHT, True)

MOST_LAZY = LAZY - 12  # bound of the values that `lanes_lazy` takes, a multiple of q


@kernel
def lanes_lazy(a: Words, at: int, out: Words, to: int, pitch: int, factors: Words, row: int, c: Words) -> None:
    """The last six levels of a forward transform of eight blocks at a time, one in each lane, a[at : at + BLOCK * 8].

    a: uint64, any representatives below MOST_LAZY * q modulo 2^52, q < 2^47; overwritten. Canonical results to
    out[to + j * pitch : +8]. factors: (BLOCK, 8) at word `row`, their companions behind; row 2^l + g holds those of group g
    at level l of the six, row 0 is not used.
    """
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    for j in range(at, at + 64, 8):
        _lanes_lazy(a, j, 64, a, j, 64, factors, row, 1, q, negative, twice, one)
    for k in range(8):
        start = to + 8 * k * pitch
        _lanes_last_lazy(a, at + 64 * k, 8, out, start, pitch, factors, row, 8 + k, q, negative, twice, one)


@kernel
def lanes_tight(a: Words, at: int, out: Words, to: int, pitch: int, factors: Words, row: int, c: Words) -> None:
    """As `lanes_lazy` for q < 2^50 and values below TIGHT * q."""
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    for j in range(at, at + 64, 8):
        _lanes_tight(a, j, 64, a, j, 64, factors, row, 1, q, negative, twice, one)
    for k in range(8):
        start = to + 8 * k * pitch
        _lanes_last_tight(a, at + 64 * k, 8, out, start, pitch, factors, row, 8 + k, q, negative, twice, one)
