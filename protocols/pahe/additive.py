"""The small interface that every additively homomorphic scheme here has, for cross-checks and comparisons."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from bunet.protocols.pahe import bfv, encoding
from bunet.protocols.pahe.keys import SecretKey
from bunet.protocols.pahe.parameters import Parameters
from bunet.protocols.random import Random


class Additive(Protocol):
    """Encrypted vectors of residues modulo t: values are uint64 (n,) < t, ciphertexts are the scheme's own."""

    t: int

    def encrypt(self, values: np.ndarray) -> Any: ...

    def add(self, a: Any, b: Any) -> Any: ...

    def add_plain(self, a: Any, values: np.ndarray) -> Any: ...

    def multiply_plain(self, a: Any, values: np.ndarray) -> Any:
        """Element by element."""

    def decrypt(self, a: Any, count: int) -> np.ndarray: ...


class BfvSlots:
    """BFV with one value a slot; t is a prime that is 1 modulo 2N."""

    def __init__(self, params: Parameters, t: int, random: Random) -> None:
        encoding.check_modulus(params, t)
        self.t, self.params, self.random = t, params, random
        self._key = SecretKey.generate(params, random)

    def _encode(self, values: np.ndarray) -> np.ndarray:
        if values.ndim != 1 or values.dtype != np.uint64:
            raise ValueError(f"values must be uint64 (n,), not {values.dtype} {values.shape}")
        slots = np.zeros((-(-len(values) // self.params.degree), self.params.degree), np.uint64)
        slots.reshape(-1)[: len(values)] = values
        return encoding.encode_slots(slots, self.t)

    def encrypt(self, values: np.ndarray) -> np.ndarray:
        c0, seed = bfv.encrypt(self._key, self._encode(values), self.t, self.random)
        return bfv.expand_request(self.params, c0, seed)

    def add(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return bfv.add(self.params, a, b)

    def add_plain(self, a: np.ndarray, values: np.ndarray) -> np.ndarray:
        return bfv.add_plain(self.params, a, self._encode(values), self.t)

    def multiply_plain(self, a: np.ndarray, values: np.ndarray) -> np.ndarray:
        factors = bfv.transform(self.params, encoding.centred(self._encode(values), self.t))
        return bfv.multiply_plain(self.params, a, factors)

    def decrypt(self, a: np.ndarray, count: int) -> np.ndarray:
        return encoding.decode_slots(bfv.decrypt(self._key, a, self.t), self.t).reshape(-1)[:count]
