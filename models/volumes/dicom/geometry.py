"""Where the slices of a series lie: whether they are one stack, their directions, and the step from one to the next.

Scanners write positions and directions with a few decimals only. Slices are therefore measured against the straight line
through all of them (least squares of position over number) and may lie off it by as much as dicom2nifti lets one gap
differ from another (`numpy.allclose(rtol=0.05, atol=0.1)` in its `validate_slice_increment`). Directions are taken as ITK's
GDCM takes them: of any length, at a right angle to 1e-3 when normalised, the rows then turned to a right angle. The affine is
what ITK makes of the files: the place of the first slice, and the mean step from it to the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.volumes.dicom.slice import Numbers, Slice
from bunet.models.volumes.volume import Affine, VolumeError

SAME_SPACING = 1e-4  # in proportion
SAME_DIRECTION = 1e-3  # of cosines within a series: dicom2nifti's `validate_orientation`
ANOTHER_PLANE = 0.1  # of cosines: a scout's
RIGHT_ANGLE = 1e-3  # of normalised directions: GDCM's DirectionCosines::IsValid
LINE_PART, LINE_MM = 0.05, 0.1  # of a step, and beside it: from the straight line through the series
REMARKED_PART, REMARKED_MM = 0.01, 0.02  # likewise, from where on people are told
GAP_PART = 0.5  # of a step, by which a gap is too long or too short however short the step is
SAME_PLACE_MM = 1e-3


@dataclass(frozen=True)
class Stack:
    """slices: in order, along their normal. affine: (4, 4), from (slice, row, column, 1) to millimetres.

    remarks: what people should know of it, a sentence each.
    """

    slices: tuple[Slice, ...]
    affine: Affine
    remarks: tuple[str, ...]


def usual(values: Sequence[Hashable]) -> Any:
    """What most of the values are; the first of several that are equally many."""
    return Counter(values).most_common(1)[0][0]


def apart(slices: Sequence[Slice]) -> tuple[list[Slice], list[Slice]]:
    """(the stack, single images of another size or plane than most, such as scouts), each in the order given."""
    shape = usual([each.shape for each in slices])
    cosines = _middle([each.cosines for each in slices if each.shape == shape])

    def is_like(each: Slice, shape: tuple[int, int], cosines: Numbers) -> bool:
        return each.shape == shape and bool(np.abs(each.cosines - cosines).max() <= ANOTHER_PLANE)

    others = [each for each in slices if not is_like(each, shape, cosines)]
    single = [each for each in others if sum(is_like(other, each.shape, each.cosines) for other in others) == 1]
    return [each for each in slices if not any(each is one for one in single)], single


def check_alike(slices: Sequence[Slice]) -> None:
    """VolumeError that names a slice which is not as most are, or is there twice."""
    spacing, cosines = _middle([each.spacing for each in slices]), _middle([each.cosines for each in slices])
    checks: dict[str, Callable[[Slice], bool]] = {
        "is of another study": _differs(slices, lambda each: each.study),
        "has another frame of reference": _differs(slices, lambda each: each.reference),
        "has another number of rows or columns": _differs(slices, lambda each: each.shape),
        "has another pixel spacing": lambda each: not np.allclose(each.spacing, spacing, rtol=SAME_SPACING, atol=0),
        "is oriented in another way": lambda each: (
            not np.allclose(each.cosines, cosines, rtol=SAME_DIRECTION, atol=SAME_DIRECTION)
        ),
    }
    seen: dict[tuple[str, int], Path] = {}
    for each in slices:
        for what, differs in checks.items():
            if differs(each):
                good = next((other for other in slices if not differs(other)), slices[0])
                raise VolumeError(f"{each.path}: {what} than {good.path.name}")
        if (each.instance, each.frame) in seen:
            raise VolumeError(f"{each.path}: is the same slice as {seen[each.instance, each.frame].name}")
        seen[each.instance, each.frame] = each.path


def _differs(slices: Sequence[Slice], of: Callable[[Slice], Hashable]) -> Callable[[Slice], bool]:
    most = usual([of(each) for each in slices])
    return lambda each: of(each) != most


def _middle(values: Sequence[Numbers]) -> Numbers:
    """The one that lies nearest to the median of each component."""
    stack = np.stack(values)
    return np.asarray(stack[np.abs(stack - np.median(stack, axis=0)).sum(axis=1).argmin()])


def stacked(slices: Sequence[Slice]) -> Stack:
    """The stack of slices that are alike (`check_alike`).

    Raises VolumeError for slices that lie at unequal steps, in the same place, or off the line of the others.
    """
    right, down, normal = _directions(slices)
    ordered = sorted(slices, key=lambda each: float(each.place @ normal))
    step, remarks = _step(ordered, normal)
    affine: Affine = np.eye(4)
    spacing = ordered[0].spacing
    affine[:3] = np.stack([step, down * spacing[0], right * spacing[1], ordered[0].place], axis=1)
    return Stack(tuple(ordered), affine, remarks)


def is_stack(slices: Sequence[Slice]) -> bool:
    """Whether slices lie at equal steps, one in each place."""
    try:
        stacked(slices)
    except VolumeError:
        return False
    return True


def normal_of(slices: Sequence[Slice]) -> Numbers:
    """The unit vector along slices, as most of them lie. Raises VolumeError."""
    return _directions(slices)[2]


def _directions(slices: Sequence[Slice]) -> tuple[Numbers, Numbers, Numbers]:
    """Unit vectors to the next column, to the next row, and along the slices, at right angles."""
    cosines = _middle([each.cosines for each in slices])
    right, down = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(right), np.linalg.norm(down)
    if min(lengths) < SAME_DIRECTION or abs(right @ down) / (lengths[0] * lengths[1]) > RIGHT_ANGLE:
        raise VolumeError(f"{slices[0].path}: its rows and columns are not two directions at a right angle")
    down = down / lengths[1]
    normal = np.cross(right, down)
    normal /= np.linalg.norm(normal)
    return np.cross(down, normal), down, normal


def _step(slices: Sequence[Slice], normal: Numbers) -> tuple[Numbers, tuple[str, ...]]:
    """Millimetres from one slice to the next, of slices that are sorted along `normal`; and what is to be remarked."""
    if len(slices) == 1:
        if not 0 < slices[0].thickness < np.inf:
            raise VolumeError(f"{slices[0].path}: is a single slice of unknown thickness")
        return normal * slices[0].thickness, ()
    places = np.stack([each.place for each in slices])
    gaps = np.diff(places @ normal)
    usual_gap = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    off = np.linalg.norm(places - _line(places), axis=1)
    allowed = LINE_MM + LINE_PART * abs(usual_gap)
    for k, gap in enumerate(gaps):
        here, after = slices[k], slices[k + 1]
        if gap < SAME_PLACE_MM:
            raise VolumeError(f"{_named(after)}: lies in the same place as {_named(here, short=True)}")
        unequal = allowed if off.max() > allowed else max(GAP_PART * usual_gap, LINE_MM)
        if abs(gap - usual_gap) > unequal:
            missing = round(gap / usual_gap) - 1
            how = f", {missing} missing" if missing > 0 else ""
            raise VolumeError(
                f"{_named(after)}: lies {gap:g} mm from {_named(here, short=True)}, the others are {usual_gap:g} mm apart{how}"
            )
    if off.max() > allowed:
        worst, far = _farthest(places, off)
        raise VolumeError(f"{_named(slices[worst])}: is shifted by {far:.3g} mm from the line of the others")
    step = np.asarray((places[-1] - places[0]) / (len(slices) - 1))
    if off.max() <= max(REMARKED_PART * usual_gap, REMARKED_MM):
        return step, ()
    return step, (
        f"its slices lie up to {off.max():.2g} mm off equal steps, as rounded positions do: the mean step of "
        f"{np.linalg.norm(step):.4g} mm is taken",
    )


def _line(places: Numbers) -> Numbers:
    """The points of the least-squares line of position over number."""
    numbers = np.arange(len(places), dtype=np.float64)
    numbers -= numbers.mean()
    slope = numbers @ places / (numbers @ numbers)
    return np.asarray(places.mean(axis=0) + numbers[:, None] * slope)


def _farthest(places: Numbers, off: Numbers) -> tuple[int, float]:
    """(the odd one, how far it lies off the line through the others), of three places or more.

    off: how far each lies off the line through all; the line without it is 1/(1 - leverage) times as far.
    """
    numbers = np.arange(len(places)) - (len(places) - 1) / 2
    leverage = 1 / len(places) + numbers**2 / (numbers @ numbers)
    alone = off / (1 - leverage)
    worst = int(alone.argmax())
    return worst, float(alone[worst])


def _named(one: Slice, short: bool = False) -> str:
    name = one.path.name if short else str(one.path)
    return f"{name} frame {one.frame + 1}" if one.frame else name
