"""Plaintexts: which moduli t are allowed, and the slot encoding for prime t.

Coefficient encoding needs no transform: a message is N residues modulo any t, 2^width too. Slot encoding arranges N values
modulo a prime t = 1 mod 2N as two rows of N/2; products act slot by slot and the Galois group rotates the rows (Smart
and Vercauteren, "Fully homomorphic SIMD operations", 2011; Halevi and Shoup, 2014).
"""

from __future__ import annotations

import functools

import numpy as np

from bunet.protocols.kernels.ring import ntt, rlwe
from bunet.protocols.pahe.parameters import Parameters, is_prime, ntt_primes

MAX_WIDTH = 60
GENERATOR = 3  # of the rotations: 3 has order N/2 modulo 2N, and with -1 generates all odd residues


def width_of(t: int) -> int:
    """Bits of a residue modulo t: w for t = 2^w, else the bit length of t."""
    return (t - 1).bit_length()


@functools.cache
def check_modulus(params: Parameters, t: int) -> None:
    """t must be 2^width with width 1..60, or an odd prime below 2^60 that is not one of q's; ValueError otherwise."""
    power_of_two = t > 1 and t & (t - 1) == 0
    if not (2 <= t <= 1 << MAX_WIDTH) or not (power_of_two or is_prime(t)):
        raise ValueError(f"plaintext modulus {t} is neither 2^width with width 1..{MAX_WIDTH} nor a prime below 2^60")
    if t in params.primes or t >= params.modulus >> 2:
        raise ValueError(f"plaintext modulus {t} does not fit the ciphertext modulus of {params.name}")


@functools.cache
def encode_constants(params: Parameters, t: int) -> rlwe.EncodeConstants:
    """Constants of round(q*m/t) modulo each prime."""
    check_modulus(params, t)
    return rlwe.EncodeConstants.of(params.primes, t)


@functools.cache
def scale_constants(params: Parameters, modulus: int) -> rlwe.ScaleConstants:
    """Constants of round(modulus * x / q)."""
    return rlwe.ScaleConstants.of(params.primes, modulus)


def messages_of(params: Parameters, messages: np.ndarray, t: int) -> np.ndarray:
    """messages as C-contiguous uint64 (n, N); ValueError if they are not (n, N) unsigned residues below t."""
    if messages.ndim != 2 or messages.shape[1] != params.degree or messages.dtype not in (np.uint32, np.uint64):
        raise ValueError(f"messages must be unsigned (n, {params.degree}), not {messages.dtype} {messages.shape}")
    if messages.size and int(messages.max()) >= t:
        raise ValueError(f"a message is not below the plaintext modulus {t}")
    return np.ascontiguousarray(messages, np.uint64)


def slot_prime(degree: int, bits: int, index: int = 0) -> int:
    """The (index+1)-th largest prime of exactly `bits` bits that gives slots, i.e. is 1 modulo 2N."""
    return ntt_primes(degree, bits, index + 1)[index]


@functools.cache
def _slot_order(degree: int) -> np.ndarray:
    """Index in the NTT's bit-reversed output of each slot: row 0 holds psi^(3^i), row 1 psi^(-3^i)."""
    powers = np.empty(degree, np.int64)
    power = 1
    for i in range(degree // 2):
        powers[i], powers[degree // 2 + i] = power, 2 * degree - power
        power = power * GENERATOR % (2 * degree)
    return ntt.bit_reversed(degree)[powers >> 1]


def _slot_tables(degree: int, t: int) -> ntt.Tables:
    if t >> 50 or t % (2 * degree) != 1 or not is_prime(t):
        raise ValueError(f"slots need a prime plaintext modulus below 2^50 that is 1 modulo {2 * degree}, not {t}")
    return ntt.tables(degree, (t,))


def encode_slots(values: np.ndarray, t: int) -> np.ndarray:
    """Coefficients uint64 (n, N) of the plaintexts whose slots are values (n, N) < t."""
    degree = values.shape[-1]
    tables = _slot_tables(degree, t)
    if values.ndim != 2 or values.dtype != np.uint64 or (values.size and int(values.max()) >= t):
        raise ValueError(f"slot values must be uint64 (n, N) below {t}")
    out = np.empty((len(values), 1, degree), np.uint64)
    out[:, 0, _slot_order(degree)] = values
    return ntt.inverse(out, tables)[:, 0]


def decode_slots(coefficients: np.ndarray, t: int) -> np.ndarray:
    """Slots uint64 (n, N) of plaintexts with coefficients (n, N) < t."""
    degree = coefficients.shape[-1]
    tables = _slot_tables(degree, t)
    values = np.ascontiguousarray(coefficients, np.uint64)[:, None, :].copy()
    return ntt.forward(values, tables)[:, 0][:, _slot_order(degree)]


def centred(residues: np.ndarray, t: int) -> np.ndarray:
    """Residues below t < 2^62 as int64 in [-t/2, t/2): the smallest representatives, for plaintext factors."""
    values = residues.astype(np.int64)
    return values - (t & -(values >= (t + 1) // 2).astype(np.int64))  # factors are secret: no branch on them
