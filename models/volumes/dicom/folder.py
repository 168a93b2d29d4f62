"""Which files of a folder make the series: folders come from a CD or an archive, with much else in them.

The one rule of it: subfolders are searched; hidden files, what is no DICOM, and DICOM without images are passed over and
counted. Of several series one that is a CT of more than a few slices is taken if all others are scouts or single images;
otherwise people choose (`--series`), by number, modality and count. No description and no other text of a file is ever shown:
people write names there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bunet.models.volumes.dicom import geometry, multiframe, start
from bunet.models.volumes.dicom.geometry import usual
from bunet.models.volumes.dicom.library import Header
from bunet.models.volumes.dicom.phases import phases
from bunet.models.volumes.dicom.slice import Slice, slice_of
from bunet.models.volumes.volume import SeveralSeries, VolumeError

CT = "CT"
LISTED = 10  # series, at most, in a sentence
FEW = 3  # slices, which dicom2nifti takes for a localizer (`validate_slicecount`)
DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory: a DICOMDIR by whatever name
NAMED_DICOM = (".dcm", ".dicom", ".ima")
OVERLAYS = ("SEG", "RTDOSE")  # images that lie over others, in files of several frames
# PS3.3 C.7.3.1.1.1, those that images have or that lie beside them on a CD; others are not shown, as they may be anything
_RADIOLOGY = ("CT", "MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF", "RG", "OT")
_BESIDE_IMAGES = ("SEG", "SR", "PR", "KO", "DOC", "REG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE", "RTRECORD")
_OTHER = ("ECG", "HD", "IO", "ES", "XC", "GM", "SM", "PX", "OP", "OPT", "OCT", "IVUS")
MODALITIES = frozenset((*_RADIOLOGY, *_BESIDE_IMAGES, *_OTHER))


@dataclass(frozen=True)
class Image:
    """An image file. slices: those that it holds, or the error of a file that holds none, to be raised if it is wanted.

    key: the series' UID, "" where it has none. number: the series', None where it has none. modality: one of
    MODALITIES, "" where the file has none, "?" for any other text. scout: by its ImageType.
    """

    path: Path
    key: str
    number: int | None
    modality: str
    scout: bool
    size: str
    slices: tuple[Slice, ...] | VolumeError

    @property
    def count(self) -> int:
        return 1 if isinstance(self.slices, VolumeError) else len(self.slices)


@dataclass(frozen=True)
class Series:
    """Images with one SeriesInstanceUID. label: what `--series` calls it, its number where no other has the same.

    part: which of several stacks of one SeriesInstanceUID it is (`phases`), "" where there is one.
    """

    label: str
    images: tuple[Image, ...]
    part: str = ""

    @property
    def modality(self) -> str:
        return str(usual([image.modality for image in self.images]))

    @property
    def count(self) -> int:
        return sum(image.count for image in self.images)

    @property
    def sliced(self) -> int:
        """How many slices it has: images that lie in the patient and are no scouts."""
        return sum(image.count for image in self.images if not (image.scout or isinstance(image.slices, VolumeError)))

    @property
    def is_scout(self) -> bool:
        return all(image.scout for image in self.images)

    @property
    def is_volume(self) -> bool:
        """Whether it is a CT of more than a few slices (or may be one: not all files name a modality)."""
        return self.modality in (CT, "") and self.sliced > FEW

    def describe(self) -> str:
        """Such as `2 (CT, 120 images of 512x512)`."""
        modality = {"": "no modality", "?": "another modality"}.get(self.modality, self.modality)
        sizes = usual([image.size for image in self.images])
        scout = ", scouts" if self.is_scout else ""
        part = f", {self.part}" if self.part else ""
        return f"{self.label} ({modality}, {_counted(self.count, 'image')}{sizes}{scout}{part})"


@dataclass
class FolderContents:
    """What a folder holds. foreign: files that are no DICOM. without: DICOM files without an image."""

    path: Path
    series: list[Series] = field(default_factory=list)
    foreign: int = 0
    without: int = 0


def find(pydicom: Any, path: Path) -> FolderContents:
    """Look through a folder with its subfolders, or at one file. Raises VolumeError."""
    contents, images = FolderContents(path), []
    for each in _files(path):
        bare = not start.has_prefix(each) and start.is_bare(each)
        if not bare and not start.has_prefix(each):
            if start.is_cut(each):
                raise _cut(each)
            if each.suffix.lower() in NAMED_DICOM:
                raise VolumeError(
                    f"{each}: is named like a DICOM file but is not a DICOM file: copy the series again, or remove it"
                )
            contents.foreign += 1
            continue
        try:
            header = start.read_bare(pydicom, each) if bare else start.read(pydicom, each)
            if header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
                continue  # an index: as little worth a word as hidden files
            image = _image(each, header)
            if image is None and _is_image(pydicom, header):
                raise _cut(each)
        except VolumeError:
            raise
        except Exception as error:  # pydicom lets through whatever its parts raise; their texts quote the file's values
            raise VolumeError(f"{each}: not a readable DICOM file ({type(error).__name__})") from error
        if image is None:
            contents.without += 1
        else:
            images.append(image)
    if not images and path.is_file():
        raise VolumeError(f"{path}: holds no image; give the folder of a series")
    if not images:
        what = _counted(contents.foreign, "file") + " that are no DICOM" if contents.foreign else "no files"
        if contents.without:
            what = _counted(contents.without, "DICOM file") + " without images"
        raise VolumeError(f"{path}: holds {what}, so no DICOM series")
    contents.series = _grouped(images)
    return contents


def choose(contents: FolderContents, wanted: str | None) -> tuple[Series, list[str]]:
    """(the series that is taken, remarks on what is not). wanted: its label. Raises VolumeError where there is no telling."""
    notes = []
    if contents.foreign:
        notes.append(
            f"{_counted(contents.foreign, 'file')} that {_are(contents.foreign)} no DICOM {_were(contents.foreign)} left out"
        )
    if contents.without:
        notes.append(f"{_counted(contents.without, 'DICOM file')} without images {_were(contents.without)} left out")
    listed = "; ".join(series.describe() for series in contents.series[:LISTED])
    if len(contents.series) > LISTED:
        listed += f"; and {len(contents.series) - LISTED} more"
    if wanted is not None:
        for series in contents.series:
            if series.label == wanted.strip():
                return series, notes
        raise VolumeError(f"{contents.path}: has no series --series {wanted!r}; there {_are(len(contents.series))}: {listed}")
    if len(contents.series) == 1:
        return contents.series[0], notes
    volumes = [series for series in contents.series if series.is_volume]
    if len(volumes) == 1:
        others = [series for series in contents.series if series is not volumes[0]]
        if all(other.sliced <= 1 or other.modality in OVERLAYS for other in others):
            left = "; ".join(other.describe() for other in others)
            notes.append(f"series {volumes[0].describe()} is taken; left out: {left}")
            return volumes[0], notes
    what = f"{contents.path}: holds {len(contents.series)} series"
    if _is_one_in_pieces(contents.series):
        raise VolumeError(
            f"{what}: every file has a SeriesInstanceUID of its own, as some anonymisers leave them, and they would make one "
            "stack: give all of them one SeriesInstanceUID"
        )
    if any(series.part for series in contents.series):
        what += " or stacks that lie over each other in one"
    example = (volumes or contents.series)[0].label
    raise SeveralSeries(
        f"{what}; choose one by its number, such as --series {example}: {listed}",
        f"{what}; give the folder of one of them alone: {listed}",
    )


def _is_one_in_pieces(several: Sequence[Series]) -> bool:
    """Whether all series but scouts are of one CT image, and together a stack of equal steps."""
    slices: list[Slice] = []
    for series in several:
        if series.is_scout:
            continue
        (image, *others) = series.images
        if others or series.modality != CT or isinstance(image.slices, VolumeError) or len(image.slices) != 1:
            return False
        slices += image.slices
    return len(slices) > FEW and len({each.shape for each in slices}) == 1 and geometry.is_stack(slices)


def slices_of(series: Series) -> tuple[list[Slice], int]:
    """(the slices of a series, how many scouts it has beside them). Raises the first file's error that has one."""
    images = [image for image in series.images if not image.scout]
    if not images:
        raise VolumeError(f"{series.images[0].path}: the series holds scout images only (LOCALIZER), no volume")
    slices: list[Slice] = []
    for image in images:
        if isinstance(image.slices, VolumeError):
            raise image.slices
        slices.extend(image.slices)
    return slices, len(series.images) - len(images)


