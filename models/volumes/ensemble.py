"""One mask of a volume from what its slices along several axes say: the published rule, and votes on labels.

Published (the plaintext code of the COVID-19 work): the probabilities of the foreground along the three axes are added,
their sum above 2 is the mask, and a 3x3x3 maximum filter closes it; an infection is cut to the lung mask, made the same way.
With fewer axes the bound is their number times 2/3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


def probability(logits: NDArray[Any]) -> Floats:
    """float32 (H, W): the softmax of two logits (2, H, W), its second class. Raises ValueError for another shape."""
    if logits.ndim != 3 or len(logits) != 2:
        raise ValueError(f"a probability takes two logits a pixel, not {logits.shape}")
    difference = np.asarray(logits[0], np.float32) - np.asarray(logits[1], np.float32)
    with np.errstate(over="ignore"):  # exp(big) is infinite, and 1 / inf is 0 as it should be
        return np.asarray(1 / (1 + np.exp(difference)), dtype=np.float32)


def likely(total: NDArray[Any], axes: int) -> Bools:
    """Where a sum of `axes` probabilities exceeds 2/3 of their number; for three axes, where it exceeds 2."""
    _check_axes(axes)
    return np.asarray(3 * total > 2 * axes) if axes != 3 else np.asarray(total > 2)


def elected(votes: NDArray[Any], axes: int) -> Bools:
    """Where more than half of `axes` labels are 1; votes: how many are."""
    _check_axes(axes)
    return np.asarray(2 * votes > axes)


def maximum_filter(mask: Bools) -> Bools:
    """Whether any of a voxel's 27 neighbours (itself among them) is set; beyond the border nothing is."""
    out = mask
    for axis in range(mask.ndim):
        out = _widened(out, axis)
    return out


def _widened(mask: Bools, axis: int) -> Bools:
    out = mask.copy()
    along, source = np.moveaxis(out, axis, 0), np.moveaxis(mask, axis, 0)
    along[1:] |= source[:-1]
    along[:-1] |= source[1:]
    return out


def _check_axes(axes: int) -> None:
    if not 1 <= axes <= 3:
        raise ValueError(f"{axes} axes: a volume has three")
