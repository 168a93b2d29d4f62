"""What a volume shows, held against what the networks were trained on: sentences for people where the two differ.

On the common scale (`intensity`) air is at 0.15 and soft tissue at about 0.86. Measured within the circle that scanners
fill, over the 17 series that the clinical models were trained and tested on and one in Hounsfield units: soft tissue, the
median above Otsu's threshold, lies from 0.84 to 0.96, and no value at 0. Floats that were made with another window differ:
[-1000, 400] HU gives 0.73 and 40 % at 0, [-1000, 200] gives 0.85 and 39 % at 0, minimum to maximum gives about 0.4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.content.intensity import HU_WINDOW
from bunet.models.volumes.content.recognition import UNIT_SLACK, Extremes, check_wrapped, recognise, tissue_level
from bunet.models.volumes.content.sample import sample, within_circle
from bunet.models.volumes.volume import Affine, Sliceable, VolumeError

TISSUE = (0.8, 0.98)
BLACK, BLACK_SHARE = 0.03, 0.05  # -1205 HU: below any air; of the values, at most
DENSE, LEAST_SHARE = 0.5, 0.01  # -500 HU: what lies below is air or lung; of the values, at least, on either side
TILTED_DEGREES = 5  # against the patient's axes, or of one axis against another
UNLIKELY = (-1.0, 2.0)  # values beyond were hardly normalised
NARROWEST_MM, WIDEST_MM, LONGEST_MM = 230, 520, 600  # of rows and columns; of all slices
SPARSEST_MM = 10  # from one slice to the next

WINDOW = f"[{HU_WINDOW[0]:g}, {HU_WINDOW[1]:g}] HU"


def window_remark(volume: Sliceable, rule: str) -> str | None:
    """A sentence where values that were in [0, 1] already, or in a byte, are not those of the training's window."""
    if rule not in ("unit", "windowed"):
        return None
    values = _values(volume)
    tissue = tissue_level(np.bincount((values * 255).astype(np.int64), minlength=256)) / 255
    black = float((values < BLACK).mean())
    if TISSUE[0] <= tissue <= TISSUE[1] and black <= BLACK_SHARE:
        return None
    return (
        f"WARNING: its values are not those of the window {WINDOW} that the models were trained with: soft tissue lies at "
        f"{tissue:.2f} (0.86 is expected) and {100 * black:.0f} % of the values at 0 (air is expected at 0.15); masks will be "
        f"wrong or empty: give Hounsfield units, or values of that window; `--intensity` names another rule"
    )


def range_remarks(array: Sliceable, span: tuple[float, float]) -> list[str]:
    """A sentence where values that are taken as they are leave [0, 1]: they may have been meant to be normalised first.

    array: the values; span: the lowest and the highest of them.
    """
    low, high = span
    if low >= -UNIT_SLACK and high <= 1 + UNIT_SLACK:
        return []
    said = (
        f"values from {low:g} to {high:g} are taken as they are, and published models take values that were normalised as in "
        "their training"
    )
    if UNLIKELY[0] <= low and high <= UNLIKELY[1]:
        return [f"{said}; of Hounsfield units say `--intensity hu`"]
    whole = array.dtype.kind != "f" or all(bool((np.rint(image) == image).all()) for image in sample(array))
    limits = Extremes(low, high, whole)
    try:
        check_wrapped(array, limits)
        advice = f"they look as `--intensity {recognise(array, limits)}` takes them"
    except VolumeError as error:
        advice = str(error)
    return [f"WARNING: {said}: masks will be wrong or empty; {advice}"]


def air_remark(volume: Sliceable) -> str | None:
    """A sentence where there is next to no air, or next to nothing else: no chest, or read by the wrong rule."""
    air = float((_values(volume) < DENSE).mean())
    if air < LEAST_SHARE:
        return (
            f"WARNING: only {100 * air:.1f} % of the values are air or lung (below -500 HU): either this is no chest, or its "
            "values are read by the wrong rule (`--intensity` names another)"
        )
    if air > 1 - LEAST_SHARE:
        return (
            f"WARNING: only {100 * (1 - air):.1f} % of the values are denser than lung (-500 HU): either this is no chest, or "
            "its values are read by the wrong rule (`--intensity` names another)"
        )
    return None


def pixel_remark(pixels: tuple[float, float], mended: bool) -> str:
    """Of pixels that are not square. mended: whether slices are brought to a network's size, where they become so."""
    head = f"pixels are not square: {pixels[0]:.4g} mm from row to row, {pixels[1]:.4g} mm from column to column"
    if mended:
        return f"{head}; slices that are brought to a network's size are scaled in millimetres, so that it sees square ones"
    return (
        f"WARNING: {head}: at the volume's own size the models see the anatomy distorted, and masks may be wrong; resample it "
        "to square pixels, or bring slices to a size (`--size`)"
    )


def field_remarks(spacing: tuple[float, float, float] | None, shape: tuple[int, int, int]) -> list[str]:
    """Sentences where what slices show is far from a chest's size. shape: of what is cut; spacing: None where not known."""
    if spacing is None:
        return []
    long, *sides = (n * mm for n, mm in zip(shape, spacing, strict=True))
    side, says = max(sides), []
    if not NARROWEST_MM <= side <= WIDEST_MM:
        says.append(
            f"WARNING: slices show {side:.0f} mm, and the models were trained on whole chests, of about 300 to 450 mm: masks "
            "may be wrong"
        )
    if spacing[0] > SPARSEST_MM:
        says.append(
            f"slices lie {spacing[0]:.3g} mm apart, which is far for a chest (usual are at most {SPARSEST_MM} mm): masks may "
            "be worse, and volumes in millilitres are rough"
        )
    if long > LONGEST_MM:
        says.append(
            f"WARNING: the slices reach over {long:.0f} mm, more than a chest: what is marked outside of it is wrong; along x "
            "and y the chest is squeezed: give a part along z"
        )
    return says


def tilt_remark(affine: Affine | None) -> str | None:
    """A sentence where slices do not lie as in an upright chest. affine: of (slice, row, column), None where not known."""
    if affine is None:
        return None
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = axes.T @ axes
    sheared = float(np.degrees(np.arcsin(np.abs(cosines[np.triu_indices(3, 1)]).max().clip(0, 1))))
    if sheared > TILTED_DEGREES:
        return (
            f"WARNING: slices are tilted by {sheared:.0f} degrees against the direction in which they follow one another, as "
            "by a tilted gantry; the models know upright chests: masks may be wrong"
        )
    turned = float(np.degrees(np.arccos(np.abs(np.diag(axes[::-1])).min().clip(0, 1))))  # head, back, left
    if turned > TILTED_DEGREES:
        return (
            f"WARNING: slices are tilted by {turned:.0f} degrees against the patient's axes; the models know upright chests: "
            "masks may be wrong"
        )
    return None


def _values(volume: Sliceable) -> NDArray[np.float32]:
    return np.asarray(np.clip(np.concatenate([within_circle(image) for image in sample(volume)]), 0.0, 1.0))