def _files(path: Path) -> list[Path]:
    """By name, folder by folder."""
    if path.is_file():
        return [path]

    def fail(error: OSError) -> None:
        raise VolumeError(f"{error.filename}: cannot be listed ({error.strerror})") from error

    paths = []
    for folder, folders, names in os.walk(path, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [Path(folder) / name for name in sorted(names) if not name.startswith(".")]
    return [each for each in paths if each.is_file()]


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM, or begins as DICOM does without a header."""
    return path.is_file() and (start.has_prefix(path) or start.is_bare(path))


def _image(path: Path, header: Header) -> Image | None:
    """None for an object without pixels, such as a report. Raises whatever pydicom does on damaged values."""
    if not any(name in header for name in ("Rows", "Columns", "BitsAllocated")):
        return None
    key, modality = str(header.get("SeriesInstanceUID") or ""), str(header.get("Modality") or "").strip().upper()
    types = header.get("ImageType") or ()
    slices: tuple[Slice, ...] | VolumeError
    try:
        if multiframe.is_multiframe(header):
            slices = tuple(multiframe.slices_of(path, header))
        else:
            slices = (slice_of(path, header),)
    except VolumeError as error:
        slices = error
    return Image(
        path,
        key,
        _series_number(header),
        modality=modality if modality in MODALITIES or not modality else "?",
        scout="LOCALIZER" in ([types] if isinstance(types, str) else [str(each) for each in types]),
        size=f" of {int(header.Rows)}x{int(header.Columns)}" if header.get("Rows") and header.get("Columns") else "",
        slices=slices,
    )


def _is_image(pydicom: Any, header: Header) -> bool:
    """Whether a file is of an image by its class, or has none, as only a file has that ends before it."""
    classes = [str(uid) for uid in (header.file_meta.get("MediaStorageSOPClassUID"), header.get("SOPClassUID")) if uid]
    return not classes or any(pydicom.uid.UID(uid).name.endswith(" Image Storage") for uid in classes)


def _cut(path: Path) -> VolumeError:
    return VolumeError(f"{path}: is cut short: copy it again")


def _series_number(header: Header) -> int | None:
    try:
        return int(header.get("SeriesNumber"))
    except (TypeError, ValueError):  # it has none, or a text; it serves for choosing only
        return None


def _grouped(images: Sequence[Image]) -> list[Series]:
    """In the order of their numbers; several with the same are told apart as 2.1, 2.2, in the order of
    their UIDs, and so are several stacks of one (`phases`).
    """
    by_key: dict[str, list[Image]] = {}
    for image in images:
        by_key.setdefault(image.key, []).append(image)
    numbers = {key: usual([image.number for image in group]) for key, group in by_key.items()}
    order = sorted(by_key, key=lambda key: (numbers[key] is None, numbers[key] or 0, key))
    parts = [(numbers[key], part, group) for key in order for part, group in _parted(by_key[key])]
    series = []
    for k, (number, part, group) in enumerate(parts):
        same = [other for other, (its, *_) in enumerate(parts) if its == number]
        label = "none" if number is None else str(number)
        series.append(Series(label + f".{same.index(k) + 1}" * (len(same) > 1), tuple(group), part))
    return series


def _parted(images: Sequence[Image]) -> list[tuple[str, list[Image]]]:
    """The stacks of one SeriesInstanceUID, each with what it is; what belongs to none of several comes last."""
    slices: list[Slice] = []
    scouts: list[Slice] = []
    for image in images:
        if isinstance(image.slices, VolumeError):
            return [("", list(images))]  # that file's error is what people need
        (scouts if image.scout else slices).extend(image.slices)
    stacks = phases(geometry.apart(slices)[0]) if slices else []
    if not stacks:
        return [("", list(images))]
    parts = [(part, _holding(images, group)) for part, group in stacks]
    taken = {id(each) for _, group in stacks for each in group}
    rest = _holding(images, [each for each in slices + scouts if id(each) not in taken])
    return parts + [("", rest)] * bool(rest)


def _holding(images: Sequence[Image], slices: Sequence[Slice]) -> list[Image]:
    """The images that hold some of the slices, with those alone."""
    wanted, holding = {id(each) for each in slices}, []
    for image in images:
        assert not isinstance(image.slices, VolumeError)
        some = tuple(each for each in image.slices if id(each) in wanted)
        holding += [replace(image, slices=some)] * bool(some)
    return holding


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
