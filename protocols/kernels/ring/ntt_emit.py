"""Code generation for NTTs with 52-bit integer multiply-add (AVX-512 IFMA): butterflies on registers of eight lanes.

Numbers live modulo 2^52: the multiplier reads the low 52 bits only, so nothing is masked before the end. A value is kept
as any representative below `bound` * q; `room` is how many q fit below 2^52. With q < 2^47 (room 32) a forward
transform of 14 levels never reduces: each level adds 2 to the bound, 1 + 2 * 14 <= 32. With q < 2^49 (room 8) the upper
operand of every third level is brought below 2q first, with q < 2^50 (room 4) that of every level. All of this is
decided while code is emitted; `bound` exists at no other time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from llvmlite import ir

from bunet.protocols.kernels.machine.simd import I64, VECTOR512, emit_call, emit_load, emit_shuffle, emit_splat
from bunet.protocols.kernels.machine.types import Builder, Value

Factor: TypeAlias = Sequence[Value]  # a twiddle factor and its companion

LAZY, MIDDLE, TIGHT = 32, 8, 4  # room for q < 2^47, 2^49, 2^50
_ZERO = ir.Constant(VECTOR512, [0] * 8)
_MASK52 = ir.Constant(VECTOR512, [(1 << 52) - 1] * 8)


@dataclass
class Lanes:
    """A register during emission, with the multiple of q below which its values are."""

    value: ir.Value
    bound: int


Butterfly: TypeAlias = Callable[[Lanes, Lanes, Factor, int], tuple[Lanes, Lanes]]  # the last one: the level


class Emitter:
    """Butterflies modulo one prime; q, negative = 2^52 - q, twice = 2q, one = floor(2^52 / q) are splat registers."""

    def __init__(self, builder: Builder, room: int, q: Value, negative: Value, twice: Value, one: Value) -> None:
        self.builder, self.room = builder, room
        self.q, self.negative, self.twice, self.one = q, negative, twice, one

    def _low(self, acc: Value, a: Value, b: Value) -> Value:
        return emit_call(self.builder, "llvm.x86.avx512.vpmadd52l.uq.512", VECTOR512, [acc, a, b])

    def _high(self, acc: Value, a: Value, b: Value) -> Value:
        return emit_call(self.builder, "llvm.x86.avx512.vpmadd52h.uq.512", VECTOR512, [acc, a, b])

    def multiply(self, x: Value, factor: Factor) -> Lanes:
        """factor * x in [0, 2q) for any 52-bit x; factor is (w, its companion)."""
        w, companion = factor
        quotient = self._high(_ZERO, companion, x)
        return Lanes(self._low(self._low(_ZERO, w, x), quotient, self.negative), 2)

    def reduce(self, x: Lanes) -> Lanes:
        """Any 52-bit x to [0, 2q)."""
        return Lanes(self._low(x.value, self._high(_ZERO, self.one, x.value), self.negative), 2)

    def canonical(self, x: Lanes) -> Value:
        """[0, 2q) to [0, q), the garbage above bit 52 cleared."""
        if x.bound > 2:
            x = self.reduce(x)
        value = self.builder.and_(x.value, _MASK52)
        return emit_call(self.builder, "llvm.umin.v8i64", VECTOR512, [value, self.builder.sub(value, self.q)])

    def forward(self, x: Lanes, y: Lanes, factor: Factor) -> tuple[Lanes, Lanes]:
        """x + factor y, x - factor y."""
        if x.bound + 2 > self.room:
            x = self.reduce(x)
        w, companion = factor
        quotient = self._high(_ZERO, companion, y.value)
        top = self._low(self._low(x.value, w, y.value), quotient, self.negative)  # the product is added to x on the way
        double = self.builder.add(self.builder.add(x.value, x.value), self.twice)
        return Lanes(top, x.bound + 2), Lanes(self.builder.sub(double, top), x.bound + 2)

    def inverse(self, x: Lanes, y: Lanes, factor: Factor, scale: Factor | None = None) -> tuple[Lanes, Lanes]:
        """x + y (times scale), factor (x - y)."""
        if x.bound + _power(y.bound) > self.room:
            y = self.reduce(y) if y.bound > 2 else y
        if x.bound + _power(y.bound) > self.room:
            x = self.reduce(x)
        shift = _power(y.bound).bit_length() - 1
        multiple = self.builder.shl(self.q, ir.Constant(VECTOR512, [shift] * 8))  # a multiple of q that is at least y
        top = self.builder.add(x.value, y.value)
        bottom = self.multiply(self.builder.sub(self.builder.add(x.value, multiple), y.value), factor)
        if scale is not None:
            return self.multiply(top, scale), bottom
        return Lanes(top, x.bound + y.bound), bottom


def _power(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


class Factors:
    """Loads of twiddle factors and their companions."""

    def __init__(self, builder: Builder, factors: Value, companions: Value) -> None:
        self.builder, self.pointers = builder, (factors, companions)

    def one(self, index: Value) -> Factor:
        """factors[index] in all lanes."""
        return [emit_splat(self.builder, self.builder.load(self.builder.gep(p, [index])), 8) for p in self.pointers]

    def spread(self, index: Value, count: int) -> Factor:
        """factors[index : index + count], each in 8 / count neighbouring lanes."""
        loads = [emit_load(self.builder, ir.VectorType(I64, count), p, index) for p in self.pointers]
        if count == 8:
            return loads
        lanes = [lane * count // 8 for lane in range(8)]
        return [emit_shuffle(self.builder, load, None, lanes) for load in loads]


def shuffled(builder: Builder, x: Lanes, y: Lanes, orders: Sequence[Sequence[int]]) -> list[Lanes]:
    bound = max(x.bound, y.bound)
    return [Lanes(emit_shuffle(builder, x.value, y.value, order), bound) for order in orders]


def between(
    builder: Builder,
    factors: Factors,
    lanes: list[Lanes],
    radix: int,
    index: Value,
    levels: Iterable[int],
    butterfly: Butterfly,
) -> None:
    """Levels between registers: at level l, group g uses the factor (index << l) + g."""
    for l in levels:
        half = 1 << radix - l - 1
        for g in range(1 << l):
            factor = factors.one(builder.add(builder.shl(index, I64(l)), I64(g)))
            for k in range(2 * g * half, (2 * g + 1) * half):
                lanes[k], lanes[k + half] = butterfly(lanes[k], lanes[k + half], factor, l)


def registers(builder: Builder, start: Value, stride: Value, count: int) -> list[Value]:
    """Places of `count` registers, `stride` coefficients apart."""
    return [builder.add(start, builder.mul(stride, I64(k))) for k in range(count)]
