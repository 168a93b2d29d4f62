"""The header of a NIfTI file as it was read, so that what is made on its grid lies over it for every reader.

A header may state two transforms, or none. Readers choose differently (nibabel the sform, ITK often the qform, and each guesses
in its own way where both codes are 0), so a mask keeps both, with their codes and voxel sizes, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
OF_THE_VALUES = ("cal_min", "cal_max", "intent_code", "intent_p1", "intent_p2", "intent_p3")
NOTABLE_VOXELS = 0.5


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """block: the bytes as they lie in the file, 348 of NIfTI-1 or 540 of NIfTI-2. endianness: "<" or ">".

    affine: (4, 4), the one of its transforms that was read, from the file's indices to its world, in its own units.
    """

    block: bytes
    endianness: str
    affine: NDArray[np.float64]

    @classmethod
    def of_file(cls, stream: Any, image: Any) -> NiftiHeader:
        """Read the bytes anew. stream: the (unzipped) file, at its start. image: nibabel's, whose header has been mended.

        Raises EOFError where the file ends within it.
        """
        block = stream.read(image.header.template_dtype.itemsize)
        if len(block) < image.header.template_dtype.itemsize:
            raise EOFError("its header ends early")
        return cls(block, image.header.endianness, np.array(image.affine, np.float64))

    def of_nibabel(self) -> Any:
        """nibabel's header of these bytes, unmended."""
        import nibabel

        version = nibabel.Nifti1Header if len(self.block) == nibabel.Nifti1Header.sizeof_hdr else nibabel.Nifti2Header
        return version(self.block, self.endianness, check=False)

    def for_values(self, dtype: np.dtype[Any], shape: tuple[int, ...], description: str) -> Any:
        """nibabel's header of other values on the same grid: all that tells where it lies is as it was.

        dtype: of the values, which are meant as they are (slope 1, intercept 0). shape: in the file's order of axes.
        description: what they are, at most 79 bytes.
        """
        header = self.of_nibabel().as_byteswapped("<")
        header["magic"] = header.single_magic
        header["vox_offset"] = 0  # which makes nibabel put the values after the header: extensions are not kept
        steps = header["pixdim"].copy()
        header.set_data_dtype(dtype)
        header.set_data_shape(shape)  # which would reset the steps beyond the third axis
        header["pixdim"] = steps
        header.set_slope_inter(1, 0)
        for name in OF_THE_VALUES:
            header[name] = 0
        header["intent_name"] = b""
        header["descrip"] = description.encode("ascii", "replace")[:79]
        return header


def unoriented(header: Any) -> bool:
    """Whether it states no transform, so that every reader guesses one. header: nibabel's."""
    return int(header["qform_code"]) == int(header["sform_code"]) == 0


def remarks(header: Any, shape: tuple[int, ...], path: Path) -> tuple[str, ...]:
    """What people should know of where an image lies, a sentence each. header: nibabel's. shape: of its three axes."""
    codes = int(header["qform_code"]), int(header["sform_code"])
    if unoriented(header):
        return (
            f"{path.name} states no orientation (qform code 0, sform code 0): it was guessed, first axis to the left, second "
            "to the front, third to the head; the mask states none either, so that it lies over the volume in every reader",
        )
    if 0 in codes:
        return ()
    try:
        between = header.get_sform() - header.get_qform()
    except ValueError:  # HeaderDataError among them: a quaternion that is none
        return (f"{path.name}: its qform is no rotation, BUNET goes by its sform; the mask has both as they are",)
    corners = np.array([[*corner, 1] for corner in product(*((0, n - 1) for n in shape))]).T
    apart = float(np.linalg.norm((between @ corners)[:3], axis=0).max())
    steps = np.linalg.norm(header.get_sform()[:3, :3], axis=0)
    if not apart > NOTABLE_VOXELS * steps.min():
        return ()
    millimetres = apart * MILLIMETRES[header.get_xyzt_units()[0]]
    return (
        f"{path.name}: its qform (code {codes[0]}) and its sform (code {codes[1]}) lie up to {millimetres:.3g} mm apart: BUNET "
        "goes by the sform; the mask has both as they are",
    )
