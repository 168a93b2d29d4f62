"""Negacyclic NTT with 52-bit integer multiply-add (AVX-512 IFMA): two strided passes and a block pass, see `ntt_passes`.

Primes below 2^47, 2^49 and 2^50 have functions of their own: `ntt_emit` says how far each lets values grow.
"""

from __future__ import annotations

from bunet.protocols.kernels.machine.compiled import inlined_by_numba, kernel
from bunet.protocols.kernels.machine.simd import splat512
from bunet.protocols.kernels.machine.types import Words
from bunet.protocols.kernels.ring.modular import NEGATIVE, ONE_52, TWICE, Q
from bunet.protocols.kernels.ring.ntt_emit import LAZY, MIDDLE, TIGHT
from bunet.protocols.kernels.ring.ntt_passes import forward_blocks, forward_pass, inverse_blocks, inverse_last, inverse_pass

# Radices of the strided passes, by degree: 2048: 2, 2; 4096: 3, 2; 8192: 3, 3; 16384: 4, 3. numba does not cache a closure over
# an intrinsic, hence a function for each room. A lazy transform never reaches its room, whatever it is said to start from.


@inlined_by_numba
def _radices(degree: int) -> tuple[int, int]:
    return (2 if degree == 2048 else 4 if degree == 16384 else 3), (2 if degree <= 4096 else 3)


_first2_lazy = forward_pass(2, LAZY, 1)
_first3_lazy = forward_pass(3, LAZY, 1)
_first4_lazy = forward_pass(4, LAZY, 1)
_second2_lazy = forward_pass(2, LAZY, 1)
_second3_lazy = forward_pass(3, LAZY, 1)
_blocks_lazy = forward_blocks(LAZY, 1)
_inverse_blocks_lazy = inverse_blocks(LAZY)
_inverse2_lazy = inverse_pass(2, LAZY)
_inverse3_lazy = inverse_pass(3, LAZY)
_final2_lazy = inverse_last(2, LAZY)
_final3_lazy = inverse_last(3, LAZY)
_final4_lazy = inverse_last(4, LAZY)
_first2_middle = forward_pass(2, MIDDLE, 1)
_first3_middle = forward_pass(3, MIDDLE, 1)
_first4_middle = forward_pass(4, MIDDLE, 1)
_second2_middle = forward_pass(2, MIDDLE, MIDDLE)
_second3_middle = forward_pass(3, MIDDLE, MIDDLE)
_blocks_middle = forward_blocks(MIDDLE, MIDDLE)
_inverse_blocks_middle = inverse_blocks(MIDDLE)
_inverse2_middle = inverse_pass(2, MIDDLE)
_inverse3_middle = inverse_pass(3, MIDDLE)
_final2_middle = inverse_last(2, MIDDLE)
_final3_middle = inverse_last(3, MIDDLE)
_final4_middle = inverse_last(4, MIDDLE)
_first2_tight = forward_pass(2, TIGHT, 1)
_first3_tight = forward_pass(3, TIGHT, 1)
_first4_tight = forward_pass(4, TIGHT, 1)
_second2_tight = forward_pass(2, TIGHT, TIGHT)
_second3_tight = forward_pass(3, TIGHT, TIGHT)
_blocks_tight = forward_blocks(TIGHT, TIGHT)
_inverse_blocks_tight = inverse_blocks(TIGHT)
_inverse2_tight = inverse_pass(2, TIGHT)
_inverse3_tight = inverse_pass(3, TIGHT)
_final2_tight = inverse_last(2, TIGHT)
_final3_tight = inverse_last(3, TIGHT)
_final4_tight = inverse_last(4, TIGHT)


@kernel
def _forward_lazy(row: Words, w: Words, s: Words, c: Words) -> None:
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    first, second = _radices(row.size)
    stride = row.size >> first
    if first == 2:
        _first2_lazy(row, 1, stride, w, s, q, negative, twice, one)
    elif first == 3:
        _first3_lazy(row, 1, stride, w, s, q, negative, twice, one)
    else:
        _first4_lazy(row, 1, stride, w, s, q, negative, twice, one)
    if second == 2:
        _second2_lazy(row, 1 << first, stride >> 2, w, s, q, negative, twice, one)
    else:
        _second3_lazy(row, 1 << first, stride >> 3, w, s, q, negative, twice, one)
    _blocks_lazy(row, 1 << (first + second), w, s, q, negative, twice, one)


@kernel
def _forward_middle(row: Words, w: Words, s: Words, c: Words) -> None:
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    first, second = _radices(row.size)
    stride = row.size >> first
    if first == 2:
        _first2_middle(row, 1, stride, w, s, q, negative, twice, one)
    elif first == 3:
        _first3_middle(row, 1, stride, w, s, q, negative, twice, one)
    else:
        _first4_middle(row, 1, stride, w, s, q, negative, twice, one)
    if second == 2:
        _second2_middle(row, 1 << first, stride >> 2, w, s, q, negative, twice, one)
    else:
        _second3_middle(row, 1 << first, stride >> 3, w, s, q, negative, twice, one)
    _blocks_middle(row, 1 << (first + second), w, s, q, negative, twice, one)


