"""Encryption and decryption of whole BFV ciphertexts, one after the other, so that each stays in the caches meanwhile.

The parts are those of `rlwe`, `ntt` and `sampling`, in every tier, and so are the bits.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from bunet.protocols.kernels.machine.compiled import kernel
from bunet.protocols.kernels.machine.types import Integers, Word, Words
from bunet.protocols.kernels.ring import modular, ntt, rlwe, sampling
from bunet.protocols.kernels.ring import rlwe_scalar as scalar
from bunet.protocols.kernels.ring.ntt import Tables
from bunet.protocols.kernels.symmetric import aes

_encode_fast, _encode_any, _multiply_subtract = rlwe.fast.encode, scalar.encode, rlwe.fast.multiply_subtract
_multiply_add, _scale_round = rlwe.fast.multiply_add, rlwe.fast.scale_round
_forward, _inverse = ntt.kernels.forward, ntt.kernels.inverse
_ctr, _uniform, _centred_binomial = aes.ctr_words, sampling.uniform, sampling.centred_binomial


class Stream(rlwe.WordSource, Protocol):
    """Uniform words that a kernel may make itself: a `protocols.random.Random`."""

    def reserve(self, blocks: int) -> tuple[np.ndarray, np.uint64, np.uint64]: ...


@kernel
def _encrypt(
    messages: Words,
    a_schedule: Words,
    a_nonce: Word,
    a_counter: Word,
    e_schedule: Words,
    e_nonce: Word,
    e_counter: Word,
    plain: Words,
    limbs: Words,
    masks: Words,
    secret: Words,
    factors: Words,
    c: Words,
    out: Words,
    rejected: Integers,
) -> int:
    """out (n, L, N) = round(q*m/t) + e - a s in the NTT domain; a and e of two AES-CTR streams.

    Where a word of a is not below its prime the product is left out, and its place goes to rejected (n * L * N,) int64; returns
    how many do.
    """
    n, count, degree = out.shape
    words, errors = np.empty(degree, np.uint64), np.empty((1, degree), np.int64)
    a = np.empty((1, count, degree), np.uint64)
    found = 0
    for i in range(n):
        _ctr(e_schedule, e_nonce, e_counter + np.uint64(i * degree >> 1), words)
        _centred_binomial(words, errors[0])
        c0 = out[i : i + 1]
        if plain[0] <= np.uint64(1 << 51):
            _encode_fast(messages[i : i + 1], errors, plain, limbs, c0, c)
        else:
            _encode_any(messages[i : i + 1], errors, plain, limbs, c0, c)
        _forward(c0, factors, c)
        _ctr(a_schedule, a_nonce, a_counter + np.uint64(i * count * degree >> 1), a.reshape(count * degree))
        if _uniform(a, masks, c):
            for l in range(count):
                for j in range(degree):
                    if a[0, l, j] >= c[l, modular.Q]:
                        a[0, l, j] = 0
                        rejected[found] = (i * count + l) * degree + j
                        found += 1
        _multiply_subtract(c0, a, secret, c0, c)
    return found


@kernel
def _subtract_products(places: Integers, values: Words, secret: Words, c: Words, out: Words) -> None:
    """out (n, L, N) at places (r,) -= values (r,) * secret, for the few coefficients that were drawn again."""
    _, count, degree = out.shape
    flat = out.reshape(out.size)
    for i in range(places.size):
        l, j = places[i] // degree % count, places[i] % degree
        q = c[l, modular.Q]
        product = modular.multiply_shoup(values[i], secret[0, l, j], secret[1, l, j], q)
        x = flat[places[i]] + (q + q) - product
        x = min(x, x - (q + q))
        flat[places[i]] = min(x, x - q)


def encrypt(
    messages: np.ndarray, constants: rlwe.EncodeConstants, secret: np.ndarray, seeded: Stream, random: Stream, t: Tables
) -> np.ndarray:
    """round(q * message / t) + e - a s, uint64 (n, L, N) in the NTT domain, of messages uint64 (n, N) < t.

    a is what `rlwe.uniform` draws from `seeded`, which is public, e what `rlwe.errors` draws from `random`; secret: s of
    `rlwe.fixed`.
    """
    if messages.dtype != np.uint64 or messages.ndim != 2 or messages.shape[1] != t.degree or not messages.flags.c_contiguous:
        raise ValueError(f"messages must be C-contiguous uint64 (n, {t.degree}), not {messages.dtype} {messages.shape}")
    rlwe.check_fixed(secret, t)
    n, count = len(messages), len(t.primes)
    out = np.empty((n, count, t.degree), np.uint64)
    rejected = np.empty(out.size, np.int64)  # untouched memory, but for a few places
    found = _encrypt(
        messages, *seeded.reserve(out.size // 2), *random.reserve(messages.size // 2), constants.plain, constants.limbs,
        t.masks, secret, t.forward, t.constants, out, rejected,
    )  # fmt: skip
    if found:
        places = rejected[:found]
        values = rlwe.uniform_again(places // t.degree % count, seeded, t)
        _subtract_products(places, values, secret, t.constants, out)
    return out


@kernel
def _decrypt(
    ciphertexts: Words, secret: Words, factors: Words, scaling: Words, limbs: Words, target: Words, c: Words, out: Words
) -> None:
    """out (n, N) = round(M * (c0 + c1 s) / q) mod M of ciphertexts (n, 2, L, N)."""
    n, _, count, degree = ciphertexts.shape
    rows = ciphertexts.reshape((2 * n, 1, count, degree))
    phase = np.empty((1, count, degree), np.uint64)
    for i in range(n):
        _multiply_add(rows[2 * i], rows[2 * i + 1], secret, phase, c)
        _inverse(phase, factors, scaling, c)
        _scale_round(phase, limbs, target, out[i : i + 1], c)


def decrypt(ciphertexts: np.ndarray, constants: rlwe.ScaleConstants, secret: np.ndarray, t: Tables) -> np.ndarray:
    """round(M * phase / q) mod M, uint64 (n, N), of ciphertexts (n, 2, L, N) in the NTT domain; secret: s of `rlwe.fixed`."""
    if ciphertexts.dtype != np.uint64 or ciphertexts.ndim != 4 or ciphertexts.shape[1:] != (2, len(t.primes), t.degree):
        shape = f"(n, 2, {len(t.primes)}, {t.degree})"
        raise ValueError(f"ciphertexts must be uint64 {shape}, not {ciphertexts.dtype} {ciphertexts.shape}")
    rlwe.check_fixed(secret, t)
    out = np.empty((len(ciphertexts), t.degree), np.uint64)
    _decrypt(
        np.ascontiguousarray(ciphertexts), secret, t.inverse, t.scaling, constants.limbs, constants.target, t.constants, out
    )
    return out
