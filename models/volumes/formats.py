"""Volumes from files, put on one scale: 0 is -1250 HU or less, 1 is 250 HU or more.

Where the values come from is recognised from their kind and range, and the rule that was applied is reported:

- `unit`: floats within [-0.01, 1.01] are taken as they are (clipped).
- `hu`: whole numbers or floats that go below -200 are Hounsfield units: (hu + 1250)/1500, clipped.
- `hu+1024`: unsigned numbers, or signed ones that do not go below 0, above 255: stored with the usual offset of 1024.
- `windowed`: 8-bit whose soft tissue (the median above Otsu's threshold) lies at 0.75 of the range or higher: the
  window [-1250, 250] HU was applied already; value/255.
- `tissue`: other 8-bit, where each slice was scaled by its own minimum and maximum: per slice, air (-1024 HU) is 0
  and soft tissue (40 HU) is the median s above Otsu's threshold, or that of the whole volume where the slice's is off
  by more than a quarter (table or lung dominates): 0.15 + 0.71 v/s, clipped.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

HU_WINDOW = (-1250.0, 250.0)
KEYS = ("array", "ct", "hu")
RULES = ("unit", "hu", "hu+1024", "windowed", "tissue")

UNIT_SLACK = 0.01
HU_BELOW = -200
WINDOWED_FROM = 0.75
AIR_HU, TISSUE_HU = -1024.0, 40.0
TISSUE_SLACK = 0.25


class VolumeError(ValueError):
    """A file or array that is not a volume; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class LoadedVolume:
    """volume float32 (slices, rows, columns) in [0, 1]; rule: which of RULES put it there; source: the file's name."""

    volume: Floats
    rule: str
    source: str


def load(path: str | Path) -> LoadedVolume:
    """`read` and `normalise` in one. Raises VolumeError in one sentence that names the file."""
    path = Path(path)
    array = read(path)
    try:
        volume, rule = normalise(array)
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from error
    return LoadedVolume(volume, rule, path.name)


def read(path: str | Path, key: str | None = None) -> NDArray[Any]:
    """The 3D array of an `.npy` (memory-mapped) or `.npz` file, unscaled; pickles are never read.

    key: name within the `.npz`; without it the first of `array`, `ct`, `hu` that is there. A single slice (rows,
    columns) or a leading axis of 1 is not accepted as a volume. Raises VolumeError for a missing or damaged file,
    another file kind, a missing key, a shape that is not 3D or is empty, and values that are not real numbers.
    """
    path = Path(path)
    if path.suffix not in (".npy", ".npz"):
        raise VolumeError(f"{path}: a volume is an .npz file (key `array` or `ct`) or an .npy file")
    if not path.is_file():
        raise VolumeError(f"{path}: there is no such file")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False) if path.suffix == ".npy" else _member(path, key)
    except VolumeError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise VolumeError(f"{path}: not a readable {path.suffix} file of plain numbers ({error})") from error
    if not isinstance(array, np.ndarray):
        raise VolumeError(f"{path}: holds an archive, not an array; rename it to .npz")
    _check_shape(array, f"{path}: ")
    return array


def _member(path: Path, key: str | None) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as archive:
        wanted = KEYS if key is None else (key,)
        for name in wanted:
            if name in archive.files:
                return np.asarray(archive[name])
        there = ", ".join(f"`{name}`" for name in archive.files) or "nothing"
        raise VolumeError(f"{path}: no key {' or '.join(f'`{name}`' for name in wanted)}, the file holds {there}")


def _check_shape(array: NDArray[Any], name: str = "") -> None:
    if array.ndim != 3 or array.size == 0:
        raise VolumeError(f"{name}a volume has shape (slices, rows, columns), this one has {array.shape}")
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise VolumeError(f"{name}values are of kind {array.dtype}, not whole or real numbers")


def normalise(array: NDArray[Any], rule: str = "auto") -> tuple[Floats, str]:
    """(float32 volume in [0, 1], the rule that was applied); see the top of this file for the rules.

    array: (slices, rows, columns). rule: `auto` recognises it, or one of RULES. Raises VolumeError for a shape or
    kind that is not a volume, NaN or infinite values (with the slice they are in), and values that no rule
    recognises.
    """
    _check_shape(array)
    if rule not in ("auto", *RULES):
        raise VolumeError(f"rule {rule!r} is not one of auto, {', '.join(RULES)}")
    if array.dtype.kind == "f":
        for k, image in enumerate(array):
            if not np.isfinite(image).all():
                raise VolumeError(f"slice {k} holds NaN or infinite values")
    if rule == "auto":
        rule = recognise(array)
    if rule == "tissue":
        return _by_tissue(array), rule
    scale, offset = {
        "unit": (1.0, 0.0),
        "windowed": (1.0 / 255.0, 0.0),
        "hu": _window(0.0),
        "hu+1024": _window(-1024.0),
    }[rule]
    out = np.empty(array.shape, dtype=np.float32)
    for k, image in enumerate(array):
        np.clip(image.astype(np.float32) * np.float32(scale) + np.float32(offset), 0.0, 1.0, out=out[k])
    return out, rule


