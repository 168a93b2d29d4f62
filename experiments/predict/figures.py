"""What stands beside every figure of a prediction, and voxels as millilitres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.predict.region import Region
from bunet.models.volumes.content.intensity import HU_WINDOW
from bunet.models.volumes.volume import Volume

HU_RULES = ("hu", "hu+1024")  # of the intensities: those whose values are Hounsfield units
PLANES = {"z": "slices", "y": "rows", "x": "columns"}


def filter_of(filters: Mapping[str, bool]) -> str:
    """Whether masks went through the maximum filter: `on`, `off`, or `on for the infection, off for the lung`."""
    words = {target: "on" if filtered else "off" for target, filtered in filters.items()}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{word} for the {target}" for target, word in words.items())


def scope_of(region: Region, filters: Mapping[str, bool]) -> str:
    """How much of the volume figures are of, and which targets' masks went through the maximum filter.

    Such as `in 2 of 200 slices, maximum filter off`: a share of two slices is none of the lung.
    """
    parts = [
        f"in {n} of {total} {PLANES[axis]}"
        for axis, n, total in zip("zyx", region.size, region.shape, strict=True)
        if n != total
    ]
    return ", ".join([*parts, f"maximum filter {filter_of(filters)}"])


def voxel_ml(volume: Volume) -> float | None:
    """Millilitres of one voxel, whatever the grid's angles; None where the file does not tell its spacing."""
    return None if volume.affine is None else float(abs(np.linalg.det(volume.affine[:3, :3]))) / 1000


def millilitres(volume: Volume, masks: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Of each mask, by name; nothing where the spacing is not known."""
    each = voxel_ml(volume)
    return {} if each is None else {name: each * int(np.count_nonzero(mask)) for name, mask in masks.items()}


def hu_range(rule: str) -> tuple[float, float] | None:
    """The Hounsfield units of 0 and of 1 on the common scale; None where the values are none."""
    return HU_WINDOW if rule in HU_RULES else None
