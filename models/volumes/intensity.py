"""Volumes on one scale: 0 is -1250 HU or less, 1 is 250 HU or more.

Where the values come from is recognised from their kind and range, and the rule that was applied is reported:

- `unit`: floats within [-0.01, 1.01] are taken as they are (clipped).
- `hu`: whole numbers or floats that go below -200 are Hounsfield units: (hu + 1250)/1500, clipped.
- `hu+1024`: unsigned numbers, or signed ones that do not go below 0, above 255: stored with the usual offset of 1024.
- `windowed`: 8-bit whose soft tissue (the median above Otsu's threshold) lies at 0.75 of the range or higher: the
  window [-1250, 250] HU was applied already; value/255.
- `as-is`: never recognised, only asked for: the values are on the network's own scale already, and nothing is clipped.
- `tissue`: other 8-bit, where each slice was scaled by its own minimum and maximum: per slice, air (-1024 HU) is 0
  and soft tissue (40 HU) is the median s above Otsu's threshold, or that of the whole volume where the slice's is higher
  by more than a quarter (bone or table dominates; a lower one is a slice that metal has darkened): 0.15 + 0.71 v/s, clipped.

All other rules are v -> clip(scale * v + offset) with one scale for each slice of the first axis, so that a volume can be put
on the scale where it is cut, along any axis, and the rest of it stays on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.volume import Sliceable, VolumeError, check_shape

Floats = NDArray[np.float32]

HU_WINDOW = (-1250.0, 250.0)
RULES = ("unit", "hu", "hu+1024", "windowed", "tissue", "as-is")

UNIT_SLACK = 0.01
HU_BELOW = -200
WINDOWED_FROM = 0.75
AIR_HU, TISSUE_HU = -1024.0, 40.0
TISSUE_SLACK = 0.25


class Windowed:
    """A volume on the common scale, computed where it is cut: float32 in [0, 1], indexed like the array behind it.

    scale: one number, or one for each slice of the first axis. clip: False for values that stay beyond [0, 1].
    `np.asarray` computes the whole.
    """

    ndim = 3
    dtype = np.dtype(np.float32)

    def __init__(self, stored: Sliceable, scale: float | Floats, offset: float, clip: bool = True) -> None:
        self._stored = stored
        self.shape = stored.shape
        scales = np.asarray(scale, dtype=np.float32).reshape(-1, 1, 1)
        self._scale = np.broadcast_to(scales, self.shape)  # one number in memory for each slice, no more
        self._offset = np.float32(offset)
        self._clip = clip

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Floats]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> Floats:
        values = np.asarray(self._stored[key]).astype(np.float32)
        values *= self._scale[key]
        values += self._offset
        if self._clip:
            np.clip(values, 0.0, 1.0, out=values)
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a volume that is computed where it is cut cannot be had without a copy")
        out = np.empty(self.shape, dtype=np.float32)
        for k, image in enumerate(self):
            out[k] = image
        return out if dtype is None else out.astype(dtype, copy=False)


def windowed(array: Sliceable, rule: str = "auto") -> tuple[Windowed, str]:
    """(the volume in [0, 1], the rule that puts it there); see the top of this file for the rules.

    array: (slices, rows, columns); read through once, one slice at a time. rule: `auto` recognises it, or one of RULES.
    Raises VolumeError for a shape or kind that is not a volume, NaN or infinite values (with the slice they are in),
    and values that no rule recognises.
    """
    check_shape(array)
    if rule not in ("auto", *RULES):
        raise VolumeError(f"rule {rule!r} is not one of auto, {', '.join(RULES)}")
    low, high = _extremes(array)
    if rule == "as-is":
        return Windowed(array, 1.0, 0.0, clip=False), rule
    if rule == "auto":
        rule = _recognise(array, low, high)
    if rule == "tissue":
        if array.dtype.kind not in "iu" or low < 0 or high > 255:
            raise VolumeError("the rule `tissue` is for whole values from 0 to 255")
        return Windowed(array, *_by_tissue(array)), rule
    scale, offset = {
        "unit": (1.0, 0.0),
        "windowed": (1.0 / 255.0, 0.0),
        "hu": _window(0.0),
        "hu+1024": _window(-1024.0),
    }[rule]
    return Windowed(array, scale, offset), rule


def normalise(array: Sliceable, rule: str = "auto") -> tuple[Floats, str]:
    """`windowed`, with the whole volume computed: (float32 (slices, rows, columns) in [0, 1], the rule)."""
    lazy, rule = windowed(array, rule)
    return np.asarray(lazy), rule


def _window(intercept: float) -> tuple[float, float]:
    low, high = HU_WINDOW
    return 1.0 / (high - low), (intercept - low) / (high - low)


def _extremes(array: Sliceable) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for k, image in enumerate(array):
        least, most = float(image.min()), float(image.max())
        if not np.isfinite((least, most)).all():  # a NaN anywhere is the minimum and the maximum
            raise VolumeError(f"slice {k} holds NaN or infinite values")
        low, high = min(low, least), max(high, most)
    return low, high


def _recognise(array: Sliceable, low: float, high: float) -> str:
    """Which of RULES the values of a volume, from `low` to `high`, call for; VolumeError if none does."""
    if low < HU_BELOW:
        return "hu"
    if array.dtype.kind == "f":
        if low >= -UNIT_SLACK and high <= 1 + UNIT_SLACK:
            return "unit"
        raise VolumeError(f"real values from {low:g} to {high:g} are neither within [0, 1] nor Hounsfield units")
    if low < 0:
        raise VolumeError(f"whole values from {low:g} to {high:g} are neither 8-bit nor Hounsfield units with air")
    if high > 255:
        return "hu+1024"
    return "windowed" if _tissue_level(_histograms(array).sum(axis=0)) >= WINDOWED_FROM * 255 else "tissue"


def _histograms(array: Sliceable) -> NDArray[np.int64]:
    """How often each of 256 levels occurs in each slice: (slices, 256)."""
    return np.stack([np.bincount(image.reshape(-1).astype(np.int64), minlength=256) for image in array])


def otsu(counts: NDArray[np.int64]) -> int:
    """The level that splits a histogram of 256 levels in two classes (<= level, > level) of the largest variance
    between them (Otsu 1979).
    """
    weights = counts.cumsum().astype(np.float64)
    sums = (counts * np.arange(256)).cumsum().astype(np.float64)
    below = weights[:-1]
    above = weights[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / weights[-1] - sums[:-1]) ** 2 / (below * above)
    return int(np.nanargmax(np.where(below * above > 0, between, -1.0)))


def _tissue_level(counts: NDArray[np.int64]) -> float:
    """Median of the values above Otsu's threshold; 255 where there is one value only."""
    if np.count_nonzero(counts) < 2:
        return 255.0
    upper = counts.copy()
    upper[: otsu(counts) + 1] = 0
    total = upper.cumsum()
    return float(np.searchsorted(total, (total[-1] + 1) / 2))


def _by_tissue(array: Sliceable) -> tuple[Floats, float]:
    """(scale of each slice, offset) of the rule `tissue`."""
    low, high = HU_WINDOW
    counts = _histograms(array)
    usual = _tissue_level(counts.sum(axis=0))
    levels = np.array([_tissue_level(each) for each in counts])
    levels[levels > (1 + TISSUE_SLACK) * usual] = usual
    tissue = (TISSUE_HU - AIR_HU) / (high - low)
    return (tissue / np.maximum(levels, 1.0)).astype(np.float32), (AIR_HU - low) / (high - low)
