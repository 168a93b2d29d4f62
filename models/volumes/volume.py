"""A CT volume and where it lies in the patient, whatever file it came from.

Inside, every volume is (slice, row, column): slices run caudal to cranial, rows anterior to posterior, columns from the
patient's right to the left, each as nearly as the grid allows; that is the order of an axial DICOM series. Files keep
other orders (NIfTI usually starts with columns, and may run either way), so a volume remembers the `Layout` of its
file and goes back to it when it is written. Turning is a view: nothing is copied, a mapped file stays on the disk.

World coordinates are DICOM's (PS3.3 C.7.6.2.1.1): millimetres, x to the patient's left, y to the back, z to the head.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bunet.models.errors import UsageError
from bunet.models.volumes.nifti_header import NiftiHeader

Affine = NDArray[np.float64]

NPZ, NPY, NIFTI, DICOM = "npz", "npy", "nifti", "dicom"
KINDS = (NPZ, NPY, NIFTI, DICOM)


class VolumeError(UsageError):
    """A file or array that is not a volume; the message names the file and what is wrong with it."""


class SeveralSeries(VolumeError):
    """A DICOM folder of which nobody said which series is meant. elsewhere: the sentence where `--series` is not of it, since
    that option chooses among those of the volume to be segmented.
    """

    def __init__(self, message: str, elsewhere: str) -> None:
        super().__init__(message)
        self.elsewhere = elsewhere


class Sliceable(Protocol):
    """What cutting slices needs of a volume: an array, a mapped one, or one that is computed where it is cut."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __getitem__(self, key: Any, /) -> Any: ...


def check_shape(array: Sliceable, name: str = "", kinds: str = "iuf") -> None:
    """VolumeError unless the array is 3D, not empty, and of whole or real numbers.

    name: what precedes the sentence. kinds: those of numpy that are taken, with "b" for a mask.
    """
    if array.ndim != 3 or 0 in array.shape:
        raise VolumeError(f"{name}a volume has shape (slices, rows, columns), this one has {array.shape}")
    if array.dtype.kind not in kinds or array.dtype.itemsize > 8:
        raise VolumeError(f"{name}values are of kind {array.dtype}, not whole or real numbers")


def three_axes(shape: tuple[int, ...], leading: bool = True) -> tuple[int, ...]:
    """A shape without the axes of length 1 that it has beyond three: last ones first, then first ones where `leading` says so,
    such as the channel or the batch of a network's input.
    """
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    while leading and len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    return shape


