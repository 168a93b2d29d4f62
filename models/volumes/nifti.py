"""Volumes in NIfTI files (`.nii`, `.nii.gz`), through nibabel (the extra `clinical`).

NIfTI's world is RAS: x and y run the other way than DICOM's, which a Volume uses.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.unpacked import kept, unpack
from bunet.models.volumes.volume import NIFTI, Affine, Layout, Volume, VolumeError, checked_affine
from bunet.models.volumes.whole import write_whole

ENDINGS = (".nii", ".nii.gz")
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
COLUMNS_FIRST = Layout((2, 1, 0))
UNPLACED = Layout((2, 1, 0), (False, True, False))
SCANNER = 1  # code of a transform to the scanner's coordinates (NIFTI_XFORM_SCANNER_ANAT)


def _nibabel(path: Path) -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise VolumeError(f"{path}: NIfTI files need the extra `clinical`: pip install 'bunet[clinical]'") from error
    return nibabel


def read_nifti(path: Path) -> Volume:
    """The one 3D image of a NIfTI file; further axes of length 1 are left off.

    Values as they are meant, slope and intercept applied. An uncompressed file without scaling is mapped where it
    lies; anything else is unpacked to the disk once. Raises VolumeError in one sentence that names the file.
    """
    nibabel = _nibabel(path)
    try:
        image = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, *_DAMAGE) as error:
        raise VolumeError(f"{path}: not a readable NIfTI file ({_one_line(error)})") from error
    if not isinstance(image, nibabel.Nifti1Image):
        raise VolumeError(f"{path}: not a NIfTI file but {type(image).__name__}")
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    proxy = image.dataobj
    if len(shape) != 3 or 0 in shape:
        raise VolumeError(f"{path}: a volume has three axes, this image has shape {image.shape}")
    if proxy.dtype.kind not in "iuf" or proxy.dtype.itemsize > 8:
        raise VolumeError(f"{path}: values are of kind {proxy.dtype}, not whole or real numbers")
    try:
        array = _rescaled(_stored(path, proxy, shape), float(proxy.slope), float(proxy.inter))
        return Volume.of_file(array, RAS_TO_LPS @ _millimetres(image), NIFTI, path)
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise VolumeError(f"{path}: not a readable NIfTI file ({_one_line(error)})") from error


_DAMAGE = (OSError, ValueError, EOFError, KeyError, OverflowError, zlib.error)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _stored(path: Path, proxy: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    if not path.name.lower().endswith(".gz"):
        return np.memmap(path, proxy.dtype, "r", proxy.offset, shape, order="F")
    with gzip.open(path) as stream:
        stream.seek(proxy.offset)
        return unpack(stream, proxy.dtype, shape, "F")


def _rescaled(array: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    """slope * array + intercept: whole numbers stay whole (int32) where they can, others become float32."""
    if (slope, intercept) == (1.0, 0.0):
        return array
    turned = array.transpose()
    whole = array.dtype.kind in "iu" and array.dtype.itemsize <= 2 and slope.is_integer() and intercept.is_integer()
    if whole and max(abs(slope), 1) * 2**16 + abs(intercept) < 2**31:
        images = (image.astype(np.int32) * np.int32(slope) + np.int32(intercept) for image in turned)
        return kept(images, np.dtype(np.int32), turned.shape).transpose()
    scaled = ((image.astype(np.float64) * slope + intercept).astype(np.float32) for image in turned)
    return kept(scaled, np.dtype(np.float32), turned.shape).transpose()


def _millimetres(image: Any) -> Affine:
    affine = checked_affine(image.affine)
    affine[:3] *= MILLIMETRES[image.header.get_xyzt_units()[0]]
    return affine


def write_nifti(volume: Volume, path: Path) -> None:
    """The volume with its affine as both sform and qform, in scanner coordinates, in the order of axes it came in.

    A volume of no known place is written without a transform (both codes 0), in the orientation that readers then assume:
    columns to the left, rows to the front. Kinds that NIfTI does not know (float16) become float32. Raises VolumeError for
    a path that does not end with .nii or .nii.gz.
    """
    nibabel = _nibabel(path)
    if not path.name.lower().endswith(ENDINGS):
        raise VolumeError(f"{path}: a NIfTI file ends with .nii or .nii.gz")
    if volume.affine is None:
        array, affine = UNPLACED.stored(volume.array), None
    else:
        layout = volume.layout if volume.kind == NIFTI else COLUMNS_FIRST
        array = layout.stored(volume.array)
        affine = RAS_TO_LPS @ layout.stored_affine(volume.affine, volume.shape)
    kind = np.dtype(np.float32) if array.dtype == np.float16 else array.dtype.newbyteorder("=")
    image = nibabel.Nifti1Image(array.astype(kind, copy=False), affine, dtype=kind)
    image.header.set_xyzt_units("mm")
    if affine is not None:
        image.set_qform(affine, SCANNER)  # less the shear of a tilted gantry, which it cannot hold
        image.set_sform(affine, SCANNER)
    if path.name.lower().endswith(".gz"):
        write_whole(path, lambda stream: _zipped(image, stream))
    else:
        write_whole(path, image.to_stream)


def _zipped(image: Any, stream: Any) -> None:
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0) as zipped:
        image.to_stream(zipped)
