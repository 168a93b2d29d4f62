"""Folders of real CT cases with labels, and their split by case; no torch.

A case is one `.npz` file, named by its case: `ct` (slices, rows, columns), `infection` (an expert's label) and
`lung_derived` (a lung mask of any origin), non-zero being inside; other keys and other files are ignored. Intensities
are put on one scale as everywhere (`volumes.intensity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bunet.models.train_config import ONE_PATIENT, TrainError
from bunet.models.volumes import formats, intensity
from bunet.models.volumes.slices import Floats
from bunet.models.volumes.volume import VolumeError

LABEL_KEYS = {"infection": "infection", "lung": "lung_derived"}

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """volume float32 (slices, rows, columns) in [0, 1]; label bool of the same shape; lung likewise, None where the
    file has none.
    """

    name: str
    volume: Floats
    label: Bools
    lung: Bools | None


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
    found = Split(rest, watched, held)
    for series in ONE_PATIENT:
        sides = {side for side, names in found.parts().items() for name in series if name in names}
        if len(sides) > 1:
            raise TrainError(f"{' and '.join(series)} look like one patient and must be on the same side of the split")
    return found


def read_case(folder: Path, name: str, target: str) -> Case:
    """One case with the label of `target` (a key of LABEL_KEYS).

    Raises TrainError in one sentence that names the file: absent or damaged, a key missing, a label of another shape,
    values that are no intensities.
    """
    path = folder / f"{name}.npz"
    try:
        ct = formats.read(path, "ct")
        label = formats.read(path, LABEL_KEYS[target])
        has_lung = LABEL_KEYS["lung"] in formats.keys_of(path)
        lung = formats.read(path, LABEL_KEYS["lung"]) if has_lung else None
    except VolumeError as error:
        raise TrainError(str(error)) from error
    for key, mask in ((LABEL_KEYS[target], label), (LABEL_KEYS["lung"], lung)):
        if mask is not None and mask.shape != ct.shape:
            raise TrainError(f"{path}: `{key}` has shape {mask.shape}, `ct` {ct.shape}")
    try:
        volume, _ = intensity.normalise(ct)
    except VolumeError as error:
        raise TrainError(f"{path}: {error}") from error
    return Case(name, volume, label != 0, None if lung is None else lung != 0)
