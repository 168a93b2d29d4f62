"""Negacyclic number-theoretic transforms over batches of RNS polynomials.

forward maps the coefficients of a(X) modulo X^N + 1 to its values at the odd powers of psi (a primitive 2N-th root of
unity), in bit-reversed order: out[i] = a(psi^(2 * bitreverse(i) + 1)). Inputs and outputs are canonical residues, so that
every tier gives the same bits. Cooley-Tukey forward, Gentleman-Sande inverse, Shoup factors (Harvey, "Faster
arithmetic for number-theoretic transforms", 2014; Longa and Naehrig, 2016).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from bunet.protocols.kernels.machine import tier
from bunet.protocols.kernels.ring import modular, ntt_scalar

kernels: ModuleType = ntt_scalar
if tier.TIER == "vaes":
    from bunet.protocols.kernels.ring import ntt_ifma

    kernels = ntt_ifma

DEGREES = (2048, 4096, 8192, 16384)
_WORD = np.dtype(np.uint64)  # compares with an array's dtype faster than np.uint64 does


@dataclass(frozen=True, eq=False)
class Tables:
    """Twiddle factors of a degree and L primes, read-only uint64.

    forward, inverse: (3, L, N): powers of psi, of 1/psi in bit-reversed order, with their Shoup companions for k = 64 and
    k = 52. scaling: (L, 6): 1/N and inverse[1]/N, each with its two companions. constants: (L, 11). masks: (L,),
    ones in the bits of each prime.
    """

    degree: int
    primes: tuple[int, ...]
    forward: np.ndarray
    inverse: np.ndarray
    scaling: np.ndarray
    constants: np.ndarray
    masks: np.ndarray
    roots: tuple[int, ...]


def bit_reversed(degree: int) -> np.ndarray:
    """int64 (degree,): i with its log2(degree) bits reversed."""
    order = np.zeros(degree, np.int64)
    bits = degree.bit_length() - 1
    for k in range(bits):
        order |= (np.arange(degree) >> k & 1) << (bits - 1 - k)
    return order


def root_of_unity(degree: int, q: int) -> int:
    """The primitive 2N-th root of unity that the smallest generator candidate gives; the same at both parties."""
    for g in range(2, 10_000):
        root = pow(g, (q - 1) // (2 * degree), q)
        if pow(root, degree, q) == q - 1:
            return root
    raise ValueError(f"{q} has no primitive root of unity of order {2 * degree}")


def _factors(root: int, degree: int, q: int) -> np.ndarray:
    powers = [1] * degree
    for i in range(1, degree):
        powers[i] = powers[i - 1] * root % q
    order = bit_reversed(degree)
    rows = [powers, [modular.shoup(w, q, 64) for w in powers], [modular.shoup(w, q, 52) for w in powers]]
    return np.array(rows, np.uint64)[:, order]


@functools.cache
def _single(degree: int, q: int) -> tuple[np.ndarray, np.ndarray, list[int], int]:
    root = root_of_unity(degree, q)
    forward = _factors(root, degree, q)
    inverse = _factors(pow(root, -1, q), degree, q)
    n_inverse = pow(degree, -1, q)
    last = int(inverse[0, 1]) * n_inverse % q
    scaling = [f(w) for w in (n_inverse, last) for f in (int, lambda w: (w << 64) // q, lambda w: (w << 52) // q)]
    return forward, inverse, scaling, root


@functools.cache
def tables(degree: int, primes: tuple[int, ...]) -> Tables:
    """Tables of these primes, each 1 modulo 2 * degree and below 2^50; cached by (degree, prime)."""
    if degree not in DEGREES:
        raise ValueError(f"degree {degree} is not one of {DEGREES}")
    if any(q % (2 * degree) != 1 or q >> 50 for q in primes):
        raise ValueError(f"NTT primes must be 1 modulo {2 * degree} and below 2^50")
    parts = [_single(degree, q) for q in primes]
    forward = np.ascontiguousarray(np.stack([p[0] for p in parts], axis=1))
    inverse = np.ascontiguousarray(np.stack([p[1] for p in parts], axis=1))
    scaling = np.array([p[2] for p in parts], np.uint64)
    masks = np.array([(1 << q.bit_length()) - 1 for q in primes], np.uint64)
    for array in (forward, inverse, scaling, masks):
        array.flags.writeable = False
    roots = tuple(p[3] for p in parts)
    return Tables(degree, primes, forward, inverse, scaling, modular.constants(primes), masks, roots)


def _rows(a: np.ndarray, t: Tables) -> np.ndarray:
    if a.dtype != _WORD or not a.flags.c_contiguous or a.shape[-2:] != t.inverse.shape[1:]:
        raise ValueError(f"an NTT takes C-contiguous uint64 (..., {len(t.primes)}, {t.degree}), not {a.dtype} {a.shape}")
    if not a.flags.writeable:
        raise ValueError("an NTT works in place, and this array is read-only")
    return a if a.ndim == 3 else a.reshape(-1, len(t.primes), t.degree)


def forward(a: np.ndarray, t: Tables) -> np.ndarray:
    """Transform uint64 (..., L, N) of canonical residues in place, coefficients to values; returns a."""
    kernels.forward(_rows(a, t), t.forward, t.constants)
    return a


def inverse(a: np.ndarray, t: Tables) -> np.ndarray:
    """Transform uint64 (..., L, N) of canonical residues in place, values to coefficients; returns a."""
    kernels.inverse(_rows(a, t), t.inverse, t.scaling, t.constants)
    return a
