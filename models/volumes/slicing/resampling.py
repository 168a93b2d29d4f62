"""Volumes and masks at other sizes: linear or nearest, and slices at a size the network takes, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.slicing.field_of_view import SQUARE, Pixels
from bunet.models.volumes.slicing.slices import MULTIPLE, axis_number, crop
from bunet.models.volumes.volume import Sliceable, VolumeError, check_shape

Floats = NDArray[np.float32]
Size = int | tuple[int, int] | tuple[int, int, int]


def resample(volume: Sliceable, size: Size) -> Floats:
    """An image at another size, float32 (slices, rows, columns), linear along each axis.

    size: (slices, rows, columns), or (rows, columns) or one number for a square, which leave the slices as many as they
    are. Along each axis, a reduction by a whole factor is the mean of blocks; anything else is linear between voxel
    centres with the border repeated (which, unlike the mean, does not filter what a strong reduction folds over). The
    volume is read one slice at a time, in order. Raises VolumeError for a shape that is not 3D and sizes that are not positive.
    """
    check_shape(volume)
    slices, rows, columns = _target(volume, size)
    out = np.empty((slices, rows, columns), dtype=np.float32)
    planes = (_along(_along(np.asarray(image, dtype=np.float32), 0, rows), 1, columns) for image in volume)
    for k, plane in enumerate(_between(planes, len(volume), slices)):
        out[k] = plane
    return out


def resample_mask(mask: Sliceable, size: Size) -> NDArray[Any]:
    """A mask (or any labels) at another size, each voxel with the label of the nearest one; same dtype. size: as `resample`."""
    check_shape(mask, dtype_kinds="biuf")
    slices, rows, columns = _target(mask, size)
    _, height, width = mask.shape
    down, across = _nearest(height, rows)[:, None], _nearest(width, columns)
    out = np.empty((slices, rows, columns), dtype=mask.dtype)
    for k, source in enumerate(_nearest(len(mask), slices)):
        out[k] = mask[int(source)][down, across]
    return out


@dataclass(frozen=True)
class SliceFit:
    """How slices along one axis of a volume become what the network takes, and its masks slices again.

    shape: (height, width) of the volume's slices. size: what they are resampled to; equal to `shape` for not at all.
    padded: (height, width) that the network sees, `size` up to a multiple.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    padded: tuple[int, int]

    @classmethod
    def along(
        cls, axis: str, shape: tuple[int, ...], size: int | tuple[int, int] | None = None, multiple: int = MULTIPLE
    ) -> SliceFit:
        """For slices along "x", "y" or "z" of a volume of `shape`. size: (rows, columns), one number for a square, None
        for the volume's own. Raises ValueError for another axis and sizes that are not positive.
        """
        number = axis_number(axis)
        height, width = shape[:number] + shape[number + 1 :]
        rows, columns = (height, width) if size is None else (size, size) if isinstance(size, int) else size
        if min(rows, columns, multiple) < 1:
            raise VolumeError(f"cannot fit slices to {rows}x{columns} pixels and a multiple of {multiple}")
        return cls((height, width), (rows, columns), (rows + -rows % multiple, columns + -columns % multiple))

    @classmethod
    def scaled(cls, axis: str, shape: tuple[int, ...], size: int, pixels: Pixels = SQUARE) -> SliceFit:
        """For slices along an axis of a volume of `shape`, rows and columns scaled by one factor so that the longer of them is
        `size`, and the slice axis stretched to it (`volumes.slice_source` says why).

        pixels: what one measures from row to row and from column to column; only their ratio matters. Raises ValueError for a
        shape that is not 3D or is empty, another axis, a size that is not positive.
        """
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"a volume has 3 axes (slice, row, column), not the shape {shape}")
        if size < 1:
            raise ValueError(f"slices of {size} pixels cannot be cut")
        number = axis_number(axis)
        high, wide = shape[1] * pixels[0], shape[2] * pixels[1]
        scale = size / max(high, wide)
        lengths = (size, max(1, round(high * scale)), max(1, round(wide * scale)))
        height, width = shape[:number] + shape[number + 1 :]
        rows, columns = lengths[:number] + lengths[number + 1 :]
        side = size + -size % MULTIPLE
        return cls((height, width), (rows, columns), (side, side))

    def image(self, channels: NDArray[Any]) -> NDArray[Any]:
        """(channels, height, width), resampled and padded with zeros."""
        self._check(channels.shape[1:], self.shape)
        small = channels if self.size == self.shape else resample(channels, self.size)
        out = np.zeros((len(small), *self.padded), dtype=small.dtype)
        out[:, : self.size[0], : self.size[1]] = small
        return out

    def label(self, flat: NDArray[Any]) -> NDArray[Any]:
        """A label (height, width) of the volume's slice as the network's images are, in `padded`: each pixel that of the
        nearest, of the same dtype.
        """
        self._check(flat.shape, self.shape)
        out = np.zeros(self.padded, dtype=flat.dtype)
        out[: self.size[0], : self.size[1]] = resample_mask(flat[None], self.size)[0]
        return out

    def mask(self, labels: NDArray[Any]) -> NDArray[Any]:
        """(height, width) of the volume's slice, from the network's labels (or one of its maps) in `padded`, same dtype.

        The padding is cut off; where the slice was resampled, each pixel gets the label of the nearest.
        """
        self._check(labels.shape, self.padded)
        inner = crop(labels, *self.size)
        return inner if self.size == self.shape else resample_mask(inner[None], self.shape)[0]

    @staticmethod
    def _check(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
        if shape != expected:
            raise VolumeError(f"a slice of {expected[0]}x{expected[1]} was expected, this one has shape {shape}")


def _target(volume: Sliceable, size: Size) -> tuple[int, int, int]:
    sizes = (size, size) if isinstance(size, int) else tuple(size)
    slices, rows, columns = sizes if len(sizes) == 3 else (len(volume), *sizes)
    if min(slices, rows, columns) < 1:
        raise VolumeError(f"cannot resample to {slices}x{rows}x{columns} voxels")
    return slices, rows, columns


def _along(image: Floats, axis: int, target: int) -> Floats:
    """One axis of a slice at `target` pixels."""
    source = image.shape[axis]
    if source == target:
        return image
    if source % target == 0:
        blocks = (*image.shape[:axis], target, source // target, *image.shape[axis + 1 :])
        return np.asarray(image.reshape(blocks).mean(axis=axis + 1))
    first, second, share = _neighbours(source, target)
    here, after = image.take(first, axis), image.take(second, axis)
    return here + (share if axis else share[:, None]) * (after - here)


def _between(planes: Iterator[Floats], source: int, target: int) -> Iterator[Floats]:
    """`target` planes from `source` ones, which are taken in order and held two at a time."""
    if source % target == 0:
        factor = source // target
        for _ in range(target):
            total = next(planes)
            for _ in range(factor - 1):
                total = total + next(planes)
            yield total / np.float32(factor) if factor > 1 else total
        return
    before: Floats | None = None
    last, taken = next(planes), 0
    for first, second, share in zip(*_neighbours(source, target), strict=True):
        while taken < second:
            before, last = last, next(planes)
            taken += 1
        yield last if before is None or first == second else before + share * (last - before)


def _neighbours(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """For each target pixel: the source pixels on either side of its centre and the share of the second."""
    position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1)
    first = np.minimum(position.astype(np.int64), max(source - 2, 0))
    return first, np.minimum(first + 1, source - 1), (position - first).astype(np.float32)


def _nearest(source: int, target: int) -> NDArray[np.int64]:
    """For each target pixel: the source pixel that its centre lies in."""
    return np.asarray((2 * np.arange(target) + 1) * source // (2 * target))
