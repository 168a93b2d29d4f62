"""Pictures: masks laid over slices, and how any picture is drawn and kept.

matplotlib is an extra, imported when needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models import extras
from bunet.models.errors import UsageError
from bunet.models.files.atomic import write_atomic

MASK_COLOUR = "#ff5a36"
TRUTH_COLOUR = "#35d0ff"
MAX_PANELS = 12


class PicturesUnavailable(UsageError):
    """matplotlib is not installed."""


def new_figure(width: float, height: float) -> Any:
    """A figure, in inches, with no window behind it, whatever display there is. Raises PicturesUnavailable."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PicturesUnavailable("pictures need matplotlib", extras.how("plots")) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """A PNG file, whole or not at all."""
    write_atomic(path, lambda stream: figure.savefig(stream, format="png", dpi=130))


def overlay(
    path: Path,
    images: Sequence[np.ndarray],
    masks: np.ndarray,
    labels: Sequence[tuple[str, int]],
    truth: np.ndarray | None = None,
    title: str = "",
) -> None:
    """One panel a slice (twelve at most, evenly spaced): the image in grey, the mask tinted, the truth outlined.

    images: (H, W) float in [0, 1]. masks: (slices, H, W), non-zero inside; truth likewise. labels: (axis, index).
    Raises PicturesUnavailable without matplotlib.
    """
    count = min(len(images), MAX_PANELS)
    chosen = [int((k + 0.5) * len(images) / count) for k in range(count)]
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = new_figure(3.2 * columns, 3.5 * rows + 0.4)
    for panel, k in enumerate(chosen):
        axes = figure.add_subplot(rows, columns, panel + 1)
        axes.imshow(images[k], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        tint = np.zeros((*masks[k].shape, 4))
        tint[masks[k] != 0] = rgba(MASK_COLOUR, 0.55)
        axes.imshow(tint, interpolation="nearest")
        if truth is not None and truth[k].any() and not truth[k].all():
            axes.contour(truth[k].astype(float), levels=[0.5], colors=[TRUTH_COLOUR], linewidths=1.0)
        axes.set_title(f"{labels[k][0]} {labels[k][1]}", fontsize=9)
        axes.axis("off")
    legend = "filled: secure mask" + ("; outline: truth" if truth is not None else "")
    figure.suptitle(f"{title}\n{legend}" if title else legend, fontsize=9)
    save_figure(figure, path)


def rgba(colour: str, alpha: float) -> tuple[float, float, float, float]:
    """`#rrggbb` and an opacity as four numbers in [0, 1]."""
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue, alpha
