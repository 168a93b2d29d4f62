"""Volume files: `.npz`, `.npy`, NIfTI, and folders with a DICOM series, recognised by their names.

What cannot be mapped where it lies is unpacked to the disk, so that slices along any axis are cut from volumes that are
larger than the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bunet.models.room import room_in
from bunet.models.volumes import arrays, dicom, dicom_writing, nifti
from bunet.models.volumes.arrays import KEYS as KEYS
from bunet.models.volumes.intensity import Windowed, windowed
from bunet.models.volumes.volume import DICOM, NIFTI, NPY, NPZ, Volume, VolumeError

ENDINGS = {NPZ: ".npz", NPY: ".npy", NIFTI: ".nii.gz", DICOM: ""}  # of what is written for a volume of each kind


@dataclass(frozen=True)
class LoadedVolume:
    """volume: (slices, rows, columns) in [0, 1], computed where it is cut. rule: which of `intensity.RULES` puts it there.

    source: the file's or folder's name. stored: the volume as the file has it. notes: what people should know of how its
    values were read, a sentence each.
    """

    volume: Windowed
    rule: str
    source: str
    stored: Volume
    notes: tuple[str, ...] = ()

    def remarks(self) -> list[str]:
        """What every command that reads a volume says of it, a line each: the rule, then the notes."""
        return [f"intensities of {self.source}: rule `{self.rule}`", *self.stored.notes, *self.notes]


def load(path: str | Path, rule: str = "auto") -> LoadedVolume:
    """`read_volume` and `intensity.windowed` in one. Raises VolumeError in one sentence that names the file."""
    path = Path(path)
    stored = read_volume(path)
    try:
        lazy, found = windowed(stored.array, rule)
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from error
    return LoadedVolume(lazy, found, path.name or path.resolve().name, stored)


def read(path: str | Path, key: str | None = None) -> NDArray[Any]:
    """The (slice, row, column) array of `read_volume`, unscaled."""
    return read_volume(path, key).array


def keys_of(path: str | Path) -> list[str]:
    """The names of the arrays in an `.npz` file. Raises VolumeError."""
    return arrays.keys_of(Path(path))


def read_array(path: str | Path, key: str) -> NDArray[Any]:
    """One array of an `.npz` file, whatever its shape and kind. Raises VolumeError where it is damaged or not there."""
    return arrays.read_array(Path(path), key)


def read_volume(path: str | Path, key: str | None = None) -> Volume:
    """The volume of a file, or of a folder with a DICOM series, with its spacing and orientation; no pickle is read.

    key: name within an `.npz`; without it the first of `array`, `ct`, `hu` that is there. A single slice (rows, columns)
    or a leading axis of 1 is not accepted as a volume. Raises VolumeError, in one sentence that names the file, for a missing
    or damaged file, another file kind, a missing key, a shape that is not 3D or is empty, values that are not real
    numbers, and whatever is wrong with a series (`dicom.read_series`).
    """
    path = Path(path)
    if path.is_dir():
        return dicom.read_series(path)
    kind = kind_of(path)
    if kind == DICOM:
        raise VolumeError(f"{path}: there is no such file or folder" if not path.exists() else _unknown(path))
    if not path.is_file():
        raise VolumeError(f"{path}: there is no such file" if not path.exists() else f"{path}: is neither a file nor a folder")
    if kind == NPZ:
        return arrays.read_npz(path, key)
    return arrays.read_npy(path) if kind == NPY else nifti.read_nifti(path)


def write(volume: Volume, path: str | Path) -> None:
    """Write a volume in the format that the path's ending names; a path without an ending is a DICOM series' folder.

    Files appear whole or not at all; an older file gives way, a folder that holds anything does not. `read_volume` gives back
    the same values, spacing and orientation. Raises VolumeError where the format cannot hold the volume.
    """
    path = Path(path)
    writers: dict[str, Callable[[Volume, Path], None]] = {
        NPZ: arrays.write_npz, NPY: arrays.write_npy, NIFTI: nifti.write_nifti, DICOM: dicom_writing.write_series,
    }
    try:
        with room_in(path.parent):
            writers[kind_of(path)](volume, path)
    except OSError as error:
        raise VolumeError(f"{path}: cannot be written ({error.strerror or error})") from error


def kind_of(path: Path) -> str:
    """The format that a path's ending names; VolumeError for one that no format has."""
    name = path.name.lower()
    for kind in (NPZ, NPY):
        if name.endswith(ENDINGS[kind]):
            return kind
    if name.endswith(nifti.ENDINGS):
        return NIFTI
    if path.suffix and not path.is_dir():
        raise VolumeError(_unknown(path))
    return DICOM


def _unknown(path: Path) -> str:
    return (
        f"{path}: a volume is an .npz file (key `array` or `ct`), an .npy file, a NIfTI file (.nii, .nii.gz) or a folder "
        "with a DICOM series"
    )
