"""The volumes of a `bunet predict`, their labels, and where their masks go."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.options import UsageError
from bunet.models.volumes import formats
from bunet.models.volumes.volume import DICOM, Volume, VolumeError, check_shape

LABEL = "_label"
LABEL_KEYS = ("array", "infection", "label", "mask")  # of an .npz, the first that is there
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


def read_label(files: CaseFiles, volume: Volume) -> NDArray[np.bool_] | None:
    """bool, of the volume's shape; None where the case has no label. Raises UsageError naming the file.

    Where both files tell their place in the patient, it must be the same one to half a voxel.
    """
    if files.label is None:
        return None
    label: NDArray[Any]
    affine = None
    try:
        if files.label.suffix == ".npz":
            names = formats.keys_of(files.label)
            known = [key for key in LABEL_KEYS if key in names]
            if not known:
                wanted, there = " or ".join(f"`{key}`" for key in LABEL_KEYS), ", ".join(names) or "nothing"
                raise UsageError(f"{files.label}: no key {wanted}, the file holds {there}")
            label = formats.read_array(files.label, known[0])
            check_shape(label, f"{files.label}: ", kinds="biuf")
        else:
            stored = formats.read_volume(files.label)
            label, affine = stored.array, stored.affine
    except VolumeError as error:
        raise UsageError(str(error)) from error
    if label.dtype.kind == "f" and any(np.isnan(image).any() for image in label):
        raise UsageError(f"{files.label}: the label holds NaN")
    if label.shape != volume.shape:
        raise UsageError(f"{files.label}: the label has shape {label.shape}, the volume {files.volume.name} {volume.shape}")
    if affine is not None and volume.affine is not None and (off := _farthest(affine, volume)) > 0.5:
        raise UsageError(f"{files.label}: the label lies elsewhere than the volume {files.volume.name}, by {off:.3g} voxels")
    return np.asarray(label) != 0


def _farthest(affine: NDArray[np.float64], volume: Volume) -> float:
    """How far the corners of a grid lie from those of a volume of the same shape, in the volume's shortest steps."""
    assert volume.affine is not None
    assert volume.spacing is not None
    corners = np.array([[*corner, 1] for corner in product(*((0, n - 1) for n in volume.shape))]).T
    apart = ((affine - volume.affine) @ corners)[:3]
    return float(np.linalg.norm(apart, axis=0).max() / min(volume.spacing))


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
