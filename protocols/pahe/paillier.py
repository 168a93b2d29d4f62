"""Paillier (EUROCRYPT 1999) by python-paillier, behind `additive.Additive`: for cross-checks, never a default.

One value a ciphertext, and a hundred thousand times slower than BFV. Its randomness is python-paillier's own, from the
operating system. Decryption learns the integer before it is reduced modulo t, so nothing may be answered to a peer with
this class as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bunet.models import extras
from bunet.models.errors import UsageError

MIN_KEY_BITS = 3072  # 128-bit security by NIST SP 800-57, table 2


class PaillierUnavailable(UsageError):
    """python-paillier is not installed."""


class Paillier:
    """Vectors of residues modulo t (2..2^60), each a ciphertext of its own."""

    def __init__(self, t: int, key_bits: int = MIN_KEY_BITS, primes: tuple[int, int] | None = None) -> None:
        """A fresh key of key_bits, or the key of two secret primes made elsewhere."""
        if primes is not None:
            key_bits = (primes[0] * primes[1]).bit_length()
        if key_bits < MIN_KEY_BITS:
            raise ValueError(f"a Paillier key of {key_bits} bits is below 128-bit security: at least {MIN_KEY_BITS}")
        if not 2 <= t <= 1 << 60:
            raise ValueError(f"plaintext modulus {t} is outside 2..2^60")
        try:
            from phe import paillier
        except ImportError as error:
            raise PaillierUnavailable("the paillier scheme needs python-paillier", extras.how("paillier")) from error
        self.t = t
        if primes is None:
            self._public, self._secret = paillier.generate_paillier_keypair(n_length=key_bits)
        else:
            self._public = paillier.PaillierPublicKey(primes[0] * primes[1])
            self._secret = paillier.PaillierPrivateKey(self._public, *primes)

    def encrypt(self, values: np.ndarray) -> list[Any]:
        return [self._public.encrypt(int(value)) for value in values]

    def add(self, a: list[Any], b: list[Any]) -> list[Any]:
        return [x + y for x, y in zip(a, b, strict=True)]

    def add_plain(self, a: list[Any], values: np.ndarray) -> list[Any]:
        return [x + int(value) for x, value in zip(a, values, strict=True)]

    def multiply_plain(self, a: list[Any], values: np.ndarray) -> list[Any]:
        return [x * int(value) for x, value in zip(a, values, strict=True)]

    def decrypt(self, a: list[Any], count: int) -> np.ndarray:
        return np.array([self._secret.decrypt(x) % self.t for x in a[:count]], np.uint64)
