"""What masks of a volume are called, and how they are written: in the volume's pixels, format and place, for every command.

`ID_prediction` is the infection, as the published script calls it, `ID_lung` the lung. For a DICOM series each is a derived
series, and `ID_segmentation.dcm` holds all of them as named segments.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.storage.run_folder import digest_of
from bunet.models.errors import UsageError
from bunet.models.files.disk_space import explaining_full_disk
from bunet.models.volumes import formats
from bunet.models.volumes.about import About
from bunet.models.volumes.dicom import segmentation
from bunet.models.volumes.structures import structure_of
from bunet.models.volumes.volume import DICOM, NPZ, Volume, VolumeError

Mask = NDArray[np.uint8] | NDArray[np.bool_]


def paths(file_format: str, targets: Iterable[str], out: Path, name: str) -> list[Path]:
    """What `write_masks` leaves, in order. file_format: the volume's, which alone decides the endings."""
    files = [out / f"{name}_{structure_of(target).file}{formats.ENDINGS[file_format]}" for target in targets]
    return [*files, out / f"{name}_segmentation.dcm"] if file_format == DICOM else files


def probabilities_path(file_format: str, out: Path, name: str) -> Path:
    """In the volume's format, or as .npz where that holds no real numbers."""
    return out / f"{name}_probabilities{formats.ENDINGS[NPZ if file_format == DICOM else file_format]}"


def check_writable(volume: Volume) -> None:
    """VolumeError where its masks could not be written, for want of a package: to be said before anything is run."""
    if volume.file_format == DICOM and volume.source is not None:
        segmentation.highdicom_for(volume.source)


def write_masks(volume: Volume, masks: Mapping[str, Mask], out: Path, name: str, replace: bool = False) -> list[Path]:
    """Masks on the volume's grid, in the volume's format; returns what was written, as `paths`.

    masks: 0 and 1, of the volume's shape, by target. A DICOM series or Segmentation that is there already with the same mask
    stays, with its identifiers; one with another mask, or damaged, gives way if `replace`, because the same run wrote it of
    fewer slices: the new one is whole before the old one goes. Raises UsageError where it does not, since its slices were run
    again; VolumeError where a file cannot be written.
    """
    numbers = _numbers(masks)
    files = paths(volume.file_format, numbers, out, name)
    for (target, mask), path in zip(numbers.items(), files, strict=False):
        if volume.file_format != DICOM:
            formats.write(volume.like(mask), path, structure_of(target).about)
        elif not _stays(path, lambda: path.is_dir() and np.array_equal(formats.read(path), mask), replace):  # noqa: B023
            _write_series(volume.like(mask), path, structure_of(target).about)
    if volume.file_format == DICOM:
        _write_segmentation(volume, numbers, files[-1], replace)
    return files


def digests(volume: Volume, masks: Mapping[str, Mask]) -> list[str]:
    """SHA-256 of the values (`run_folder.digest_of`) of each file that `write_masks` would write, in its order."""
    numbers = _numbers(masks)
    each = [digest_of(mask) for mask in numbers.values()]
    return [*each, digest_of(segmentation.stored_masks(volume, numbers))] if volume.file_format == DICOM else each


def digest_at(path: Path, volume: Volume) -> str | None:
    """The same of what lies at one of a volume's `paths`; None where that holds no mask, or other values than a mask has."""
    try:
        if volume.file_format == DICOM and path.suffix == ".dcm":
            _, values = segmentation.read_segmentation(path, volume)
        else:
            values = formats.read(path)
    except VolumeError:
        return None
    with np.errstate(invalid="ignore"):  # NaN is no value of a mask
        small = values.astype(np.uint8)
    return digest_of(small) if np.array_equal(small, values) else None


def _numbers(masks: Mapping[str, Mask]) -> dict[str, NDArray[np.uint8]]:
    return {target: np.asarray(mask).astype(np.uint8) for target, mask in masks.items()}


def _write_segmentation(volume: Volume, masks: Mapping[str, NDArray[np.uint8]], path: Path, replace: bool) -> None:
    if _stays(path, lambda: segmentation.holds(path, volume, masks), replace):
        return
    try:
        with explaining_full_disk(path.parent):
            segmentation.write_segmentation(volume, masks, path)  # an older one gives way to the whole new one
    except OSError as error:
        raise VolumeError(f"{path}: cannot be written ({error.strerror or error})") from error


def _write_series(mask: Volume, path: Path, about: About) -> None:
    """A series in place of the one that may be there, which goes once the new one is whole and in its place."""
    new, old = (path.with_name(f".{path.name}.{which}") for which in ("new", "old"))
    try:
        _remove(new)  # of a command that was killed
        if path.exists():
            formats.write(mask, new, about)
            _remove(old)
            path.rename(old)
            new.rename(path)
        else:
            formats.write(mask, path, about)
        _remove(old)
    except OSError as error:
        raise VolumeError(f"{path}: cannot be written ({error.strerror or error})") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _stays(path: Path, same: Callable[[], bool], replace: bool) -> bool:
    """Whether what is there is what would be written. Something else may give way if `replace`, and is an error otherwise."""
    if not path.exists():
        return False
    try:
        stays = same()
    except VolumeError:  # damaged
        if not replace:
            raise
        stays = False
    if not stays and not replace:
        raise UsageError(f"{path} holds another mask: remove it, and the same command writes it again")
    return stays


def write_probabilities(volume: Volume, mean: NDArray[np.float32], out: Path, name: str) -> Path:
    """Mean probabilities of the infection on the volume's grid, 0 to 1."""
    path = probabilities_path(volume.file_format, out, name)
    formats.write(volume.like(mean), path, About("BUNET probability of infection"))
    return path
