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

ALIKE = ("StudyInstanceUID", "FrameOfReferenceUID", "Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")
NEEDED = ("SeriesInstanceUID", "Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient")
IN_WORDS = {
    "StudyInstanceUID": "is of another study",
    "FrameOfReferenceUID": "has another frame of reference",
    "Rows": "has another number of rows",
    "Columns": "has another number of columns",
    "PixelSpacing": "has another pixel spacing",
    "ImageOrientationPatient": "is oriented in another way",
}
IGNORED = ("DICOMDIR",)  # an index of the folder; hidden files are ignored too
SAME_COSINE = 1e-4
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
    """path: its file. header: of pydicom, without pixels. place: millimetres, of the centre of the first pixel."""

    path: Path
    header: Any
    place: NDArray[np.float64]


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
    step = _step(folder, slices, normal)
    rows_mm, columns_mm = (float(mm) for mm in slices[0].header.PixelSpacing)
    affine: Affine = np.eye(4)
    affine[:3] = np.stack([step, down * rows_mm, right * columns_mm, slices[0].place], axis=1)
    kind = _kind_of([_rescale(s) for s in slices], [_stored_range(s) for s in slices])
    shape = (len(slices), int(slices[0].header.Rows), int(slices[0].header.Columns))
    try:
        array = kept(_decoded(pydicom, slices, kind, shape[1:]), kind, shape)
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
        place = np.array([float(mm) for mm in header.ImagePositionPatient])
        spacing = np.array([float(mm) for mm in header.PixelSpacing])
        cosines = np.array([float(cosine) for cosine in header.ImageOrientationPatient])
        frames = int(header.get("NumberOfFrames") or 1)
        samples = int(header.get("SamplesPerPixel") or 1)
        pixels = int(header.Rows) * int(header.Columns)
    except VolumeError:
        raise
    except pydicom.errors.InvalidDicomError as error:
        raise VolumeError(f"{path}: is not a DICOM file; the folder of a series holds nothing else") from error
    except Exception as error:  # pydicom lets through whatever its parts raise on damaged files
        raise VolumeError(f"{path}: not a readable DICOM file ({type(error).__name__}: {error})") from error
    if frames != 1:
        raise VolumeError(f"{path}: holds {frames} frames; a series is one file for each slice")
    if pixels < 1:
        raise VolumeError(f"{path}: is an image without pixels")
    if samples != 1 or "ModalityLUTSequence" in header:
        raise VolumeError(f"{path}: is a colour image or has a lookup table, not one number for each pixel")
    if place.shape != (3,) or spacing.shape != (2,) or cosines.shape != (6,):
        raise VolumeError(f"{path}: position, pixel spacing or orientation have the wrong number of values")
    if not np.isfinite(np.concatenate([place, spacing, cosines])).all() or spacing.min() <= 0:
        raise VolumeError(f"{path}: position, pixel spacing or orientation are no lengths and directions")
    return _Slice(path, header, place)


def _check_alike(slices: Sequence[_Slice]) -> None:
    first = slices[0]
    seen: dict[str, Path] = {}
    for each in slices:
        if each.header.SeriesInstanceUID != first.header.SeriesInstanceUID:
            raise VolumeError(f"{each.path}: is of another series than {first.path.name}; a folder holds one series")
        for name in ALIKE:
            if not _alike(each.header.get(name), first.header.get(name)):
                raise VolumeError(f"{each.path}: {IN_WORDS[name]} than {first.path.name}")
        number = str(each.header.get("SOPInstanceUID") or each.path)
        if number in seen:
            raise VolumeError(f"{each.path}: is the same slice as {seen[number].name}")
        seen[number] = each.path


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, str | int) or one is None or other is None:
        return bool(one == other)
    return bool(np.allclose([float(v) for v in one], [float(v) for v in other], rtol=0, atol=SAME_COSINE))


def _directions(first: _Slice) -> tuple[Affine, Affine]:
    """Unit vectors to the next column and to the next row."""
    cosines = np.array([float(cosine) for cosine in first.header.ImageOrientationPatient])
    right, down = cosines[:3], cosines[3:]
    unit = np.allclose([right @ right, down @ down], 1, atol=10 * SAME_COSINE)
    if not unit or abs(right @ down) > 10 * SAME_COSINE:
        raise VolumeError(f"{first.path}: its rows and columns are not two directions at a right angle")
    return right, down


def _step(folder: Path, slices: Sequence[_Slice], normal: Affine) -> Affine:
    """Millimetres from one slice to the next, of slices that are sorted along `normal`."""
    if len(slices) == 1:
        header = slices[0].header
        thickness = header.get("SpacingBetweenSlices") or header.get("SliceThickness")
        if not thickness or not float(thickness) > 0:
            raise VolumeError(f"{slices[0].path}: is a single slice of unknown thickness")
        return normal * float(thickness)
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


def _rescale(each: _Slice) -> tuple[float, float]:
    slope, intercept = each.header.get("RescaleSlope"), each.header.get("RescaleIntercept")
    try:
        found = (1.0 if slope in (None, "") else float(slope), 0.0 if intercept in (None, "") else float(intercept))
    except (TypeError, ValueError) as error:
        raise VolumeError(f"{each.path}: rescale slope and intercept are not numbers") from error
    if not np.isfinite(found).all() or found[0] == 0:
        raise VolumeError(f"{each.path}: rescale slope {found[0]:g} and intercept {found[1]:g} give no values")
    return found


def _stored_range(each: _Slice) -> tuple[int, int]:
    bits = int(each.header.get("BitsStored") or each.header.get("BitsAllocated") or 16)
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if each.header.get("PixelRepresentation") else (0, (1 << bits) - 1)


def _kind_of(rescales: Sequence[tuple[float, float]], ranges: Sequence[tuple[int, int]]) -> np.dtype[Any]:
    """The narrowest of uint8, int16, int32, float32 for every slice's values."""
    if not all(slope.is_integer() and intercept.is_integer() for slope, intercept in rescales):
        return np.dtype(np.float32)
    ends = [slope * end + at for (slope, at), both in zip(rescales, ranges, strict=True) for end in both]
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def _decoded(
    pydicom: Any, slices: Sequence[_Slice], kind: np.dtype[Any], shape: tuple[int, ...]
) -> Iterator[NDArray[Any]]:
    for each in slices:
        try:
            stored = pydicom.dcmread(each.path).pixel_array
        except Exception as error:  # as above; and decoders of compressed pixels are packages of their own
            encoding = each.header.file_meta.get("TransferSyntaxUID", "unknown")
            name = getattr(encoding, "name", encoding)
            raise VolumeError(f"{each.path}: its pixels ({name}) cannot be decoded here ({_one_line(error)})") from error
        if stored.shape != shape:
            raise VolumeError(f"{each.path}: holds pixels of shape {stored.shape}, its header says {shape}")
        slope, intercept = _rescale(each)
        values = stored if (slope, intercept) == (1.0, 0.0) else stored.astype(np.float64) * slope + intercept
        yield values.astype(kind)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
