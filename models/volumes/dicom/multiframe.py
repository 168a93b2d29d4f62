"""Enhanced multi-frame CT: one file holds a volume, and says where each of its frames lies.

Enhanced CT and Legacy Converted Enhanced CT (PS3.3 A.38, A.70) put what a slice's header says elsewhere into functional groups
(C.7.6.16): shared by all frames, or of each frame, where either may hold any of them. Frames of several files of one series
(a concatenation, or parts of a volume) are put together as slices are, and must make one stack.
"""

from __future__ import annotations

from pathlib import Path

from bunet.models.volumes.dicom.library import Header
from bunet.models.volumes.dicom.slice import Slice, made_slice
from bunet.models.volumes.volume import VolumeError

FRAMES, SHARED = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"
POSITION, ORIENTATION, MEASURES = "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"
CONTENT, VALUES = "FrameContentSequence", "PixelValueTransformationSequence"
NEEDED = {POSITION: "ImagePositionPatient", ORIENTATION: "ImageOrientationPatient", MEASURES: "PixelSpacing"}


def is_multiframe(header: Header) -> bool:
    """Whether a file's frames say themselves where they lie."""
    return bool(header.get(FRAMES))


def slices_of(path: Path, header: Header) -> list[Slice]:
    """The slices of a multi-frame file, a frame each, in the file's order.

    Raises VolumeError, and whatever pydicom does on damaged values.
    """
    frames, shared = header.get(FRAMES), header.get(SHARED) or [None]
    count = int(header.get("NumberOfFrames") or 1)
    if len(frames) != count:
        raise VolumeError(f"{path}: holds {count} frames, but says of {len(frames)} where they lie")

    def group(frame: Header, name: str) -> Header:
        group = frame.get(name) or (shared[0].get(name) if shared[0] is not None else None)
        needed = NEEDED.get(name)
        if needed and (not group or group[0].get(needed) in (None, "")):
            raise VolumeError(f"{path}: is a multi-frame image whose frames have no {needed}")
        return group[0] if group else header

    return [
        made_slice(
            path,
            header,
            group(frame, POSITION),
            group(frame, ORIENTATION),
            group(frame, MEASURES),
            group(frame, VALUES),
            group(frame, CONTENT),
            k,
        )
        for k, frame in enumerate(frames)
    ]
