"""Which part of a volume is segmented, and one mask of it from its slices along several axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.checks import slice_range
from bunet.models.errors import UsageError
from bunet.models.volumes import ensemble
from bunet.models.volumes.slice_source import SliceFrame
from bunet.models.volumes.slicing.slices import AXES, axis_number

AXIS_ORDER = ("x", "y", "z")  # of stages, and of the sum of the axes
PUBLISHED = {"x": "z", "z": "x"}  # the published letters count array axes: X is axis 0, which is z here; and the other way


def letter(axis: str, published: bool) -> str:
    """How an axis is called where letters are as published, and which one such a letter is; the axis itself otherwise."""
    return PUBLISHED.get(axis, axis) if published else axis


Bools = NDArray[np.bool_]
Map = Callable[[str, int], NDArray[Any]]  # (axis, index) -> the network's map of that slice


@dataclass(frozen=True)
class Region:
    """A box of a volume (slice, row, column). shape: of the volume. box: (start, stop) of each array axis."""

    shape: tuple[int, int, int]
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

    @classmethod
    def of(cls, text: str, shape: tuple[int, ...], axes: Sequence[str], published: bool = False) -> Region:
        """`A:B` for the same positions along every axis of `axes`, or `x=A:B,z=C:D`; the rest of the volume whole.

        Where one range is for all axes, it ends with each axis. published: letters in `text` are as published. Raises
        UsageError.
        """
        bounds = {axis: (0, shape[axis_number(axis)]) for axis in AXES}
        named, seen = "=" in text, set[str]()
        for part in text.split(","):
            axis, _, span = part.rpartition("=") if named else ("", "", part)
            axis = letter(axis.strip(), published)
            if named and axis not in axes:
                known = ", ".join(letter(each, published) for each in axes)
                raise UsageError(f"--slices {part!r}: not one of the axes {known}, such as z=20:24")
            if axis in seen:
                raise UsageError(f"--slices {text!r}: one range for all axes, or one for each of some, such as y=40:50,z=20:24")
            seen.add(axis)
            for each in (axis,) if named else axes:
                bounds[each] = slice_range(span, shape[axis_number(each)], letter(each, published), part, len(axes) > 1 > named)
        z, y, x = (bounds[axis] for axis in ("z", "y", "x"))
        return cls((shape[0], shape[1], shape[2]), (z, y, x))

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels along each array axis."""
        z, y, x = (stop - start for start, stop in self.box)
        return z, y, x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """For indexing an array of the volume's shape."""
        z, y, x = (slice(start, stop) for start, stop in self.box)
        return z, y, x

    def positions(self, axis: str) -> range:
        """The slices along an axis that the region has."""
        return range(*self.box[axis_number(axis)])

    def flat(self, axis: str) -> tuple[slice, slice]:
        """The region's rows and columns in a slice along an axis."""
        first, second = (s for k, s in enumerate(self.slices) if k != axis_number(axis))
        return first, second

    def describe(self, published: bool = False) -> str:
        """Such as `z 20:24`, or `the whole volume`."""
        parts = [f"{letter(axis, published)} {a}:{b}" for axis, (a, b) in zip("zyx", self.box, strict=True)]
        parts = [part for part, n, whole in zip(parts, self.size, self.shape, strict=True) if n != whole]
        return ", ".join(parts) or "the whole volume"

    def embed(self, mask: NDArray[Any]) -> NDArray[np.uint8]:
        """A mask of the region in a volume that is zero elsewhere."""
        out = np.zeros(self.shape, dtype=np.uint8)
        out[self.slices] = mask
        return out


def gather(region: Region, frame: SliceFrame, map_of: Map, dtype: Any) -> NDArray[Any]:
    """The network's maps along the frame's axis at the volume's own pixels: an array of the region's size and of `dtype`.

    Pixels take the nearest value of a resampled map, and zero outside of a crop, so that this also works on shares of bits.
    """
    axis, rows = frame.axis, region.flat(frame.axis)
    out = np.zeros(region.size, dtype=dtype)
    along, wanted = np.moveaxis(out, axis_number(axis), 0), region.positions(axis)
    for index in frame.positions(wanted):
        along[index - wanted.start] = frame.restore(map_of(axis, index))[rows]
    return out


def total(region: Region, frames: Mapping[str, SliceFrame], map_of: Map, dtype: Any) -> NDArray[Any]:
    """The sum over the axes of their maps, in the order of `frames`: for each axis that takes part."""
    out: NDArray[Any] = np.zeros(region.size, dtype=dtype)
    for frame in frames.values():
        out += gather(region, frame, map_of, dtype)
    return out


def decide(summed: NDArray[Any], axes: int, rule: str, filtered: bool = True) -> Bools:
    """The target's mask, before any lung mask: what the axes agree on, and (if filtered) the 3x3x3 maximum filter.

    rule: `probabilities` (summed probabilities), or `argmax` or `majority` (counted labels). The filter sees the region
    only, as if the volume ended there.
    """
    choose = ensemble.likely if rule == "probabilities" else ensemble.elected
    mask = choose(summed, axes)
    return ensemble.maximum_filter(mask) if filtered else mask
