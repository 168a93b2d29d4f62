"""Masks as one DICOM Segmentation (PS3.3 A.51) with a named, coded segment for each, through highdicom (the extra `clinical`).

It is what 3D Slicer and OHIF show as an overlay with names and colours. Every slice of the volume has its frames, also where
nothing is marked: that was looked at too, and the whole grid can be told from the file.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models import extras
from bunet.models.files.atomic import write_atomic
from bunet.models.volumes.about import MAKER, software
from bunet.models.volumes.dicom.library import pydicom_for
from bunet.models.volumes.dicom.sources import PATIENT, STUDY, SourceImage, Sources, as_it_is, sources_of
from bunet.models.volumes.dicom.writing import CT_IMAGE, LOSSY, plane_at, plane_of
from bunet.models.volumes.structures import SEGMENTATION_SERIES, Structure, structure_of
from bunet.models.volumes.volume import Affine, Volume, VolumeError

Masks = Mapping[str, NDArray[np.uint8]]


def highdicom_for(path: Path) -> Any:
    """The module highdicom, or a VolumeError that says how to get it."""
    try:
        import highdicom
    except ImportError as error:
        raise VolumeError(f"{path}: a DICOM Segmentation needs the extra `clinical`: {extras.how('clinical')}") from error
    return highdicom


def write_segmentation(volume: Volume, masks: Masks, path: Path) -> None:
    """One file with all masks of a volume that came from DICOM; patient, study and frame of reference are the source's.

    masks: 0 and 1, of the volume's shape, by target (`structure_of`). The file appears whole or not at all. Raises VolumeError.
    """
    highdicom, pydicom = highdicom_for(path), pydicom_for(path)
    pixels, (_, affine) = stored_masks(volume, masks), volume.stored()
    if affine is None:
        raise VolumeError(f"{path}: a DICOM Segmentation has a place in the patient, this volume has none")
    structures = [structure_of(target) for target in masks]
    with as_it_is(pydicom):
        sources = sources_of(volume, affine)
        stand_ins = _stand_ins(pydicom, sources, affine, pixels.shape, path)
        try:
            data = highdicom.seg.Segmentation(
                stand_ins,
                pixels,
                highdicom.seg.SegmentationTypeValues.BINARY,
                [_described(highdicom, number, structure) for number, structure in enumerate(structures, 1)],
                series_instance_uid=pydicom.uid.generate_uid(),
                series_number=SEGMENTATION_SERIES,
                sop_instance_uid=pydicom.uid.generate_uid(),
                instance_number=1,
                manufacturer=MAKER,
                manufacturer_model_name=MAKER,
                software_versions=software(),
                device_serial_number="none",
                content_label=MAKER,
                content_description=f"{' and '.join(one.target for one in structures)}, found by {MAKER}"[:64],
                series_description=f"{MAKER} segmentation",
                omit_empty_frames=False,
            )
        except (AttributeError, TypeError, ValueError) as error:  # it says so of what it does not take
            raise VolumeError(
                f"{path}: no DICOM Segmentation can be made of this volume ({' '.join(str(error).split())})"
            ) from error
        data.ContentCreatorName = MAKER
        sources.copy_identity(pydicom, data)
        _refer(pydicom, data, stand_ins, sources)
        write_atomic(path, lambda stream: pydicom.dcmwrite(stream, data, enforce_file_format=True))


def _stand_ins(pydicom: Any, sources: Sources, affine: Affine, shape: tuple[int, ...], path: Path) -> list[Any]:
    """An image for each slice as highdicom wants it: in one plane with the slice, under a name of its own, and nobody's.

    A source may lack what highdicom asks for, be one frame of many, or not be there; and what it says of the patient is not
    for a library to check.
    """
    common, plane = pydicom.Dataset(), plane_of(pydicom, affine, path)
    for name in (*PATIENT, *STUDY):
        setattr(common, name, "")
    common.SOPClassUID, common.Modality = CT_IMAGE, "CT"
    common.SeriesInstanceUID = sources.series(pydicom)
    common.StudyInstanceUID, common.FrameOfReferenceUID = sources.study(pydicom), sources.frame(pydicom)
    common.Rows, common.Columns = shape[1:3]
    for name in LOSSY:
        if name in sources.first:
            setattr(common, name, sources.first.get(name))
    images: list[Any] = []
    for k, source in enumerate(sources.images):
        data = copy.deepcopy(common)
        data.update(plane_at(pydicom, plane, affine, k, source))
        if images:  # scanners round the same directions in many ways
            data.ImageOrientationPatient = images[0].ImageOrientationPatient
        data.SOPInstanceUID = pydicom.uid.generate_uid()
        images.append(data)
    return images


def _described(highdicom: Any, number: int, structure: Structure) -> Any:
    family = highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
    return highdicom.seg.SegmentDescription(
        number,
        structure.target,
        _concept(highdicom, structure.category),
        _concept(highdicom, structure.property_type),
        highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        highdicom.AlgorithmIdentificationSequence(MAKER, family, software(), MAKER),
        anatomic_regions=None if structure.region is None else [_concept(highdicom, structure.region)],
        display_color=highdicom.color.CIELabColor.from_rgb(*structure.colour),
    )


def _concept(highdicom: Any, code: tuple[str, str, str]) -> Any:
    return highdicom.sr.CodedConcept(*code)


def _refer(pydicom: Any, data: Any, stand_ins: list[Any], sources: Sources) -> None:
    """Put the sources in place of their stand-ins; a slice that has none refers to nothing."""
    known: dict[str, SourceImage | None] = {
        str(one.SOPInstanceUID): source for one, source in zip(stand_ins, sources.images, strict=True)
    }
    for frame in data.PerFrameFunctionalGroupsSequence:
        items = [item for derivation in frame.get("DerivationImageSequence", ()) for item in derivation.SourceImageSequence]
        for item in items:
            source = known.get(str(item.ReferencedSOPInstanceUID))
            if source is not None:  # frames of several segments share their items
                item.update(source.reference(pydicom))
        if any(str(item.ReferencedSOPInstanceUID) in known for item in items):
            frame.DerivationImageSequence = []
    files = {str(source.header.SOPInstanceUID): source for source in sources.images if source is not None}
    items = []
    for source in files.values():
        item = source.reference(pydicom)
        if "ReferencedFrameNumber" in item:  # of the whole file
            del item.ReferencedFrameNumber
        items.append(item)
    if not items:
        del data.SourceImageSequence, data.ReferencedSeriesSequence
        return
    data.SourceImageSequence = items
    series = pydicom.Dataset()
    series.SeriesInstanceUID = sources.series(pydicom)
    series.ReferencedInstanceSequence = copy.deepcopy(items)
    data.ReferencedSeriesSequence = [series]


def holds(path: Path, volume: Volume, masks: Masks) -> bool:
    """Whether the Segmentation that is there has these very masks, in this order. Raises VolumeError where it is none."""
    names, pixels = read_segmentation(path, volume)
    return names == [structure_of(target).target for target in masks] and np.array_equal(pixels, stored_masks(volume, masks))


def read_segmentation(path: Path, volume: Volume) -> tuple[list[str], NDArray[np.uint8]]:
    """(labels of the segments, what they mark as `stored_masks`) of a Segmentation. Raises VolumeError where it is none."""
    pydicom = pydicom_for(path)
    with as_it_is(pydicom):
        try:
            data = pydicom.dcmread(path)
            return [str(segment.SegmentLabel) for segment in data.SegmentSequence], _pixels(data, volume)
        except Exception as error:  # pydicom lets through whatever its parts raise
            raise VolumeError(f"{path}: is no DICOM Segmentation: remove it, and the same command writes it again") from error


def stored_masks(volume: Volume, masks: Masks) -> NDArray[np.uint8]:
    """(slice, row, column, segment) in the order of the files that the volume came from."""
    return np.stack([volume.like(mask).stored()[0] for mask in masks.values()], axis=-1).astype(np.uint8)


def _pixels(data: Any, volume: Volume) -> NDArray[np.uint8]:
    """What a Segmentation marks of a volume, as `stored_masks`; ValueError where a frame lies on none of its slices."""
    array, affine = volume.stored()
    assert affine is not None
    out = np.zeros((*array.shape, len(data.SegmentSequence)), np.uint8)
    frames = np.asarray(data.pixel_array).reshape(-1, *array.shape[1:])
    shared = data.SharedFunctionalGroupsSequence[0]
    for pixels, frame in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        place = np.array([float(mm) for mm in frame.PlanePositionSequence[0].ImagePositionPatient]) - affine[:3, 3]
        k = round(float(place @ affine[:3, 0] / (affine[:3, 0] @ affine[:3, 0])))
        segment = (frame.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence)[0]
        if not 0 <= k < len(array):
            raise ValueError("a frame lies outside of the volume")
        out[k, ..., int(segment.ReferencedSegmentNumber) - 1] = pixels
    return out
