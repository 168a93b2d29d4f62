"""Volumes from DICOM series: a folder with one file for each slice, through pydicom (the extra `clinical`).

A series is taken only as a whole: every file of the folder must belong to it, all slices must lie at equal steps, none may
be there twice. What cannot be seen from the files is a slice that is missing at either end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.unpacked import kept
from bunet.models.volumes.volume import DICOM, Affine, Volume, VolumeError

Numbers = NDArray[np.float64]

NEEDED = ("SeriesInstanceUID", "Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient")
IGNORED = ("DICOMDIR",)  # an index of the folder; hidden files are ignored too
SAME = 1e-4  # of cosines, and of pixel spacing in proportion
UNEVEN_PART, UNEVEN_MM = 0.01, 0.02  # of a step: positions are written with a few decimals only
SHIFTED_PART, SHIFTED_MM = 0.1, 0.1  # from the straight line through the series, likewise
SAME_PLACE_MM = 1e-3


def pydicom_for(path: Path) -> Any:
    """The module pydicom, or a VolumeError that says how to get it."""
    try:
        import pydicom
    except ImportError as error:
        raise VolumeError(f"{path}: DICOM series need the extra `clinical`: pip install 'bunet[clinical]'") from error
    return pydicom


@dataclass(frozen=True)
class _Slice:
    """What a file says of its slice.

    series, study, frame, instance: its identifiers. shape: (rows, columns). place: millimetres, of the centre of the first
    pixel. spacing: millimetres between rows, and between columns. cosines: of the directions to the next column, and to
    the next row. thickness: millimetres, 0 for unknown. rescale: (slope, intercept). stored: lowest and highest value that a
    pixel may have before it is rescaled.
    """

    path: Path
    series: str
    study: str
    frame: str
    instance: str
    shape: tuple[int, int]
    place: Numbers
    spacing: Numbers
    cosines: Numbers
    thickness: float
    rescale: tuple[float, float]
    stored: tuple[int, int]


def read_series(folder: Path) -> Volume:
    """The DICOM series that a folder holds, in Hounsfield units where its scanner gives them (rescale slope, intercept).

    Sorted by position along the slices' normal, whatever the files are called. Decoded once to the disk, one slice at a
    time: whole numbers (uint8, int16 or int32) where slope and intercept are whole, float32 otherwise. Raises VolumeError
    in one sentence that names the file: no DICOM image, several series or frames, slices of another size or orientation,
    twice in one place, missing, or encoded in a way that is not installed here.
    """
    pydicom = pydicom_for(folder)
    slices = [_read_header(pydicom, path) for path in series_files(folder)]
    _check_alike(slices)
    right, down = _directions(slices[0])
    normal = np.cross(right, down)
    slices.sort(key=lambda s: float(s.place @ normal))
    step = _step(slices, normal)
    affine: Affine = np.eye(4)
    affine[:3] = np.stack([step, down * slices[0].spacing[0], right * slices[0].spacing[1], slices[0].place], axis=1)
    kind, shape = _kind_of(slices), slices[0].shape
    try:
        array = kept(_decoded(pydicom, slices, kind), kind, (len(slices), *shape))
    except OSError as error:
        raise VolumeError(f"{folder}: cannot be unpacked to the disk ({error})") from error
    return Volume.of_file(array, affine, DICOM, folder)


def series_files(folder: Path) -> list[Path]:
    """The files of a folder that must be a series' slices, by name; VolumeError where there are none."""
    try:
        paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".") and p.name not in IGNORED)
    except OSError as error:
        raise VolumeError(f"{folder}: cannot be listed ({error.strerror})") from error
    if not paths:
        raise VolumeError(f"{folder}: holds no files, so no DICOM series")
    return paths


def _read_header(pydicom: Any, path: Path) -> _Slice:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        lacking = [name for name in NEEDED if header.get(name) in (None, "")]
        if lacking:
            raise VolumeError(f"{path}: is not a slice of a DICOM series: it has no {lacking[0]}")
        found = _parsed(path, header)
        frames, samples = int(header.get("NumberOfFrames") or 1), int(header.get("SamplesPerPixel") or 1)
        if frames != 1:
            raise VolumeError(f"{path}: holds {frames} frames; a series is one file for each slice")
        if samples != 1 or "ModalityLUTSequence" in header:
            raise VolumeError(f"{path}: is a colour image or has a lookup table, not one number for each pixel")
    except VolumeError:
        raise
    except pydicom.errors.InvalidDicomError as error:
        raise VolumeError(f"{path}: is not a DICOM file; the folder of a series holds nothing else") from error
    except Exception as error:  # pydicom lets through whatever its parts raise on damaged files
        raise VolumeError(f"{path}: not a readable DICOM file ({type(error).__name__}: {_one_line(error)})") from error
    if min(found.shape) < 1:
        raise VolumeError(f"{path}: is an image without pixels")
    if (found.place.shape, found.spacing.shape, found.cosines.shape) != ((3,), (2,), (6,)):
        raise VolumeError(f"{path}: position, pixel spacing or orientation have the wrong number of values")
    if not np.isfinite([*found.place, *found.spacing, *found.cosines]).all() or found.spacing.min() <= 0:
        raise VolumeError(f"{path}: position, pixel spacing or orientation are no lengths and directions")
    if not np.isfinite(found.rescale).all() or found.rescale[0] == 0:
        raise VolumeError(f"{path}: rescale slope {found.rescale[0]:g} and intercept {found.rescale[1]:g} give no values")
    return found


