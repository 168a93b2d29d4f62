"""How well two masks agree."""

from __future__ import annotations

import numpy as np


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice coefficient 2|A and B| / (|A| + |B|) of two masks of equal shape, non-zero being inside.

    Two empty masks give 1. Raises ValueError where the shapes differ.
    """
    a, b = np.asarray(first) != 0, np.asarray(second) != 0
    if a.shape != b.shape:
        raise ValueError(f"masks of shapes {a.shape} and {b.shape} cannot be compared")
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2 * int((a & b).sum()) / total
