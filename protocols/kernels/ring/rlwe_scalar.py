"""Arithmetic on RNS polynomials in 64-bit scalar arithmetic: the tier that runs everywhere.

Arrays are C-contiguous uint64 of canonical residues, (n, L, N) unless said; c is `modular.constants` (L, 11). Shapes
are checked by `rlwe`, which dispatches.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.machine.compiled import inlined_by_numba, kernel
from bunet.protocols.kernels.machine.simd import mul_high
from bunet.protocols.kernels.machine.types import Integers, Word, Words
from bunet.protocols.kernels.ring.modular import ONE_64, T64, T64_64, Q, multiply_mod, multiply_shoup


@inlined_by_numba
def _once(x: Word, q: Word) -> Word:
    """[0, 2q) -> [0, q)."""
    return min(x, x - q)


@inlined_by_numba
def _twice(x: Word, q: Word) -> Word:
    """[0, 4q) -> [0, q)."""
    x = min(x, x - (q + q))
    return min(x, x - q)


@kernel
def add(a: Words, b: Words, out: Words, c: Words) -> None:
    """out = a + b; b (n, L, N) or (1, L, N) for all."""
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            q, x, y, z = c[l, Q], a[i, l], b[i if b.shape[0] > 1 else 0, l], out[i, l]
            for j in range(x.size):
                z[j] = _once(x[j] + y[j], q)


@kernel
def subtract(a: Words, b: Words, out: Words, c: Words) -> None:
    """out = a - b; b (n, L, N) or (1, L, N) for all."""
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            q, x, y, z = c[l, Q], a[i, l], b[i if b.shape[0] > 1 else 0, l], out[i, l]
            for j in range(x.size):
                z[j] = _once(x[j] + q - y[j], q)


@kernel
def multiply(a: Words, b: Words, out: Words, c: Words) -> None:
    """out = a * b, element by element; b (n, L, N) or (1, L, N) for all."""
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            k, x, y, z = c[l], a[i, l], b[i if b.shape[0] > 1 else 0, l], out[i, l]
            for j in range(x.size):
                z[j] = multiply_mod(x[j], y[j], k)


@kernel
def fixed(poly: Words, out: Words, c: Words) -> None:
    """out (3, L, N) = poly (L, N) with its Shoup companions for k = 64 and 52, in the same time for every poly.

    floor(w 2^64 / q) = w floor(2^64 / q) + floor(w (2^64 mod q) / q); that for k = 52 is its upper part.
    """
    for l in range(poly.shape[0]):
        q, one, t64, t64_s = c[l, Q], c[l, ONE_64], c[l, T64], c[l, T64_64]
        x, w, s64, s52 = poly[l], out[0, l], out[1, l], out[2, l]
        for j in range(x.size):
            quotient = mul_high(t64_s, x[j])  # or one less than the quotient of x (2^64 mod q) by q
            rest = t64 * x[j] - quotient * q
            companion = x[j] * one + quotient + np.uint64(rest >= q)
            w[j] = x[j]
            s64[j] = companion
            s52[j] = companion >> np.uint64(12)


@kernel
def multiply_add(base: Words, a: Words, fixed: Words, out: Words, c: Words) -> None:
    """out = base + a * fixed; fixed (3, L, N): a fixed polynomial and its Shoup companions for k = 64, 52."""
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            q, x, y, z, w, s = c[l, Q], a[i, l], base[i, l], out[i, l], fixed[0, l], fixed[1, l]
            for j in range(x.size):
                z[j] = _twice(y[j] + multiply_shoup(x[j], w[j], s[j], q), q)


@kernel
def add_products(base: Words, a: Words, first: Words, second: Words, out: Words, c: Words) -> None:
    """out (n, 2, L, N) = base + a * (first, second), base (n, 2, L, N), a (n, L, N); fixed factors as in multiply_add."""
    for i in range(a.shape[0]):
        for v in range(2):
            fixed = first if v == 0 else second
            for l in range(a.shape[1]):
                q, x, y, z, w, s = c[l, Q], a[i, l], base[i, v, l], out[i, v, l], fixed[0, l], fixed[1, l]
                for j in range(x.size):
                    z[j] = _twice(y[j] + multiply_shoup(x[j], w[j], s[j], q), q)


@kernel
def pair(a: Words, b: Words, second: Words, out: Words, c: Words) -> None:
    """out (n, 2, L, N) = (a + b, second), all (n, L, N)."""
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            q, x, y, z = c[l, Q], a[i, l], b[i, l], out[i, 0, l]
            for j in range(x.size):
                z[j] = _once(x[j] + y[j], q)
            out[i, 1, l, :] = second[i, l]


@kernel
def multiply_fixed(a: Words, fixed: Words, out: Words, c: Words) -> None:
    """out = a * fixed; fixed as in multiply_add."""
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            q, x, z, w, s = c[l, Q], a[i, l], out[i, l], fixed[0, l], fixed[1, l]
            for j in range(x.size):
                z[j] = _once(multiply_shoup(x[j], w[j], s[j], q), q)


@kernel
def multiply_subtract(base: Words, a: Words, fixed: Words, out: Words, c: Words) -> None:
    """out = base - a * fixed; fixed as in multiply_add."""
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            q, x, y, z, w, s = c[l, Q], a[i, l], base[i, l], out[i, l], fixed[0, l], fixed[1, l]
            for j in range(x.size):
                z[j] = _twice(y[j] + (q + q) - multiply_shoup(x[j], w[j], s[j], q), q)


@kernel
def residues(values: Integers, out: Words, c: Words) -> None:
    """out (n, L, N) = values (n, N) int64 (any) modulo each prime."""
    for i in range(values.shape[0]):
        for l in range(c.shape[0]):
            q, one, x, z = c[l, Q], c[l, ONE_64], values[i], out[i, l]
            for j in range(x.size):
                negative = np.uint64(x[j] >> 63)  # all ones or zeros
                size = (np.uint64(x[j]) ^ negative) - negative
                r = _once(size - mul_high(one, size) * q, q)
                r = (r ^ negative) - negative + (q & negative)
                z[j] = min(r, r - q)


@kernel
def small_residues(values: Integers, out: Words, c: Words) -> None:
    """out (n, L, N) = values (n, N) int64, |value| < q, modulo each prime."""
    for i in range(values.shape[0]):
        for l in range(c.shape[0]):
            q, x, z = c[l, Q], values[i], out[i, l]
            for j in range(x.size):
                value = np.uint64(x[j])
                z[j] = min(value, value + q)  # a negative value is large until q is added


@kernel
def add_gathered(values: Words, positions: Integers, out: Words, c: Words) -> None:
    """out (n, L, m) += values (n, V, L, N) of v = 0 at positions (m' <= m,), which are public; the rest stays."""
    for i in range(values.shape[0]):
        for l in range(values.shape[2]):
            q, x, z = c[l, Q], values[i, 0, l], out[i, l]
            for j in range(positions.size):
                z[j] = _once(z[j] + x[positions[j]], q)


@kernel
def gather(values: Words, positions: Integers, out: Words) -> None:
    """out (n, L, m) = values (n, L, N) at positions (n, m), which are public."""
    for i in range(values.shape[0]):
        for l in range(values.shape[1]):
            x, z, at = values[i, l], out[i, l], positions[i]
            for j in range(z.size):
                z[j] = x[at[j]]


@kernel
def reduce(values: Words, out: Words, c: Words) -> None:
    """out (n, L, N) = values (n, N) uint64 (any) modulo each prime."""
    for i in range(values.shape[0]):
        for l in range(c.shape[0]):
            q, one, x, z = c[l, Q], c[l, ONE_64], values[i], out[i, l]
            for j in range(x.size):
                z[j] = _once(x[j] - mul_high(one, x[j]) * q, q)


@kernel
def encode(messages: Words, errors: Integers, plain: Words, limbs: Words, out: Words, c: Words) -> None:
    """out (n, L, N) = round(q * m / t) + error, exactly, modulo each prime of q.

    messages (n, N) < t; errors (n, N) int64, |error| <= q_i. With h = floor(t/2) and r = (q*m + h) mod t,
    round(q*m/t) = (q*m + h - r) / t, which is (h - r) / t modulo q_i. plain (4,): t, q mod t, its companions for k = 64,
    52; limbs (L, 4): -1/t mod q_i, its companions, h/t mod q_i.
    """
    t, factor, companion = plain[0], plain[1], plain[2]
    half = t >> np.uint64(1)
    for i in range(messages.shape[0]):
        for l in range(c.shape[0]):
            q, x, e, z = c[l, Q], messages[i], errors[i], out[i, l]
            w, s, constant = limbs[l, 0], limbs[l, 1], limbs[l, 3]
            for j in range(x.size):
                r = _once(_once(multiply_shoup(x[j], factor, companion, t), t) + half, t)
                error = np.uint64(e[j]) + (q & np.uint64(e[j] >> 63))
                z[j] = _twice(multiply_shoup(r, w, s, q) + constant + error, q)


@kernel
def scale_round(values: Words, limbs: Words, target: Words, out: Words, c: Words) -> None:
    """out (n, N) = round(M * x / q) mod M, where values (n, L, N) are the residues of x.

    limbs (L, 6): (q/q_i)^-1 mod q_i, its companions for k = 64, 52, and the 52-bit digits f0, f1, f2 (f0 lowest) of
    f = floor(M * 2^104 / q_i). With y_i = x_i (q/q_i)^-1 mod q_i the value is the sum of y_i M/q_i modulo M; the sum is
    taken with weights 2^-52 and up, which loses less than L * 2^-51: the result is exact unless M x / q lies that close
    above a half integer. target (2,): M and, if M is a power of two, M - 1, else 0. L * M < 2^63.
    """
    n, count, size = values.shape
    digit = np.uint64((1 << 52) - 1)
    up, down = np.uint64(12), np.uint64(52)
    modulus, mask = target[0], target[1]
    for i in range(n):
        z = out[i]
        for j in range(size):
            fraction, whole = np.uint64(1 << 51), np.uint64(0)
            for l in range(count):
                q = c[l, Q]
                y = _once(multiply_shoup(values[i, l, j], limbs[l, 0], limbs[l, 1], q), q)
                f0, f1, f2 = limbs[l, 3], limbs[l, 4], limbs[l, 5]
                middle, high = y * f1, y * f2
                fraction += ((mul_high(y, f0) << up) | ((y * f0) >> down)) + (middle & digit)
                whole += ((mul_high(y, f1) << up) | (middle >> down)) + high
            s = whole + (fraction >> down)
            if mask:
                s &= mask
            else:
                for _ in range(count):
                    s = min(s, s - modulus)
            z[j] = s


@kernel
def scale_second(pairs: Words, errors: Integers, limbs: Words, target: Words, out: Words, c: Words) -> None:
    """out (n, N): `scale_round` of pairs (n, 2, L, N) of v = 1, plus errors (n, N) int64, |error| <= every prime."""
    n, _, count, size = pairs.shape
    row = np.empty((1, count, size), np.uint64)
    for i in range(n):
        for l in range(count):
            q, x, e, z = c[l, Q], pairs[i, 1, l], errors[i], row[0, l]
            for j in range(size):
                z[j] = _once(x[j] + np.uint64(e[j]) + (q & np.uint64(e[j] >> 63)), q)
        scale_round(row, limbs, target, out[i : i + 1], c)


@kernel
def divide_by_last(values: Words, inverses: Words, out: Words, c: Words) -> None:
    """out (n, L-1, N) = round(x / q_last) of the residues values (n, L, N); inverses (L-1, 3): 1/q_last mod q_i, companions.

    x - [x] is divided exactly, [x] being the centred remainder modulo the last prime.
    """
    n, limbs, size = values.shape
    last = limbs - 1
    top = c[last, Q]
    half = top >> np.uint64(1)
    for i in range(n):
        for l in range(last):
            q, one, x, r, z = c[l, Q], c[l, ONE_64], values[i, l], values[i, last], out[i, l]
            half_q = half - mul_high(one, half) * q
            half_q = _once(half_q, q)
            for j in range(size):
                # (r + half) mod top, less half, is the centred remainder
                shifted = _once(r[j] + half, top)
                rest = _once(shifted - mul_high(one, shifted) * q, q)
                difference = x[j] + half_q + q - rest  # in (0, 3q)
                z[j] = _once(multiply_shoup(difference, inverses[l, 0], inverses[l, 1], q), q)


@kernel
def multiply_accumulate(ciphertexts: Words, weights: Words, out: Words, c: Words) -> None:
    """out (T, O, V, L, N) = sum over i of ciphertexts (T, I, V, L, N) * weights (I, O, L, N); sums are kept in 128 bits."""
    tiles, channels, polys, limbs, degree = ciphertexts.shape
    outputs = weights.shape[1]
    low, high = np.empty(degree, np.uint64), np.empty(degree, np.uint64)
    for t in range(tiles):
        for o in range(outputs):
            for v in range(polys):
                for l in range(limbs):
                    low[:] = 0
                    high[:] = 0
                    for i in range(channels):
                        x, w = ciphertexts[t, i, v, l], weights[i, o, l]
                        for j in range(degree):
                            product = x[j] * w[j]
                            s = low[j] + product
                            high[j] += mul_high(x[j], w[j]) + np.uint64(s < product)
                            low[j] = s
                    q, one, z = c[l, Q], c[l, ONE_64], out[t, o, v, l]
                    for j in range(degree):
                        r = multiply_shoup(high[j], c[l, T64], c[l, T64_64], q) + (low[j] - mul_high(one, low[j]) * q)
                        z[j] = _twice(r, q)
