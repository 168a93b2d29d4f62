"""Folders of real CT cases with labels, and their split by case; no torch.

A case is one `.npz` file, named by its case: `ct` (slices, rows, columns), `infection` (an expert's label) and
`lung_derived` (a lung mask of any origin), or what else `labels.KEYS` calls them; what is inside is told as everywhere
(`volumes.labels`). Other keys and other files are ignored. Intensities are put on one scale as everywhere
(`content.intensity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bunet.models.training.config import ONE_PATIENT, TrainError
from bunet.models.volumes import formats
from bunet.models.volumes.labels import labels
from bunet.models.volumes.slicing.field_of_view import Crop
from bunet.models.volumes.slicing.slices import Floats
from bunet.models.volumes.volume import VolumeError

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """volume float32 (slices, rows, columns) in [0, 1]; label bool of the same shape; lung likewise, None where the
    file has none. labelled: where the label comes from. rule: which of `intensity.RULES` put it on the scale. read: what there
    is to say of how the volume and the lung were read. crop: what slices are cut to (`field_of_view`), None for all.
    """

    name: str
    volume: Floats
    label: Bools
    lung: Bools | None
    labelled: labels.Label | None = None
    rule: str = "unit"
    read: tuple[str, ...] = ()
    crop: Crop | None = None

    def remarks(self) -> list[str]:
        """What people should know of volume and label, a line each; nothing of a label that is as it should be, under its
        usual key.
        """
        if self.labelled is None:
            return list(self.read)
        usual = self.labelled.key in [keys[0] for keys in labels.KEYS.values()]
        return [*self.read, *(self.labelled.notes if usual else self.labelled.remarks())]


@dataclass(frozen=True)
class Split:
    """Names of cases, sorted within each part."""

    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def parts(self) -> dict[str, tuple[str, ...]]:
        return {"training": self.training, "validation": self.validation, "test": self.test}


def case_names(folder: Path) -> tuple[str, ...]:
    """Names of the cases in a folder, sorted; TrainError where there is no such folder or no case in it."""
    if not folder.is_dir():
        raise TrainError(f"{folder} is not a folder of cases")
    names = tuple(sorted(path.stem for path in folder.glob("*.npz")))
    if not names:
        raise TrainError(f"{folder} holds no case: there is no .npz file in it")
    return names


def known_cases(folder: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    """`wanted`, sorted; TrainError for a name that the folder does not have."""
    names = case_names(folder)
    for name in wanted:
        if name not in names:
            raise TrainError(f"{folder} has no case {name!r}; it has {', '.join(names)}")
    return tuple(sorted(set(wanted)))


def split(folder: Path, test: Sequence[str], validation: Sequence[str]) -> Split:
    """All cases of a folder, those that are not named being for training.

    Raises TrainError for unknown names, a case on two sides, series of one patient on two sides (`ONE_PATIENT`), and
    parts for training or validation without a case.
    """
    held, watched = known_cases(folder, test), known_cases(folder, validation)
    both = sorted(set(held) & set(watched))
    if both:
        raise TrainError(f"case {both[0]!r} cannot be for test and for validation")
    rest = tuple(name for name in case_names(folder) if name not in (*held, *watched))
    for needed, part in (("training", rest), ("validation", watched)):
        if not part:
            raise TrainError(f"{folder}: no case is left for {needed}")
    parts = Split(rest, watched, held)
    for series in ONE_PATIENT:
        sides = {side for side, names in parts.parts().items() for name in series if name in names}
        if len(sides) > 1:
            raise TrainError(f"{' and '.join(series)} look like one patient and must be on the same side of the split")
    return parts


def read_case(
    folder: Path, name: str, target: str, label_values: Sequence[int] = (), rule: str = "auto", field_of_view: str = "whole"
) -> Case:
    """One case with the label of `target` (of `labels.KEYS`). label_values: what is inside of it, none for what it tells. rule,
    field_of_view: as `formats.load`; training takes cases whole.

    Raises TrainError in one sentence that names the file: absent or damaged, a key missing, a label of another shape or of
    values that are none (`labels.values`), values that are no intensities.
    """
    path = folder / f"{name}.npz"
    try:
        stored = formats.read_volume(path, "ct")
        label = labels.inside(path, stored, target, label_values)
        lung = label if target == "lung" else labels.lung_of(path, stored)
    except VolumeError as error:
        raise TrainError(*error.args) from error
    try:
        loaded = formats.on_scale(stored, path, rule, field_of_view)
    except VolumeError as error:
        raise TrainError(*error.args) from error
    read = (*loaded.remarks(), *_lung_notes(lung if target != "lung" else None))
    return Case(
        name, np.asarray(loaded.volume), label.mask, None if lung is None else lung.mask, label, loaded.rule, read, loaded.crop
    )


def _lung_notes(lung: labels.Label | None) -> tuple[str, ...]:
    """Of a lung that is empty or everywhere; that it is not drawn as two lungs is nothing to say."""
    return () if lung is None or 0 < int(lung.mask.sum()) < lung.mask.size else lung.notes
