"""What a report keeps of a volume and its masks: few enough voxels for one file, packed for the page to unpack.

Rows and columns are averaged in blocks until there are at most MAX_SIDE of each. Of the slices, as many are kept as
MAX_VOXELS allows: those around what was segmented where that is enough, evenly spaced ones otherwise. Masks are cut
likewise, a block being inside where at least half of it is.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.volume import Sliceable

Bytes = NDArray[np.uint8]

MAX_SIDE = 256
MAX_VOXELS = 1 << 24
# All 256 grey levels as long as the file stays small; noise below one level of 128 would be most of a larger one.
FULL_GREY_VOXELS = 1 << 22


@dataclass(frozen=True)
class Embedded:
    """The voxels of a report. grey uint8 (Z, H, W) below `levels`, its last being white; labels likewise, bit k being
    the k-th mask.

    shape: of the volume they come from. slices: which of its slices are kept, of those from `extent[0]` to before
    `extent[1]`, which they stand for. block: its rows and columns to one of these. levels: how many shades of grey there are.
    """

    grey: Bytes
    labels: Bytes
    shape: tuple[int, int, int]
    slices: tuple[int, ...]
    extent: tuple[int, int]
    block: tuple[int, int]
    levels: int

    @property
    def whole(self) -> bool:
        """Whether every voxel is there, in 256 shades."""
        return self.block == (1, 1) and len(self.slices) == self.shape[0] and self.levels == 256


def kept_slices(count: int, most: int, bounds: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, int]]:
    """(which of `count` slices are kept, at most `most`; the range they stand for).

    bounds: the first and one past the last that was segmented. All slices, or else those around these, or else evenly
    spaced ones.
    """
    low, high = bounds
    if count > most >= high - low:
        start = min(max(0, (low + high - most) // 2), count - most)
        return tuple(range(start, start + most)), (start, start + most)
    kept = min(count, most)
    return tuple((2 * k + 1) * count // (2 * kept) for k in range(kept)), (0, count)


def embed(volume: Sliceable, masks: Mapping[str, Any], bounds: tuple[int, int] | None = None) -> Embedded:
    """Cut a volume in [0, 1] and its masks (non-zero inside, of the same shape) down to what a page can hold.

    bounds: the first and one past the last slice that was segmented, all by default. Values outside [0, 1] are clipped, NaN is
    black. Slices are cut one at a time: nothing whole is held but the result.
    """
    count, height, width = volume.shape
    block = -(-height // MAX_SIDE), -(-width // MAX_SIDE)
    rows, columns = -(-height // block[0]), -(-width // block[1])
    slices, extent = kept_slices(count, MAX_VOXELS // (rows * columns), bounds or (0, count))
    shape = len(slices), rows, columns
    levels = 256 if np.prod(shape) <= FULL_GREY_VOXELS else 128
    grey, labels = np.empty(shape, np.uint8), np.zeros(shape, np.uint8)
    for place, k in enumerate(slices):
        image = _blocks(np.clip(np.nan_to_num(np.asarray(volume[k], dtype=np.float32)), 0.0, 1.0), block)
        grey[place] = np.rint(image * np.float32(levels - 1))
        for bit, mask in enumerate(masks.values()):
            inside = _blocks((np.asarray(mask[k]) != 0).astype(np.float32), block) >= 0.5
            labels[place] |= inside.astype(np.uint8) << np.uint8(bit)
    return Embedded(grey, labels, (count, height, width), slices, extent, block, levels)


def _blocks(image: NDArray[np.float32], block: tuple[int, int]) -> NDArray[np.float32]:
    """Means of blocks; those at the lower and right edge may hold fewer pixels."""
    if block == (1, 1):
        return image
    sums = image
    for axis, size in enumerate(block):
        sums = np.add.reduceat(sums, np.arange(0, image.shape[axis], size), axis=axis)
    rows, columns = (np.add.reduceat(np.ones(n), np.arange(0, n, size)) for n, size in zip(image.shape, block, strict=True))
    return np.asarray(sums / np.outer(rows, columns), np.float32)


def centre(mask: Any, bounds: Sequence[tuple[int, int]]) -> tuple[int, int, int]:
    """A voxel amid a mask: in the slice that holds most of it, the row that holds most of that, its middle column there.

    Of an empty mask, the middle of the region. bounds: the region's first and one past its last index along each axis.
    """
    areas = [int(np.count_nonzero(mask[k])) for k in range(mask.shape[0])]
    if not any(areas):
        z, y, x = ((low + max(low, high - 1)) // 2 for low, high in bounds)
        return z, y, x
    z = int(np.argmax(areas))
    inside = np.asarray(mask[z]) != 0
    y = int(inside.sum(axis=1).argmax())
    columns = np.flatnonzero(inside[y])
    return z, y, int(columns[len(columns) // 2])


def pack_grey(grey: Bytes) -> str:
    """Base64 of the deflated differences along each row, modulo 256. The page adds them up again."""
    difference = np.diff(grey, axis=-1, prepend=np.uint8(0))
    # Noise has no repeats worth the search: Z_FILTERED is smaller here, and a few times faster.
    return _deflated(difference.tobytes(), zlib.Z_FILTERED)


def pack_labels(labels: Bytes) -> str:
    """Base64 of the deflated bytes."""
    return _deflated(labels.tobytes(), zlib.Z_DEFAULT_STRATEGY)


def _deflated(data: bytes, strategy: int) -> str:
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    return base64.b64encode(packer.compress(data) + packer.flush()).decode("ascii")