@kernel
def _forward_tight(row: Words, w: Words, s: Words, c: Words) -> None:
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    first, second = _radices(row.size)
    stride = row.size >> first
    if first == 2:
        _first2_tight(row, 1, stride, w, s, q, negative, twice, one)
    elif first == 3:
        _first3_tight(row, 1, stride, w, s, q, negative, twice, one)
    else:
        _first4_tight(row, 1, stride, w, s, q, negative, twice, one)
    if second == 2:
        _second2_tight(row, 1 << first, stride >> 2, w, s, q, negative, twice, one)
    else:
        _second3_tight(row, 1 << first, stride >> 3, w, s, q, negative, twice, one)
    _blocks_tight(row, 1 << (first + second), w, s, q, negative, twice, one)


@kernel
def _inverse_lazy(row: Words, w: Words, s: Words, k: Words, c: Words) -> None:
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    n, n_s, z, z_s = splat512(k[0]), splat512(k[2]), splat512(k[3]), splat512(k[5])
    first, second = _radices(row.size)
    stride = row.size >> first
    _inverse_blocks_lazy(row, 1 << (first + second), w, s, q, negative, twice, one)
    if second == 2:
        _inverse2_lazy(row, 1 << first, stride >> 2, w, s, q, negative, twice, one)
    else:
        _inverse3_lazy(row, 1 << first, stride >> 3, w, s, q, negative, twice, one)
    if first == 2:
        _final2_lazy(row, stride, w, s, q, negative, twice, one, n, n_s, z, z_s)
    elif first == 3:
        _final3_lazy(row, stride, w, s, q, negative, twice, one, n, n_s, z, z_s)
    else:
        _final4_lazy(row, stride, w, s, q, negative, twice, one, n, n_s, z, z_s)


@kernel
def _inverse_middle(row: Words, w: Words, s: Words, k: Words, c: Words) -> None:
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    n, n_s, z, z_s = splat512(k[0]), splat512(k[2]), splat512(k[3]), splat512(k[5])
    first, second = _radices(row.size)
    stride = row.size >> first
    _inverse_blocks_middle(row, 1 << (first + second), w, s, q, negative, twice, one)
    if second == 2:
        _inverse2_middle(row, 1 << first, stride >> 2, w, s, q, negative, twice, one)
    else:
        _inverse3_middle(row, 1 << first, stride >> 3, w, s, q, negative, twice, one)
    if first == 2:
        _final2_middle(row, stride, w, s, q, negative, twice, one, n, n_s, z, z_s)
    elif first == 3:
        _final3_middle(row, stride, w, s, q, negative, twice, one, n, n_s, z, z_s)
    else:
        _final4_middle(row, stride, w, s, q, negative, twice, one, n, n_s, z, z_s)


@kernel
def _inverse_tight(row: Words, w: Words, s: Words, k: Words, c: Words) -> None:
    q, negative, twice, one = splat512(c[Q]), splat512(c[NEGATIVE]), splat512(c[TWICE]), splat512(c[ONE_52])
    n, n_s, z, z_s = splat512(k[0]), splat512(k[2]), splat512(k[3]), splat512(k[5])
    first, second = _radices(row.size)
    stride = row.size >> first
    _inverse_blocks_tight(row, 1 << (first + second), w, s, q, negative, twice, one)
    if second == 2:
        _inverse2_tight(row, 1 << first, stride >> 2, w, s, q, negative, twice, one)
    else:
        _inverse3_tight(row, 1 << first, stride >> 3, w, s, q, negative, twice, one)
    if first == 2:
        _final2_tight(row, stride, w, s, q, negative, twice, one, n, n_s, z, z_s)
    elif first == 3:
        _final3_tight(row, stride, w, s, q, negative, twice, one, n, n_s, z, z_s)
    else:
        _final4_tight(row, stride, w, s, q, negative, twice, one, n, n_s, z, z_s)


@kernel
def forward(a: Words, factors: Words, constants: Words) -> None:
    """As `ntt_scalar.forward`, bit for bit."""
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            if constants[l, Q] >> 49:
                _forward_tight(a[i, l], factors[0, l], factors[2, l], constants[l])
            elif constants[l, Q] >> 47:
                _forward_middle(a[i, l], factors[0, l], factors[2, l], constants[l])
            else:
                _forward_lazy(a[i, l], factors[0, l], factors[2, l], constants[l])


@kernel
def inverse(a: Words, factors: Words, scaling: Words, constants: Words) -> None:
    """As `ntt_scalar.inverse`, bit for bit."""
    for i in range(a.shape[0]):
        for l in range(a.shape[1]):
            if constants[l, Q] >> 49:
                _inverse_tight(a[i, l], factors[0, l], factors[2, l], scaling[l], constants[l])
            elif constants[l, Q] >> 47:
                _inverse_middle(a[i, l], factors[0, l], factors[2, l], scaling[l], constants[l])
            else:
                _inverse_lazy(a[i, l], factors[0, l], factors[2, l], scaling[l], constants[l])
