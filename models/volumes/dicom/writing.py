"""Volumes as DICOM series: a folder of CT images that were derived, and lie in the patient.

CT Image Storage (PS3.3 A.3) is what viewers and libraries of all ages take an image plane from: ITK up to 5.3 passes over that
of Secondary Capture. ImageType DERIVED, the derivation and the references say that no scanner made it. What was true of the
scan only (dose, reconstruction, the scanner) is not said of it.
"""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.volumes.about import MAKER, About, software
from bunet.models.volumes.dicom.library import pydicom_for
from bunet.models.volumes.dicom.sources import SourceImage, Sources, as_it_is, sources_of
from bunet.models.volumes.volume import DICOM, Affine, Volume, VolumeError

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
RIGHT_ANGLE = 1e-3  # largest cosine between rows and columns
SAME_DIRECTION, SAME_SPACING = 1e-3, 1e-3  # of a source image's plane and the volume's
OF_THE_SLICE = ("AcquisitionNumber", "KVP", "PatientPosition")  # type 2: of the source image, or not known
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
SEGMENTATION = ("113076", "DCM", "Segmentation")  # PS3.16 CID 7203
SOURCE = ("121322", "DCM", "Source image for image processing operation")  # PS3.16 CID 7202


def write_series(volume: Volume, folder: Path, about: About = About()) -> None:
    """A new series of one file for each slice; patient, study and frame of reference are those of the series it came from.

    volume: whole numbers of 16 bits, with a place in the patient. folder: absent or empty; it appears whole or not at all.
    about: what is said of it. A volume of another file format gets an unnamed patient and a study of its
    own. Raises VolumeError.
    """
    pydicom = pydicom_for(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VolumeError(f"{folder}: is there already; a DICOM series needs a folder of its own")
    if volume.affine is None:
        raise VolumeError(f"{folder}: a DICOM series has a place in the patient, this volume has none; write .npz")
    if volume.file_format == DICOM:
        array, affine = volume.stored()
        assert affine is not None
    else:
        array, affine = volume.array, volume.affine
    signed, bits = _pixels_of(volume, folder)
    with as_it_is(pydicom):
        sources = sources_of(volume, affine)
        common = _common(pydicom, sources, about)
        common.Rows, common.Columns = array.shape[1:]
        common.BitsAllocated, common.BitsStored, common.HighBit = 16, bits, bits - 1
        common.PixelRepresentation = int(signed)
        plane = plane_of(pydicom, affine, folder)
        dtype = np.dtype("<i2" if signed else "<u2")
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
        try:
            part.chmod(0o755)
            for k, image in enumerate(array):
                data = copy.deepcopy(common)  # pydicom.Dataset(common) would share its dictionary
                data.InstanceNumber = k + 1
                _describe_slice(pydicom, data, sources.images[k])
                data.update(plane_at(pydicom, plane, affine, k, sources.images[k]))
                _write(pydicom, data, image.astype(dtype).tobytes(), part / f"{k + 1:05d}.dcm")
            os.replace(part, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def _pixels_of(volume: Volume, folder: Path) -> tuple[bool, int]:
    """(signed, bits) of the smallest pixels that hold all values and that a CT image may have, 12 to 16 bits of 16."""
    if volume.array.dtype.kind not in "iu":
        raise VolumeError(f"{folder}: a DICOM series holds whole numbers, not {volume.array.dtype}; write .nii.gz or .npz")
    low = min(int(image.min()) for image in volume.array)
    high = max(int(image.max()) for image in volume.array)
    for signed, bits in ((False, 12), (True, 16), (False, 16)):
        least = -(1 << bits - 1) if signed else 0
        if least <= low and high < least + (1 << bits):
            return signed, bits
    raise VolumeError(f"{folder}: values from {low} to {high} do not fit the 16 bits of a DICOM series; write .nii.gz or .npz")


def _common(pydicom: Any, sources: Sources, about: About) -> Any:
    """What all slices of the new series share."""
    data = pydicom.Dataset()
    sources.copy_identity(pydicom, data)
    now = datetime.now()
    for name in ("InstanceCreation", "Series", "Content"):
        setattr(data, f"{name}Date", now.strftime("%Y%m%d"))
        setattr(data, f"{name}Time", now.strftime("%H%M%S"))
    data.SeriesInstanceUID = pydicom.uid.generate_uid()
    data.SeriesNumber = about.series
    data.SeriesDescription = about.description[:64]
    data.SOPClassUID = CT_IMAGE
    data.Modality = "CT"
    data.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]  # the third says CT image, not localizer (C.8.2.1.1.1)
    data.Manufacturer = data.ManufacturerModelName = MAKER
    data.SoftwareVersions = software()
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BurnedInAnnotation = "NO"
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = "1", "0", "US"
    if about.derivation:
        data.DerivationDescription = about.derivation
    if about.mask:
        data.BodyPartExamined = sources.first.get("BodyPartExamined") or "CHEST"
        data.DerivationCodeSequence = [coded(pydicom, SEGMENTATION)]
        # 0 black and 1 white by this function (C.11.2.1.3.2), and by LINEAR in viewers that know no other.
        data.WindowCenter, data.WindowWidth, data.VOILUTFunction = "0.5", "1", "LINEAR_EXACT"
    return data


def _describe_slice(pydicom: Any, data: Any, source: SourceImage | None) -> None:
    """What is the source image's own, and which it is."""
    header = pydicom.Dataset() if source is None else source.header
    for name in OF_THE_SLICE:
        setattr(data, name, header.get(name, ""))
    for name in LOSSY:
        if name in header:  # what has been lost stays lost
            setattr(data, name, header.get(name))
    if source is None:
        return
    item = source.reference(pydicom)
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = [coded(pydicom, SOURCE)]
    data.SourceImageSequence = [item]
    series = pydicom.Dataset()
    series.SeriesInstanceUID = header.get("SeriesInstanceUID")
    series.ReferencedInstanceSequence = [source.reference(pydicom)]
    data.ReferencedSeriesSequence = [series]


def coded(pydicom: Any, code: tuple[str, str, str]) -> Any:
    """An item of a code sequence. code: value, scheme, meaning."""
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item


def plane_of(pydicom: Any, affine: Affine, path: Path) -> Any:
    """Orientation and spacing of all planes of a grid. Raises VolumeError where rows and columns are at no right angle."""
    plane = pydicom.Dataset()
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    right, down = affine[:3, 2] / steps[2], affine[:3, 1] / steps[1]
    if abs(right @ down) > RIGHT_ANGLE:
        raise VolumeError(f"{path}: rows and columns of a DICOM series are at a right angle, this volume's are not")
    plane.ImageOrientationPatient = _decimals(pydicom, [*right, *down])
    plane.PixelSpacing = _decimals(pydicom, [steps[1], steps[2]])
    gap = abs(float(affine[:3, 0] @ np.cross(right, down)))  # along the normal, which a tilted gantry's steps are not
    plane.SliceThickness, plane.SpacingBetweenSlices = _decimals(pydicom, [gap, gap])
    return plane


def plane_at(pydicom: Any, plane: Any, affine: Affine, k: int, source: SourceImage | None) -> Any:
    """The image plane of slice k: that of its source image as it is written there, so that every reader finds both together.

    Where no file of one image lies there, or BUNET reads its plane in another way, the grid's own.
    """
    data = copy.deepcopy(plane)
    data.ImagePositionPatient = _decimals(pydicom, list(affine[:3, 3] + k * affine[:3, 0]))
    if source is None or source.frame is not None:
        return data
    cosines, spacing = source.header.get("ImageOrientationPatient"), source.header.get("PixelSpacing")
    if cosines and spacing:
        alike = np.allclose(np.float64(cosines), np.float64(data.ImageOrientationPatient), rtol=0, atol=SAME_DIRECTION)
        if alike and np.allclose(np.float64(spacing), np.float64(data.PixelSpacing), rtol=SAME_SPACING):
            for name in ("ImageOrientationPatient", "PixelSpacing", "ImagePositionPatient", "SliceThickness"):
                if source.header.get(name) not in (None, ""):
                    setattr(data, name, copy.deepcopy(source.header.get(name)))
    return data


def _decimals(pydicom: Any, numbers: list[float]) -> list[str]:
    """As DICOM writes numbers: at most 16 characters."""
    return [pydicom.valuerep.format_number_as_ds(float(number)) for number in numbers]


def _write(pydicom: Any, data: Any, pixels: bytes, path: Path) -> None:
    data.SOPInstanceUID = pydicom.uid.generate_uid()
    data.PixelData = pixels
    data["PixelData"].VR = "OW"
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta = meta
    pydicom.dcmwrite(path, data, enforce_file_format=True)
