"""2.5D slices: what the network sees of a volume at one position, and fitting slices to the sizes the network takes.

Axes of a volume (slice, row, column): "z" is the first array axis (caudal to cranial or the reverse), "y" the second
(anterior to posterior), "x" the third. A slice along an axis keeps the other two in their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.volume import Sliceable

AXES = {"z": 0, "y": 1, "x": 2}
OFFSETS = (-5, -2, 0, 2, 5)
MULTIPLE = 16  # four poolings

Floats = NDArray[np.float32]


def axis_number(axis: str) -> int:
    """Array axis of "x", "y" or "z"; ValueError otherwise."""
    if axis not in AXES:
        raise ValueError(f"axis {axis!r} is not one of x, y, z")
    return AXES[axis]


def slice_count(volume: Sliceable, axis: str) -> int:
    """Number of slices of a (Z, H, W) volume along an axis."""
    if volume.ndim != 3:
        raise ValueError(f"a volume has 3 axes (slice, row, column), this array has shape {volume.shape}")
    return int(volume.shape[axis_number(axis)])


def slice_at(volume: Sliceable, axis: str, index: int) -> Floats:
    """The network's input at one position: float32 (5, H, W), the slices at offsets -5, -2, 0, +2, +5, zeros beyond
    the border.

    Reads no more than the five slices, so that a memory-mapped volume stays on disk. Values are not rescaled
    (`intensity.windowed` does that). Raises ValueError for an unknown axis, a volume that is not 3D, an index outside
    it.
    """
    count = slice_count(volume, axis)
    if not 0 <= index < count:
        raise ValueError(f"slice {index} is outside 0..{count - 1}, the slices along {axis}")
    number = axis_number(axis)
    shape = volume.shape[:number] + volume.shape[number + 1 :]
    out = np.zeros((len(OFFSETS), *shape), dtype=np.float32)
    where: list[Any] = [slice(None)] * 3
    for channel, offset in enumerate(OFFSETS):
        if 0 <= index + offset < count:
            where[number] = index + offset
            out[channel] = volume[tuple(where)]
    return out


def crop(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """The first `height` rows and `width` columns of (..., H, W), without padding. ValueError if the image is
    smaller.
    """
    if image.ndim < 2 or image.shape[-2] < height or image.shape[-1] < width or min(height, width) < 1:
        raise ValueError(f"cannot cut {height}x{width} from an image of shape {image.shape}")
    return image[..., :height, :width]
