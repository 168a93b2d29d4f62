"""The commitment to integer weights: one value for one salt and one set of weights, and another for any other."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from bunet.models.commitment import commit
from bunet.models.integers import IntegerWeights

SALT = bytes(range(32))


def layer(values: list[int], shape: tuple[int, ...], bias: list[int]) -> IntegerWeights:
    return IntegerWeights(np.array(values, np.int64).reshape(shape), np.array(bias, np.int64))


WEIGHTS = {"b": layer([1, -2], (1, 2, 1, 1), [3]), "a": layer([4], (1, 1, 1, 1), [-5])}


def test_the_encoding_is_the_written_one() -> None:
    """Spelled out with struct: lengths, names in order, dimensions, little-endian 64-bit numbers."""
    domain = b"bunet integer weights, version 1"
    text = struct.pack("<Q", len(domain)) + domain + SALT + struct.pack("<Q", 2)
    text += struct.pack("<Q", 1) + b"a" + struct.pack("<5Q", 4, 1, 1, 1, 1) + struct.pack("<q", 4)
    text += struct.pack("<QQq", 1, 1, -5)
    text += struct.pack("<Q", 1) + b"b" + struct.pack("<5Q", 4, 1, 2, 1, 1) + struct.pack("<qq", 1, -2)
    text += struct.pack("<QQq", 1, 1, 3)
    assert commit(SALT, WEIGHTS) == hashlib.sha256(text).hexdigest()
    assert commit(SALT, dict(reversed(WEIGHTS.items()))) == commit(SALT, WEIGHTS)


def test_any_change_changes_it() -> None:
    others = [
        {"b": WEIGHTS["b"]},
        {"b": WEIGHTS["a"], "a": WEIGHTS["b"]},
        {**WEIGHTS, "b": layer([1, -2], (2, 1, 1, 1), [3])},
        {**WEIGHTS, "b": layer([1, -1], (1, 2, 1, 1), [3])},
        {**WEIGHTS, "b": layer([1, -2], (1, 2, 1, 1), [4])},
        {**WEIGHTS, "c": WEIGHTS["a"]},
        {"bb": WEIGHTS["b"], "a": WEIGHTS["a"]},
    ]
    commitments = [commit(SALT, WEIGHTS), commit(bytes(32), WEIGHTS), *(commit(SALT, other) for other in others)]
    assert len(set(commitments)) == len(commitments)


def test_a_salt_of_another_length_is_refused() -> None:
    for salt in (b"", bytes(31), bytes(33)):
        with pytest.raises(ValueError, match="a salt has 32 bytes"):
            commit(salt, WEIGHTS)
