"""Negacyclic NTT with 52-bit integer multiply-add (AVX-512 IFMA): eight lanes, several levels in one pass over registers.

Numbers live modulo 2^52: the multiplier reads the low 52 bits only, so nothing is masked before the end. A value is kept
as any representative below `bound` * q; `room` is how many q fit below 2^52. With q < 2^47 (room 32) a forward
transform of 14 levels never reduces: each level adds 2 to the bound, 1 + 2 * 14 <= 32. With q < 2^50 (room 4) the upper
operand is brought below 2q first. All of this is decided while code is emitted; `bound` exists at no other time.

A pass of radix 2^r takes 2^r registers at a stride and does r levels; the last (forward) or first (inverse) pass takes
2^r consecutive registers and does r levels between registers and three inside them.
"""

from __future__ import annotations

from dataclasses import dataclass

from bunet.protocols.kernels.modular import NEGATIVE, ONE_52, TWICE, Q
from bunet.protocols.kernels.simd import (
    I64,
    VECTOR512,
    data_pointer,
    emit_call,
    emit_load,
    emit_shuffle,
    emit_splat,
    emit_store,
    splat512,
    v512,
)

# isort: split
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LAZY, TIGHT = 32, 4  # room for q < 2^47, for q < 2^50
_BLOCK = 3  # log2 of the registers in a last (first) pass
BLOCK = 64  # coefficients that the last six levels of a forward transform mix
_ZERO = ir.Constant(VECTOR512, [0] * 8)
_MASK52 = ir.Constant(VECTOR512, [(1 << 52) - 1] * 8)


@dataclass
class _Lanes:
    """A register during emission, with the multiple of q below which its values are."""

    value: ir.Value
    bound: int


class _Emitter:
    """Butterflies modulo one prime; q, negative = 2^52 - q, twice = 2q, one = floor(2^52 / q) are splat registers."""

    def __init__(self, builder, room, q, negative, twice, one):
        self.builder, self.room = builder, room
        self.q, self.negative, self.twice, self.one = q, negative, twice, one

    def _low(self, acc, a, b):
        return emit_call(self.builder, "llvm.x86.avx512.vpmadd52l.uq.512", VECTOR512, [acc, a, b])

    def _high(self, acc, a, b):
        return emit_call(self.builder, "llvm.x86.avx512.vpmadd52h.uq.512", VECTOR512, [acc, a, b])

    def multiply(self, x, factor):
        """factor * x in [0, 2q) for any 52-bit x; factor is (w, its companion)."""
        w, companion = factor
        quotient = self._high(_ZERO, companion, x)
        return _Lanes(self._low(self._low(_ZERO, w, x), quotient, self.negative), 2)

    def reduce(self, x):
        """Any 52-bit x to [0, 2q)."""
        return _Lanes(self._low(x.value, self._high(_ZERO, self.one, x.value), self.negative), 2)

    def canonical(self, x):
        """[0, 2q) to [0, q), the garbage above bit 52 cleared."""
        if x.bound > 2:
            x = self.reduce(x)
        value = self.builder.and_(x.value, _MASK52)
        return emit_call(self.builder, "llvm.umin.v8i64", VECTOR512, [value, self.builder.sub(value, self.q)])

    def forward(self, x, y, factor):
        """x + factor y, x - factor y."""
        if x.bound + 2 > self.room:
            x = self.reduce(x)
        v = self.multiply(y.value, factor)
        top = self.builder.add(x.value, v.value)
        bottom = self.builder.sub(self.builder.add(x.value, self.twice), v.value)
        return _Lanes(top, x.bound + 2), _Lanes(bottom, x.bound + 2)

    def inverse(self, x, y, factor, scale=None):
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
        return _Lanes(top, x.bound + y.bound), bottom


