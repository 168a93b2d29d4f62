"""Arithmetic on RNS polynomials with 52-bit integer multiply-add (AVX-512 IFMA); the same bits as `rlwe_scalar`.

Signatures and meanings are those of `rlwe_scalar`; the last axis must be a multiple of 8. A product by a fixed factor
lands in [0, 2q) modulo 2^52, with garbage above bit 52 until it is masked; 4q < 2^52.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.machine.compiled import inlined_by_numba, kernel
from bunet.protocols.kernels.machine.simd import (
    add512,
    and512,
    load512,
    madd52hi,
    madd52lo,
    min512,
    shift_left512,
    shift_right512,
    splat512,
    store512,
    sub512,
    zero512,
)
from bunet.protocols.kernels.machine.types import V512, Integers, Word, Words
from bunet.protocols.kernels.ring.modular import NEGATIVE, ONE_52, T52, T52_52, T104, T104_52, TWICE, Q

_MASK52 = (1 << 52) - 1


@inlined_by_numba
def _fixed(x: V512, w: V512, companion: V512, negative: V512) -> V512:
    """w * x in [0, 2q) modulo 2^52, for any 52-bit x."""
    z = zero512()
    return madd52lo(madd52lo(z, w, x), madd52hi(z, companion, x), negative)


@inlined_by_numba
def _reduced(x: V512, one: V512, negative: V512) -> V512:
    """x in [0, 2q) modulo 2^52, for any 52-bit x."""
    return madd52lo(x, madd52hi(zero512(), one, x), negative)


@inlined_by_numba
def _once(x: V512, q: V512) -> V512:
    """[0, 2q) -> [0, q)."""
    return min512(x, sub512(x, q))


@inlined_by_numba
def _low52(x: V512) -> V512:
    return and512(x, splat512(np.uint64(_MASK52)))


@kernel
def multiply(a: Words, b: Words, out: Words, c: Words) -> None:
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            k, x, y, z = c[l], a[i, l], b[i if b.shape[0] > 1 else 0, l], out[i, l]
            q, twice, negative, one = splat512(k[Q]), splat512(k[TWICE]), splat512(k[NEGATIVE]), splat512(k[ONE_52])
            t52, t52_s = splat512(k[T52]), splat512(k[T52_52])
            for j in range(0, x.size, 8):
                u, v = load512(x, j), load512(y, j)
                low, high = madd52lo(zero512(), u, v), madd52hi(zero512(), u, v)
                r = _low52(add512(_fixed(high, t52, t52_s, negative), _reduced(low, one, negative)))
                store512(z, j, _once(_once(r, twice), q))


@kernel
def multiply_fixed(a: Words, fixed: Words, out: Words, c: Words) -> None:
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            k, x, z, w, s = c[l], a[i, l], out[i, l], fixed[0, l], fixed[2, l]
            q, negative = splat512(k[Q]), splat512(k[NEGATIVE])
            for j in range(0, x.size, 8):
                r = _low52(_fixed(load512(x, j), load512(w, j), load512(s, j), negative))
                store512(z, j, _once(r, q))


@kernel
def add_products(base: Words, a: Words, first: Words, second: Words, out: Words, c: Words) -> None:
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            k, x, y0, y1, z0, z1 = c[l], a[i, l], base[i, 0, l], base[i, 1, l], out[i, 0, l], out[i, 1, l]
            q, twice, negative = splat512(k[Q]), splat512(k[TWICE]), splat512(k[NEGATIVE])
            w0, s0, w1, s1 = first[0, l], first[2, l], second[0, l], second[2, l]
            for j in range(0, x.size, 8):
                u = load512(x, j)
                r = _low52(add512(_fixed(u, load512(w0, j), load512(s0, j), negative), load512(y0, j)))
                store512(z0, j, _once(_once(r, twice), q))
                r = _low52(add512(_fixed(u, load512(w1, j), load512(s1, j), negative), load512(y1, j)))
                store512(z1, j, _once(_once(r, twice), q))


@kernel
def multiply_add(base: Words, a: Words, fixed: Words, out: Words, c: Words) -> None:
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            k, x, y, z, w, s = c[l], a[i, l], base[i, l], out[i, l], fixed[0, l], fixed[2, l]
            q, twice, negative = splat512(k[Q]), splat512(k[TWICE]), splat512(k[NEGATIVE])
            for j in range(0, x.size, 8):
                r = _fixed(load512(x, j), load512(w, j), load512(s, j), negative)
                r = _low52(add512(r, load512(y, j)))
                store512(z, j, _once(_once(r, twice), q))


@kernel
def multiply_subtract(base: Words, a: Words, fixed: Words, out: Words, c: Words) -> None:
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            k, x, y, z, w, s = c[l], a[i, l], base[i, l], out[i, l], fixed[0, l], fixed[2, l]
            q, twice, negative = splat512(k[Q]), splat512(k[TWICE]), splat512(k[NEGATIVE])
            for j in range(0, x.size, 8):
                r = _fixed(load512(x, j), load512(w, j), load512(s, j), negative)
                r = _low52(sub512(add512(load512(y, j), twice), r))
                store512(z, j, _once(_once(r, twice), q))


@kernel
def encode(messages: Words, errors: Integers, plain: Words, limbs: Words, out: Words, c: Words) -> None:
    """As `rlwe_scalar.encode`, for t <= 2^51."""
    t, half = splat512(plain[0]), splat512(plain[0] >> np.uint64(1))
    minus_t = splat512(np.uint64(1 << 52) - plain[0])
    factor, companion = splat512(plain[1]), splat512(plain[3])
    count, size = c.shape[0], messages.shape[1]
    for i in range(messages.shape[0]):
        x, e, z = messages[i], errors[i], out[i].reshape(count * size)
        for j in range(0, size, 8):
            r = _once(_low52(_fixed(load512(x, j), factor, companion, minus_t)), t)
            r = _once(add512(r, half), t)
            error = load512(e, j)
            for l in range(count):
                k, q = c[l], splat512(c[l, Q])
                residue = min512(error, add512(error, q))  # a negative error is large until q is added
                y = _fixed(r, splat512(limbs[l, 0]), splat512(limbs[l, 2]), splat512(k[NEGATIVE]))
                y = _low52(add512(y, add512(splat512(limbs[l, 3]), residue)))
                store512(z, l * size + j, _once(_once(y, splat512(k[TWICE])), q))


@inlined_by_numba
def _digits(x: V512, limb: Words, k: Words, fraction: V512, whole: V512, carry: V512) -> tuple[V512, V512, V512]:
    """Adds x M / q_i to the sum whose fraction is in units of 2^-52 and whose whole part is (whole, carry)."""
    y = _fixed(x, splat512(limb[0]), splat512(limb[2]), splat512(k[NEGATIVE]))
    y = _once(_low52(y), splat512(k[Q]))
    f0, f1, f2 = splat512(limb[3]), splat512(limb[4]), splat512(limb[5])
    fraction = madd52lo(madd52hi(fraction, y, f0), y, f1)
    whole = madd52lo(madd52hi(whole, y, f1), y, f2)
    return fraction, whole, madd52hi(carry, y, f2)


@inlined_by_numba
def _rounded(fraction: V512, whole: V512, carry: V512, count: int, target: Words) -> V512:
    """The sum of `count` terms modulo M."""
    s = add512(add512(whole, shift_left512(carry, 52)), shift_right512(fraction, 52))
    if target[1] != 0:
        return and512(s, splat512(target[1]))
    for _ in range(count):
        s = _once(s, splat512(target[0]))
    return s


@kernel
def scale_round(values: Words, limbs: Words, target: Words, out: Words, c: Words) -> None:
    n, count, size = values.shape
    for i in range(n):
        source, z = values[i].reshape(count * size), out[i]
        for j in range(0, size, 8):
            fraction, whole, carry = splat512(np.uint64(1 << 51)), zero512(), zero512()
            for l in range(count):
                fraction, whole, carry = _digits(load512(source, l * size + j), limbs[l], c[l], fraction, whole, carry)
            store512(z, j, _rounded(fraction, whole, carry, count, target))


@kernel
def scale_second(pairs: Words, errors: Integers, limbs: Words, target: Words, out: Words, c: Words) -> None:
    n, _, count, size = pairs.shape
    for i in range(n):
        source, e, z = pairs[i, 1].reshape(count * size), errors[i], out[i]
        for j in range(0, size, 8):
            fraction, whole, carry = splat512(np.uint64(1 << 51)), zero512(), zero512()
            error = load512(e, j)
            for l in range(count):
                x = add512(load512(source, l * size + j), add512(error, splat512(c[l, Q])))  # below 3q < 2^52
                fraction, whole, carry = _digits(x, limbs[l], c[l], fraction, whole, carry)
            store512(z, j, _rounded(fraction, whole, carry, count, target))


@kernel
def add_flood(words: Words, masks: Words, constants: Words, offsets: Words, values: Words) -> None:
    """As `sampling.add_flood`."""
    n, limbs, size = values.shape
    low_mask, high_mask = splat512(masks[0]), splat512(masks[1])
    for i in range(n):
        for l in range(limbs):
            k, x, lows, highs = constants[l], values[i, l], words[i, 0], words[i, 1]
            q, twice, negative, one = splat512(k[Q]), splat512(k[TWICE]), splat512(k[NEGATIVE]), splat512(k[ONE_52])
            t52, t52_s, t104, t104_s = splat512(k[T52]), splat512(k[T52_52]), splat512(k[T104]), splat512(k[T104_52])
            offset = splat512(offsets[l])
            for j in range(0, size, 8):
                low, high = and512(load512(lows, j), low_mask), and512(load512(highs, j), high_mask)
                middle = add512(shift_right512(low, 52), _low52(shift_left512(high, 12)))
                r = add512(_fixed(middle, t52, t52_s, negative), _fixed(shift_right512(high, 40), t104, t104_s, negative))
                r = _once(_low52(r), twice)
                r = _once(_low52(add512(r, _reduced(_low52(low), one, negative))), twice)
                r = add512(_once(r, q), add512(offset, load512(x, j)))  # below 3q
                store512(x, j, _once(_once(r, twice), q))


@inlined_by_numba
def _halves(low: Word, high: Word, q: V512, twice: V512, negative: V512, one: V512, t52: V512, t52_s: V512) -> V512:
    """(low + 2^52 high) mod q, canonical, of two sums, high < 2^52 - 2^12."""
    z = zero512()
    high = add512(high, shift_right512(low, 52))
    r = madd52lo(madd52lo(low, madd52hi(z, one, low), negative), t52, high)
    r = _low52(madd52lo(r, madd52hi(z, t52_s, high), negative))
    return _once(_once(r, twice), q)


@inlined_by_numba
def _folded(high: Word, one: V512, negative: V512, t52: V512, t52_s: V512) -> V512:
    """A 64-bit high sum modulo q, below 4q <= 2^52 - 4 * 4095 (q is 1 modulo 4096 or more)."""
    return _low52(add512(_reduced(high, one, negative), _fixed(shift_right512(high, 52), t52, t52_s, negative)))


@kernel
def _sums(vectors: Words, v_at: int, weights: Words, w_at: int, channels: int, fold: bool, k: Words, out: Words) -> None:
    """Four vectors times two weights, summed over the channels; out (2, 4, 8). fold: the sums' halves may exceed 52 bits."""
    z = zero512()
    l00, l01, l10, l11, l20, l21, l30, l31 = z, z, z, z, z, z, z, z
    h00, h01, h10, h11, h20, h21, h30, h31 = z, z, z, z, z, z, z, z
    for _ in range(channels):
        w0, w1 = load512(weights, w_at), load512(weights, w_at + 8)
        a, b = load512(vectors, v_at), load512(vectors, v_at + 8)
        l00, h00, l01, h01 = madd52lo(l00, a, w0), madd52hi(h00, a, w0), madd52lo(l01, a, w1), madd52hi(h01, a, w1)
        l10, h10, l11, h11 = madd52lo(l10, b, w0), madd52hi(h10, b, w0), madd52lo(l11, b, w1), madd52hi(h11, b, w1)
        a, b = load512(vectors, v_at + 16), load512(vectors, v_at + 24)
        l20, h20, l21, h21 = madd52lo(l20, a, w0), madd52hi(h20, a, w0), madd52lo(l21, a, w1), madd52hi(h21, a, w1)
        l30, h30, l31, h31 = madd52lo(l30, b, w0), madd52hi(h30, b, w0), madd52lo(l31, b, w1), madd52hi(h31, b, w1)
        v_at += 32
        w_at += 16
    q, twice, negative, one = splat512(k[Q]), splat512(k[TWICE]), splat512(k[NEGATIVE]), splat512(k[ONE_52])
    t52, t52_s = splat512(k[T52]), splat512(k[T52_52])
    if fold:
        h00, h01 = _folded(h00, one, negative, t52, t52_s), _folded(h01, one, negative, t52, t52_s)
        h10, h11 = _folded(h10, one, negative, t52, t52_s), _folded(h11, one, negative, t52, t52_s)
        h20, h21 = _folded(h20, one, negative, t52, t52_s), _folded(h21, one, negative, t52, t52_s)
        h30, h31 = _folded(h30, one, negative, t52, t52_s), _folded(h31, one, negative, t52, t52_s)
    store512(out, 0, _halves(l00, h00, q, twice, negative, one, t52, t52_s))
    store512(out, 8, _halves(l10, h10, q, twice, negative, one, t52, t52_s))
    store512(out, 16, _halves(l20, h20, q, twice, negative, one, t52, t52_s))
    store512(out, 24, _halves(l30, h30, q, twice, negative, one, t52, t52_s))
    store512(out, 32, _halves(l01, h01, q, twice, negative, one, t52, t52_s))
    store512(out, 40, _halves(l11, h11, q, twice, negative, one, t52, t52_s))
    store512(out, 48, _halves(l21, h21, q, twice, negative, one, t52, t52_s))
    store512(out, 56, _halves(l31, h31, q, twice, negative, one, t52, t52_s))


