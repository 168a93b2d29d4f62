"""Several stacks in one series, such as phases of a contrast agent or reconstructions of one scan.

Scanners may keep them under one SeriesInstanceUID. Laid over each other they are no volume: at the same places every slice
would be there twice, and half a step apart they would pass for a stack of half the step. They are told apart by what the
standard has for it (PS3.3 C.7.6.2, C.7.6.13, C.8.2.1; in files of several frames C.7.6.16.2.2), and only where each is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

from bunet.models.volumes.dicom import geometry
from bunet.models.volumes.dicom.slice import MARKS, Slice
from bunet.models.volumes.volume import VolumeError

NAMES = ("acquisition", "time", "reconstruction")  # what people are told of each of MARKS
KERNEL = "ConvolutionKernel"  # a text
LEAST = 2  # slices of a stack


def phases(slices: Sequence[Slice]) -> list[tuple[str, list[Slice]]]:
    """(what it is, such as `acquisition 2`, its slices) of each stack; none where the slices are not several.

    They are several where the fewest of MARKS that tell so split them into whole stacks of equal steps, of which two lie over
    each other. Parts that follow one another, such as a scan in two steps, stay together. The text of a kernel is not shown.
    """
    for count in range(1, len(MARKS) + 1):
        for which in combinations(range(len(MARKS)), count):
            groups: dict[tuple[str, ...], list[Slice]] = {}
            for each in slices:
                groups.setdefault(tuple(each.marks[k] for k in which), []).append(each)
            if len(groups) > 1 and _overlap(list(groups.values())) and all(map(_is_whole, groups.values())):
                order = sorted(groups, key=lambda marks: [(len(mark), mark) for mark in marks])  # 2 before 10
                return [(_named(marks, which, order), groups[marks]) for marks in order]
    return []


def _is_whole(slices: Sequence[Slice]) -> bool:
    try:
        geometry.check_alike(slices)
    except VolumeError:
        return False
    return geometry.is_stack(slices)


def _overlap(groups: Sequence[Sequence[Slice]]) -> bool:
    """Whether one of the stacks begins before another has ended."""
    try:
        normal = geometry.normal_of([each for group in groups for each in group])
    except VolumeError:
        return False
    reach = []
    for group in groups:
        if len(group) >= LEAST:
            along = [float(each.place @ normal) for each in group]
            reach.append((min(along), max(along)))
    reach.sort()
    return any(after[0] < before[1] + geometry.SAME_PLACE_MM for before, after in pairwise(reach))


def _named(marks: tuple[str, ...], which: tuple[int, ...], order: Sequence[tuple[str, ...]]) -> str:
    """Numbers as they are, other texts by their order: people write names anywhere."""
    named = []
    for place, k in enumerate(which):
        seen = list(dict.fromkeys(other[place] for other in order))
        if len(seen) > 1:
            mark = marks[place]
            number = mark if MARKS[k][0] != KERNEL and mark.isascii() and mark.isdigit() else f"no. {seen.index(mark) + 1}"
            named.append(f"{NAMES[k]} {number}")
    return ", ".join(named)
