"""BFV with RNS ciphertexts (Brakerski 2012; Fan and Vercauteren 2012), batch first, secret-key encryption by Alice.

A ciphertext (c0, c1) has the phase c0 + c1 s = q/t * m + noise modulo q. Batches are uint64 (n, 2, L, N) of canonical
residues in the NTT domain; messages uint64 (n, N) modulo t. A fresh ciphertext encodes round(q*m/t), so that its noise
is the error and the rounding, |noise| <= FRESH_NOISE, and wrapping modulo t adds none: a product by an integer polynomial w
has noise <= |w|_1 * FRESH_NOISE, whatever t.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.ring import fused, ntt, rlwe
from bunet.protocols.kernels.ring.sampling import ERROR_BOUND
from bunet.protocols.pahe import wire
from bunet.protocols.pahe.encoding import check_modulus, encode_constants, messages_of, scale_constants
from bunet.protocols.pahe.keys import SEED_BYTES, PublicKey, SecretKey, expand, fresh_seed
from bunet.protocols.pahe.parameters import Parameters
from bunet.protocols.random import Random
from bunet.protocols.steps import ArraySpec, spec

__all__ = ["PublicKey", "SecretKey"]

FRESH_NOISE = ERROR_BOUND + 1  # the error and half a unit of rounding, rounded up


def noise_bits(norm: int) -> int:
    """Smallest B with |noise| < 2^B after products by plaintexts of summed L1 norm <= norm, before a reply's flood."""
    return (norm * FRESH_NOISE).bit_length()


def encrypt(key: SecretKey, messages: np.ndarray, t: int, random: Random) -> tuple[np.ndarray, bytes]:
    """Fresh ciphertexts of messages (n, N) < t: c0 uint64 (n, L, N) in the NTT domain, and the 32-byte seed of all c1.

    c1 is uniform, expanded from the seed; c0 = round(q*m/t) + e - c1 s.
    """
    params = key.params
    check_modulus(params, t)
    messages = messages_of(params, messages, t)
    seed = fresh_seed(random)
    constants, tables = encode_constants(params, t), params.tables
    return fused.encrypt(messages, constants, key.fixed(tables), Random(seed), random, tables), seed


def expand_request(params: Parameters, c0: np.ndarray, seed: bytes) -> np.ndarray:
    """Ciphertexts (n, 2, L, N) of `encrypt`'s result."""
    out = np.empty((len(c0), 2, params.limbs, params.degree), np.uint64)
    out[:, 0] = c0
    out[:, 1] = expand(params, seed, len(c0))
    return out


def request_arrays(params: Parameters, c0: np.ndarray, seed: bytes) -> tuple[np.ndarray, np.ndarray]:
    """What Alice sends: bit-packed c0 and the seed, uint8."""
    return wire.pack_residues(params, c0), np.frombuffer(seed, np.uint8)


def request_specs(params: Parameters, n: int) -> tuple[ArraySpec, ArraySpec]:
    """dtypes and shapes of `request_arrays` for n ciphertexts."""
    return spec(np.uint8, wire.residue_bytes(params, n)), spec(np.uint8, SEED_BYTES)


def request_bytes(params: Parameters, n: int) -> int:
    """Bytes of a request of n ciphertexts, exactly."""
    return wire.residue_bytes(params, n) + SEED_BYTES


def open_request(params: Parameters, arrays: tuple[np.ndarray, ...], n: int) -> np.ndarray:
    """Ciphertexts (n, 2, L, N) from `request_arrays`; ProtocolError if they are not n ciphertexts."""
    return expand_request(params, wire.unpack_residues(params, arrays[0], n), bytes(arrays[1]))


def open_sum(params: Parameters, arrays: tuple[np.ndarray, ...], messages: np.ndarray, t: int, out: np.ndarray) -> None:
    """out (n, 2, L, N) = the ciphertexts of `request_arrays` plus plaintexts (n, N) < t, as `open_request` and `add_plain`."""
    n = len(messages)
    c0 = wire.unpack_residues(params, arrays[0], n)
    rlwe.pair(c0, _encoded(params, messages, t), expand(params, bytes(arrays[1]), n), params.tables, out=out)


def decrypt(key: SecretKey, ciphertexts: np.ndarray, t: int) -> np.ndarray:
    """round(t * phase / q) mod t, uint64 (n, N): the messages if |noise| < q / (2t) * (1 - L * 2^-50)."""
    params = key.params
    check_modulus(params, t)
    return fused.decrypt(ciphertexts, scale_constants(params, t), key.fixed(params.tables), params.tables)


def add(params: Parameters, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Ciphertexts of the sums; noises add."""
    return rlwe.add(a, b, params.tables)


def add_plain(params: Parameters, ciphertexts: np.ndarray, messages: np.ndarray, t: int) -> np.ndarray:
    """Ciphertexts of the sums with plaintexts (n, N) < t; noise grows by half a unit."""
    return rlwe.pair(ciphertexts[:, 0], _encoded(params, messages, t), ciphertexts[:, 1], params.tables)


def _encoded(params: Parameters, messages: np.ndarray, t: int) -> np.ndarray:
    """round(q*m/t), (n, L, N) in the NTT domain."""
    messages = messages_of(params, messages, t)
    errors = np.zeros(messages.shape, np.int64)
    return ntt.forward(rlwe.encode(messages, errors, encode_constants(params, t), params.tables), params.tables)


def transform(params: Parameters, coefficients: np.ndarray) -> np.ndarray:
    """Integer polynomials int64 (n, N) as plaintext factors (n, L, N), NTT domain: weights, or `centred` slot encodings."""
    return ntt.forward(rlwe.residues(coefficients, params.tables), params.tables)


def multiply_plain(params: Parameters, ciphertexts: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Ciphertexts of the products with factors of `transform`, (n, L, N) or one (L, N); noise times the factor's L1 norm.

    The product of polynomials modulo (X^N + 1, t); for slot encodings, the product of each slot.
    """
    factors = factors.reshape(-1, 1, params.limbs, params.degree)
    both = np.broadcast_to(factors, (len(factors), 2, params.limbs, params.degree))
    if len(factors) == 1:
        both = np.broadcast_to(both, (len(ciphertexts), 2, params.limbs, params.degree))
    return rlwe.multiply(ciphertexts, both, params.tables)


def mod_switch(params: Parameters, ciphertexts: np.ndarray) -> tuple[Parameters, np.ndarray]:
    """The same messages modulo q / (last prime): noise is divided by it, and |s|_1/2 + 1 is added by rounding."""
    smaller = params.drop_last()
    n = len(ciphertexts)
    values = ntt.inverse(ciphertexts.reshape(2 * n, params.limbs, params.degree).copy(), params.tables)
    switched = ntt.forward(rlwe.divide_by_last(values, params.tables), smaller.tables)
    return smaller, switched.reshape(n, 2, smaller.limbs, smaller.degree)
