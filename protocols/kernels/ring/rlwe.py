"""Arithmetic on batches of RNS polynomials: checks of dtypes and shapes, and the choice of tier.

Polynomials are C-contiguous uint64 (n, L, N) of canonical residues, in either domain unless said; every tier gives the same
bits. `Tables` carry the degree, the primes and their constants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from types import ModuleType
from typing import Protocol

import numpy as np

from bunet.protocols.kernels.machine import tier
from bunet.protocols.kernels.machine.arguments import I64, U64, check, check_writable
from bunet.protocols.kernels.machine.types import Words
from bunet.protocols.kernels.ring import modular, sampling
from bunet.protocols.kernels.ring import rlwe_scalar as scalar
from bunet.protocols.kernels.ring.ntt import Tables

fast: ModuleType = scalar
if tier.TIER == "vaes":
    from bunet.protocols.kernels.ring import rlwe_ifma

    fast = rlwe_ifma
LANES = 8  # the fast kernels take rows of a multiple of this; others go to the scalar ones
MAX_CHANNELS = 4096  # terms of 52 bits that a 64-bit accumulator holds


class WordSource(Protocol):
    """Where uniform words come from: a `protocols.random.Random`."""

    def words(self, n: int) -> np.ndarray: ...


def _polys(a: np.ndarray, t: Tables, name: str) -> np.ndarray:
    if a.dtype != np.uint64 or a.ndim < 2 or a.shape[-2:] != (len(t.primes), t.degree):
        raise ValueError(f"{name} must be uint64 (..., {len(t.primes)}, {t.degree}), not {a.dtype} {a.shape}")
    return np.ascontiguousarray(a).reshape(-1, len(t.primes), t.degree)


def _pairwise(kernel: Callable[..., None], a: np.ndarray, b: np.ndarray, t: Tables) -> np.ndarray:
    x, y = _polys(a, t, "first operand"), _polys(b, t, "second operand")
    if len(y) not in (1, len(x)):
        raise ValueError(f"{len(y)} polynomials do not fit {len(x)}: there must be as many, or one")
    out = np.empty_like(x)
    kernel(x, y, out, t.constants)
    return out.reshape(a.shape)


def add(a: np.ndarray, b: np.ndarray, t: Tables) -> np.ndarray:
    """a + b; b has as many polynomials as a, or one."""
    return _pairwise(scalar.add, a, b, t)


def subtract(a: np.ndarray, b: np.ndarray, t: Tables) -> np.ndarray:
    """a - b; b has as many polynomials as a, or one."""
    return _pairwise(scalar.subtract, a, b, t)


def multiply(a: np.ndarray, b: np.ndarray, t: Tables) -> np.ndarray:
    """a * b element by element (the ring product, in the NTT domain); b has as many polynomials as a, or one."""
    return _pairwise(fast.multiply, a, b, t)


def fixed(poly: np.ndarray, t: Tables) -> np.ndarray:
    """A polynomial (L, N) that many are multiplied by: (3, L, N) with its Shoup companions for k = 64 and 52."""
    rows = _polys(poly, t, "fixed polynomial")
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} polynomials are not one")
    out = np.empty((3, *rows.shape[1:]), np.uint64)
    scalar.fixed(rows[0], out, t.constants)
    return out


def check_fixed(factor: np.ndarray, t: Tables) -> None:
    """ValueError unless it is a C-contiguous factor of `fixed`."""
    check("a fixed factor", factor, U64, 3, len(t.primes), t.degree)


def _with_fixed(kernel: Callable[..., None], base: Words, a: Words, factor: Words, t: Tables, out: Words | None) -> Words:
    x, y = _polys(a, t, "factors"), _polys(base, t, "summands")
    check_fixed(factor, t)
    if len(x) != len(y):
        raise ValueError(f"{len(y)} summands do not fit {len(x)} factors")
    if out is None:
        out = np.empty_like(x)
    check("out", out, U64, *x.shape)
    check_writable("out", out)
    kernel(y, x, factor, out, t.constants)
    return out


def multiply_add(base: np.ndarray, a: np.ndarray, factor: np.ndarray, t: Tables, out: np.ndarray | None = None) -> np.ndarray:
    """base + a * factor; base, a (n, L, N), factor of `fixed`; out may be base."""
    return _with_fixed(fast.multiply_add, base, a, factor, t, out)


def multiply_subtract(
    base: np.ndarray, a: np.ndarray, factor: np.ndarray, t: Tables, out: np.ndarray | None = None
) -> np.ndarray:
    """base - a * factor; base, a (n, L, N), factor of `fixed`; out may be base."""
    return _with_fixed(fast.multiply_subtract, base, a, factor, t, out)


def add_products(pairs: np.ndarray, a: np.ndarray, first: np.ndarray, second: np.ndarray, t: Tables) -> np.ndarray:
    """pairs (n, 2, L, N) + a (n, L, N) * (first, second), which are factors of `fixed`."""
    x, y = _polys(a, t, "factors"), _polys(pairs, t, "summands")
    if pairs.shape != (len(x), 2, len(t.primes), t.degree):
        raise ValueError(f"pairs {pairs.shape} are not two for each of {len(x)} factors")
    for factor in (first, second):
        check_fixed(factor, t)
    out = np.empty(pairs.shape, np.uint64)
    fast.add_products(y.reshape(pairs.shape), x, first, second, out, t.constants)
    return out


def pair(a: np.ndarray, b: np.ndarray, second: np.ndarray, t: Tables, out: np.ndarray | None = None) -> np.ndarray:
    """(a + b, second) as uint64 (n, 2, L, N), of a, b, second (n, L, N); out: where to, new memory if None."""
    x, y, z = _polys(a, t, "summand"), _polys(b, t, "summand"), _polys(second, t, "second half")
    shape = (len(x), 2, len(t.primes), t.degree)
    if out is None:
        out = np.empty(shape, np.uint64)
    if not len(x) == len(y) == len(z) or out.shape != shape or out.dtype != np.uint64 or not out.flags.c_contiguous:
        raise ValueError(f"{len(x)}, {len(y)} and {len(z)} polynomials do not make {out.dtype} {out.shape}")
    scalar.pair(x, y, z, out, t.constants)
    return out


def multiply_fixed(a: np.ndarray, factor: np.ndarray, t: Tables) -> np.ndarray:
    """a * factor; a (n, L, N), factor of `fixed`."""
    x = _polys(a, t, "factors")
    check_fixed(factor, t)
    out = np.empty_like(x)
    fast.multiply_fixed(x, factor, out, t.constants)
    return out


def add_values(a: np.ndarray, b: np.ndarray, t: Tables) -> np.ndarray:
    """a + b of residues (n, L, m), any m."""
    if a.shape != b.shape or a.ndim != 3 or a.shape[1] != len(t.primes):
        raise ValueError(f"residues {a.shape} and {b.shape} are not both (n, {len(t.primes)}, m)")
    out = np.empty(a.shape, np.uint64)
    scalar.add(np.ascontiguousarray(a), np.ascontiguousarray(b), out, t.constants)
    return out


def residues(values: np.ndarray, t: Tables) -> np.ndarray:
    """Signed int64 (n, m), any magnitude and any m, as (n, L, m)."""
    if values.dtype != np.int64 or values.ndim != 2:
        raise ValueError(f"coefficients must be int64 (n, m), not {values.dtype} {values.shape}")
    out = np.empty((len(values), len(t.primes), values.shape[1]), np.uint64)
    scalar.residues(np.ascontiguousarray(values), out, t.constants)
    return out


def small_residues(values: np.ndarray, t: Tables) -> np.ndarray:
    """Signed int64 (n, N) with |value| < 2^25 (errors, secrets) as (n, L, N)."""
    if values.dtype != np.int64 or values.ndim != 2 or values.shape[1] != t.degree:
        raise ValueError(f"coefficients must be int64 (n, {t.degree}), not {values.dtype} {values.shape}")
    out = np.empty((len(values), len(t.primes), t.degree), np.uint64)
    scalar.small_residues(values, out, t.constants)
    return out


def reduce(values: np.ndarray, t: Tables) -> np.ndarray:
    """Unsigned uint64 (n, m), any magnitude and any m, as (n, L, m)."""
    if values.dtype != np.uint64 or values.ndim != 2:
        raise ValueError(f"values must be uint64 (n, m), not {values.dtype} {values.shape}")
    out = np.empty((len(values), len(t.primes), values.shape[1]), np.uint64)
    scalar.reduce(np.ascontiguousarray(values), out, t.constants)
    return out


@dataclass(frozen=True, eq=False)
class EncodeConstants:
    """See `rlwe_scalar.encode`."""

    plain: np.ndarray
    limbs: np.ndarray

    @classmethod
    def of(cls, primes: tuple[int, ...], t: int) -> EncodeConstants:
        factor = prod(primes) % t
        plain = [t, factor, (factor << 64) // t, (factor << 52) // t]
        limbs = []
        for q in primes:
            inverse = pow(t, -1, q)
            w = q - inverse
            limbs.append([w, (w << 64) // q, (w << 52) // q, (t // 2) * inverse % q])
        return cls(np.array(plain, np.uint64), np.array(limbs, np.uint64))


def encode(messages: np.ndarray, errors: np.ndarray, constants: EncodeConstants, t: Tables) -> np.ndarray:
    """(n, L, m) = round(q * message / t) + error, exactly; messages uint64 (n, m) < t, errors int64 (n, m) with |e| <= 21."""
    check("messages", messages, U64, None, None)
    check("errors", errors, I64, *messages.shape)
    out = np.empty((len(messages), len(t.primes), messages.shape[1]), np.uint64)
    kernel = fast.encode if messages.shape[1] % LANES == 0 and constants.plain[0] <= 1 << 51 else scalar.encode
    kernel(messages, errors, constants.plain, constants.limbs, out, t.constants)
    return out


@dataclass(frozen=True, eq=False)
class ScaleConstants:
    """See `rlwe_scalar.scale_round`."""

    limbs: np.ndarray
    target: np.ndarray

    @classmethod
    def of(cls, primes: tuple[int, ...], modulus: int) -> ScaleConstants:
        if len(primes) * modulus >> 63:
            raise ValueError(f"scaling {len(primes)} limbs to a modulus of {modulus.bit_length()} bits needs over 63 bits")
        q = prod(primes)
        digit = (1 << 52) - 1
        limbs = []
        for p in primes:
            g, f = pow(q // p, -1, p), (modulus << 104) // p
            limbs.append([g, (g << 64) // p, (g << 52) // p, f & digit, f >> 52 & digit, f >> 104])
        mask = modulus - 1 if modulus & (modulus - 1) == 0 else 0
        return cls(np.array(limbs, np.uint64), np.array([modulus, mask], np.uint64))


def scale_round(values: np.ndarray, constants: ScaleConstants, t: Tables) -> np.ndarray:
    """round(M * x / q) mod M, uint64 (n, m), of residues (n, L, m) in the coefficient domain; any m."""
    out = np.empty((values.shape[0], values.shape[2]), np.uint64)
    kernel = fast.scale_round if values.shape[2] % LANES == 0 else scalar.scale_round
    kernel(np.ascontiguousarray(values), constants.limbs, constants.target, out, t.constants)
    return out


def scale_second(pairs: np.ndarray, errors: np.ndarray, constants: ScaleConstants, t: Tables) -> np.ndarray:
    """round(M * (x + error) / q) mod M, uint64 (n, N), of x = pairs[:, 1], pairs (n, 2, L, N), coefficient domain.

    errors: int64 (n, N), |error| < 2^25.
    """
    rows = _polys(pairs, t, "pairs")
    if pairs.ndim != 4 or pairs.shape[1] != 2 or errors.shape != (len(pairs), t.degree) or errors.dtype != np.int64:
        raise ValueError(f"pairs {pairs.shape} and errors {errors.dtype} {errors.shape} do not fit each other")
    out = np.empty(errors.shape, np.uint64)
    fast.scale_second(rows.reshape(pairs.shape), errors, constants.limbs, constants.target, out, t.constants)
    return out


def divide_by_last(values: np.ndarray, t: Tables) -> np.ndarray:
    """round(x / q_last), (n, L-1, N), of residues (n, L, N) in the coefficient domain."""
    rows = _polys(values, t, "values")
    last = t.primes[-1]
    inverses = []
    for q in t.primes[:-1]:
        w = pow(last, -1, q)
        inverses.append([w, (w << 64) // q, (w << 52) // q])
    out = np.empty((len(rows), len(t.primes) - 1, t.degree), np.uint64)
    scalar.divide_by_last(rows, np.array(inverses, np.uint64), out, t.constants)
    return out


def uniform(n: int, random: WordSource, t: Tables) -> np.ndarray:
    """(n, L, N) uniform residues by rejection, unbiased: words masked to the prime's bits; rejected ones are drawn again,
    in their order, from the words that follow. Deterministic in the source, so that both parties expand a seed alike.
    """
    out = random.words(n * len(t.primes) * t.degree).reshape(n, len(t.primes), t.degree)
    if sampling.uniform(out, t.masks, t.constants):
        again = np.flatnonzero(out >= t.constants[:, modular.Q, None])
        out.reshape(-1)[again] = uniform_again(again // t.degree % len(t.primes), random, t)
    return out


def uniform_again(limbs: np.ndarray, random: WordSource, t: Tables) -> np.ndarray:
    """Uniform residues (r,) modulo the primes of these limbs (r,), in place of rejected ones."""
    masks, primes = t.masks[limbs], t.constants[limbs, modular.Q]
    out = np.empty(len(limbs), np.uint64)
    again = np.arange(len(limbs))
    while again.size:
        out[again] = random.words(again.size) & masks[again]
        again = again[out[again] >= primes[again]]
    return out


def errors(n: int, degree: int, random: WordSource) -> np.ndarray:
    """int64 (n, degree) of centred binomial errors, |e| <= 21, deviation 3.24."""
    out = np.empty((n, degree), np.int64)
    sampling.centred_binomial(random.words(n * degree), out.reshape(-1))
    return out


def ternaries(n: int, degree: int, random: WordSource) -> np.ndarray:
    """int64 (n, degree), uniform in {-1, 0, 1}."""
    out = np.empty((n, degree), np.int64)
    sampling.ternary(random.words(n * degree), out.reshape(-1))
    return out


def ternary_residues(n: int, random: WordSource, t: Tables) -> np.ndarray:
    """(n, L, N): residues of `ternaries` of the same words."""
    out = np.empty((n, len(t.primes), t.degree), np.uint64)
    sampling.ternary_residues(random.words(n * t.degree).reshape(n, t.degree), t.constants, out)
    return out


def add_flood(values: np.ndarray, bits: int, random: WordSource, t: Tables) -> None:
    """values (n, L, m) in the coefficient domain += a fresh uniform integer of [-2^bits, 2^bits) each, in place."""
    if not 1 <= bits <= 127 or not values.flags.c_contiguous:
        raise ValueError(f"a flood of {bits} bits is outside 1..127, or the values are not contiguous")
    n, _, count = values.shape
    masks = np.array([(1 << min(bits + 1, 64)) - 1, (1 << max(bits - 63, 0)) - 1], np.uint64)
    offsets = np.array([-(1 << bits) % q for q in t.primes], np.uint64)
    kernel = fast.add_flood if tier.TIER == "vaes" and count % LANES == 0 else sampling.add_flood
    kernel(random.words(2 * n * count).reshape(n, 2, count), masks, t.constants, offsets, values)


def gather(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """(n, L, m): values (n, L, N) at the public positions int64 (n, m) < N."""
    out = np.empty((*values.shape[:2], positions.shape[1]), np.uint64)
    scalar.gather(np.ascontiguousarray(values), positions, out)
    return out


def add_gathered(values: np.ndarray, positions: np.ndarray, out: np.ndarray, t: Tables) -> None:
    """out (n, L, m) += values[:, 0] at the public positions int64 (P,) < N, P <= m; values (n, V, L, N)."""
    rows = _polys(values, t, "values")
    if out.shape[:2] != (len(values), len(t.primes)) or len(positions) > out.shape[2] or not out.flags.c_contiguous:
        raise ValueError(f"{len(positions)} positions of {values.shape} do not fit {out.shape}")
    if positions.size and not 0 <= int(positions.min()) <= int(positions.max()) < t.degree:
        raise ValueError(f"a position is outside 0..{t.degree - 1}")
    scalar.add_gathered(rows.reshape(values.shape), positions, out, t.constants)


def multiply_accumulate(ciphertexts: np.ndarray, weights: np.ndarray, t: Tables) -> np.ndarray:
    """(T, O, 2, L, N) = sum over i of ciphertexts (T, I, 2, L, N) * weights (I, O, L, N), in the NTT domain.

    I <= 4096. Weights of a block of output channels may be given at a time. The products are summed unreduced (128 bits, or
    52-bit halves in 64-bit lanes) and reduced once.
    """
    if ciphertexts.ndim != 5 or weights.ndim != 4 or ciphertexts.shape[1] != weights.shape[0]:
        raise ValueError(f"ciphertexts {ciphertexts.shape} and weights {weights.shape} are not (T, I, 2, L, N), (I, O, L, N)")
    if weights.shape[0] > MAX_CHANNELS:
        raise ValueError(f"{weights.shape[0]} input channels are more than the {MAX_CHANNELS} of one accumulation")
    _polys(ciphertexts, t, "ciphertexts"), _polys(weights, t, "weights")
    tiles, _, polys, limbs, degree = ciphertexts.shape
    out = np.empty((tiles, weights.shape[1], polys, limbs, degree), np.uint64)
    ciphertexts, weights = np.ascontiguousarray(ciphertexts), np.ascontiguousarray(weights)
    fast.multiply_accumulate(ciphertexts, weights, out, t.constants)
    return out