def _window(intercept: float) -> tuple[float, float]:
    low, high = HU_WINDOW
    return 1.0 / (high - low), (intercept - low) / (high - low)


def recognise(array: NDArray[Any]) -> str:
    """Which of RULES the values of a volume call for; VolumeError if none does."""
    low, high = float(array.min()), float(array.max())
    if low < HU_BELOW:
        return "hu"
    if array.dtype.kind == "f":
        if low >= -UNIT_SLACK and high <= 1 + UNIT_SLACK:
            return "unit"
        raise VolumeError(f"real values from {low:g} to {high:g} are neither within [0, 1] nor Hounsfield units")
    if low < 0:
        raise VolumeError(f"whole values from {low:g} to {high:g} are neither 8-bit nor Hounsfield units with air")
    if high > 255:
        return "hu+1024"
    return "windowed" if _tissue_level(_histogram(array)) >= WINDOWED_FROM * 255 else "tissue"


def _histogram(array: NDArray[Any]) -> NDArray[np.int64]:
    counts = np.zeros(256, dtype=np.int64)
    for image in array if array.ndim == 3 else array[None]:
        counts += np.bincount(image.reshape(-1).astype(np.int64), minlength=256)
    return counts


def otsu(counts: NDArray[np.int64]) -> int:
    """The level that splits a histogram of 256 levels in two classes (<= level, > level) of the largest variance
    between them (Otsu 1979).
    """
    weights = counts.cumsum().astype(np.float64)
    sums = (counts * np.arange(256)).cumsum().astype(np.float64)
    below = weights[:-1]
    above = weights[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / weights[-1] - sums[:-1]) ** 2 / (below * above)
    return int(np.nanargmax(np.where(below * above > 0, between, -1.0)))


def _tissue_level(counts: NDArray[np.int64]) -> float:
    """Median of the values above Otsu's threshold; 255 where there is one value only."""
    if np.count_nonzero(counts) < 2:
        return 255.0
    upper = counts.copy()
    upper[: otsu(counts) + 1] = 0
    total = upper.cumsum()
    return float(np.searchsorted(total, (total[-1] + 1) / 2))


def _by_tissue(array: NDArray[Any]) -> Floats:
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
        raise VolumeError("the rule `tissue` is for whole values from 0 to 255")
    low, high = HU_WINDOW
    air = (AIR_HU - low) / (high - low)
    tissue = (TISSUE_HU - AIR_HU) / (high - low)
    usual = _tissue_level(_histogram(array))
    out = np.empty(array.shape, dtype=np.float32)
    for k, image in enumerate(array):
        level = _tissue_level(_histogram(image))
        if abs(level - usual) > TISSUE_SLACK * usual:
            level = usual
        np.clip(image * np.float32(tissue / max(level, 1.0)) + np.float32(air), 0.0, 1.0, out=out[k])
    return out


def resample(volume: NDArray[Any], size: int | tuple[int, int]) -> Floats:
    """Every slice at `size` (rows, columns; or one number for a square), float32 (slices, rows, columns).

    A reduction by whole factors is the mean of blocks; anything else is bilinear between pixel centres with the
    border repeated (which, unlike the mean, does not filter what a strong reduction folds over). Raises VolumeError
    for a shape that is not 3D and sizes that are not positive.
    """
    _check_shape(volume)
    rows, columns = (size, size) if isinstance(size, int) else size
    if rows < 1 or columns < 1:
        raise VolumeError(f"cannot resample to {rows}x{columns} pixels")
    slices, height, width = volume.shape
    out = np.empty((slices, rows, columns), dtype=np.float32)
    if height % rows == 0 and width % columns == 0:
        for k, image in enumerate(volume):
            blocks = image.astype(np.float32).reshape(rows, height // rows, columns, width // columns)
            out[k] = blocks.mean(axis=(1, 3))
        return out
    top, bottom, down = _neighbours(height, rows)
    left, right, across = _neighbours(width, columns)
    for k, image in enumerate(volume):
        source = image.astype(np.float32)
        lines = source[top] + down[:, None] * (source[bottom] - source[top])
        out[k] = lines[:, left] + across * (lines[:, right] - lines[:, left])
    return out


def _neighbours(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """For each target pixel: the source pixels on either side of its centre and the share of the second."""
    position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1)
    first = np.minimum(position.astype(np.int64), max(source - 2, 0))
    return first, np.minimum(first + 1, source - 1), (position - first).astype(np.float32)
