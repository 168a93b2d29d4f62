"""What stands in a sealed file, as bytes: a line of JSON with its texts and its arrays' kinds and shapes, then all numbers.

The fuzzer changes these bytes and they are sealed again: no damage, but contents that no honest writer leaves.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.files import sealed

KINDS = {dtype: np.dtype(dtype) for dtype in ("|u1", "|i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8")}
LARGEST = 1 << 16  # numbers of an array


def contents_of(path: Path, format: sealed.FileFormat) -> bytes:
    texts, arrays = sealed.load(path, format)
    facts = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
    return json.dumps([texts, facts]).encode() + b"\n" + b"".join(array.tobytes() for array in arrays.values())


def seal(contents: bytes, path: Path, format: sealed.FileFormat) -> bool:
    """Write the file of such contents; False where they are none. Numbers that are missing are zero."""
    head, _, numbers = contents.partition(b"\n")
    try:
        texts, facts = json.loads(head)
        arrays: dict[str, Any] = {}
        for name, (dtype, shape) in facts.items():
            count = math.prod(shape)
            if not (all(type(size) is int and size >= 0 for size in shape) and count <= LARGEST):
                return False
            nbytes = count * KINDS[dtype].itemsize
            arrays[name] = np.frombuffer(numbers[:nbytes].ljust(nbytes, b"\0"), KINDS[dtype]).reshape(shape)
            numbers = numbers[nbytes:]
        texts = {name: text for name, text in texts.items() if name not in (sealed.KIND, sealed.VERSION, sealed.CHECKSUM)}
        if not all(isinstance(text, str) and text.isascii() for text in (*texts.values(), *texts, *arrays)):
            texts = {name: str(text).encode("ascii", "backslashreplace").decode() for name, text in texts.items()}
        sealed.save(path, format, arrays, texts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, UnicodeError):
        return False  # of the fuzzer's making; the file is not written
    return True
