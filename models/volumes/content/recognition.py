"""Which scale a volume's values are on, told from how they are distributed and not from single values.

Padding says nothing of the scale: scanners fill what lies outside of their round field of view with a value that no tissue has
(-2000, -3024, -32768, or such a number read as unsigned, 63536). A lone lowest value below PADDING_BELOW and a lone
highest one above WRAPPED_ABOVE are left out. What tells Hounsfield units from values that are stored with an offset of
1024 is then where soft tissue lies, about 0 or about 1024, and how much lies below -200, where only air and lung do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.content.sample import sample
from bunet.models.volumes.volume import Sliceable, VolumeError

UNIT_SLACK = 0.01
HU_BELOW = -200
OFFSET_TISSUE = (824, 1324)  # of values with the offset: soft tissue, -200 to 300 HU
OFFSET_SHARE = 0.1  # of the values at least lie there; of a chest in Hounsfield units a hundredth does, as bone
WINDOWED_FROM = 0.75
PADDING_BELOW, WRAPPED_ABOVE, LONE = -1100, 30_000, 100  # LONE: how far from the nearest other value
NEGATIVE_ABOVE, NEGATIVE_SHARE = 60_000, 0.01  # Hounsfield units below 0 that were read as unsigned; of the values, at most


@dataclass(frozen=True)
class Extremes:
    """The lowest and the highest value of a volume; whole: whether every value is a whole number."""

    low: float
    high: float
    whole: bool


def extremes(array: Sliceable) -> Extremes:
    """Read through once, one slice at a time. VolumeError for NaN or infinite values, with the slice they are in."""
    low, high, whole = np.inf, -np.inf, True
    for k, image in enumerate(array):
        least, most = float(image.min()), float(image.max())
        if not np.isfinite((least, most)).all():  # a NaN anywhere is the minimum and the maximum
            raise VolumeError(f"slice {k} holds NaN or infinite values: replace them first, such as by -1024 HU (air)")
        low, high = min(low, least), max(high, most)
        whole = whole and (array.dtype.kind != "f" or bool((np.rint(image) == image).all()))
    return Extremes(low, high, whole)


def recognise(array: Sliceable, limits: Extremes) -> str:
    """Which of `intensity.RULES` a volume's values call for; VolumeError, naming `--intensity`, if none does."""
    low, high = limits.low, limits.high
    if array.dtype.kind == "f" and low >= -UNIT_SLACK and high <= 1 + UNIT_SLACK:
        return "unit"
    values = np.concatenate([image.reshape(-1) for image in sample(array)])
    values = values[values > low] if _pads_below(values, low) else values
    offset = float(((values >= OFFSET_TISSUE[0]) & (values <= OFFSET_TISSUE[1])).mean())
    stored = offset > max(OFFSET_SHARE, float((values < HU_BELOW).mean()))
    if low < HU_BELOW:
        return "hu+1024" if stored else "hu"
    if stored or (limits.whole and low >= 0 and high > 255):
        return "hu+1024"
    numbers = "whole" if limits.whole else "real"
    if low < 0:
        raise VolumeError(
            f"{numbers} values from {low:g} to {high:g} are neither 8-bit nor Hounsfield units with air: say `--intensity hu` "
            "if they are Hounsfield units, `hu+1024` if water is at 1024, `as-is` if they are on the network's own scale"
        )
    if not limits.whole:
        raise VolumeError(
            f"real values from {low:g} to {high:g} are neither within [0, 1] nor Hounsfield units: say `--intensity hu+1024` "
            "if water is at 1024, `windowed` if 255 is 250 HU, `as-is` if they are on the network's own scale"
        )
    return "windowed" if tissue_level(histograms(array).sum(axis=0)) >= WINDOWED_FROM * 255 else "tissue"


def wrapped_padding(array: Sliceable, high: float) -> float | None:
    """The value of padding that was negative and is read as a large one, such as 63536; None where there is none."""
    if high <= WRAPPED_ABOVE:
        return None
    values = np.concatenate([image.reshape(-1) for image in sample(array)]).astype(np.float64)
    rest = values[values < high]
    return high if rest.size and rest.max() < WRAPPED_ABOVE else None


def check_wrapped(array: Sliceable, limits: Extremes) -> None:
    """VolumeError where values below zero were cast to unsigned 16 bits, which no scale that is recognised can undo.

    Padding alone is another matter (`wrapped_padding`).
    """
    if not limits.whole or not 0 <= limits.low <= NEGATIVE_ABOVE < limits.high < 2**16:
        return
    if wrapped_padding(array, limits.high) is not None:
        return
    share = np.mean([float((image > NEGATIVE_ABOVE).mean()) for image in sample(array)])
    if share > NEGATIVE_SHARE:
        raise VolumeError(
            f"{100 * share:.0f} % of the values lie from {NEGATIVE_ABOVE} to {limits.high:g}: values around 64536 are negative "
            "ones that wrapped around (65536 - 1000): save it as int16"
        )


def _pads_below(values: NDArray[Any], low: float) -> bool:
    rest = values[values > low]
    return low < PADDING_BELOW and rest.size > 0 and float(rest.min()) - low > LONE


def histograms(array: Sliceable) -> NDArray[np.int64]:
    """How often each of 256 levels occurs in each slice: (slices, 256)."""
    return np.stack([np.bincount(image.reshape(-1).astype(np.int64), minlength=256) for image in array])


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


def tissue_level(counts: NDArray[np.int64]) -> float:
    """Median of the values above Otsu's threshold; 255 where there is one value only."""
    if np.count_nonzero(counts) < 2:
        return 255.0
    upper = counts.copy()
    upper[: otsu(counts) + 1] = 0
    total = upper.cumsum()
    return float(np.searchsorted(total, (total[-1] + 1) / 2))