_PANEL = 1 << 16  # words of packed ciphertexts: 512 KiB, half of a second-level cache


@kernel
def multiply_accumulate(ciphertexts: Words, weights: Words, out: Words, c: Words) -> None:
    """As `rlwe_scalar.multiply_accumulate`, with 52-bit halves summed in 64-bit lanes (at most 4096 channels).

    Channels lie a power of two apart in memory and would fall on the same cache sets, so blocks of lanes are copied into
    panels, [block][four vectors][channel][4][8] and [block][channel][2][8], and multiplied from there.
    """
    tiles, channels, polys, limbs, degree = ciphertexts.shape
    outputs, vectors, poly = weights.shape[1], tiles * polys, limbs * degree
    blocks = 32
    while blocks > 2 and 8 * blocks * channels * min(vectors, 16) > _PANEL:
        blocks >>= 1
    step = min(max(4, _PANEL // (8 * blocks * channels)) & -4, (vectors + 3) & -4)  # vectors in a panel
    panel = np.zeros(blocks * step * channels * 8, np.uint64)
    factors = np.zeros(blocks * channels * 16, np.uint64)
    sums = np.empty(64, np.uint64)
    pitch = 8 * blocks + 8  # rows of results are put together first: outputs lie a power of two apart too
    rows = np.empty(2 * step * pitch, np.uint64)
    source, results = np.empty(vectors, np.int64), np.empty(vectors, np.int64)  # where each vector starts in memory
    for v in range(vectors):
        source[v] = (v // polys * channels * polys + v % polys) * poly
        results[v] = (v // polys * outputs * polys + v % polys) * poly
    x, w, z = ciphertexts.reshape(ciphertexts.size), weights.reshape(weights.size), out.reshape(out.size)
    for l in range(limbs):
        largest = c[l, Q] >> np.uint64(26)  # square root of a product's high half, rounded down
        fold = channels * ((largest + 1) * (largest + 1) + 1) >= (1 << 52) - (1 << 12)
        for column in range(l * degree, (l + 1) * degree, 8 * blocks):
            for first in range(0, vectors, step):
                count = min(step, vectors - first)
                for v in range(count):
                    for i in range(channels):
                        at, place = source[first + v] + i * polys * poly + column, ((v >> 2) * channels + i) * 32 + (v & 3) * 8
                        for _ in range(blocks):
                            store512(panel, place, load512(x, at))
                            at += 8
                            place += step * channels * 8
                for o in range(0, outputs, 2):
                    for i in range(channels):
                        for p in range(min(2, outputs - o)):
                            at, place = (i * outputs + o + p) * poly + column, i * 16 + p * 8
                            for _ in range(blocks):
                                store512(factors, place, load512(w, at))
                                at += 8
                                place += channels * 16
                    for b in range(blocks):
                        for g in range(0, count, 4):
                            panel_at = (b * step + g) * channels * 8
                            _sums(panel, panel_at, factors, b * channels * 16, channels, fold, c[l], sums)
                            for p in range(2):
                                for v in range(4):
                                    store512(rows, (p * step + g + v) * pitch + 8 * b, load512(sums, 32 * p + 8 * v))
                    for p in range(min(2, outputs - o)):
                        for v in range(count):
                            at, place = results[first + v] + (o + p) * polys * poly + column, (p * step + v) * pitch
                            for _ in range(blocks):
                                store512(z, at, load512(rows, place))
                                at += 8
                                place += 8
