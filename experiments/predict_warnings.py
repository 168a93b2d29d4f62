"""What a prediction's masks say against themselves: no lung, one of an impossible size, nothing marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bunet.experiments.predict import Case, Found

# Of the voxels that were segmented. Whole series of chests have 0.07 to 0.16, and at most 0.28 in any slice (17 series of
# COVID-19 patients; docs/guide.md measures it, under "Field of view").
SMALLEST_LUNG, LARGEST_LUNG = 0.02, 0.4


def result_warnings(case: Case, found: Found) -> list[str]:
    """Sentences, none for masks with nothing against them. Of the way whose masks are written."""
    way, mask = next(iter(found.masks.items()))
    says = []
    lung = found.lungs.get(way)
    if lung is not None:
        says += lung_warnings(lung, _searched(case), case.region.size[0] == case.region.shape[0])
        if not lung.any():
            return says
    if not mask.any():
        where = "" if lung is None else f" in the lung of {int(lung.sum())} voxels"
        says.append(f"nothing was marked: the models found no infection{where}")
    return says


def lung_warnings(lung: NDArray[np.bool_], searched: int, whole: bool) -> list[str]:
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


def _searched(case: Case) -> int:
    """Voxels of the region, without what lies outside of a crop."""
    ranges = [range(start, stop) for start, stop in case.region.box]
    if case.loaded.crop is not None:
        for axis, (start, stop) in ((1, case.loaded.crop.rows), (2, case.loaded.crop.columns)):
            ranges[axis] = range(max(start, ranges[axis].start), min(stop, ranges[axis].stop))
    return max(1, int(np.prod([len(each) for each in ranges])))
