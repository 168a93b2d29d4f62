"""The images that a DICOM volume was read from: which of them lies where each of its slices lies, and whose they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bunet.models.volumes.dicom import start
from bunet.models.volumes.dicom.library import pydicom_for, quiet
from bunet.models.volumes.volume import Affine, Volume, VolumeError

PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY = ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID")
FURTHER = (
    "SpecificCharacterSet",
    "StudyDescription",
    "IssuerOfPatientID",
    "PatientAge",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "PositionReferenceIndicator",
)
NEAR_STEPS = 0.5  # from a slice to the image it was read from


@dataclass(frozen=True)
class SourceImage:
    """header: of the file, without pixels. frame: 1 and up within a file of many, None where the file is one image.

    place: millimetres, of the centre of its first pixel.
    """

    header: Any
    frame: int | None
    place: Affine

    def reference(self, pydicom: Any) -> Any:
        """An item that names this image (PS3.3 C.12.1.4, Referenced Instance / Image SOP Instance Reference Macro)."""
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID = self.header.SOPClassUID
        item.ReferencedSOPInstanceUID = self.header.SOPInstanceUID
        if self.frame is not None:
            item.ReferencedFrameNumber = self.frame
        return item


@dataclass(frozen=True)
class Sources:
    """first: header of the first file, empty where the volume did not come from DICOM. images: one for each slice, in the
    order of `Volume.stored`; None where no image lies there.
    """

    first: Any
    images: tuple[SourceImage | None, ...]

    def copy_identity(self, pydicom: Any, data: Any) -> None:
        """Give `data` the patient, study and frame of reference of the source, as they are written there."""
        for name in (*PATIENT, *STUDY):
            setattr(data, name, self.first.get(name, ""))
        for name in FURTHER:
            if name in self.first:
                setattr(data, name, self.first.get(name))
        data.StudyInstanceUID, data.FrameOfReferenceUID = self.study(pydicom), self.frame(pydicom)
        data.PositionReferenceIndicator = self.first.get("PositionReferenceIndicator", "")

    def study(self, pydicom: Any) -> str:
        return self._known(pydicom, "StudyInstanceUID")

    def frame(self, pydicom: Any) -> str:
        return self._known(pydicom, "FrameOfReferenceUID")

    def series(self, pydicom: Any) -> str:
        return self._known(pydicom, "SeriesInstanceUID")

    def _known(self, pydicom: Any, name: str) -> str:
        """The source's, or a new one: the same for all that is made of one series."""
        series = self.first.get("SeriesInstanceUID")
        return str(self.first.get(name) or pydicom.uid.generate_uid(entropy_srcs=[str(series), name] if series else None))


def sources_of(volume: Volume, affine: Affine) -> Sources:
    """affine: of `Volume.stored`. Raises VolumeError where a file cannot be read any more."""
    files = volume.files
    if not files:
        import pydicom

        return Sources(pydicom.Dataset(), (None,) * len(volume.stored()[0]))
    pydicom = pydicom_for(files[0])
    headers = []
    for path in files:
        try:
            headers.append(start.read(pydicom, path))
        except Exception as error:  # pydicom lets through whatever its parts raise
            raise VolumeError(f"{path}: cannot be read any more ({type(error).__name__})") from error
    candidates = [image for header in headers for image in _images(header)]
    if not candidates:
        return Sources(headers[0], (None,) * len(volume.stored()[0]))
    places, step = np.stack([image.place for image in candidates]), np.linalg.norm(affine[:3, 0])
    images: list[SourceImage | None] = []
    for k in range(len(volume.stored()[0])):
        apart = np.linalg.norm(places - (affine[:3, 3] + k * affine[:3, 0]), axis=1)
        nearest = int(apart.argmin())
        images.append(candidates[nearest] if apart[nearest] <= NEAR_STEPS * step else None)
    return Sources(headers[0], tuple(images))


def _images(header: Any) -> Iterator[SourceImage]:
    """Those of a file that tell where they lie and can be named."""
    if not header.get("SOPInstanceUID") or not header.get("SOPClassUID"):
        return
    if "PerFrameFunctionalGroupsSequence" not in header:
        if (place := _place(header)) is not None:
            yield SourceImage(header, None, place)
        return
    shared = header.get("SharedFunctionalGroupsSequence") or [{}]
    for number, frame in enumerate(header.PerFrameFunctionalGroupsSequence, 1):
        position = frame.get("PlanePositionSequence") or shared[0].get("PlanePositionSequence")
        if position and (place := _place(position[0])) is not None:
            yield SourceImage(header, number, place)


def _place(data: Any) -> Affine | None:
    """Where the first pixel lies, if three numbers tell."""
    try:
        place = np.array([float(mm) for mm in data.get("ImagePositionPatient")])
    except (TypeError, ValueError):
        return None
    return place if place.shape == (3,) and np.isfinite(place).all() else None


@contextlib.contextmanager
def as_it_is(pydicom: Any) -> Iterator[None]:
    """Within, what a scanner wrote is copied even where it is not to the letter, and no library repeats it for all to see."""
    with quiet(), pydicom.config.disable_value_validation():
        yield
