"""Volumes in NIfTI files (`.nii`, `.nii.gz`), through nibabel (the extra `clinical`).

NIfTI's world is RAS: x and y run the other way than DICOM's, which a Volume uses.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models import extras
from bunet.models.files.atomic import write_atomic
from bunet.models.printable import reason
from bunet.models.volumes import nifti_header
from bunet.models.volumes.about import About
from bunet.models.volumes.nifti_header import MILLIMETRES, NiftiHeader
from bunet.models.volumes.unpacked import kept, unpack
from bunet.models.volumes.volume import NIFTI, Affine, Layout, Volume, VolumeError, checked_affine, three_axes

ENDINGS = (".nii", ".nii.gz")
PAIR_ENDINGS = (".hdr", ".img")
PAIR = "is one of a pair of files, .hdr and .img, which are not read: save it as .nii.gz"
GZIP = b"\x1f\x8b"
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
COLUMNS_FIRST = Layout((2, 1, 0))
UNPLACED = Layout((2, 1, 0), (False, True, False))
SCANNER = 1  # code of a transform to the scanner's coordinates (NIFTI_XFORM_SCANNER_ANAT)


def _nibabel(path: Path) -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise VolumeError(f"{path}: NIfTI files need the extra `clinical`: {extras.how('clinical')}") from error
    return nibabel


def read_nifti(path: Path) -> Volume:
    """The one 3D image of a NIfTI file; further axes of length 1 are left off.

    Values as they are meant, slope and intercept applied. An uncompressed file without scaling is mapped where it
    lies; anything else is unpacked to the disk once. Raises VolumeError in one sentence that names the file.
    """
    nibabel = _nibabel(path)
    try:
        with _opened(path) as stream:
            image = _image(nibabel, path, stream)
    except VolumeError:
        raise
    except Exception as error:  # nibabel lets through whatever its parts raise on damaged headers
        raise VolumeError(f"{path}: not a readable NIfTI file ({reason(error)})") from error
    shape = three_axes(tuple(int(n) for n in image.shape), leading=False)  # the transform is of the first three
    proxy = image.dataobj
    if len(shape) != 3 or 0 in shape:
        raise VolumeError(f"{path}: a volume has three axes, this image has shape {image.shape}")
    if proxy.dtype.kind not in "iuf" or proxy.dtype.itemsize > 8:
        raise VolumeError(f"{path}: values are of kind {proxy.dtype}, not whole or real numbers")
    try:
        array = _rescaled(_stored(path, proxy, shape), float(proxy.slope), float(proxy.inter))
        volume = Volume.of_file(array, _placed(image.affine, image.header), NIFTI, path)
        notes = nifti_header.remarks(image.header, shape, path)
        return replace(volume, header=_header(path, image), notes=notes, guessed=nifti_header.unoriented(image.header))
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise VolumeError(f"{path}: not a readable NIfTI file ({reason(error)})") from error


_DAMAGE = (OSError, ValueError, EOFError, KeyError, OverflowError, zlib.error)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The unzipped bytes. Whether they are zipped is told by the first two, since endings are not always right."""
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP
        file.seek(0)
        if not zipped:
            yield file
        else:
            with gzip.GzipFile(fileobj=file) as stream:
                yield stream


def _image(nibabel: Any, path: Path, stream: Any) -> Any:
    """nibabel's image of NIfTI-1 or NIfTI-2, as the size of its header says, whose values are not read. Raises ValueError."""
    head = stream.read(348)
    stream.seek(0)
    for image_class in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        if image_class.header_class.sizeof_hdr in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")):
            if image_class.header_class.pair_magic in (head[344:347], head[4:7]):  # of NIfTI-1, of NIfTI-2
                raise VolumeError(f"{path}: {PAIR}")
            return image_class.from_stream(stream)
    raise ValueError("its first four bytes are not the size of a NIfTI header, 348 or 540")


def _stored(path: Path, proxy: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    with _opened(path) as stream:
        if isinstance(stream, gzip.GzipFile):
            stream.seek(proxy.offset)
            return unpack(stream, proxy.dtype, shape, "F")
    needed, there = proxy.offset + proxy.dtype.itemsize * prod(shape), path.stat().st_size
    if there < needed:
        raise VolumeError(f"is cut short: the header promises {needed} bytes, and {there} are there")
    return np.memmap(path, proxy.dtype, "r", proxy.offset, shape, order="F")


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


def _placed(affine: Affine, header: Any) -> Affine:
    """From a file's indices to a volume's world, from what the file has. header: nibabel's, for the units."""
    matrix = checked_affine(affine)
    matrix[:3] *= MILLIMETRES[header.get_xyzt_units()[0]]
    return np.asarray(RAS_TO_LPS @ matrix)


def _header(path: Path, image: Any) -> NiftiHeader:
    with _opened(path) as stream:
        return NiftiHeader.of_file(stream, image)


def write_nifti(volume: Volume, path: Path, about: About = About()) -> None:
    """The volume in the order of axes it came in. about: what is said of it.

    One that came from a NIfTI file has that file's header: its codes, both its transforms, its voxel sizes and units. Any other
    has its affine as both sform and qform, in scanner coordinates. A volume of no known place is written without a transform
    (both codes 0), in the orientation that readers then assume: columns to the left, rows to the front. Kinds that NIfTI does
    not know (float16) become float32. Raises VolumeError for a path that does not end with .nii or .nii.gz.
    """
    nibabel = _nibabel(path)
    if not path.name.lower().endswith(ENDINGS):
        raise VolumeError(f"{path}: a NIfTI file ends with .nii or .nii.gz")
    dtype = np.dtype(np.float32) if volume.array.dtype == np.float16 else volume.array.dtype
    dtype = dtype.newbyteorder("<")
    if volume.header is not None and _lies_by(volume.header, volume):
        array = volume.layout.stored(volume.array)
        header = volume.header.for_values(dtype, array.shape, about.description)
    else:
        array, header = _anew(nibabel, volume, dtype, about.description)

    def write(stream: Any) -> None:
        header.write_to(stream)
        for image in array.transpose():  # the first axis changes fastest
            stream.write(image.astype(dtype).tobytes())

    if path.name.lower().endswith(".gz"):
        write_atomic(path, lambda stream: _zipped(write, stream))
    else:
        write_atomic(path, write)


def _lies_by(header: NiftiHeader, volume: Volume) -> bool:
    """Whether the volume still lies on the grid that the header states."""
    if volume.file_format != NIFTI or volume.affine is None:
        return False
    affine = volume.layout.turned_affine(_placed(header.affine, header.of_nibabel()), volume.shape)
    return np.array_equal(affine, volume.affine)


def _anew(nibabel: Any, volume: Volume, dtype: np.dtype[Any], description: str) -> tuple[NDArray[Any], Any]:
    """(array, header) in a file's order of axes, of a volume that has no header of its own."""
    if volume.affine is None:
        array, affine = UNPLACED.stored(volume.array), None
    else:
        layout = volume.layout if volume.file_format == NIFTI else COLUMNS_FIRST
        array = layout.stored(volume.array)
        affine = RAS_TO_LPS @ layout.stored_affine(volume.affine, volume.shape)
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(array.shape)
    header.set_slope_inter(1, 0)
    header.set_xyzt_units("mm")
    header["descrip"] = description.encode("ascii", "replace")[:79]
    if affine is not None:
        header.set_qform(affine, SCANNER)  # less the shear of a tilted gantry, which it cannot hold
        header.set_sform(affine, SCANNER)
    return array, header


def _zipped(write: Callable[[Any], None], stream: Any) -> None:
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0) as zipped:
        write(zipped)
