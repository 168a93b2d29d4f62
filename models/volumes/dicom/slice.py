"""What the header of a DICOM image says of a slice: one slice for each file, or for each frame (`multiframe`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.dicom.library import Header
from bunet.models.volumes.volume import VolumeError

Numbers = NDArray[np.float64]

# what tells stacks of one series apart (`phases`); the frame's own where files hold several (PS3.3 C.7.6.16.2.2)
MARKS = (
    ("AcquisitionNumber", "FrameAcquisitionNumber"),
    ("TemporalPositionIdentifier", "TemporalPositionIndex"),
    ("ConvolutionKernel", "ConvolutionKernel"),
)
RESCALE = ("RescaleSlope", "RescaleIntercept")
NEEDED = ("SeriesInstanceUID", "Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient")


@dataclass(frozen=True)
class Slice:
    """What a file says of a slice.

    frame: its number in a file of several, else 0. series, study, reference, instance: identifiers (reference: the frame of
    reference). shape: (rows, columns). place: millimetres, of the centre of the first pixel. spacing: millimetres between
    rows, and between columns. cosines: of the directions to the next column, and to the next row. thickness: millimetres,
    0 for unknown. rescale: (slope, intercept). lacking: of RESCALE, what it does not have; 1 and 0 stand for them. stored:
    lowest and highest value that a pixel may have before it is rescaled. padding: lowest and highest value of pixels that the
    scanner did not see, likewise; None where it names none. marks: of MARKS, as texts, "" where it has none.
    """

    path: Path
    frame: int
    series: str
    study: str
    reference: str
    instance: str
    shape: tuple[int, int]
    place: Numbers
    spacing: Numbers
    cosines: Numbers
    thickness: float
    rescale: tuple[float, float]
    lacking: tuple[str, ...]
    stored: tuple[int, int]
    padding: tuple[int, int] | None
    marks: tuple[str, ...]


def slice_of(path: Path, header: Header) -> Slice:
    """The slice of a file that holds one. Raises VolumeError, and whatever pydicom does on damaged values."""
    lacking = [name for name in NEEDED if _value(path, header, name) in (None, "")]
    if lacking:
        raise VolumeError(f"{path}: is not a slice of a DICOM series: it has no {lacking[0]}")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames != 1:
        raise VolumeError(f"{path}: holds {frames} frames that do not say where they lie; a series is one file for each slice")
    return made_slice(path, header, header, header, header, header, header)


def made_slice(
    path: Path,
    header: Header,
    position: Header,
    orientation: Header,
    measures: Header,
    values: Header,
    content: Header,
    frame: int = 0,
) -> Slice:
    """A slice, checked. header: the file's. position, orientation, measures, values: what holds the slice's place, its
    directions, its spacing and its rescaling. content: what may tell its acquisition and time. Raises VolumeError, and whatever
    pydicom does on damaged values.
    """
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise VolumeError(f"{path}: is a colour image, not one number for each pixel")
    if "ModalityLUTSequence" in header:
        raise VolumeError(
            f"{path}: has a lookup table for its values (Modality LUT), which is not read: write it with a rescale slope and "
            "intercept"
        )
    bits = int(header.get("BitsStored") or header.get("BitsAllocated") or 16)
    if not 1 <= bits <= 32:
        raise VolumeError(f"{path}: pixels of {bits} bits are not read")
    low = -(1 << bits - 1) if header.get("PixelRepresentation") else 0
    made = Slice(
        path,
        frame,
        str(header.SeriesInstanceUID),
        str(header.get("StudyInstanceUID")),
        reference=str(header.get("FrameOfReferenceUID")),
        instance=str(header.get("SOPInstanceUID") or path),
        shape=(int(header.Rows), int(header.Columns)),
        place=_numbers(path, position, "ImagePositionPatient"),
        spacing=_numbers(path, measures, "PixelSpacing"),
        cosines=_numbers(path, orientation, "ImageOrientationPatient"),
        thickness=float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0),
        rescale=(_number(path, values, RESCALE[0], 1), _number(path, values, RESCALE[1], 0)),
        lacking=tuple(name for name in RESCALE if _value(path, values, name) in (None, "")),
        stored=(low, low + (1 << bits) - 1),
        padding=_padding(header, low < 0),
        marks=_marks(header, content),
    )
    if min(made.shape) < 1:
        raise VolumeError(f"{path}: is an image without pixels")
    if (made.place.shape, made.spacing.shape, made.cosines.shape) != ((3,), (2,), (6,)):
        raise VolumeError(f"{path}: position, pixel spacing or orientation have the wrong number of values")
    if not np.isfinite([*made.place, *made.spacing, *made.cosines]).all() or made.spacing.min() <= 0:
        raise VolumeError(f"{path}: position, pixel spacing or orientation are no lengths and directions")
    if not np.isfinite(made.rescale).all() or made.rescale[0] == 0:
        raise VolumeError(f"{path}: rescale slope {made.rescale[0]:g} and intercept {made.rescale[1]:g} give no values")
    return made


def _value(path: Path, header: Header, name: str) -> Any:
    """Raises VolumeError where pydicom cannot make one of what the file holds."""
    try:
        return header.get(name)
    except Exception as error:
        raise _damaged(path, name) from error


def _numbers(path: Path, header: Header, name: str) -> Numbers:
    try:
        return np.array([float(number) for number in _value(path, header, name)])
    except (TypeError, ValueError) as error:
        raise _damaged(path, name) from error


def _number(path: Path, header: Header, name: str, usual: float) -> float:
    value = _value(path, header, name)
    try:
        return float(usual if value in (None, "") else value)
    except (TypeError, ValueError) as error:
        raise _damaged(path, name) from error


def _damaged(path: Path, name: str) -> VolumeError:
    return VolumeError(f"{path}: its {name} is damaged, or holds another kind of value")


def _marks(header: Header, content: Header) -> tuple[str, ...]:
    """Of MARKS, a frame's own before its file's; "" where neither has one, or one that is damaged."""
    marks = []
    for name, of_frame in MARKS:
        mark = ""
        for given, called in ((content, of_frame), (header, name)):
            try:
                mark = mark or str(given.get(called) or "").strip()
            except Exception:  # whatever pydicom raises on damaged values: it serves for telling apart only
                continue
        marks.append(mark)
    return tuple(marks)


def _padding(header: Header, signed: bool) -> tuple[int, int] | None:
    """PS3.3 C.7.5.1.1.2: one value, or all from it to the limit; either may be the higher."""
    given = [header.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if given[0] in (None, ""):
        return None
    bits = int(header.get("BitsAllocated") or 16)
    ends = [int(each) for each in given if each not in (None, "")]
    if signed:  # often written as if it were not: 63536 for -2000
        ends = [each - (1 << bits) if each >= 1 << bits - 1 else each for each in ends]
    return min(ends), max(ends)
