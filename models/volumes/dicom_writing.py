"""Volumes as DICOM series: a folder of Secondary Capture images that lie in the patient.

Secondary Capture (PS3.3 A.8.1) is the smallest image object that a pixel result may be stored as: it says only how
the pixels were made (`ConversionType` WSD, a workstation) and demands nothing of a scanner. The frame of reference and
the image plane are added to it, which makes it a standard extended SOP class (PS3.2): it lies over the series it was made
from. A Segmentation object would say more about a mask, but takes many times the attributes and holds no images.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.volumes.dicom_library import pydicom_for, quiet
from bunet.models.volumes.volume import DICOM, Affine, Volume, VolumeError

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
RIGHT_ANGLE = 1e-3  # largest cosine between rows and columns
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY = ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID")
FURTHER = ("SpecificCharacterSet", "StudyDescription", "PatientPosition", "PositionReferenceIndicator")
SERIES_NUMBER = 1000  # well above those of scanners; it need not be unique


@quiet()
def write_series(volume: Volume, folder: Path, description: str = "BUNET") -> None:
    """A new series of one file for each slice; patient, study and frame of reference are those of the series it came from.

    volume: whole numbers of 8 or 16 bits, with a place in the patient. folder: absent or empty; it appears whole or not at
    all. description: SeriesDescription, at most 64 characters. A volume of another file format gets an unnamed patient and
    a study of its own. Raises VolumeError.
    """
    pydicom = pydicom_for(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VolumeError(f"{folder}: is there already; a DICOM series needs a folder of its own")
    if volume.affine is None:
        raise VolumeError(f"{folder}: a DICOM series has a place in the patient, this volume has none; write .npz")
    if volume.kind == DICOM:
        array, affine = volume.stored()
        assert affine is not None
    else:
        array, affine = volume.array, volume.affine
    signed, bits = _pixels_of(volume, folder)
    common = _common(pydicom, volume, affine, folder)
    common.SeriesDescription = description[:64]
    common.Rows, common.Columns = array.shape[1:]
    common.BitsAllocated = common.BitsStored = bits
    common.HighBit = bits - 1
    common.PixelRepresentation = int(signed)
    kind = np.dtype(f"{'i' if signed else 'u'}{bits // 8}").newbyteorder("<")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        part.chmod(0o755)
        for k, image in enumerate(array):
            _write_slice(pydicom, common, affine, k, image.astype(kind).tobytes(), part / f"{k + 1:05d}.dcm")
        os.replace(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _pixels_of(volume: Volume, folder: Path) -> tuple[bool, int]:
    """(signed, bits) of the smallest pixels that hold all values."""
    if volume.array.dtype.kind not in "iu":
        raise VolumeError(f"{folder}: a DICOM series holds whole numbers, not {volume.array.dtype}; write .nii.gz or .npz")
    low = min(int(image.min()) for image in volume.array)
    high = max(int(image.max()) for image in volume.array)
    for signed, bits in ((False, 8), (True, 16), (False, 16)):
        least = -(1 << bits - 1) if signed else 0
        if least <= low and high < least + (1 << bits):
            return signed, bits
    raise VolumeError(f"{folder}: values from {low} to {high} do not fit the 16 bits of a DICOM series; write .nii.gz or .npz")


def _common(pydicom: Any, volume: Volume, affine: Affine, folder: Path) -> Any:
    """What all slices of the new series share."""
    data = pydicom.Dataset()
    source = pydicom.Dataset()
    if volume.files:
        source = pydicom.dcmread(volume.files[0], stop_before_pixels=True)
    for name in (*PATIENT, *STUDY):
        setattr(data, name, source.get(name, ""))
    for name in FURTHER:
        if name in source:
            setattr(data, name, source.get(name))
    data.StudyInstanceUID = source.get("StudyInstanceUID") or pydicom.uid.generate_uid()
    data.FrameOfReferenceUID = source.get("FrameOfReferenceUID") or pydicom.uid.generate_uid()
    data.SeriesInstanceUID = pydicom.uid.generate_uid()
    data.SeriesNumber = SERIES_NUMBER
    data.SOPClassUID = SECONDARY_CAPTURE
    data.Modality = "OT"
    data.ConversionType = "WSD"
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    right, down = affine[:3, 2] / steps[2], affine[:3, 1] / steps[1]
    if abs(right @ down) > RIGHT_ANGLE:
        raise VolumeError(f"{folder}: rows and columns of a DICOM series are at a right angle, this volume's are not")
    data.ImageOrientationPatient = _decimals(pydicom, [*right, *down])
    data.PixelSpacing = _decimals(pydicom, [steps[1], steps[2]])
    data.SliceThickness, data.SpacingBetweenSlices = _decimals(pydicom, [steps[0], steps[0]])
    return data


def _decimals(pydicom: Any, numbers: list[float]) -> list[str]:
    """As DICOM writes numbers: at most 16 characters."""
    return [pydicom.valuerep.format_number_as_ds(float(number)) for number in numbers]


def _write_slice(pydicom: Any, common: Any, affine: Affine, k: int, pixels: bytes, path: Path) -> None:
    data = pydicom.Dataset(common)
    data.SOPInstanceUID = pydicom.uid.generate_uid()
    data.InstanceNumber = k + 1
    data.ImagePositionPatient = _decimals(pydicom, list(affine[:3, 3] + k * affine[:3, 0]))
    data.PixelData = pixels + b"\0" * (len(pixels) % 2)
    data["PixelData"].VR = "OW"
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta = meta
    pydicom.dcmwrite(path, data, enforce_file_format=True)
