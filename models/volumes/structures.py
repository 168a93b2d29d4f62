"""What masks mark: how each target is called and coded, one rule for the names of files, series and segments."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bunet.models.volumes.about import MAKER, About, software

Code = tuple[str, str, str]  # value, coding scheme, meaning

ANATOMY: Code = ("91723000", "SCT", "Anatomical Structure")  # both of PS3.16 CID 7150
ABNORMAL: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
LUNG: Code = ("39607008", "SCT", "Lung")
RELATIONAL: Code = ("309825002", "SCT", "Spatial and Relational Concept")
REGION: Code = ("111099", "DCM", "Selected region")
LESION: Code = ("52988006", "SCT", "Lesion")


@dataclass(frozen=True)
class Structure:
    """target: a model's. file: what its mask's file is called after the case, as the published script calls it.

    series: SeriesNumber of its mask as a series; need not be unique, scanners' are far below. category, property_type: of the
    segment (PS3.16 CID 7150 and 7151). region: where the structure lies, if its type does not say it. colour: red, green, blue,
    0 to 255.
    """

    target: str
    file: str
    series: int
    category: Code
    property_type: Code
    region: Code | None
    colour: tuple[int, int, int]

    @property
    def about(self) -> About:
        """What is said of its mask."""
        how = f"{self.target} segmented by {MAKER} {software()} from 2.5D slices with U-Nets: 1 within, 0 elsewhere"
        return About(f"{MAKER} {self.target}", self.series, how, mask=True)


STRUCTURES = {
    one.target: one
    for one in (
        Structure("infection", "prediction", 1001, ABNORMAL, LESION, LUNG, (221, 52, 40)),
        Structure("lung", "lung", 1002, ANATOMY, LUNG, None, (86, 180, 233)),
    )
}
SEGMENTATION_SERIES, OTHER_SERIES = 1000, 1003


def structure_of(target: str) -> Structure:
    """How a target is called and coded. One that BUNET does not know is a region, under a name that is safe in a file's:
    it may be the other party's word.
    """
    if target in STRUCTURES:
        return STRUCTURES[target]
    name = re.sub(r"[^a-z0-9-]+", "-", target.lower()).strip("-")[:32] or "unnamed"
    return Structure(name, f"mask-{name}", OTHER_SERIES, RELATIONAL, REGION, None, (230, 159, 0))
