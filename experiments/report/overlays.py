"""Overlays of a job as PNG: a montage of axial slices, and three orthogonal views. matplotlib is an extra.

Pictures lie as radiologists see them: the patient's right is on the left, front or head on top. Where the file does not tell
how the patient lies, no side is lettered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.report.data import MASKS, ReportData
from bunet.experiments.report.images import centre
from bunet.experiments.report.plots import MASK_COLOUR, TRUTH_COLOUR, new_figure, rgba, save_figure
from bunet.models.printable import printable

COLOURS = {"secure": MASK_COLOUR, "float": "#ffd740", "truth": TRUTH_COLOUR, "lung": "#9ae080"}
LETTER = {"boxstyle": "round,pad=0.15", "facecolor": "black", "edgecolor": "none", "alpha": 0.6}
LETTER_PLACES = (
    (0.02, 0.5, "left", "center"),
    (0.98, 0.5, "right", "center"),
    (0.5, 0.98, "center", "top"),
    (0.5, 0.02, "center", "bottom"),
)
PANELS = 12
PANEL_INCHES = 3.0
VIEWS_INCHES = 5.0
# For each axis that is cut: (its name, the axis down the picture, the axis across, sides on the left, right, top, bottom).
VIEWS = (
    ("axial, z", 1, 2, "RLAP"),
    ("coronal, y", 0, 2, "RLHF"),
    ("sagittal, x", 0, 1, "APHF"),
)


def write_montage(path: Path, data: ReportData) -> None:
    """At most twelve axial slices, evenly spaced over where there is something to see: the first mask filled, the others
    outlined.

    The masks are those of MASKS but the lung's. Raises PicturesUnavailable without matplotlib, OSError where the folder cannot
    be written.
    """
    chosen = montage_slices(data)
    columns = min(len(chosen), 4)
    rows = -(-len(chosen) // columns)
    _, height, width = data.volume.shape
    _, down, across = data.spacing or (1.0, 1.0, 1.0)
    figure = new_figure(
        PANEL_INCHES * columns, (PANEL_INCHES * min(3.0, max(0.33, height * down / (width * across))) + 0.3) * rows + 0.5
    )
    for panel, index in enumerate(chosen):
        axes = figure.add_subplot(rows, columns, panel + 1)
        _draw(axes, data, 0, index)
        axes.set_title(f"z {index}", fontsize=9)
    figure.suptitle(f"{_plain(data.title)}: {_plain(data.case)}\n{_legend(data)}", fontsize=9)
    save_figure(figure, path)


def write_views(path: Path, data: ReportData) -> None:
    """Axial, coronal and sagittal slice through one point, in the proportions that the spacing gives, with the lines in
    which they cross. The point is the first mask's centre (see `images.centre`).

    Raises PicturesUnavailable without matplotlib, OSError where the folder cannot be written.
    """
    spacing = data.spacing or (1.0, 1.0, 1.0)
    sizes = [n * mm for n, mm in zip(data.volume.shape, spacing, strict=True)]
    point = centre(next(iter(data.ordered_masks.values())), data.bounds)
    scale = VIEWS_INCHES / max(sizes)
    widths = [sizes[across] for _, _, across, _ in VIEWS]
    figure = new_figure(scale * sum(widths) + 1.0, scale * max(sizes[down] for _, down, _, _ in VIEWS) + 1.0)
    grid = figure.add_gridspec(1, len(VIEWS), width_ratios=widths)
    for axis, (name, down, across, sides) in enumerate(VIEWS):
        axes = figure.add_subplot(grid[axis])
        _draw(axes, data, axis, point[axis])
        axes.axhline(point[down], color="white", linewidth=0.6, alpha=0.6)
        axes.axvline(point[across], color="white", linewidth=0.6, alpha=0.6)
        known = sides if data.lettered else ""  # a file without orientation has no right and left
        for side, (x, y, horizontal, vertical) in zip(known, LETTER_PLACES, strict=False):
            axes.text(x, y, side, transform=axes.transAxes, color="white", fontsize=9, ha=horizontal, va=vertical, bbox=LETTER)
        axes.set_title(f"{name} {point[axis]}", fontsize=9)
    figure.suptitle(f"{_plain(data.title)}: {_plain(data.case)}\n{_legend(data)}", fontsize=9)
    save_figure(figure, path)


def montage_slices(data: ReportData) -> list[int]:
    """At most twelve slices of the region, evenly spaced from the first to the last that any mask but the lung's touches;
    of the whole region where there is none.
    """
    low, high = data.bounds[0]
    seen = [k for k in range(low, high) if any(np.any(mask[k]) for key, mask in data.masks.items() if key != "lung")]
    first, last = (seen[0], seen[-1]) if seen else (low, max(low, high - 1))
    count = min(PANELS, last - first + 1)
    return [round(first + (last - first) * k / max(1, count - 1)) for k in range(count)]


def _draw(axes: Any, data: ReportData, axis: int, index: int) -> None:
    """One slice across an axis, with its masks."""
    _, down, across, _ = VIEWS[axis]
    spacing = data.spacing or (1.0, 1.0, 1.0)
    # The first slice is nearest to the feet: it belongs at the bottom.
    origin = "lower" if down == 0 else "upper"
    look: dict[str, Any] = {"origin": origin, "aspect": spacing[down] / spacing[across]}
    axes.imshow(_cut(data.volume, axis, index), cmap="gray", vmin=0, vmax=1, interpolation="bilinear", **look)
    for bit, (key, mask) in enumerate(data.ordered_masks.items()):
        inside = _cut(mask, axis, index) != 0
        if key == "lung" or not inside.any():
            continue
        if bit == 0:
            tint = np.zeros((*inside.shape, 4))
            tint[inside] = rgba(COLOURS[key], 0.5)
            axes.imshow(tint, interpolation="nearest", **look)
        elif min(inside.shape) > 1:
            # A rim of zeros closes the outlines of what touches the border.
            closed = np.pad(inside.astype(float), 1)
            rows, columns = (np.arange(-1, n + 1) for n in inside.shape)
            axes.contour(columns, rows, closed, levels=[0.5], colors=[COLOURS[key]], linewidths=0.9)
    height, width = data.volume.shape[down], data.volume.shape[across]
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim((-0.5, height - 0.5) if origin == "lower" else (height - 0.5, -0.5))
    axes.axis("off")


def _cut(array: Any, axis: int, index: int) -> NDArray[Any]:
    return np.asarray(array[(slice(None),) * axis + (index,)])


def _legend(data: ReportData) -> str:
    """What is filled and what the colours of outlines mean."""
    keys = [key for key in data.ordered_masks if key != "lung"]
    words = {"float": "yellow", "truth": "blue"}
    return f"filled: {MASKS[keys[0]].lower()}" + "".join(f"; {words[key]}: {MASKS[key].lower()}" for key in keys[1:])


def _plain(text: str) -> str:
    """Text in which matplotlib sees no formula."""
    return printable(text).replace("$", r"\$")
