"""Slot rotations: the Galois automorphisms X -> X^g and the key switching that brings their results back under s.

For slot encodings (`encoding.encode_slots`), g = 3^k rotates both rows of N/2 slots to the left by k, and g = 2N - 1 swaps
the rows. Key switching decomposes c1 by primes and each residue into two digits (Bajard et al., 2016; Brakerski and
Vaikuntanathan, 2011): no special prime, so that q stays where the security table has it. That a key under s may encrypt
an image of s is the usual circular-security assumption.

Only tests call this today; it stays because the published design (shares modulo a prime, DFT convolutions by rotations) is
built on it by later work.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bunet.protocols.kernels.ring import ntt, rlwe
from bunet.protocols.kernels.ring.sampling import ERROR_BOUND
from bunet.protocols.pahe import wire
from bunet.protocols.pahe.encoding import GENERATOR
from bunet.protocols.pahe.keys import SEED_BYTES, SecretKey, encrypt_zeros, expand, fresh_seed
from bunet.protocols.pahe.parameters import Parameters
from bunet.protocols.random import Random
from bunet.protocols.steps import ArraySpec, spec

DIGITS = 2  # digits of a residue


def rotation(params: Parameters, steps: int) -> int:
    """The Galois element that rotates both rows to the left by `steps` (to the right if negative)."""
    return pow(GENERATOR, steps % (params.degree // 2), 2 * params.degree)


def row_swap(params: Parameters) -> int:
    """The Galois element that swaps the two rows."""
    return 2 * params.degree - 1


def switching_noise(params: Parameters) -> int:
    """Bound of the noise that one rotation adds."""
    return params.limbs * DIGITS * params.degree * (1 << _digit_bits(params)) * ERROR_BOUND


def _digit_bits(params: Parameters) -> int:
    return -(-params.residue_bits // DIGITS)


@functools.lru_cache(maxsize=256)
def _permutation(degree: int, element: int) -> np.ndarray:
    """Where each value of the automorphism's image comes from, in the NTT's bit-reversed order of odd powers of psi."""
    if element % 2 == 0 or not 0 < element < 2 * degree:
        raise ValueError(f"{element} is not an odd number below {2 * degree}, so not a Galois element")
    order = ntt.bit_reversed(degree)
    exponents = (2 * order + 1) * element % (2 * degree)
    image: np.ndarray = order[exponents >> 1]
    return image


@functools.cache
def _decomposition(params: Parameters) -> np.ndarray:
    """(3, L, N) fixed factor (q/q_i)^-1 mod q_i in every coefficient."""
    inverses = [pow(params.modulus // p, -1, p) for p in params.primes]
    poly = np.broadcast_to(np.array(inverses, np.uint64)[:, None], (params.limbs, params.degree))
    return rlwe.fixed(np.ascontiguousarray(poly), params.tables)


@dataclass(frozen=True, eq=False)
class GaloisKey:
    """b: uint64 (L * DIGITS, L, N), NTT domain: encryptions of (q/q_i) 2^(k digit) * (image of s); seed: of their a."""

    params: Parameters
    element: int
    b: np.ndarray
    seed: bytes
    a: np.ndarray

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """What travels: packed b and the seed, uint8."""
        return wire.pack_residues(self.params, self.b), np.frombuffer(self.seed, np.uint8)

    @staticmethod
    def specs(params: Parameters) -> tuple[ArraySpec, ArraySpec]:
        """dtypes and shapes of `arrays`."""
        return spec(np.uint8, wire.residue_bytes(params, params.limbs * DIGITS)), spec(np.uint8, SEED_BYTES)

    @classmethod
    def from_arrays(cls, params: Parameters, element: int, arrays: tuple[np.ndarray, ...]) -> GaloisKey:
        """The peer's key for that element; ProtocolError if a residue is out of range."""
        rows = params.limbs * DIGITS
        _permutation(params.degree, element)
        seed = bytes(arrays[1])
        return cls(params, element, wire.unpack_residues(params, arrays[0], rows), seed, expand(params, seed, rows))


def generate(key: SecretKey, elements: Iterable[int], random: Random) -> dict[int, GaloisKey]:
    """Galois keys by element; elements of `rotation` and `row_swap`."""
    params = key.params
    secret = key.fixed(params.tables)[0]
    keys = {}
    for element in elements:
        image = secret[:, _permutation(params.degree, element)]
        seed = fresh_seed(random)
        a = expand(params, seed, params.limbs * DIGITS)
        b = encrypt_zeros(key, a, random)
        gadget = np.zeros_like(b)
        for l, prime in enumerate(params.primes):
            for k in range(DIGITS):
                factor = (params.modulus // prime << k * _digit_bits(params)) % prime
                gadget[l * DIGITS + k, l] = factor
        b = rlwe.add(b, rlwe.multiply(gadget, image[None], params.tables), params.tables)
        keys[element] = GaloisKey(params, element, b, seed, a)
    return keys


def apply(ciphertexts: np.ndarray, key: GaloisKey) -> np.ndarray:
    """Images (n, 2, L, N) of ciphertexts under the key's automorphism; adds at most `switching_noise`."""
    params, tables = key.params, key.params.tables
    permuted = ciphertexts[:, :, :, _permutation(params.degree, key.element)]
    digits = rlwe.multiply_fixed(ntt.inverse(np.ascontiguousarray(permuted[:, 1]), tables), _decomposition(params), tables)
    c0, c1 = np.ascontiguousarray(permuted[:, 0]), np.zeros_like(digits)
    bits = _digit_bits(params)
    mask = np.uint64((1 << bits) - 1)
    for l in range(params.limbs):
        for k in range(DIGITS):
            digit = np.ascontiguousarray(digits[:, l] >> np.uint64(k * bits) & mask)
            lifted = ntt.forward(rlwe.reduce(digit, tables), tables)
            row = l * DIGITS + k
            c0 = rlwe.add(c0, rlwe.multiply(lifted, key.b[row : row + 1], tables), tables)
            c1 = rlwe.add(c1, rlwe.multiply(lifted, key.a[row : row + 1], tables), tables)
    return np.stack([c0, c1], axis=1)


def rotate(ciphertexts: np.ndarray, keys: dict[int, GaloisKey], steps: int) -> np.ndarray:
    """Ciphertexts whose slot rows are rotated to the left by `steps`; LookupError if there is no key for it."""
    params = next(iter(keys.values())).params
    element = rotation(params, steps)
    if element == 1:
        return ciphertexts.copy()
    if element not in keys:
        raise LookupError(f"there is no Galois key for a rotation by {steps} (element {element})")
    return apply(ciphertexts, keys[element])
