"""Volume files: `.npz`, `.npy`, NIfTI, and folders with a DICOM series, recognised by their names.

What cannot be mapped where it lies is unpacked to the disk, so that slices along any axis are cut from volumes that are
larger than the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bunet.models.files.disk_space import explaining_full_disk
from bunet.models.files.git_lfs import ADVICE, is_pointer
from bunet.models.volumes import arrays, nifti
from bunet.models.volumes.about import About
from bunet.models.volumes.content import remarks
from bunet.models.volumes.content.intensity import Windowed, windowed
from bunet.models.volumes.dicom import writing
from bunet.models.volumes.dicom.folder import CT, is_dicom
from bunet.models.volumes.dicom.series import read_series
from bunet.models.volumes.slicing.field_of_view import SQUARE, Crop, crop_of, pixels_of, uncropped
from bunet.models.volumes.volume import DICOM, NIFTI, NPY, NPZ, Volume, VolumeError

FIELDS = ("auto", "whole")
ENDINGS = {NPZ: ".npz", NPY: ".npy", NIFTI: ".nii.gz", DICOM: ""}  # of what is written for a volume of each format


@dataclass(frozen=True)
class LoadedVolume:
    """volume: (slices, rows, columns) in [0, 1], computed where it is cut. rule: which of `intensity.RULES` puts it there.

    source: the file's or folder's name. stored: the volume as the file has it. notes: what people should know of how its
    values were read and of what they are, a sentence each. crop: the rows and columns that slices are cut to where they are
    brought to a network's size, None for all (`field_of_view`); never None where pixels are not square and slices are sized.
    """

    volume: Windowed
    rule: str
    source: str
    stored: Volume
    notes: tuple[str, ...] = ()
    crop: Crop | None = None

    @property
    def doubts(self) -> tuple[str, ...]:
        """Those of the notes that put masks in doubt."""
        return tuple(note for note in self.notes if note.startswith("WARNING"))

    def remarks(self, sized: Collection[bool] = (True,)) -> list[str]:
        """What every command that reads a volume says of it, a line each: the rule, the notes, what slices show.

        sized: whether slices are brought to a network's size; True and False where some are and some keep the volume's own, at
        which nothing is cropped.
        """
        crops = dict.fromkeys([*[self.crop] * (True in sized), *[None] * (False in sized)])
        shown = dict.fromkeys(line for crop in crops for line in self._field_notes(crop))
        return [f"intensities of {self.source}: rule `{self.rule}`", *self.stored.notes, *self.notes, *shown]

    def _field_notes(self, crop: Crop | None) -> list[str]:
        """Of what slices show, the crop included."""
        count, rows, columns = self.volume.shape
        spacing, says = self.stored.spacing, []
        pixels = pixels_of(spacing)
        if pixels != SQUARE:
            says.append(remarks.pixel_remark(pixels, crop is not None))
        if crop is None:
            return says + remarks.field_remarks(spacing, (count, rows, columns))
        (top, bottom), (left, right) = crop.rows, crop.columns
        if (crop.rows, crop.columns) != ((0, rows), (0, columns)):
            says.append(
                f"field of view: slices that are brought to a network's size are cut to the body, rows {top}:{bottom} of "
                f"{rows} and columns {left}:{right} of {columns} (`--field-of-view whole` leaves them as they are)"
            )
        return says + remarks.field_remarks(spacing, crop.shape(count))


def load(
    path: str | Path, rule: str = "auto", series: str | None = None, field_of_view: str = "auto", sized: bool = True
) -> LoadedVolume:
    """`read_volume` and `on_scale` in one. Raises VolumeError in one sentence that names the file."""
    path = Path(path)
    return on_scale(read_volume(path, series=series), path, rule, field_of_view, sized)


def on_scale(stored: Volume, path: Path, rule: str = "auto", field_of_view: str = "auto", sized: bool = True) -> LoadedVolume:
    """A volume that was read from `path`, put on the common scale (`intensity.windowed`), and what is to be said of it.

    field_of_view: one of FIELDS: `auto` finds a crop where the body is far smaller than in training, `whole` never does. sized:
    False where slices keep the volume's own size: then nothing is cropped either. Of values that are taken `as-is` no more is
    known than their range, so that is said and nothing is cropped. Pixels that are not square get a crop all the same, of the
    whole if need be, which tells what they measure. A DICOM series of another modality than CT is refused,
    unless `rule` says what its values are (`as-is` does not); one of modality OT (other), which tells nothing, is remarked.
    Raises VolumeError in one sentence that names the file.
    """
    tilt = remarks.tilt_remark(stored.affine)
    says = _of_modality(path, stored, rule) + ([] if tilt is None else [tilt])
    try:
        lazy, applied = windowed(stored.array, rule)
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from error
    name = path.name or path.resolve().name
    pixels = pixels_of(stored.spacing) if sized else SQUARE
    uncut = uncropped(stored.shape, pixels)
    if applied == "as-is":
        return LoadedVolume(lazy, applied, name, stored, (*says, *remarks.range_remarks(stored.array, lazy.span)), uncut)
    wrong = remarks.window_remark(lazy, applied) or remarks.air_remark(lazy)
    crop = crop_of(lazy, pixels) if field_of_view == "auto" and sized and wrong is None else uncut
    says += [] if wrong is None else [wrong]
    return LoadedVolume(lazy, applied, name, stored, tuple(says), crop)


def _of_modality(path: Path, stored: Volume, rule: str) -> list[str]:
    """What is to be remarked of a volume's modality. Raises VolumeError where it is none that the models are for."""
    if stored.modality in ("", CT):
        return []
    told = stored.modality not in ("OT", "?")
    is_what = f"its modality is {stored.modality if stored.modality != '?' else 'none that is known'}, not CT"
    if told and rule in ("auto", "as-is"):  # which published files get without anybody's asking
        raise VolumeError(f"{path}: {is_what}, which the models are for; values that are a CT's all the same: `--intensity hu`")
    return [f"{is_what}, which the models are for: a mask is worth nothing unless its values are a CT's"]


