"""The figures of a prediction: agreements, shares, volumes, and what stands beside each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.predict.case import Case, RegionMasks
from bunet.experiments.predict.region import Region
from bunet.models.metrics import Agreement, agreement
from bunet.models.volumes.content.intensity import HU_WINDOW
from bunet.models.volumes.volume import Volume

HU_RULES = ("hu", "hu+1024")  # of the intensities: those whose values are Hounsfield units
MASKS = {"secure": "secure mask", "float": "float model's mask", "label": "label"}
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


def measured_masks(case: Case, opened: RegionMasks) -> dict[str, NDArray[Any]]:
    """The masks of the region whose size is told: the infection's by way, the label, and the lung that is written."""
    masks = dict(opened.masks)
    if case.label is not None:
        masks["label"] = case.label[case.region.slices]
    if opened.lungs:
        masks["lung"] = next(iter(opened.lungs.values()))
    return masks


@dataclass(frozen=True)
class Score:
    """One comparison of two masks of a case's region. found, against: of which masks, such as secure and label."""

    found: str
    against: str
    agreement: Agreement

    @property
    def name(self) -> str:
        return f"{MASKS[self.found]} against the {MASKS[self.against]}"

    def document(self) -> dict[str, Any]:
        """Dice, overlap and sensitivity are null where both masks are empty."""
        return {"found": self.found, "against": self.against, **self.agreement.known(), "voxels": asdict(self.agreement)}


def scores_of(case: Case, opened: RegionMasks) -> list[Score]:
    """Every mask against the label, and the secure one against the float model's, within the region."""
    scores = []
    if {"secure", "float"} <= opened.masks.keys():
        scores.append(Score("secure", "float", agreement(opened.masks["secure"], opened.masks["float"])))
    if case.label is not None:
        label = case.label[case.region.slices]
        scores += [Score(way, "label", agreement(mask, label)) for way, mask in opened.masks.items()]
    return scores


def infected_shares(case: Case, opened: RegionMasks) -> dict[str, float]:
    """Infected share of the lung within the region, by way and for the label, where a lung mask was opened; 0 to 1.

    The label's is of the first way's lung, the one that is written.
    """
    shares = {}
    for way, lung in opened.lungs.items():
        voxels = int(lung.sum())
        if voxels:
            shares[way] = int((opened.masks[way] & lung).sum()) / voxels
            if case.label is not None:
                shares.setdefault("label", int((case.label[case.region.slices] & lung).sum()) / voxels)
    return shares
