"""The body within the field of view, and a frame around it that shows it as large as training's slices did.

A network knows no spacing: it has learnt how large a chest is within its slices. Where a scanner's field of view is much wider
than the patient (whole-body CT, PET/CT), slices that are scaled to the network's size show a small chest, and it
finds little of it. So they are cut to the body first, as lungmask and nnU-Net do. Within the series that the clinical models
were trained and tested on (17) the body takes 0.86 to 1.00 of the longer side, and training scaled slices by
up to 1.15 to either side; down to 0.86 / 1.15 nothing is changed.

The body is the largest connected part above -500 HU (0.5 on the common scale) of a slice, once parts that are thinner than
three pixels of a thinned-out slice, such as the table, are gone. Rows and columns are cut alike in all slices.

Training's pixels are square. Where a volume's are not, lengths are compared in millimetres, and a `Crop` carries what a pixel
measures, so that whoever cuts slices brings both axes to the network's size by one scale of millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.content.sample import sample, step
from bunet.models.volumes.slicing.slices import axis_number
from bunet.models.volumes.volume import Sliceable

BODY_ABOVE = 0.5
USUAL_SHARE = 0.86  # of the longer side: what a body gets where slices are cut; narrowest of training, so that shoulders fit
LEAST_SHARE = USUAL_SHARE / 1.15
SMALLEST_BODY = 0.1  # of the longer side: what is smaller is no body
LEADING = 0.75  # of slices are narrower than what counts as the body's width: the ends of a series may be a neck or legs

SQUARE_SLACK = 1.05  # of the longer to the shorter side of a pixel
SQUARE = (1.0, 1.0)

Bools = NDArray[np.bool_]
Range = tuple[int, int]
Pixels = tuple[float, float]  # from one row to the next, from one column to the next; only their ratio matters
Box = tuple[int, int, int, int]  # rows from, to before, columns from, to before


@dataclass(frozen=True)
class Crop:
    """Rows and columns of a volume, (start, stop) each, that its slices are cut to.

    pixels: millimetres from one row and one column to the next, where they are not square (`pixels_of`).
    """

    rows: Range
    columns: Range
    pixels: Pixels = SQUARE

    def shape(self, count: int) -> tuple[int, int, int]:
        """Of the part of a volume of `count` slices."""
        return count, self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def along(self, axis: str, count: int) -> Range:
        """Positions along an axis that lie within; count: the slices that the volume has along it."""
        return ((0, count), self.rows, self.columns)[axis_number(axis)]

    def flat(self, axis: str) -> tuple[slice, slice]:
        """Its rows and columns in a slice along an axis."""
        first, second = [(slice(None), slice(*self.rows), slice(*self.columns))[k] for k in range(3) if k != axis_number(axis)]
        return first, second

    def as_list(self) -> list[list[Any]]:
        """JSON-able: [[first row, one past the last], [the same of columns]], and `pixels` where they are not square;
        `of_list` undoes it.
        """
        return [list(self.rows), list(self.columns), *([list(self.pixels)] if self.pixels != SQUARE else [])]

    @classmethod
    def of_list(cls, ranges: list[list[Any]]) -> Crop:
        (top, bottom), (left, right), *pixels = ranges
        return cls((top, bottom), (left, right), *((high, wide) for high, wide in pixels))


def pixels_of(spacing: tuple[float, float, float] | None) -> Pixels:
    """What a pixel measures, as a `Crop` has it; SQUARE where the sides differ by less than 5 % or are not known.

    spacing: millimetres from one slice, row and column to the next.
    """
    if spacing is None or max(spacing[1:]) <= SQUARE_SLACK * min(spacing[1:]):
        return SQUARE
    high, wide = (float(f"{step:.6g}") for step in spacing[1:])  # so that a run's identity hangs on no rounding error
    return high, wide


def uncropped(shape: tuple[int, ...], pixels: Pixels) -> Crop | None:
    """All rows and columns, for pixels that are not square; None for square ones, of which nothing needs to be known."""
    return None if pixels == SQUARE else Crop((0, shape[1]), (0, shape[2]), pixels)


def crop_of(volume: Sliceable, pixels: Pixels = SQUARE) -> Crop | None:
    """The frame around the body, as near to a square as the volume allows; `uncropped` where it is as large as training's.

    volume: on the common scale (`intensity`). Reads a few slices.
    """
    body = _body(volume, pixels)
    _, rows, columns = volume.shape
    high, wide = pixels
    if body is None or body[0] >= LEAST_SHARE * max(rows * high, columns * wide):
        return uncropped(volume.shape, pixels)
    width, middle, across = body
    side = width / USUAL_SHARE
    return Crop(_range(middle, round(side / high), rows), _range(across, round(side / wide), columns), pixels)


def body_share(volume: Sliceable) -> float | None:
    """Of the longer side of a slice, where pixels are square; None without a body. What USUAL_SHARE was measured by
    (docs/volumes.md). volume: on the common scale.
    """
    body = _body(volume, SQUARE)
    return None if body is None else body[0] / max(volume.shape[1:])


def _body(volume: Sliceable, pixels: Pixels) -> tuple[float, float, float] | None:
    """(longer side of the body's box as `pixels` measure it, its middle row, its middle column in pixels of the volume)."""
    high, wide = pixels
    each, boxes = step(volume), []
    for image in sample(volume):
        box = largest_part(_opened(image > BODY_ABOVE))
        if box is None:
            continue
        longer = max(image.shape[0] * high, image.shape[1] * wide)
        if max((box[1] - box[0]) * high, (box[3] - box[2]) * wide) >= SMALLEST_BODY * longer:
            boxes.append(box)
    if not boxes:
        return None
    top, bottom, left, right = each * np.array(boxes, dtype=float).T
    width = float(np.quantile(np.maximum((bottom - top) * high, (right - left) * wide), LEADING))
    return width, float(np.median(top + bottom)) / 2, float(np.median(left + right)) / 2


def _range(middle: float, side: int, length: int) -> Range:
    if side >= length:
        return 0, length
    start = min(max(0, round(middle - side / 2)), length - side)
    return start, start + side


def _opened(mask: Bools) -> Bools:
    """Without what is thinner than three pixels in rows or columns; the rest as it was, rounded off."""
    return _spread(~_spread(~mask))


def _spread(mask: Bools) -> Bools:
    """Each pixel set that has a set one among its eight neighbours."""
    out = mask
    for axis in range(2):
        source, out = out, out.copy()
        to, of = np.moveaxis(out, axis, 0), np.moveaxis(source, axis, 0)
        to[1:] |= of[:-1]
        to[:-1] |= of[1:]
    return out


def largest_part(mask: Bools) -> Box | None:
    """The box around the largest part of a mask whose pixels touch along rows or columns; None of an empty mask.

    Runs of a row are joined with those they touch in the row before (union-find), so the work is that of the runs.
    """
    parents: list[int] = []
    areas: list[int] = []
    boxes: list[Box] = []

    def root(k: int) -> int:
        while parents[k] != k:
            parents[k] = parents[parents[k]]
            k = parents[k]
        return k

    before: list[tuple[int, int, int]] = []
    for row, line in enumerate(mask):
        here = []
        for start, stop in np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0)).reshape(-1, 2).tolist():
            new = len(parents)
            parents.append(new)
            areas.append(stop - start)
            boxes.append((row, row + 1, start, stop))
            for other_start, other_stop, other in before:
                if other_start < stop and start < other_stop and (a := root(other)) != (b := root(new)):
                    parents[b], areas[a], boxes[a] = a, areas[a] + areas[b], _around(boxes[a], boxes[b])
            here.append((start, stop, new))
        before = here
    roots = [k for k, parent in enumerate(parents) if parent == k]
    return boxes[max(roots, key=areas.__getitem__)] if roots else None


def _around(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), max(a[3], b[3])
