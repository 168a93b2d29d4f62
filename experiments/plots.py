"""Pictures: masks laid over slices, and seconds by link, by protocol and by kind of layer.

matplotlib is an extra, imported when needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bunet.experiments.results import write_whole

MASK_COLOUR = "#ff5a36"
TRUTH_COLOUR = "#35d0ff"
MAX_PANELS = 12
KIND_COLOURS = {"activation": "#d1495b", "convolution": "#30638e", "pooling": "#edae49", "rest": "#8d99ae"}
FACTS = ("link", "protocols", "format", "in_flight", "size", "features", "activation", "pool")


class PicturesUnavailable(Exception):
    """matplotlib is not installed."""


def new_figure(width: float, height: float) -> Any:
    """A figure, in inches, with no window behind it, whatever display there is. Raises PicturesUnavailable."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PicturesUnavailable("pictures need matplotlib: pip install 'bunet[plots]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """A PNG file, whole or not at all."""
    write_whole(path, lambda stream: figure.savefig(stream, format="png", dpi=130))


def overlay(
    path: Path, images: Sequence[np.ndarray], masks: np.ndarray, labels: Sequence[tuple[str, int]],
    truth: np.ndarray | None = None, title: str = "",
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


def seconds_by_link(path: Path, rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Seconds a slice against the link, one line for every combination of the rest. rows: see sweep.row_of."""
    _seconds_by(path, rows, "link", title)


def seconds_by_protocol(path: Path, rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Seconds a slice against the choice of protocols, one line for every combination of the rest."""
    _seconds_by(path, rows, "protocols", title)


def _seconds_by(path: Path, rows: Sequence[Mapping[str, Any]], key: str, title: str) -> None:
    if not rows:
        raise ValueError("there is no finished point to draw")
    ticks = list(dict.fromkeys(str(row[key]) for row in rows))
    # A line is called by what tells it from the others, not by what all share.
    varied = [fact for fact in FACTS if fact != key and len({str(row[fact]) for row in rows}) > 1]
    series: dict[str, dict[str, float]] = {}
    for row in rows:
        name = ", ".join(_words(fact, row[fact]) for fact in varied) or "all"
        series.setdefault(name, {})[str(row[key])] = float(row["seconds_per_slice"])
    tall = len(series) > 8
    figure = new_figure(max(6.0, 1.3 * len(ticks) + (4.5 if tall else 2.5)), max(4.2, 0.22 * len(series) + 2))
    axes = figure.add_subplot()
    marker: Callable[[int], str] = lambda number: "osD^vP*X"[number % 8]  # noqa: E731
    for number, (name, points) in enumerate(series.items()):
        there = [(ticks.index(tick), seconds) for tick, seconds in points.items()]
        there.sort()
        axes.plot([x for x, _ in there], [y for _, y in there], marker=marker(number), label=name, linewidth=1.2)
    axes.set_xticks(range(len(ticks)), ticks, rotation=20 if len(ticks) > 4 or max(map(len, ticks)) > 14 else 0)
    axes.set_xlim(-0.4, len(ticks) - 0.6)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("seconds a slice")
    axes.set_xlabel(key)
    axes.grid(axis="y", alpha=0.3)
    if title:
        axes.set_title(title, fontsize=10)
    if len(series) > 1:
        figure.legend(loc="outside right upper", fontsize=8)
    save_figure(figure, path)


def _words(fact: str, value: Any) -> str:
    return {"in_flight": f"{value} in flight", "size": f"{value}x{value}", "features": f"{value} features"}.get(
        fact, str(value)
    )


def seconds_by_kind(path: Path, rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Seconds a slice of each secure run, stacked by kind of layer. rows: see accuracy_table.rows_of."""
    secure = [row for row in rows if "activation_s" in row]
    if not secure:
        raise ValueError("there is no secure run to draw")
    facts = ("weights", "link", "protocols", "ot", "in_flight", "size", "features", "pool")
    varied = [fact for fact in facts if len({str(row[fact]) for row in secure}) > 1]
    names = ["\n".join([row["format"], *(_words(fact, row[fact]) for fact in varied)]) for row in secure]
    figure = new_figure(max(6.0, 1.5 * len(secure) + 2), 4.6)
    axes = figure.add_subplot()
    base = [0.0] * len(secure)
    for kind, colour in KIND_COLOURS.items():
        heights = [max(0.0, float(row[f"{kind}_s"])) for row in secure]
        axes.bar(range(len(secure)), heights, 0.62, base, color=colour, label=kind)
        base = [low + height for low, height in zip(base, heights, strict=True)]
    for place, top in enumerate(base):
        axes.annotate(f"{top:.1f}", (place, top), ha="center", va="bottom", fontsize=9)
    axes.set_xticks(range(len(secure)), names, fontsize=8)
    axes.set_ylim(0, 1.1 * max(base) or 1)
    axes.set_ylabel("seconds a slice")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, fontsize=10)
    figure.legend(loc="outside right upper", fontsize=8, reverse=True)
    save_figure(figure, path)
