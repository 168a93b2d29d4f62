"""What a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bunet.models.metrics import Agreement
from bunet.models.volumes.volume import Sliceable

# What a mask is called, in the order the masks are listed. The first that is there is filled, the others are outlined.
MASKS = {"secure": "Secure mask", "float": "Float model's mask", "truth": "Label", "lung": "Lung"}


@dataclass(frozen=True)
class Score:
    """One line of the Dice table. name: such as "secure mask against the experts' label"."""

    name: str
    agreement: Agreement


@dataclass(frozen=True)
class Stage:
    """One session: a model along one axis, or the vote. document: Ledger.document's; None for a run in the clear."""

    title: str
    document: Mapping[str, Any] | None


@dataclass(frozen=True)
class ReportData:
    """What a report shows. Texts may hold anything: they are escaped.

    created: a date, as text. facts: (name, value) of the job, such as its model, format and link. volume: (Z, H, W) in [0, 1],
    which may be computed where it is cut. masks: under keys of MASKS, `secure` or `float` among them, of the volume's shape,
    non-zero inside. region: what was segmented; outside of it the masks have no opinion. spacing: millimetres between slices,
    rows and columns; None where the file does not tell. oriented: whether it tells how the patient lies; the patient's sides
    are lettered only where it tells both. shares: (name, per cent), such as the infected share of the lung. volumes: (name of
    a mask, voxels, millilitres or None). scope: said beside every figure, such as `in 2 of 200 slices, maximum filter off`.
    hu: the Hounsfield units of 0 and 1 in the volume, where it has any: windows can be chosen then. remarks: what people
    should know of the input and of what was found; those that begin with WARNING stand above all figures. Raises ValueError
    for masks that do not fit.
    """

    title: str
    case: str
    created: str
    facts: Sequence[tuple[str, str]]
    volume: Sliceable
    masks: Mapping[str, Any]
    region: tuple[slice, slice, slice] = (slice(None), slice(None), slice(None))
    spacing: tuple[float, float, float] | None = None
    oriented: bool = True
    scores: Sequence[Score] = ()
    shares: Sequence[tuple[str, float]] = ()
    volumes: Sequence[tuple[str, int, float | None]] = ()
    scope: str = ""
    hu: tuple[float, float] | None = None
    remarks: Sequence[str] = ()
    stages: Sequence[Stage] = ()

    def __post_init__(self) -> None:
        if unknown := set(self.masks) - set(MASKS):
            raise ValueError(f"a report has no mask {sorted(unknown)[0]!r}; it knows {', '.join(MASKS)}")
        if not {"secure", "float"} & set(self.masks):
            raise ValueError("a report needs the secure mask or the float model's")
        for name, mask in self.masks.items():
            if tuple(mask.shape) != tuple(self.volume.shape):
                raise ValueError(f"the {name} mask of shape {mask.shape} does not lie on a volume of {self.volume.shape}")

    @property
    def lettered(self) -> bool:
        """Whether the patient's sides are known."""
        return self.oriented and self.spacing is not None

    @property
    def ordered_masks(self) -> dict[str, Any]:
        """The masks in the order of MASKS; the first is what the job found."""
        return {key: self.masks[key] for key in MASKS if key in self.masks}

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First and one past the last index of the region, for each axis."""
        return [part.indices(n)[:2] for part, n in zip(self.region, self.volume.shape, strict=True)]
