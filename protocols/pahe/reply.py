"""Bob's answer: masked, flooded, switched to a small modulus and cut to what Alice needs.

What Alice, who knows s, learns from a reply (c0, c1) is the masked plaintext and nothing else about Bob's weights:
- c1 = c1' + a u + e2 with (a, b) the public key and u, e2 fresh for every ciphertext: an RLWE sample with secret u, so c1 is
  pseudo-random whatever the accumulated c1' was (which alone is a sum of weights times polynomials that Alice knows).
- Given c1 and s, the sent coefficients of c0 are determined by the phase c0 + c1 s = round(q*(m + mask)/t) + noise. The noise
  depends on the weights and on u, but a uniform flood of [-2^(B+40), 2^(B+40)) is added, 2^B bounding everything else, so
  that each coefficient is within statistical distance 2^-41 of the flood alone, independent of weights and of u.
- Modulus switching and dropping coefficients of c0 come afterwards and are functions of (c0, c1).
The error e1 of a textbook public-key encryption would vanish in the flood and is left out.

Bounds hold except with probability 2^-60 over 2^20 ciphertexts of N coefficients:
- The encryption of zero has noise e u + e2 s. Given u and s, both terms are sums of centred binomials (strictly
  sub-Gaussian, variance 10.5) with weights in {-1, 0, 1}: variance proxy 21 N together.
- Switching adds r0 + r1 s, with r1 uniform in [-1/2, 1/2] (c1 is pseudo-random; a uniform variable is strictly
  sub-Gaussian, variance 1/12): proxy N/12 whatever s, and |r0| <= 1/2.
A sub-Gaussian X of proxy v has P(|X| > x) <= 2 exp(-x^2 / (2v)), so x^2 = 2 v ln(2) (60 + 20 + log2 N + 1) serves.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from bunet.protocols.kernels.ring import ntt, rlwe
from bunet.protocols.pahe import wire
from bunet.protocols.pahe.encoding import check_modulus, encode_constants, scale_constants, width_of
from bunet.protocols.pahe.keys import PublicKey, SecretKey
from bunet.protocols.pahe.parameters import MAX_PRIME_BITS, MIN_PRIME_BITS, ParameterError, Parameters, ntt_primes
from bunet.protocols.random import Random
from bunet.protocols.steps import ArraySpec, ProtocolError, spec

FLOOD_BITS = 40
FAILURE_BITS = 60
CIPHERTEXTS_BITS = 20
MAX_REPLY_BITS = 60
_MAX_FLOOD = 126
_CHUNK = 8


def _tail(variance_proxy: float, degree: int) -> int:
    """x as in the module's text, rounded up."""
    bits = FAILURE_BITS + CIPHERTEXTS_BITS + degree.bit_length()
    return math.ceil(math.sqrt(2 * variance_proxy * 0.6932 * bits))


def zero_noise(params: Parameters) -> int:
    """Bound of the noise that the encryption of zero adds."""
    return _tail(21 * params.degree, params.degree)


def rounding_noise(params: Parameters) -> int:
    """Bound of the noise that switching to the reply modulus adds, in units of that modulus."""
    return _tail(params.degree / 12, params.degree) + 1


def flood_bits(params: Parameters, noise_bits: int) -> int:
    """K such that the flood is uniform in [-2^K, 2^K): 40 bits above all other noise, the mask's rounding included."""
    return ((1 << noise_bits) + zero_noise(params) + 1).bit_length() + FLOOD_BITS


@dataclass(frozen=True)
class ReplyModulus:
    """The modulus p of replies: one NTT prime, or the product of two where one of 50 bits is too small."""

    degree: int
    primes: tuple[int, ...]

    @property
    def modulus(self) -> int:
        return math.prod(self.primes)

    @property
    def bits(self) -> int:
        """Bits of a coefficient on the wire."""
        return self.modulus.bit_length()

    @property
    def tables(self) -> ntt.Tables:
        return ntt.tables(self.degree, self.primes)


@functools.cache
def _candidate(degree: int, bits: int) -> ReplyModulus:
    if bits <= MAX_PRIME_BITS:
        return ReplyModulus(degree, ntt_primes(degree, bits))
    high, low = (bits + 1) // 2, bits // 2
    primes = ntt_primes(degree, high, 2) if high == low else ntt_primes(degree, high) + ntt_primes(degree, low)
    return ReplyModulus(degree, primes)