def _power(n):
    """The smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


class _Factors:
    """Loads of twiddle factors and their companions."""

    def __init__(self, builder, factors, companions):
        self.builder, self.pointers = builder, (factors, companions)

    def one(self, index):
        """factors[index] in all lanes."""
        return [emit_splat(self.builder, self.builder.load(self.builder.gep(p, [index])), 8) for p in self.pointers]

    def spread(self, index, count):
        """factors[index : index + count], each in 8 / count neighbouring lanes."""
        loads = [emit_load(self.builder, ir.VectorType(I64, count), p, index) for p in self.pointers]
        if count == 8:
            return loads
        lanes = [lane * count // 8 for lane in range(8)]
        return [emit_shuffle(self.builder, load, None, lanes) for load in loads]


# Lanes of two registers before the level with half-distance 4, 2, 1, and the standard order after it.
_PAIRS = (
    ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
    ([0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
    ([0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]),
)
_INTERLEAVE = ([0, 8, 1, 9, 2, 10, 3, 11], [4, 12, 5, 13, 6, 14, 7, 15])
_SEPARATE = ([0, 2, 4, 6, 8, 10, 12, 14], [1, 3, 5, 7, 9, 11, 13, 15])


def _shuffled(builder, x, y, orders):
    bound = max(x.bound, y.bound)
    return [_Lanes(emit_shuffle(builder, x.value, y.value, order), bound) for order in orders]


def _between(builder, factors, lanes, radix, index, levels, butterfly):
    """Levels between registers: at level l, group g uses the factor (index << l) + g."""
    for l in levels:
        half = 1 << radix - l - 1
        for g in range(1 << l):
            factor = factors.one(builder.add(builder.shl(index, I64(l)), I64(g)))
            for k in range(2 * g * half, (2 * g + 1) * half):
                lanes[k], lanes[k + half] = butterfly(lanes[k], lanes[k + half], factor, l)


def _registers(builder, array, offset, stride, count):
    return [builder.add(offset, builder.mul(stride, I64(k))) for k in range(count)]


def _forward_pass(radix, room):
    @intrinsic
    def one_pass(typing, a, offset, stride, factors, companions, index, q, negative, twice, one):
        def code(context, builder, signature, arguments):
            array, w, s = (data_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 3, 4))
            emit, load = _Emitter(builder, room, *arguments[6:10]), _Factors(builder, w, s)
            places = _registers(builder, array, arguments[1], arguments[2], 1 << radix)
            # in: canonical, or anything a pass before left; a lazy transform never reaches its room (see the top)
            lanes = [_Lanes(emit_load(builder, VECTOR512, array, place), 1 if room == LAZY else room) for place in places]
            _between(
                builder, load, lanes, radix, arguments[5], range(radix), lambda x, y, f, _: emit.forward(x, y, f)
            )
            for place, lane in zip(places, lanes, strict=True):
                emit_store(builder, lane.value, array, place)
            return context.get_dummy_value()

        return types.void(a, types.intp, types.intp, factors, companions, types.intp, v512, v512, v512, v512), code

    return one_pass


def _forward_last(room):
    @intrinsic
    def last_pass(typing, a, offset, factors, companions, index, q, negative, twice, one):
        def code(context, builder, signature, arguments):
            array, w, s = (data_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 2, 3))
            index = arguments[4]
            emit, load = _Emitter(builder, room, *arguments[5:9]), _Factors(builder, w, s)
            places = _registers(builder, array, arguments[1], I64(8), 1 << _BLOCK)
            lanes = [_Lanes(emit_load(builder, VECTOR512, array, place), 1 if room == LAZY else room) for place in places]
            _between(builder, load, lanes, _BLOCK, index, range(_BLOCK), lambda x, y, f, _: emit.forward(x, y, f))
            first = builder.shl(index, I64(_BLOCK))
            for k in range(0, 1 << _BLOCK, 2):
                x, y = lanes[k], lanes[k + 1]
                at = builder.add(first, I64(k))
                for level, orders in enumerate(_PAIRS):
                    x, y = _shuffled(builder, x, y, orders)
                    x, y = emit.forward(x, y, load.spread(builder.shl(at, I64(level)), 2 << level))
                # lazy bounds were counted from 1 here but come from the levels before: reduce whatever they say
                x, y = (_Lanes(emit.canonical(_Lanes(z.value, room)), 1) for z in (x, y))
                for place, z in zip(places[k : k + 2], _shuffled(builder, x, y, _INTERLEAVE), strict=True):
                    emit_store(builder, z.value, array, place)
            return context.get_dummy_value()

        return types.void(a, types.intp, factors, companions, types.intp, v512, v512, v512, v512), code

    return last_pass


def _kept(emit, lane, bound):
    return emit.reduce(lane) if lane.bound > bound else lane


def _inverse_first(room):
    @intrinsic
    def first_pass(typing, a, offset, factors, companions, index, q, negative, twice, one):
        def code(context, builder, signature, arguments):
            array, w, s = (data_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 2, 3))
            index = arguments[4]
            emit, load = _Emitter(builder, room, *arguments[5:9]), _Factors(builder, w, s)
            places = _registers(builder, array, arguments[1], I64(8), 1 << _BLOCK)
            lanes = [_Lanes(emit_load(builder, VECTOR512, array, place), 1) for place in places]
            first = builder.shl(index, I64(_BLOCK))
            for k in range(0, 1 << _BLOCK, 2):
                x, y = _shuffled(builder, lanes[k], lanes[k + 1], _SEPARATE)
                at = builder.add(first, I64(k))
                for level in (2, 1, 0):
                    x, y = emit.inverse(x, y, load.spread(builder.shl(at, I64(level)), 2 << level))
                    x, y = _shuffled(builder, x, y, _PAIRS[level])  # each of these orders is its own inverse
                lanes[k], lanes[k + 1] = x, y
            _between(
                builder, load, lanes, _BLOCK, index, reversed(range(_BLOCK)), lambda x, y, f, _: emit.inverse(x, y, f)
            )
            for place, lane in zip(places, lanes, strict=True):
                emit_store(builder, _kept(emit, lane, _between_passes(room)).value, array, place)
            return context.get_dummy_value()

        return types.void(a, types.intp, factors, companions, types.intp, v512, v512, v512, v512), code

    return first_pass


def _between_passes(room):
    """Bound of the values that one inverse pass leaves to the next."""
    return 4 if room == LAZY else 2


def _inverse_pass(radix, room, final):
    @intrinsic
    def one_pass(typing, a, offset, stride, factors, companions, index, q, negative, twice, one, n, n_s, last, last_s):
        def code(context, builder, signature, arguments):
            array, w, s = (data_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 3, 4))
            emit, load = _Emitter(builder, room, *arguments[6:10]), _Factors(builder, w, s)
            scale, scaled = arguments[10:12], arguments[12:14]
            places = _registers(builder, array, arguments[1], arguments[2], 1 << radix)
            bound = _between_passes(room)
            lanes = [_Lanes(emit_load(builder, VECTOR512, array, place), bound) for place in places]

            def butterfly(x, y, factor, level):
                if final and level == 0:  # the only group of the last level: 1/N is multiplied in
                    return emit.inverse(x, y, scaled, scale)
                return emit.inverse(x, y, factor)

            _between(builder, load, lanes, radix, arguments[5], reversed(range(radix)), butterfly)
            for place, lane in zip(places, lanes, strict=True):
                value = emit.canonical(lane) if final else _kept(emit, lane, bound).value
                emit_store(builder, value, array, place)
            return context.get_dummy_value()

        return types.void(a, types.intp, types.intp, factors, companions, types.intp, *[v512] * 8), code

    return one_pass


_forward2_lazy, _forward2_tight = _forward_pass(2, LAZY), _forward_pass(2, TIGHT)
_forward3_lazy, _forward3_tight = _forward_pass(3, LAZY), _forward_pass(3, TIGHT)
_forward4_lazy, _forward4_tight = _forward_pass(4, LAZY), _forward_pass(4, TIGHT)
_last_lazy, _last_tight = _forward_last(LAZY), _forward_last(TIGHT)
_inverse3_lazy, _inverse3_tight = _inverse_pass(3, LAZY, False), _inverse_pass(3, TIGHT, False)
_inverse4_lazy, _inverse4_tight = _inverse_pass(4, LAZY, False), _inverse_pass(4, TIGHT, False)
_final2_lazy, _final2_tight = _inverse_pass(2, LAZY, True), _inverse_pass(2, TIGHT, True)
_final3_lazy, _final3_tight = _inverse_pass(3, LAZY, True), _inverse_pass(3, TIGHT, True)
_final4_lazy, _final4_tight = _inverse_pass(4, LAZY, True), _inverse_pass(4, TIGHT, True)
_first_lazy, _first_tight = _inverse_first(LAZY), _inverse_first(TIGHT)

class _LaneFactors(_Factors):
    """Factors that differ from lane to lane: rows of eight."""

    def one(self, index):
        at = self.builder.mul(index, I64(8))
        return [emit_load(self.builder, VECTOR512, p, at) for p in self.pointers]


def _forward_lanes(room, final):
    @intrinsic
    def lanes_pass(typing, a, offset, stride, out, to, pitch, factors, at, index, q, negative, twice, one):
        def code(context, builder, signature, arguments):
            array, target, table = (data_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 3, 6))
            w = builder.gep(table, [arguments[7]])
            s = builder.gep(w, [I64(8 * BLOCK)])
            emit, load = _Emitter(builder, room, *arguments[9:13]), _LaneFactors(builder, w, s)
            places = _registers(builder, array, arguments[1], arguments[2], 8)
            lanes = [_Lanes(emit_load(builder, VECTOR512, array, place), 1 if room == LAZY else room) for place in places]
            _between(builder, load, lanes, 3, arguments[8], range(3), lambda x, y, f, _: emit.forward(x, y, f))
            places = _registers(builder, target, arguments[4], arguments[5], 8)
            for place, lane in zip(places, lanes, strict=True):
                value = emit.canonical(_Lanes(lane.value, room)) if final else lane.value
                emit_store(builder, value, target, place)
            return context.get_dummy_value()

        index = types.intp
        return types.void(a, index, index, out, index, index, factors, index, index, *[v512] * 4), code

    return lanes_pass


_lanes_lazy, _lanes_tight = _forward_lanes(LAZY, False), _forward_lanes(TIGHT, False)
_lanes_last_lazy, _lanes_last_tight = _forward_lanes(LAZY, True), _forward_lanes(TIGHT, True)

MOST_LAZY = LAZY - 12  # bound of the values that `lanes_lazy` takes, a multiple of q


@njit(nogil=True, cache=True)
def lanes_lazy(a, at, out, to, pitch, factors, row, c):
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


@njit(nogil=True, cache=True)
def lanes_tight(a, at, out, to, pitch, factors, row, c):
    """As `lanes_lazy` for q < 2^50 and values below TIGHT * q."""
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    for j in range(at, at + 64, 8):
        _lanes_tight(a, j, 64, a, j, 64, factors, row, 1, q, negative, twice, one)
    for k in range(8):
        start = to + 8 * k * pitch
        _lanes_last_tight(a, at + 64 * k, 8, out, start, pitch, factors, row, 8 + k, q, negative, twice, one)


# A transform is two strided passes and the six levels of the block pass. Radices of the strided passes, by degree:
# 2048: 2, 3; 4096: 2, 4; 8192: 3, 4; 16384: 4, 4. numba does not cache a closure over an intrinsic, hence the repetition.


@njit(nogil=True, cache=True, inline="always")
def _radices(degree):
    return (2 if degree <= 4096 else 3 if degree == 8192 else 4), (3 if degree == 2048 else 4)


@njit(nogil=True, cache=True)
def _forward_lazy(row, w, s, c):
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    first, second = _radices(row.size)
    stride = row.size >> first
    for j in range(0, stride, 8):
        if first == 2:
            _forward2_lazy(row, j, stride, w, s, 1, q, negative, twice, one)
        elif first == 3:
            _forward3_lazy(row, j, stride, w, s, 1, q, negative, twice, one)
        else:
            _forward4_lazy(row, j, stride, w, s, 1, q, negative, twice, one)
    groups = 1 << first
    inner = stride >> second
    for i in range(groups):
        for j in range(i * stride, i * stride + inner, 8):
            if second == 3:
                _forward3_lazy(row, j, inner, w, s, groups + i, q, negative, twice, one)
            else:
                _forward4_lazy(row, j, inner, w, s, groups + i, q, negative, twice, one)
    groups <<= second
    for i in range(groups):
        _last_lazy(row, i * inner, w, s, groups + i, q, negative, twice, one)


@njit(nogil=True, cache=True)
def _forward_tight(row, w, s, c):
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    first, second = _radices(row.size)
    stride = row.size >> first
    for j in range(0, stride, 8):
        if first == 2:
            _forward2_tight(row, j, stride, w, s, 1, q, negative, twice, one)
        elif first == 3:
            _forward3_tight(row, j, stride, w, s, 1, q, negative, twice, one)
        else:
            _forward4_tight(row, j, stride, w, s, 1, q, negative, twice, one)
    groups = 1 << first
    inner = stride >> second
    for i in range(groups):
        for j in range(i * stride, i * stride + inner, 8):
            if second == 3:
                _forward3_tight(row, j, inner, w, s, groups + i, q, negative, twice, one)
            else:
                _forward4_tight(row, j, inner, w, s, groups + i, q, negative, twice, one)
    groups <<= second
    for i in range(groups):
        _last_tight(row, i * inner, w, s, groups + i, q, negative, twice, one)


@njit(nogil=True, cache=True)
def _inverse_lazy(row, w, s, k, c):
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    n, n_s, z, z_s = splat512(k[0]), splat512(k[2]), splat512(k[3]), splat512(k[5])
    first, second = _radices(row.size)
    stride = row.size >> first
    inner = stride >> second
    groups = 1 << (first + second)
    for i in range(groups):
        _first_lazy(row, i * inner, w, s, groups + i, q, negative, twice, one)
    groups = 1 << first
    for i in range(groups):
        for j in range(i * stride, i * stride + inner, 8):
            if second == 3:
                _inverse3_lazy(row, j, inner, w, s, groups + i, q, negative, twice, one, n, n_s, z, z_s)
            else:
                _inverse4_lazy(row, j, inner, w, s, groups + i, q, negative, twice, one, n, n_s, z, z_s)
    for j in range(0, stride, 8):
        if first == 2:
            _final2_lazy(row, j, stride, w, s, 1, q, negative, twice, one, n, n_s, z, z_s)
        elif first == 3:
            _final3_lazy(row, j, stride, w, s, 1, q, negative, twice, one, n, n_s, z, z_s)
        else:
            _final4_lazy(row, j, stride, w, s, 1, q, negative, twice, one, n, n_s, z, z_s)


@njit(nogil=True, cache=True)
def _inverse_tight(row, w, s, k, c):
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    n, n_s, z, z_s = splat512(k[0]), splat512(k[2]), splat512(k[3]), splat512(k[5])
    first, second = _radices(row.size)
    stride = row.size >> first
    inner = stride >> second
    groups = 1 << (first + second)
    for i in range(groups):
        _first_tight(row, i * inner, w, s, groups + i, q, negative, twice, one)
    groups = 1 << first
    for i in range(groups):
        for j in range(i * stride, i * stride + inner, 8):
            if second == 3:
                _inverse3_tight(row, j, inner, w, s, groups + i, q, negative, twice, one, n, n_s, z, z_s)
            else:
                _inverse4_tight(row, j, inner, w, s, groups + i, q, negative, twice, one, n, n_s, z, z_s)
    for j in range(0, stride, 8):
        if first == 2:
            _final2_tight(row, j, stride, w, s, 1, q, negative, twice, one, n, n_s, z, z_s)
        elif first == 3:
            _final3_tight(row, j, stride, w, s, 1, q, negative, twice, one, n, n_s, z, z_s)
        else:
            _final4_tight(row, j, stride, w, s, 1, q, negative, twice, one, n, n_s, z, z_s)


@njit(nogil=True, cache=True)
def forward(a, factors, constants):
    """As `ntt_scalar.forward`, bit for bit."""
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            if constants[l, Q] >> 47:
                _forward_tight(a[i, l], factors[0, l], factors[2, l], constants[l])
            else:
                _forward_lazy(a[i, l], factors[0, l], factors[2, l], constants[l])


@njit(nogil=True, cache=True)
def inverse(a, factors, scaling, constants):
    """As `ntt_scalar.inverse`, bit for bit."""
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            if constants[l, Q] >> 47:
                _inverse_tight(a[i, l], factors[0, l], factors[2, l], scaling[l], constants[l])
            else:
                _inverse_lazy(a[i, l], factors[0, l], factors[2, l], scaling[l], constants[l])