def read(path: str | Path, key: str | None = None) -> NDArray[Any]:
    """The (slice, row, column) array of `read_volume`, unscaled."""
    return read_volume(path, key).array


def keys_of(path: str | Path) -> list[str]:
    """The names of the arrays in an `.npz` file. Raises VolumeError."""
    return arrays.keys_of(Path(path))


def read_array(path: str | Path, key: str) -> NDArray[Any]:
    """One array of an `.npz` file, whatever its shape and dtype. Raises VolumeError where it is damaged or not there."""
    return arrays.read_array(Path(path), key)


def read_volume(path: str | Path, key: str | None = None, dtype_kinds: str = "iuf", series: str | None = None) -> Volume:
    """The volume of a file, or of a folder with a DICOM series, with its spacing and orientation; no pickle is read.

    key: name within an `.npz`; without it the first of `array`, `ct`, `hu` that is there. series: which of a DICOM
    folder's, by number (`read_series`). A single slice (rows, columns) is not accepted as a volume; axes of length 1
    beyond three are left off (`volume.three_axes`). Raises VolumeError, in one sentence that names the file, for a missing
    or damaged file, another file format, a missing key, a shape that is not 3D or is empty, values that are not real
    numbers, and whatever is wrong with a series (`read_series`). dtype_kinds: as for
    `arrays.read_npy`, of numpy's own files.
    """
    path = Path(path)
    if path.is_dir() or is_dicom(path):
        return read_series(path, series)
    if series is not None:
        raise VolumeError(f"{path}: is no DICOM folder, of which --series {series} could choose")
    file_format = format_of(path)
    if file_format == DICOM:
        raise VolumeError(f"{path}: there is no such file or folder" if not path.exists() else _unknown(path))
    if not path.is_file():
        raise VolumeError(f"{path}: there is no such file" if not path.exists() else f"{path}: is neither a file nor a folder")
    if is_pointer(path):
        raise VolumeError(f"{path} {ADVICE}")
    if file_format == NPZ:
        return arrays.read_npz(path, key, dtype_kinds)
    return arrays.read_npy(path, dtype_kinds) if file_format == NPY else nifti.read_nifti(path)


def write(volume: Volume, path: str | Path, about: About = About()) -> None:
    """Write a volume in the format that the path's ending names; a path with no ending that is known is a DICOM series' folder.

    about: what a file of a format that has room for it says of the values.

    Files appear whole or not at all; an older file gives way, a folder that holds anything does not. `read_volume` gives back
    the same values, spacing and orientation. Raises VolumeError where the format cannot hold the volume.
    """
    path = Path(path)
    writers: dict[str, Callable[[], None]] = {
        NPZ: lambda: arrays.write_npz(volume, path),
        NPY: lambda: arrays.write_npy(volume, path),
        NIFTI: lambda: nifti.write_nifti(volume, path, about),
        DICOM: lambda: writing.write_series(volume, path, about),
    }
    try:
        with explaining_full_disk(path.parent):
            writers[format_of(path)]()
    except OSError as error:
        raise VolumeError(f"{path}: cannot be written ({error.strerror or error})") from error


def format_of(path: Path) -> str:
    """The format that a path's ending names; DICOM for any other path: a folder's name may have dots, such as a UID."""
    name = "" if path.is_dir() else path.name.lower()
    for file_format in (NPZ, NPY):
        if name.endswith(ENDINGS[file_format]):
            return file_format
    if name.endswith(nifti.ENDINGS):
        return NIFTI
    return DICOM


def _unknown(path: Path) -> str:
    if path.name.lower().removesuffix(".gz").endswith(nifti.PAIR_ENDINGS):
        return f"{path}: {nifti.PAIR}"
    return (
        f"{path}: a volume is an .npz file (key `array` or `ct`), an .npy file, a NIfTI file (.nii, .nii.gz) or a folder "
        "with a DICOM series"
    )