def _decrypts(params: Parameters, reply: ReplyModulus, width: int, noise_bits: int) -> bool:
    """t (p/q E + R) < p/2, with a margin of 2^-40 for the fixed-point roundings."""
    p, q, flood = reply.modulus, params.modulus, flood_bits(params, noise_bits)
    if flood > _MAX_FLOOD or p >= q or params.limbs * p >> 63:
        return False
    noise = (1 << flood) + (1 << flood - FLOOD_BITS)
    return (2 << width) * (p * noise + rounding_noise(params) * q) <= p * q - (p * q >> 40)


@functools.cache
def reply_modulus(params: Parameters, width: int, noise_bits: int) -> ReplyModulus:
    """The smallest reply modulus that decrypts plaintexts of `width` bits; public and the same at both parties.

    noise_bits: |noise| of the accumulators is < 2^noise_bits. Raises ParameterError if none serves; see `max_noise_bits`.
    """
    for bits in range(MIN_PRIME_BITS, MAX_REPLY_BITS + 1):
        candidate = _candidate(params.degree, bits)
        if _decrypts(params, candidate, width, noise_bits):
            return candidate
    raise ParameterError(
        f"{params.name} cannot reply with {width}-bit plaintexts under noise of {noise_bits} bits and a flood of "
        f"{FLOOD_BITS} bits above it"
    )


@functools.cache
def max_noise_bits(params: Parameters, width: int) -> int:
    """Largest B such that accumulators with |noise| < 2^B can be replied with `width`-bit plaintexts; -1 if there is none."""
    best = -1
    for noise_bits in range(_MAX_FLOOD):
        if not any(
            _decrypts(params, _candidate(params.degree, bits), width, noise_bits)
            for bits in (MAX_PRIME_BITS, MAX_REPLY_BITS - 2, MAX_REPLY_BITS - 1, MAX_REPLY_BITS)
        ):
            break
        best = noise_bits
    return best


def reply_bytes(params: Parameters, n: int, positions: int, width: int, noise_bits: int) -> int:
    """Bytes of a reply of n ciphertexts with that many coefficients of c0 each, exactly."""
    bits = reply_modulus(params, width, noise_bits).bits
    return wire.packed_bytes(n * positions, bits) + wire.packed_bytes(n * params.degree, bits)


def reply_specs(params: Parameters, n: int, positions: int, width: int, noise_bits: int) -> tuple[ArraySpec, ArraySpec]:
    """Kinds and shapes of the arrays of `reply`."""
    bits = reply_modulus(params, width, noise_bits).bits
    c0, c1 = wire.packed_bytes(n * positions, bits), wire.packed_bytes(n * params.degree, bits)
    return spec(np.uint8, c0), spec(np.uint8, c1)


def _check_positions(positions: np.ndarray, n: int, degree: int) -> np.ndarray:
    if positions.ndim not in (1, 2) or positions.dtype.kind not in "iu" or (positions.ndim == 2 and len(positions) != n):
        raise ValueError(f"positions must be integers (P,) or ({n}, P), not {positions.dtype} {positions.shape}")
    if positions.size and not 0 <= int(positions.min()) <= int(positions.max()) < degree:
        raise ValueError(f"a position is outside 0..{degree - 1}")
    return np.ascontiguousarray(positions, np.int64)


def reply(
    public_key: PublicKey,
    accumulators: np.ndarray,
    masks: np.ndarray,
    positions: np.ndarray,
    t: int,
    noise_bits: int,
    random: Random,
) -> tuple[np.ndarray, np.ndarray]:
    """Bob's reply to accumulators (n, 2, L, N) in the NTT domain: bit-packed c0 at the positions, and all of c1 (uint8).

    Alice decrypts (plaintext + mask) mod t at the positions. masks: unsigned (n, P) < t. positions: (P,) the same for all,
    or (n, P). noise_bits: |noise| of every accumulator is < 2^noise_bits, public. The accumulators are left as they are.
    """
    params = public_key.params
    check_modulus(params, t)
    n = len(accumulators)
    if accumulators.shape != (n, 2, params.limbs, params.degree) or accumulators.dtype != np.uint64:
        raise ValueError(f"accumulators {accumulators.shape} are not (n, 2, {params.limbs}, {params.degree})")
    positions = _check_positions(np.asarray(positions), n, params.degree)
    if masks.shape != (n, positions.shape[-1]) or masks.dtype not in (np.uint32, np.uint64):
        raise ValueError(f"masks {masks.dtype} {masks.shape} are not unsigned ({n}, {positions.shape[-1]})")
    if masks.size and int(masks.max()) >= t:
        raise ValueError(f"a mask is not below the plaintext modulus {t}")
    small = reply_modulus(params, width_of(t), noise_bits)
    flood = flood_bits(params, noise_bits)
    c0 = np.empty(masks.shape, np.uint64)
    c1 = np.empty((n, params.degree), np.uint64)
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        c0[part], c1[part] = _reply_part(
            public_key, accumulators[part], masks[part].astype(np.uint64, copy=False),
            positions if positions.ndim == 1 else positions[part], t, flood, small, random,
        )  # fmt: skip
    return wire.pack(c0, small.bits), wire.pack(c1, small.bits)