def _parsed(path: Path, header: Any) -> _Slice:
    """Whatever is missing, damaged or of another kind raises an exception of any kind."""

    def numbers(name: str) -> Numbers:
        return np.array([float(number) for number in header.get(name)])

    def number(name: str, usual: float) -> float:
        value = header.get(name)
        return float(usual if value in (None, "") else value)

    bits = int(header.get("BitsStored") or header.get("BitsAllocated") or 16)
    if not 1 <= bits <= 32:
        raise VolumeError(f"{path}: pixels of {bits} bits are not read")
    low = -(1 << bits - 1) if header.get("PixelRepresentation") else 0
    return _Slice(
        path, str(header.SeriesInstanceUID), str(header.get("StudyInstanceUID")), str(header.get("FrameOfReferenceUID")),
        instance=str(header.get("SOPInstanceUID") or path),
        shape=(int(header.Rows), int(header.Columns)),
        place=numbers("ImagePositionPatient"), spacing=numbers("PixelSpacing"), cosines=numbers("ImageOrientationPatient"),
        thickness=float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 0),
        rescale=(number("RescaleSlope", 1), number("RescaleIntercept", 0)),
        stored=(low, low + (1 << bits) - 1),
    )


def _check_alike(slices: Sequence[_Slice]) -> None:
    first = slices[0]
    seen: dict[str, Path] = {}
    for each in slices:
        if each.series != first.series:
            raise VolumeError(f"{each.path}: is of another series than {first.path.name}; a folder holds one series")
        differences = {
            "is of another study": each.study != first.study,
            "has another frame of reference": each.frame != first.frame,
            "has another number of rows or columns": each.shape != first.shape,
            "has another pixel spacing": not np.allclose(each.spacing, first.spacing, rtol=SAME, atol=0),
            "is oriented in another way": not np.allclose(each.cosines, first.cosines, rtol=0, atol=SAME),
        }
        for what, differs in differences.items():
            if differs:
                raise VolumeError(f"{each.path}: {what} than {first.path.name}")
        if each.instance in seen:
            raise VolumeError(f"{each.path}: is the same slice as {seen[each.instance].name}")
        seen[each.instance] = each.path


def _directions(first: _Slice) -> tuple[Affine, Affine]:
    """Unit vectors to the next column and to the next row."""
    right, down = first.cosines[:3], first.cosines[3:]
    unit = np.allclose([right @ right, down @ down], 1, atol=10 * SAME)
    if not unit or abs(right @ down) > 10 * SAME:
        raise VolumeError(f"{first.path}: its rows and columns are not two directions at a right angle")
    return right, down


def _step(slices: Sequence[_Slice], normal: Affine) -> Affine:
    """Millimetres from one slice to the next, of slices that are sorted along `normal`."""
    if len(slices) == 1:
        if not 0 < slices[0].thickness < np.inf:
            raise VolumeError(f"{slices[0].path}: is a single slice of unknown thickness")
        return normal * slices[0].thickness
    places = np.stack([each.place for each in slices])
    heights = places @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for k, gap in enumerate(gaps):
        here, after = slices[k].path.name, slices[k + 1].path
        if gap < SAME_PLACE_MM:
            raise VolumeError(f"{after}: lies in the same place as {here}")
        if abs(gap - usual) > max(UNEVEN_PART * usual, UNEVEN_MM):
            missing = round(gap / usual) - 1
            how = f", {missing} missing" if missing > 0 else ""
            raise VolumeError(f"{after}: lies {gap:g} mm from {here}, the others are {usual:g} mm apart{how}")
    step = (places[-1] - places[0]) / (len(slices) - 1)
    off = np.linalg.norm(places - places[0] - np.arange(len(slices))[:, None] * step, axis=1)
    if off.max() > max(SHIFTED_PART * usual, SHIFTED_MM):
        raise VolumeError(f"{slices[int(off.argmax())].path}: is shifted by {off.max():g} mm from the line of the others")
    return np.asarray(step)


def _kind_of(slices: Sequence[_Slice]) -> np.dtype[Any]:
    """The narrowest of uint8, int16, int32, float32 for every slice's values."""
    if not all(number.is_integer() for each in slices for number in each.rescale):
        return np.dtype(np.float32)
    ends = [each.rescale[0] * end + each.rescale[1] for each in slices for end in each.stored]
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def _decoded(pydicom: Any, slices: Sequence[_Slice], kind: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    for each in slices:
        encoding: Any = "unknown"
        try:
            data = pydicom.dcmread(each.path)
            encoding = data.file_meta.get("TransferSyntaxUID", "unknown")
            stored = data.pixel_array
        except Exception as error:  # as above; and decoders of compressed pixels are packages of their own
            name = getattr(encoding, "name", encoding)
            raise VolumeError(f"{each.path}: its pixels ({name}) cannot be decoded here ({_one_line(error)})") from error
        if stored.shape != each.shape:
            raise VolumeError(f"{each.path}: holds pixels of shape {stored.shape}, its header says {each.shape}")
        slope, intercept = each.rescale
        values = stored if each.rescale == (1.0, 0.0) else stored.astype(np.float64) * slope + intercept
        yield values.astype(kind)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
