"""The kept answers: JSON files beside this one, and how values are written in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent

Answers = dict[str, Any]
Producers = Mapping[str, Callable[[], Answers]]


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.json"


def read(name: str) -> Answers:
    answers: Answers = json.loads(path_of(name).read_text(encoding="utf-8"))
    return answers


def write(name: str, answers: Answers) -> None:
    path_of(name).write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")


def text(array: NDArray[Any]) -> str:
    """The array's bytes in C order, little-endian, as hex digits."""
    return np.ascontiguousarray(array).tobytes().hex()


def digest(*arrays: NDArray[Any]) -> str:
    """SHA-256 over kind, shape and bytes of each array."""
    known = hashlib.sha256()
    for array in arrays:
        known.update(f"{array.dtype.str} {list(array.shape)};".encode() + np.ascontiguousarray(array).tobytes())
    return known.hexdigest()


def summary(array: NDArray[Any], words: int = 4) -> Answers:
    """Of an array too long to be kept: its shape, its first and last elements, and its digest."""
    flat = array.reshape(-1)
    ends = [int(value) for value in (*flat[:words], *flat[-words:])]
    return {"shape": list(array.shape), "ends": ends, "sha256": digest(array)}


def fixed(*shape: int) -> NDArray[np.uint64]:
    """Words that are the same on every machine, whatever the version of numpy: Weyl's sequence, mixed as in SplitMix64."""
    words = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return (words ^ words >> np.uint64(31)).reshape(shape)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, read-only, as the protocols hand it to kernels: they are compiled for one kind of array."""
    array.flags.writeable = False
    return array
