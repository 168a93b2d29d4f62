"""The volumes of a `bunet predict`, the files of their labels, and where their masks go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.options import UsageError
from bunet.models.volumes import formats
from bunet.models.volumes.volume import DICOM, Volume

LABEL = "_label"
SUFFIXES = (".npz", ".npy", ".nii.gz", ".nii")


@dataclass(frozen=True)
class CaseFiles:
    """name: what results are called by. volume: a file, or a folder with a DICOM series. label: None where there is none."""

    name: str
    volume: Path
    label: Path | None = None


def find_cases(folder: Path) -> list[CaseFiles]:
    """The published layout: `ID/ID.npz` (or .npy, .nii.gz, .nii, or a DICOM series in `ID/`), `ID/ID_label.*` beside it.

    Raises UsageError for a folder that is not there or holds no case, and for one of a case that would be passed over because
    its files are called otherwise.
    """
    if not folder.is_dir():
        raise UsageError(f"--test-data-dir {folder} is not a folder")
    cases = []
    for each in sorted(path for path in folder.iterdir() if path.is_dir()):
        volume, there = _one(each, each.name), sorted(path.name for path in each.iterdir())
        if volume is None and there:
            if others := [name for name in there if name.endswith(SUFFIXES)]:
                raise UsageError(f"{each} holds {others[0]}, but no volume {each.name}.npz (or {', '.join(SUFFIXES[1:])})")
            volume = each  # a series; reading it says what is wrong with it
        if volume is not None:
            cases.append(CaseFiles(each.name, volume, _one(each, each.name + LABEL)))
    if not cases:
        raise UsageError(f"--test-data-dir {folder} holds no case: ID/ID.npz with the key `array` is looked for")
    return cases


def one_case(volume: Path, label: Path | None) -> CaseFiles:
    """A volume given by itself; its name is the file's without the ending."""
    name = volume.resolve().name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return CaseFiles(name.strip(".") or "volume", volume, label)  # such as `..`, which would lead out of --out


def _one(folder: Path, stem: str) -> Path | None:
    there = [folder / (stem + suffix) for suffix in SUFFIXES if (folder / (stem + suffix)).is_file()]
    if len(there) > 1:
        raise UsageError(f"{folder} has both {there[0].name} and {there[1].name}; remove one")
    return there[0] if there else None


def mask_path(out: Path, name: str, what: str, volume: Volume) -> Path:
    """Where the mask of a case goes, in the format that the volume came in."""
    return out / f"{name}_{what}{formats.ENDINGS[volume.kind]}"


def write_mask(volume: Volume, mask: NDArray[np.uint8], path: Path) -> None:
    """The mask on the volume's grid, in the volume's format. A series that is there already stays if it is the same mask.

    Raises UsageError where it is another, of slices that were run again since; VolumeError where it is no series.
    """
    if volume.kind == DICOM and path.is_dir():
        if not np.array_equal(formats.read(path), mask):
            raise UsageError(f"{path} holds another mask: remove it, and the same command writes it again")
        return
    formats.write(volume.like(mask), path)
