"""What masks say against themselves, whichever command made them: no lung, one of an impossible size, nothing marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.predict.region import Region
from bunet.models.volumes.slicing.field_of_view import Crop

# Of the voxels that were segmented. Whole series of chests have 0.07 to 0.16, and at most 0.28 in any slice (17 series of
# COVID-19 patients; docs/volumes.md measures it, under "Field of view").
SMALLEST_LUNG, LARGEST_LUNG = 0.02, 0.4
NOT_OPENED = "the lung was not opened, so that it may be empty or of an impossible size is not known (`--compare` tells)"

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class FoundLung:
    """A lung that a mask was cut to. searched: voxels that were looked at; whole: whether they reach over all slices.

    whose: said of it where it is not the mask's own, such as `the float model's`.
    """

    mask: Bools
    searched: int
    whole: bool
    whose: str = ""


def result_warnings(mask: Bools, target: str | None, lung: FoundLung | None = None, doubts: Sequence[str] = ()) -> list[str]:
    """Sentences, none for a mask with nothing against it. target: what it marks, None where nothing tells. doubts: what was
    said against the input, repeated where nothing was found, since it may be why.
    """
    says, why = [], "".join(f"; of the input: {doubt}" for doubt in doubts)
    if lung is not None:
        of = f" (this is {lung.whose} lung: the mask's own is not opened)" if lung.whose else ""
        says += [line + of for line in lung_warnings(lung.mask, lung.searched, lung.whole)]
        if not lung.mask.any():
            return [line + why for line in says]
    if not mask.any():
        where = "" if lung is None else f" in the lung of {int(lung.mask.sum())} voxels"
        says.append(f"nothing was marked: the models found {'nothing' if target is None else f'no {target}'}{where}{why}")
    return says


def lung_warnings(lung: Bools, searched: int, whole: bool) -> list[str]:
    """Of a lung mask among `searched` voxels; whole: whether these reach over all slices."""
    voxels = int(lung.sum())
    if not voxels:
        return [
            "WARNING: no lung was found (0 voxels), so the infection's mask is empty whatever there is: it says nothing of "
            "the patient; look at the input (`--intensity`, `--field-of-view`) or say --no-lung-mask"
        ]
    share = voxels / searched
    if whole and not SMALLEST_LUNG <= share <= LARGEST_LUNG:
        size = "little" if share < SMALLEST_LUNG else "much"
        return [f"WARNING: {100 * share:.1f} % of the voxels were taken for lung, too {size} for a chest: trust no mask of it"]
    return []


def searched(region: Region, crop: Crop | None) -> int:
    """Voxels of the region, without what lies outside of a crop."""
    ranges = [range(start, stop) for start, stop in region.box]
    if crop is not None:
        for axis, (start, stop) in ((1, crop.rows), (2, crop.columns)):
            ranges[axis] = range(max(start, ranges[axis].start), min(stop, ranges[axis].stop))
    return max(1, prod(len(each) for each in ranges))
