"""Products of NTT-domain ciphertexts by sparse polynomials that are never stored whole, with AVX-512 IFMA.

After the first log2(N) - 6 levels of a forward transform, a coefficient at position p has spread over the N/64 blocks of 64
at place p mod 64, with known factors: `spread` below. The six levels that remain stay inside a block. So eight blocks, one in
each lane (512 words, 4 KiB), are made from the few coefficients of a kernel, finished and multiplied while they are
in the first-level cache; ciphertexts are read in the same order, transposed once.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.machine.compiled import inlined_by_numba, kernel
from bunet.protocols.kernels.machine.simd import (
    add512,
    load512,
    madd52hi,
    madd52lo,
    min512,
    prefetch,
    shuffle512,
    splat512,
    store512,
    zero512,
)
from bunet.protocols.kernels.machine.types import V512, Integers, Words
from bunet.protocols.kernels.ring.modular import NEGATIVE, ONE_52, T52, T52_52, TWICE, Q
from bunet.protocols.kernels.ring.ntt_emit import TIGHT
from bunet.protocols.kernels.ring.ntt_lanes import BLOCK, MOST_LAZY, lanes_lazy, lanes_tight
from bunet.protocols.kernels.ring.rlwe_ifma import _folded, _halves, _low52, _once, _reduced

OUTPUTS = 4  # output polynomials multiplied together: four weights and two halves of a ciphertext fill the registers
_PIECE = BLOCK * 8  # words of eight blocks


@inlined_by_numba
def _transpose(source: Words, start: int, pitch: int, target: Words, at: int, step: int) -> None:
    """Eight rows of eight words: source[start + i * pitch + j] to target[at + j * step + i]."""
    r0, r1 = load512(source, start), load512(source, start + pitch)
    r2, r3 = load512(source, start + 2 * pitch), load512(source, start + 3 * pitch)
    r4, r5 = load512(source, start + 4 * pitch), load512(source, start + 5 * pitch)
    r6, r7 = load512(source, start + 6 * pitch), load512(source, start + 7 * pitch)
    a0, a1 = shuffle512(r0, r1, "082a4c6e"), shuffle512(r0, r1, "193b5d7f")
    a2, a3 = shuffle512(r2, r3, "082a4c6e"), shuffle512(r2, r3, "193b5d7f")
    a4, a5 = shuffle512(r4, r5, "082a4c6e"), shuffle512(r4, r5, "193b5d7f")
    a6, a7 = shuffle512(r6, r7, "082a4c6e"), shuffle512(r6, r7, "193b5d7f")
    b0, b2 = shuffle512(a0, a2, "018945cd"), shuffle512(a0, a2, "23ab67ef")
    b1, b3 = shuffle512(a1, a3, "018945cd"), shuffle512(a1, a3, "23ab67ef")
    b4, b6 = shuffle512(a4, a6, "018945cd"), shuffle512(a4, a6, "23ab67ef")
    b5, b7 = shuffle512(a5, a7, "018945cd"), shuffle512(a5, a7, "23ab67ef")
    store512(target, at, shuffle512(b0, b4, "012389ab"))
    store512(target, at + step, shuffle512(b1, b5, "012389ab"))
    store512(target, at + 2 * step, shuffle512(b2, b6, "012389ab"))
    store512(target, at + 3 * step, shuffle512(b3, b7, "012389ab"))
    store512(target, at + 4 * step, shuffle512(b0, b4, "4567cdef"))
    store512(target, at + 5 * step, shuffle512(b1, b5, "4567cdef"))
    store512(target, at + 6 * step, shuffle512(b2, b6, "4567cdef"))
    store512(target, at + 7 * step, shuffle512(b3, b7, "4567cdef"))


@kernel
def _residues(taps: Integers, k: Words, out: Words) -> None:
    """out = taps modulo q, for int64 taps smaller than q in size; lengths a multiple of 8."""
    q = splat512(k[Q])
    for j in range(0, taps.size, 8):
        tap = load512(taps, j)
        store512(out, j, min512(tap, add512(tap, q)))  # a negative tap is large until q is added


@kernel
def _spread(taps: Words, starts: Integers, places: int, spread: Words, first: int, k: Words, most: int, pieces: Words) -> None:
    """The first levels of eight blocks of four polynomials: sums of taps[4 * j + p] * spread[j] over the taps j of a place.

    spread: factors of tap j at word first + 16 * j, their companions behind. Sums stay below most * q, modulo 2^52; those of
    polynomial p go to pieces[p * _PIECE + 8 * place].
    """
    negative, one = splat512(k[NEGATIVE]), splat512(k[ONE_52])
    for place in range(places):
        z = zero512()
        s0, s1, s2, s3 = z, z, z, z
        bound = 0
        for j in range(starts[place], starts[place + 1]):
            if bound == most:
                s0, s1 = _reduced(s0, one, negative), _reduced(s1, one, negative)
                s2, s3 = _reduced(s2, one, negative), _reduced(s3, one, negative)
                bound = 2
            f, companion = load512(spread, first + 16 * j), load512(spread, first + 16 * j + 8)
            w0, w1 = splat512(taps[4 * j]), splat512(taps[4 * j + 1])
            w2, w3 = splat512(taps[4 * j + 2]), splat512(taps[4 * j + 3])
            s0 = madd52lo(madd52lo(s0, f, w0), madd52hi(z, companion, w0), negative)
            s1 = madd52lo(madd52lo(s1, f, w1), madd52hi(z, companion, w1), negative)
            s2 = madd52lo(madd52lo(s2, f, w2), madd52hi(z, companion, w2), negative)
            s3 = madd52lo(madd52lo(s3, f, w3), madd52hi(z, companion, w3), negative)
            bound += 2
        store512(pieces, 8 * place, s0)
        store512(pieces, _PIECE + 8 * place, s1)
        store512(pieces, 2 * _PIECE + 8 * place, s2)
        store512(pieces, 3 * _PIECE + 8 * place, s3)


@inlined_by_numba
def _canonical(x: V512, k: Words) -> V512:
    """Any value modulo 2^52 to [0, q)."""
    q = splat512(k[Q])
    return _once(_low52(_reduced(x, splat512(k[ONE_52]), splat512(k[NEGATIVE]))), q)


@kernel
def _sums(
    vectors: Words, v_at: int, weights: Words, w_at: int, channels: int, fold: bool, k: Words, out: Words, at: int
) -> None:
    """Two vectors times four weights, summed over the channels; to out[at + i * _PIECE], i = 2 * weight + vector.

    fold: the sums' halves may exceed 52 bits.
    """
    z = zero512()
    l00, l01, l10, l11, l20, l21, l30, l31 = z, z, z, z, z, z, z, z
    h00, h01, h10, h11, h20, h21, h30, h31 = z, z, z, z, z, z, z, z
    for _ in range(channels):
        a, b = load512(vectors, v_at), load512(vectors, v_at + 8)
        w0, w1 = load512(weights, w_at), load512(weights, w_at + 8)
        l00, h00, l01, h01 = madd52lo(l00, a, w0), madd52hi(h00, a, w0), madd52lo(l01, b, w0), madd52hi(h01, b, w0)
        l10, h10, l11, h11 = madd52lo(l10, a, w1), madd52hi(h10, a, w1), madd52lo(l11, b, w1), madd52hi(h11, b, w1)
        w0, w1 = load512(weights, w_at + 16), load512(weights, w_at + 24)
        l20, h20, l21, h21 = madd52lo(l20, a, w0), madd52hi(h20, a, w0), madd52lo(l21, b, w0), madd52hi(h21, b, w0)
        l30, h30, l31, h31 = madd52lo(l30, a, w1), madd52hi(h30, a, w1), madd52lo(l31, b, w1), madd52hi(h31, b, w1)
        v_at += 16
        w_at += 32
    q, twice, negative, one = splat512(k[Q]), splat512(k[TWICE]), splat512(k[NEGATIVE]), splat512(k[ONE_52])
    t52, t52_s = splat512(k[T52]), splat512(k[T52_52])
    if fold:
        h00, h01 = _folded(h00, one, negative, t52, t52_s), _folded(h01, one, negative, t52, t52_s)
        h10, h11 = _folded(h10, one, negative, t52, t52_s), _folded(h11, one, negative, t52, t52_s)
        h20, h21 = _folded(h20, one, negative, t52, t52_s), _folded(h21, one, negative, t52, t52_s)
        h30, h31 = _folded(h30, one, negative, t52, t52_s), _folded(h31, one, negative, t52, t52_s)
    store512(out, at, _halves(l00, h00, q, twice, negative, one, t52, t52_s))
    store512(out, at + _PIECE, _halves(l01, h01, q, twice, negative, one, t52, t52_s))
    store512(out, at + 2 * _PIECE, _halves(l10, h10, q, twice, negative, one, t52, t52_s))
    store512(out, at + 3 * _PIECE, _halves(l11, h11, q, twice, negative, one, t52, t52_s))
    store512(out, at + 4 * _PIECE, _halves(l20, h20, q, twice, negative, one, t52, t52_s))
    store512(out, at + 5 * _PIECE, _halves(l21, h21, q, twice, negative, one, t52, t52_s))
    store512(out, at + 6 * _PIECE, _halves(l30, h30, q, twice, negative, one, t52, t52_s))
    store512(out, at + 7 * _PIECE, _halves(l31, h31, q, twice, negative, one, t52, t52_s))


@kernel
def multiply_sparse(
    ciphertexts: Words,
    taps: Integers,
    outputs: int,
    starts: Integers,
    places: int,
    spread: Words,
    factors: Words,
    out: Words,
    c: Words,
) -> None:
    """out (T, O, 2, L, N) = sum over i of ciphertexts (T, I, 2, L, N) * polynomials of taps, in the NTT domain.

    taps: int64 (ceil(O / 4), I, K', 4), below every prime in size, ordered by place (position mod 64), those of place p at
    starts[p] to starts[p + 1]; K' is even, what is added is zero. places: 64, or 1 if every position is a multiple of 64:
    then the transforms are constant over blocks. spread (L, N / 512, K, 2, 8), factors (L, N / 512, 2, 64, 8): of
    `convolve.Places`.
    """
    tiles, channels, polys, limbs, degree = ciphertexts.shape
    count, poly = starts[BLOCK], limbs * degree
    vectors = np.empty(BLOCK * tiles * channels * 16, np.uint64)  # [place][tile][channel][2][8]
    weights = np.empty(places * channels * 8 * OUTPUTS, np.uint64)  # [place][channel][output][8], or a single place
    sums = np.empty(8 * _PIECE * tiles, np.uint64)  # [tile][output][2][place][8]
    pieces = np.empty(OUTPUTS * _PIECE, np.uint64)
    residues = np.empty(taps.shape[2] * OUTPUTS, np.uint64)
    x, z, w = ciphertexts.reshape(ciphertexts.size), out.reshape(out.size), taps.reshape(taps.size)
    spread_words, factor_words = spread.reshape(spread.size), factors.reshape(factors.size)
    w_pitch, v_pitch = channels * 8 * OUTPUTS, tiles * channels * 16
    step = w_pitch if places > 1 else 0
    for l in range(limbs):
        k = c[l]
        largest = k[Q] >> np.uint64(26)  # square root of a product's high half, rounded down
        fold = channels * ((largest + 1) * (largest + 1) + 1) >= (1 << 52) - (1 << 12)
        lazy = k[Q] >> 47 == 0
        for group in range(degree // _PIECE):
            column = l * degree + group * _PIECE
            for t in range(tiles):
                for i in range(channels):
                    for v in range(2):
                        source = ((t * channels + i) * polys + v) * poly + column
                        target = (t * channels + i) * 16 + v * 8
                        for b in range(0, BLOCK, 8):
                            for r in range(8):  # what comes next lies in another page
                                prefetch(x, source + poly + (b + r) * 8)
                            _transpose(x, source + b, BLOCK, vectors, target + b * v_pitch, v_pitch)
            row = (l * (degree // _PIECE) + group) * 2 * _PIECE
            first = (l * (degree // _PIECE) + group) * count * 16
            for o in range(0, outputs, OUTPUTS):
                several = min(OUTPUTS, outputs - o)
                for i in range(channels):
                    at = (o // OUTPUTS * channels + i) * residues.size
                    _residues(w[at : at + residues.size], k, residues)
                    _spread(residues, starts, places, spread_words, first, k, MOST_LAZY if lazy else TIGHT, pieces)
                    for p in range(OUTPUTS):
                        to = i * 8 * OUTPUTS + 8 * p
                        if places == 1:
                            store512(weights, to, _canonical(load512(pieces, p * _PIECE), k))
                        elif p >= several:
                            continue  # what stands there is multiplied too, and thrown away
                        elif lazy:
                            lanes_lazy(pieces, p * _PIECE, weights, to, w_pitch, factor_words, row, k)
                        else:
                            lanes_tight(pieces, p * _PIECE, weights, to, w_pitch, factor_words, row, k)
                for b in range(BLOCK):
                    for t in range(tiles):
                        v_at = (b * tiles + t) * channels * 16
                        _sums(vectors, v_at, weights, b * step, channels, fold, k, sums, 8 * t * _PIECE + 8 * b)
                for t in range(tiles):
                    for p in range(several):
                        for v in range(2):
                            target = ((t * outputs + o + p) * polys + v) * poly + column
                            source = ((t * OUTPUTS + p) * 2 + v) * _PIECE
                            for b in range(0, BLOCK, 8):
                                _transpose(sums, source + 8 * b, 8, z, target + b, BLOCK)
