"""Which voxels of a label are inside: the one rule, wherever a label is read.

A label has whole values, 0 being the background. With one other value the mask is that value's. With several it is for people
to say which are meant: nothing tells a lung from an infection but the convention of whoever drew them. A probability, or a
mask of -1 and +1, is no label until somebody has said where it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.volume import VolumeError

MANY = 1000  # distinct values: more are no label
SHOWN = 8
ROUNDED = 1e-3  # labels that were scaled to a file's whole numbers come back off by less
LARGEST = 2.0**53  # beyond it float64 does not tell whole numbers apart
TABLE = 1 << 16  # widest range of values that is counted in a table

# Of the COVID-19 CT Lung and Infection Segmentation Dataset (doi 10.5281/zenodo.3757476), files Lung_and_Infection_Mask.
LUNGS, INFECTION = (1, 2), 3
CONVENTION = "lung_and_infection"


class LabelError(VolumeError):
    """A label whose inside nobody can tell; one sentence that names the file and says what to do."""


def parse(text: str | int) -> tuple[int, ...]:
    """The values of `3` or `1,2`, sorted. Raises LabelError for anything but whole numbers above 0, and for one named twice."""
    try:
        values = [int(part) for part in str(text).split(",")]
    except ValueError:
        raise LabelError(f"{text!r} is not a whole number, or several such as 1,2") from None
    if min(values) < 1:
        raise LabelError(f"{text!r} names {min(values)}; values inside are above 0, which is the background")
    if len(set(values)) < len(values):
        raise LabelError(f"{text!r} names a value twice")
    return tuple(sorted(values))


def count(array: NDArray[Any], name: str) -> dict[int, int]:
    """Voxels by value, ascending. array: (slices, rows, columns) of whole or real numbers; read a slice at a time.

    Real numbers must be whole to ROUNDED. name: what precedes the sentence, such as "a.npz: the label". Raises LabelError for
    NaN, infinity, values that are not whole, and more than MANY different ones.
    """
    voxels_of: dict[int, int] = {}
    for image in array:
        values, voxels = (
            np.unique(whole_numbers(image, name), return_counts=True) if image.dtype.kind == "f" else _counted(image)
        )
        for value, number in zip(values.tolist(), voxels.tolist(), strict=True):
            voxels_of[int(value)] = voxels_of.get(int(value), 0) + number
        if len(voxels_of) > MANY:
            raise LabelError(f"{name} has more than {MANY} different values: is it the CT? A label has a few whole values")
    return dict(sorted(voxels_of.items()))


def whole_numbers(image: NDArray[Any], name: str) -> NDArray[Any]:
    """Real numbers as the whole ones that they are; LabelError where they are none."""
    if image.dtype.kind != "f":
        return image
    if not np.isfinite(image).all():
        raise LabelError(f"{name} holds NaN or infinity: give a label of whole values")
    image = image.astype(np.float64)
    rounded = np.rint(image)
    off = np.abs(image - rounded)
    if off.max() > ROUNDED:
        value = float(image.flat[int(off.argmax())])
        raise LabelError(
            f"{name} holds values that are not whole, such as {value:.4g}: if they are probabilities, choose a threshold, and "
            "give the mask of 0 and 1 that it makes"
        )
    if np.abs(rounded).max() > LARGEST:
        raise LabelError(f"{name} holds values as large as {np.abs(rounded).max():.3g}: a label has a few whole values")
    return np.asarray(rounded)


def _counted(image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    low, high = int(image.min()), int(image.max())
    if high - low >= TABLE or image.dtype == np.uint64:
        return np.unique(image, return_counts=True)
    table = np.bincount((image.astype(np.int64) - low).ravel())
    there = np.flatnonzero(table)
    return there + low, table[there]


def inside_of(voxels: dict[int, int], asked: Sequence[int], name: str, source: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """(values that are inside, what people should know of it, a sentence each). asked: by `--label-value`, or none.

    voxels: of `count`. source: the file, whose name may tell a convention. Raises LabelError where the values do not tell, and
    where none of those that were asked for is there but others are, unless both fit the dataset's convention: a case without
    infection has none of its value.
    """
    others = [value for value in voxels if value]
    if not others:
        return tuple(asked), (f"{name} is empty: it is 0 everywhere",)
    if asked:
        return tuple(asked), _as_asked(voxels, asked, name)
    if min(others) < 0:
        positive = [value for value in others if value > 0]
        how = f"say which value is inside, such as --label-value {positive[0]}" if positive else "give a mask of 0 and 1"
        raise LabelError(f"{name} has the values {listed(voxels)}, and a label has none below 0: {how}")
    if len(others) > 1:
        raise LabelError(f"{name} has the values {listed(others)} besides 0: {_which(others, source)}")
    return (others[0],), _without_background(voxels, others, name)


def _as_asked(voxels: dict[int, int], asked: Sequence[int], name: str) -> tuple[str, ...]:
    missing = [value for value in asked if value not in voxels]
    if len(missing) < len(asked):
        notes = (f"{name} has no voxel of value {listed(missing)}",) if missing else ()
        return (*notes, *_without_background(voxels, asked, name))
    known = {0, *LUNGS, INFECTION}
    if not known.issuperset([*voxels, *asked]):
        raise LabelError(f"{name} has the values {listed(voxels)}: there is no {listed(asked)}, which --label-value asks for")
    return (f"{name} is empty: it has the values {listed(voxels)}, and no {listed(asked)}",)


def _without_background(voxels: dict[int, int], inside: Sequence[int], name: str) -> tuple[str, ...]:
    return () if set(voxels) - set(inside) else (f"{name} has no background: every voxel is {listed(voxels)}",)


def _which(others: Sequence[int], source: Path) -> str:
    named = any(CONVENTION in part.lower() for part in source.parts[-2:])
    if set(others) <= {*LUNGS, INFECTION} and (INFECTION in others or named):
        return (
            f"in the files Lung_and_Infection_Mask of the COVID-19 CT dataset --label-value {INFECTION} is the infection and "
            f"--label-value {','.join(map(str, LUNGS))} the lungs; say which are inside"
        )
    return f"say which are inside, such as --label-value {others[-1]} or --label-value {','.join(map(str, others[:2]))}"


def listed(values: Iterable[int]) -> str:
    """Such as `0, 1, 3`; the first SHOWN of many."""
    every = list(values)
    return ", ".join(map(str, every[:SHOWN])) + (f" and {len(every) - SHOWN} more" if len(every) > SHOWN else "")


def mask_of(array: NDArray[Any], inside: Sequence[int], name: str) -> NDArray[np.bool_]:
    """bool, of the array's shape: where it has one of these values. Raises LabelError as `whole`."""
    mask = np.empty(array.shape, np.bool_)
    for image, out in zip(array, mask, strict=True):
        numbers = whole_numbers(image, name)
        out[:] = False
        for value in inside:
            out |= numbers == value
    return mask
