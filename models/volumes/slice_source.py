"""The one way from a volume to what a network sees, and from its maps back to the volume's own pixels.

Whoever cuts slices, for a secure run, one in the clear, a training, a calibration or a picture, makes a `SliceSource`: it knows
which part of a slice is taken (`slicing.field_of_view`), to what size it is brought, how it is padded, and its `SliceFrame`
undoes all three.

A volume is (slice, row, column). Its rows and columns are pixels of one size, so they are scaled by one factor, which brings
the longer of them to the network's size; the shorter is padded with zeros at its end. Where they are not of one size, the
factor is one of millimetres. Slices may lie at any distance from one another, so where the slice axis lies within the image
(axes x and y) it is stretched to the network's size whatever its length: series of 40 and of 300 slices of a chest then look
alike. The five slices of the input are neighbours in the volume as it is, before anything is scaled. Images are interpolated
linearly (`slicing.resampling`); labels and masks take the nearest pixel, so that they stay masks; the one exception is the
truth that `demo` and `sweep` hold masks against, which is scaled as an image is and cut at one half (`experiments/images.py`).
Where a volume already measures `size` along every axis of the image, nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.slicing.field_of_view import SQUARE, Crop
from bunet.models.volumes.slicing.resampling import SliceFit
from bunet.models.volumes.slicing.slices import OFFSETS, Floats, axis_number, slice_at, slice_count
from bunet.models.volumes.volume import Sliceable

Size = int | tuple[int, int] | None


@dataclass(frozen=True)
class SliceFrame:
    """Where slices along an axis of a volume of `volume_shape` lie in the network's image.

    size: as given to `of`. crop: the rows and columns of the volume that are taken, None for all, and what its pixels measure
    where they are not square. fit: of what is taken.
    """

    volume_shape: tuple[int, ...]
    axis: str
    size: Size
    crop: Crop | None
    fit: SliceFit

    @classmethod
    def of(cls, shape: tuple[int, ...], axis: str, size: Size = None, crop: Crop | None = None) -> SliceFrame:
        """size: pixels of the network's square slices, rows and columns scaled by one factor, one of millimetres where the crop
        says that pixels are not square; (height, width) for slices that are stretched to just these; None for the volume's own
        pixels, where nothing is cropped either.

        Raises ValueError for a shape that is not 3D, another axis, and sizes that are not positive.
        """
        crop = None if size is None else crop
        part = tuple(shape) if crop is None else crop.shape(shape[0])
        if isinstance(size, int):
            pixels = SQUARE if crop is None else crop.pixels
            return cls(tuple(shape), axis, size, crop, SliceFit.scaled(axis, part, size, pixels))
        return cls(tuple(shape), axis, size, crop, SliceFit.along(axis, part, size))

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) that the network sees."""
        return self.fit.padded

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) that the network sees."""
        return (len(OFFSETS), *self.fit.padded)

    def positions(self, wanted: range) -> range:
        """Those of `wanted` that lie within the crop: what lies outside of it shows no body and is not segmented."""
        if self.crop is None:
            return wanted
        start, stop = self.crop.along(self.axis, self.volume_shape[axis_number(self.axis)])
        return range(max(wanted.start, start), max(min(wanted.stop, stop), wanted.start, start))

    def taken(self, image: NDArray[Any]) -> NDArray[Any]:
        """(..., height, width) of the volume's slice, cropped."""
        return image if self.crop is None else image[(..., *self.crop.flat(self.axis))]

    def restore(self, labels: NDArray[Any]) -> NDArray[Any]:
        """(height, width) of the volume's slice from the network's labels, or one of its maps, in `padded`; same dtype.

        Each pixel takes the value of the nearest of the network's; outside of the crop it is zero.
        """
        inner = self.fit.mask(labels)
        if self.crop is None:
            return inner
        out = np.zeros(np.delete(self.volume_shape, axis_number(self.axis)), dtype=labels.dtype)
        out[self.crop.flat(self.axis)] = inner
        return out


@dataclass(frozen=True)
class SliceSource:
    """Slices of one volume along one axis as a network takes them. volume: on the common scale, or the network's own."""

    volume: Sliceable
    frame: SliceFrame

    @classmethod
    def of(cls, volume: Sliceable, axis: str, size: Size = None, crop: Crop | None = None) -> SliceSource:
        """As `SliceFrame.of`."""
        return cls(volume, SliceFrame.of(volume.shape, axis, size, crop))

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.frame.shape

    @property
    def padded(self) -> tuple[int, int]:
        return self.frame.padded

    def image(self, index: int) -> Floats:
        """float32 (5, height, width) in `padded`: the slice with its neighbours in the volume as it is, cropped, brought to
        size, padded with zeros. Reads no more than five slices. Raises ValueError for a position outside of the volume.
        """
        image = slice_at(self.volume, self.frame.axis, index)
        return np.asarray(self.frame.fit.image(self.frame.taken(image)), dtype=np.float32)

    def label(self, label: NDArray[Any], index: int) -> NDArray[Any]:
        """(height, width) in `padded`, of the label's dtype: a label of the volume's shape at the same position, cropped, each
        pixel that of the nearest, padded with zeros. Raises ValueError for a position outside of the volume.
        """
        count = slice_count(label, self.frame.axis)
        if not 0 <= index < count:
            raise ValueError(f"slice {index} is outside 0..{count - 1}, the slices along {self.frame.axis}")
        flat = np.take(label, index, axis=axis_number(self.frame.axis))
        return self.frame.fit.label(self.frame.taken(flat))
