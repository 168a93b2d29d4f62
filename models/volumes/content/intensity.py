"""Volumes on one scale: 0 is -1250 HU or less, 1 is 250 HU or more.

Where the values come from is recognised from their dtype and range, and the rule that was applied is reported:

- `unit`: floats within [-0.01, 1.01] are taken as they are (clipped).
- `hu`: whole numbers or floats that go below -200 are Hounsfield units: (hu + 1250)/1500, clipped.
- `hu+1024`: stored with the usual offset of 1024: whole numbers that do not go below 0, above 255; and any whose soft
  tissue lies there, whatever padding lies below (`recognition`). Padding that was negative and is read as a number
  above 30000 is the window's lower end.
- `windowed`: whole numbers from 0 to 255 whose soft tissue (the median above Otsu's threshold) lies at 0.75 of the range
  or higher: the window [-1250, 250] HU was applied already; value/255.
- `as-is`: never recognised, only asked for: the values are on the network's own scale already, and nothing is clipped.
- `tissue`: other such numbers, where each slice was scaled by its own minimum and maximum: per slice, air (-1024 HU) is 0
  and soft tissue (40 HU) is the median s above Otsu's threshold, or that of the whole volume where the slice's is higher
  by more than a quarter (bone or table dominates; a lower one is a slice that metal has darkened): 0.15 + 0.71 v/s, clipped.

Whole numbers may be stored as floats. All other rules are v -> clip(scale * v + offset) with one scale for each slice of the
first axis, so that a volume can be put on the scale where it is cut, along any axis, and the rest of it stays on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.content.recognition import (
    check_wrapped,
    extremes,
    histograms,
    recognise,
    tissue_level,
    wrapped_padding,
)
from bunet.models.volumes.volume import Sliceable, VolumeError, check_shape

Floats = NDArray[np.float32]

HU_WINDOW = (-1250.0, 250.0)
RULES = ("unit", "hu", "hu+1024", "windowed", "tissue", "as-is")

AIR_HU, TISSUE_HU = -1024.0, 40.0
TISSUE_SLACK = 0.25


class Windowed:
    """A volume on the common scale, computed where it is cut: float32 in [0, 1], indexed like the array behind it.

    scale: one number, or one for each slice of the first axis. clip: False for values that stay beyond [0, 1]. padding: a
    stored value that is no tissue and becomes 0. span: lowest and highest of the stored values, where
    they are known. `np.asarray` computes the whole.
    """

    ndim = 3
    dtype = np.dtype(np.float32)

    def __init__(
        self,
        stored: Sliceable,
        scale: float | Floats,
        offset: float,
        clip: bool = True,
        padding: float | None = None,
        span: tuple[float, float] = (-np.inf, np.inf),
    ) -> None:
        self._stored = stored
        self.span = span
        self.shape = stored.shape
        scales = np.asarray(scale, dtype=np.float32).reshape(-1, 1, 1)
        self._scale = np.broadcast_to(scales, self.shape)  # one number in memory for each slice, no more
        self._offset = np.float32(offset)
        self._clip = clip
        self._padding = padding

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Floats]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> Floats:
        stored = np.asarray(self._stored[key])
        values = stored.astype(np.float32)
        values *= self._scale[key]
        values += self._offset
        if self._clip:
            np.clip(values, 0.0, 1.0, out=values)
        if self._padding is not None:
            values[stored == self._padding] = 0.0
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
    Raises VolumeError for a shape or dtype that is not a volume, NaN or infinite values (with the slice they are in),
    and values that no rule recognises.
    """
    check_shape(array)
    if rule not in ("auto", *RULES):
        raise VolumeError(f"rule {rule!r} is not one of auto, {', '.join(RULES)}")
    limits = extremes(array)
    if rule == "as-is":
        return Windowed(array, 1.0, 0.0, clip=False, span=(limits.low, limits.high)), rule
    check_wrapped(array, limits)
    if rule == "auto":
        rule = recognise(array, limits)
    if rule == "tissue":
        if not limits.whole or limits.low < 0 or limits.high > 255:
            raise VolumeError(
                "the rule `tissue` is for whole values from 0 to 255, and these are others: `--intensity` names another rule, "
                "or `auto`, which recognises it"
            )
        return Windowed(array, *_by_tissue(array)), rule
    scale, offset = {
        "unit": (1.0, 0.0),
        "windowed": (1.0 / 255.0, 0.0),
        "hu": _window(0.0),
        "hu+1024": _window(-1024.0),
    }[rule]
    padding = wrapped_padding(array, limits.high) if rule == "hu+1024" else None
    return Windowed(array, scale, offset, padding=padding), rule


def _window(intercept: float) -> tuple[float, float]:
    low, high = HU_WINDOW
    return 1.0 / (high - low), (intercept - low) / (high - low)


def _by_tissue(array: Sliceable) -> tuple[Floats, float]:
    """(scale of each slice, offset) of the rule `tissue`."""
    low, high = HU_WINDOW
    counts = histograms(array)
    usual = tissue_level(counts.sum(axis=0))
    levels = np.array([tissue_level(each) for each in counts])
    levels[levels > (1 + TISSUE_SLACK) * usual] = usual
    tissue = (TISSUE_HU - AIR_HU) / (high - low)
    return (tissue / np.maximum(levels, 1.0)).astype(np.float32), (AIR_HU - low) / (high - low)