@dataclass(frozen=True)
class Layout:
    """How a file's axes become (slice, row, column).

    order: for each of the three, the file's axis that it is. flips: whether it runs against the file's.
    """

    order: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)

    @classmethod
    def nearest(cls, affine: Affine) -> Layout:
        """The layout that turns a file's axes to head, back and left as nearly as they can be; affine: the file's."""
        cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        cosines = cosines[::-1].round(6)  # rows: head, back, left; rounded so that 45 degrees are decided alike
        order = max(itertools.permutations(range(3)), key=lambda p: sum(abs(cosines[c, a]) for c, a in enumerate(p)))
        flips = tuple(bool(cosines[c, a] < 0) for c, a in enumerate(order))
        return cls(order, flips)  # type: ignore[arg-type]  # three each

    def turned(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of a file's array as (slice, row, column)."""
        return self._flipped(array.transpose(self.order))

    def stored(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of a (slice, row, column) array in the file's order; undoes `turned`."""
        return self._flipped(array).transpose(np.argsort(self.order))

    def _flipped(self, array: NDArray[Any]) -> NDArray[Any]:
        return array[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def turned_affine(self, affine: Affine, shape: tuple[int, ...]) -> Affine:
        """The affine of `turned`, from the file's. shape: of the turned array."""
        return affine @ self._indices(shape)

    def stored_affine(self, affine: Affine, shape: tuple[int, ...]) -> Affine:
        """The affine of `stored`, from that of the turned array. shape: of the turned array."""
        return affine @ np.linalg.inv(self._indices(shape)).round()  # whole numbers, exactly

    def _indices(self, shape: tuple[int, ...]) -> Affine:
        """The matrix from (slice, row, column, 1) to the file's indices."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for axis, (theirs, flip) in enumerate(zip(self.order, self.flips, strict=True)):
            matrix[theirs, axis] = -1 if flip else 1
            matrix[theirs, 3] = shape[axis] - 1 if flip else 0
        return matrix


@dataclass(frozen=True, eq=False)
class Volume:
    """An array with its place in the patient. Immutable: the arrays it holds are read-only views.

    array: (slice, row, column), of any real kind, Hounsfield units or what the file holds; may be mapped from a file.
    affine: (4, 4), from (slice, row, column, 1) to millimetres (see the top of this file); None where the file does
    not tell. kind: one of KINDS, the file format it came from. layout: of that file. source: that file or folder. notes: what
    people should know of how it was read, a sentence each, such as that its orientation was guessed. header: of the NIfTI file
    it came from, for what is written on its grid. files: of a DICOM series, those that it was read from, in the order of the
    slices of `stored()`; fewer than slices where files hold several frames. modality: of a DICOM series, by its header (CT,
    MR, ...); "?" for no known term, "" where nothing is known. guessed: whether the file tells the spacing alone, and the
    directions of the affine are assumed.
    Raises VolumeError for an array that is no volume and for an affine that is none.
    """

    array: NDArray[Any]
    affine: Affine | None = None
    kind: str = NPZ
    layout: Layout = Layout()
    source: Path | None = None
    notes: tuple[str, ...] = ()
    header: NiftiHeader | None = None
    files: tuple[Path, ...] = ()
    modality: str = ""
    guessed: bool = False

    def __post_init__(self) -> None:
        check_shape(self.array)
        if self.kind not in KINDS:
            raise VolumeError(f"kind {self.kind!r} is not one of {', '.join(KINDS)}")
        object.__setattr__(self, "array", _frozen(self.array))
        if self.affine is not None:
            object.__setattr__(self, "affine", _frozen(checked_affine(self.affine)))

    @classmethod
    def of_file(cls, array: NDArray[Any], affine: Affine, kind: str, source: Path) -> Volume:
        """Turn what a file holds to (slice, row, column). array and affine: in the file's own order of axes."""
        layout = Layout.nearest(checked_affine(affine))
        turned = layout.turned(array)
        return cls(turned, layout.turned_affine(affine, turned.shape), kind, layout, source)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Millimetres from one slice, row and column to the next; None where the file does not tell."""
        if self.affine is None:
            return None
        steps = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(steps[0]), float(steps[1]), float(steps[2])

    @property
    def oriented(self) -> bool:
        """Whether the file tells how the patient lies in it."""
        return self.affine is not None and not self.guessed

    def like(self, array: NDArray[Any]) -> Volume:
        """Another array on this volume's grid, such as its mask. Raises VolumeError for another shape."""
        if array.shape != self.shape:
            raise VolumeError(f"an array of shape {array.shape} does not lie on a volume of shape {self.shape}")
        return replace(self, array=array.astype(np.uint8) if array.dtype == np.bool_ else array)

    def stored(self) -> tuple[NDArray[Any], Affine | None]:
        """(array, affine) in the order of axes of the file that the volume came from."""
        affine = None if self.affine is None else self.layout.stored_affine(self.affine, self.shape)
        return self.layout.stored(self.array), affine


def checked_affine(affine: Affine) -> Affine:
    """float64 (4, 4) as it came, if it takes indices to places one to one; VolumeError otherwise."""
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or matrix[3].tolist() != [0, 0, 0, 1]:
        raise VolumeError("the affine is not a 4x4 matrix of finite numbers that ends with 0 0 0 1")
    steps = np.linalg.norm(matrix[:3, :3], axis=0)
    if not steps.all() or abs(np.linalg.det(matrix[:3, :3] / steps)) < 1e-3:
        raise VolumeError("the affine is flat: two axes point the same way, or one has no length")
    return matrix


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
