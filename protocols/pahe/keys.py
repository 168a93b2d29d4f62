"""BFV keys: Alice's ternary secret, and the public key that lets Bob encrypt zeros."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from bunet.protocols.kernels.ring import ntt, rlwe
from bunet.protocols.pahe import wire
from bunet.protocols.pahe.parameters import Parameters
from bunet.protocols.random import Random
from bunet.protocols.steps import ArraySpec, spec

SEED_BYTES = 32


def fresh_seed(random: Random) -> bytes:
    """32 bytes that will be published: the expansion is AES-CTR, apart from the stream that made them."""
    return bytes(random.bytes(SEED_BYTES))


def expand(params: Parameters, seed: bytes, n: int) -> np.ndarray:
    """The uniform polynomials (n, L, N), NTT domain, that a public seed stands for."""
    return rlwe.uniform(n, Random(seed), params.tables)


@dataclass(eq=False)
class SecretKey:
    """ternary: int8 (N,), uniform in {-1, 0, 1}. Never leaves Alice."""

    params: Parameters
    ternary: np.ndarray = field(repr=False)
    _fixed: dict[tuple[int, ...], np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def generate(cls, params: Parameters, random: Random) -> SecretKey:
        return cls(params, rlwe.ternaries(1, params.degree, random)[0].astype(np.int8))

    def fixed(self, tables: ntt.Tables) -> np.ndarray:
        """s in the NTT domain of these primes, (3, L, N) as a fixed factor; computed once."""
        known = self._fixed.get(tables.primes)
        if known is None:
            values = rlwe.small_residues(self.ternary.astype(np.int64)[None], tables)
            known = self._fixed[tables.primes] = rlwe.fixed(ntt.forward(values, tables), tables)
        return known

    def public_key(self, random: Random) -> PublicKey:
        """A fresh public key (b, a) = (-a s + e, a), a from a seed."""
        seed = fresh_seed(random)
        return PublicKey(self.params, encrypt_zeros(self, expand(self.params, seed, 1), random)[0], seed)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret key is not serialised")


def encrypt_zeros(key: SecretKey, a: np.ndarray, random: Random) -> np.ndarray:
    """-a s + e (n, L, N) for uniform a (n, L, N), both in the NTT domain; e fresh centred binomial."""
    params = key.params
    noise = rlwe.small_residues(rlwe.errors(len(a), params.degree, random), params.tables)
    return rlwe.multiply_subtract(ntt.forward(noise, params.tables), a, key.fixed(params.tables), params.tables)


@dataclass(eq=False)
class PublicKey:
    """b: uint64 (L, N), NTT domain; seed: of a."""

    params: Parameters
    b: np.ndarray
    seed: bytes
    fixed_a: np.ndarray = field(init=False, repr=False)
    fixed_b: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        tables = self.params.tables
        self.fixed_a = rlwe.fixed(expand(self.params, self.seed, 1), tables)
        self.fixed_b = rlwe.fixed(self.b[None], tables)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """What travels: packed b and the seed, uint8."""
        return wire.pack_residues(self.params, self.b[None]), np.frombuffer(self.seed, np.uint8)

    @staticmethod
    def specs(params: Parameters) -> tuple[ArraySpec, ArraySpec]:
        """dtypes and shapes of `arrays`."""
        return spec(np.uint8, wire.residue_bytes(params, 1)), spec(np.uint8, SEED_BYTES)

    @classmethod
    def from_arrays(cls, params: Parameters, arrays: tuple[np.ndarray, ...]) -> PublicKey:
        """The peer's public key; ProtocolError if a residue is out of range."""
        return cls(params, wire.unpack_residues(params, arrays[0], 1)[0], bytes(arrays[1]))
