"""Slices of any volume at the size a network was trained at, and masks back: one rule for training and prediction.

A volume is (slice, row, column). Its rows and columns are pixels of one size, so they are scaled by one factor, which
brings the longer of them to the network's size; the shorter is padded with zeros at its end. Where they are not of one size,
the factor is one of millimetres (`fit` with `pixels`). Slices may lie at any
distance from one another, so where the slice axis lies within the image (axes x and y) it is stretched to the network's
size whatever its length: series of 40 and of 300 slices of a chest then look alike. The five slices of the input are
neighbours in the volume as it is, before anything is scaled. Images are interpolated linearly
(`volumes.resampling`); labels and masks take the nearest pixel, so that they stay masks.

Where a volume already measures `size` along every axis of the image, nothing is changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.slicing.field_of_view import SQUARE, Pixels
from bunet.models.volumes.slicing.resampling import SliceFit, resample_mask
from bunet.models.volumes.slicing.slices import Floats, axis_number, slice_at, slice_count
from bunet.models.volumes.volume import Sliceable


def fitted(shape: tuple[int, ...], axis: str, size: int, pixels: Pixels = SQUARE) -> tuple[int, int]:
    """(height, width), both at most `size`, of a slice along `axis` of a volume of this shape, before it is padded.

    pixels: what one measures from row to row and from column to column. Raises ValueError for a shape that is not 3D or is
    empty, an unknown axis, a size that is not positive.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"a volume has 3 axes (slice, row, column), not the shape {shape}")
    if size < 1:
        raise ValueError(f"slices of {size} pixels cannot be cut")
    _, rows, columns = shape
    high, wide = rows * pixels[0], columns * pixels[1]
    scale = size / max(high, wide)
    lengths = [size, max(1, round(high * scale)), max(1, round(wide * scale))]
    del lengths[axis_number(axis)]
    return lengths[0], lengths[1]


def fit(shape: tuple[int, ...], axis: str, size: int, pixels: Pixels = SQUARE) -> SliceFit:
    """How slices along `axis` of a volume of this shape become (size, size), and masks slices again; raises as `fitted`."""
    number = axis_number(axis)
    target = fitted(shape, axis, size, pixels)
    height, width = shape[:number] + shape[number + 1 :]
    return SliceFit((height, width), target, (size, size))


def cut(volume: Sliceable, axis: str, index: int, size: int, pixels: Pixels = SQUARE) -> Floats:
    """The network's input at one position: float32 (5, size, size). Reads no more than five slices of the volume.

    Raises ValueError as `slices.slice_at` and `fitted` do.
    """
    image = slice_at(volume, axis, index)
    return np.asarray(fit(volume.shape, axis, size, pixels).image(image), dtype=np.float32)


def cut_label(label: NDArray[Any], axis: str, index: int, size: int, pixels: Pixels = SQUARE) -> NDArray[Any]:
    """The label of the same position, (size, size) of the label's kind. Raises ValueError as `cut` does."""
    count = slice_count(label, axis)
    if not 0 <= index < count:
        raise ValueError(f"slice {index} is outside 0..{count - 1}, the slices along {axis}")
    flat = np.take(label, index, axis=axis_number(axis))
    height, width = fitted(label.shape, axis, size, pixels)
    out = np.zeros((size, size), dtype=label.dtype)
    out[:height, :width] = resample_mask(flat[None], (height, width))[0]
    return out


def restore(mask: NDArray[Any], axis: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """A mask (size, size) of a slice along `axis`, at the pixels of a volume of this shape: (height, width).

    Raises ValueError for a mask that is not square, and as `fitted` does.
    """
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        raise ValueError(f"a mask of shape {mask.shape} is not one of a square slice")
    return fit(shape, axis, mask.shape[0]).mask(mask)