def _padded(rows: np.ndarray) -> np.ndarray:
    """Rows (n, P) lengthened with zeros to a multiple of the kernels' lanes."""
    rest = -rows.shape[1] % rlwe.LANES
    return np.pad(rows, ((0, 0), (0, rest))) if rest else rows


def _reply_part(
    public_key: PublicKey, accumulators: np.ndarray, masks: np.ndarray, positions: np.ndarray, t: int, flood: int,
    small: ReplyModulus, random: Random,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Coefficients modulo the reply modulus: c0 at the positions (n, P), c1 (n, N)."""
    params = public_key.params
    tables, scale = params.tables, scale_constants(params, small.modulus)
    n, degree = len(accumulators), params.degree
    u = ntt.forward(rlwe.ternary_residues(n, random, tables), tables)
    pairs = rlwe.add_products(accumulators, u, public_key.fixed_b, public_key.fixed_a, tables)
    ntt.inverse(pairs, tables)
    c1 = rlwe.scale_second(pairs, rlwe.errors(n, degree, random), scale, tables)
    padded = _padded(masks)
    kept = rlwe.encode(padded, np.zeros(padded.shape, np.int64), encode_constants(params, t), tables)
    if positions.ndim == 1:
        rlwe.add_gathered(pairs, positions, kept, tables)
    else:
        for own, row, place in zip(pairs, kept, positions, strict=True):
            rlwe.add_gathered(own[None], place, row[None], tables)
    rlwe.add_flood(kept, flood, random, tables)
    return rlwe.scale_round(kept, scale, tables)[:, : masks.shape[1]], c1


def open_reply(
    key: SecretKey,
    arrays: tuple[np.ndarray, ...],
    n: int,
    positions: np.ndarray,
    t: int,
    noise_bits: int,
) -> np.ndarray:
    """Alice's side: (plaintext + mask) mod t at the positions, uint64 (n, P).

    arrays: what `reply` returned; n, positions, t, noise_bits as given there. ProtocolError if the arrays are malformed.
    """
    params = key.params
    check_modulus(params, t)
    small = reply_modulus(params, width_of(t), noise_bits)
    tables = small.tables
    positions = _check_positions(np.asarray(positions), n, params.degree)
    positions = np.broadcast_to(positions, (n, positions.shape[-1]))
    c0 = wire.unpack(arrays[0], positions.shape, small.bits)
    c1 = wire.unpack(arrays[1], (n, params.degree), small.bits)
    if n and max(int(c1.max()), int(c0.max(initial=0))) >= small.modulus:
        raise ProtocolError("a received coefficient is not below the reply modulus")
    out = np.empty(positions.shape, np.uint64)
    scale = _open_constants(small, t)
    fixed = key.fixed(tables)
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        product = ntt.forward(rlwe.reduce(c1[part], tables), tables)
        product = ntt.inverse(rlwe.multiply_fixed(product, fixed, tables), tables)
        kept = rlwe.gather(product, _padded(positions[part]))
        kept = rlwe.add_values(kept, rlwe.reduce(_padded(c0[part]), tables), tables)
        out[part] = rlwe.scale_round(kept, scale, tables)[:, : positions.shape[1]]
    return out


@functools.cache
def _open_constants(small: ReplyModulus, t: int) -> rlwe.ScaleConstants:
    return rlwe.ScaleConstants.of(small.primes, t)
