"""A commitment to Bob's integer weights: Alice can tell that they have changed, and learns nothing else of them.

SHA-256 over a domain, a secret salt of 32 bytes and the weights. As a random oracle it hides the weights from whoever does not
know the salt: with a public salt, Alice could test guesses, such as that the weights are a certain public file's. It binds
as far as SHA-256 withstands collisions. Nothing proves that Bob computes with what he committed to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import numpy as np

from bunet.models.integers import IntegerWeights

DOMAIN = b"bunet integer weights, version 1"
SALT_BYTES = 32
COMMITMENT = re.compile("[0-9a-f]{64}")


def commit(salt: bytes, weights: Mapping[str, IntegerWeights]) -> str:
    """Hexadecimal SHA-256. The encoding is injective: every name, shape and number is preceded by its length or of fixed size.

    salt: SALT_BYTES uniform bytes, kept secret; the same for the same weights, or commitments cannot be compared.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    known = hashlib.sha256(len(DOMAIN).to_bytes(8, "little") + DOMAIN + salt + len(weights).to_bytes(8, "little"))
    for name in sorted(weights):
        text = name.encode()
        known.update(len(text).to_bytes(8, "little") + text)
        for array in (weights[name].weight, weights[name].bias):
            known.update(b"".join(size.to_bytes(8, "little") for size in (array.ndim, *array.shape)))
            known.update(np.ascontiguousarray(array, dtype="<i8").data)
    return known.hexdigest()
