"""Pictures of a sweep: seconds a slice by link, by protocol and by family of operations. matplotlib is an extra.

Links and protocols are categories: a line between two of them would draw values that nobody measured, so they are bars, in
the order of the experiment file. Only where the links have no names of their own and differ in one number (bandwidth,
round-trip time or jitter) is there something between them: those are lines over that number, in its order. An axis is
logarithmic where its values span a decade or more, so that the smallest stays readable.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bunet.experiments.report.plots import new_figure, save_figure
from bunet.experiments.sweep.facts import COMMON, Facts, name_of, told, varied, words
from bunet.models.errors import UsageError
from bunet.net.link import PRESETS, Link

DECADE = 10.0
FAMILY_COLOURS = {"activation": "#d1495b", "convolution": "#30638e", "pooling": "#edae49", "rest": "#8d99ae"}
COLOURS = ("#30638e", "#d1495b", "#edae49", "#2a9d8f", "#8d6a9f", "#8d99ae", "#6b4226", "#e07a5f", "#3d405b", "#81b29a")
MARKERS = "osD^vP*X"
NUMBERS = {"bandwidth_bps": ("bandwidth, Mbit/s", 1e-6), "rtt_s": ("round-trip time, ms", 1e3), "jitter_s": ("jitter, ms", 1e3)}
MAX_INCHES = 200.0  # of a picture's height: beyond, the renderer gives up
BAR_INCHES = 0.2

Measured = tuple[Facts, float]  # a point and its seconds a slice


class SameBar(UsageError):
    """Two points of a sweep would be drawn at one place."""


@dataclass(frozen=True)
class _Series:
    """name -> place -> seconds; the places in their order; what all points share."""

    lines: Mapping[str, Mapping[Any, float]]
    places: Sequence[Any]
    shared: str


def seconds_by_link(path: Path, points: Sequence[Measured], title: str = "") -> None:
    """Seconds a slice against the link. Raises PicturesUnavailable, SameBar; ValueError without a point."""
    number = _number_of_links([facts for facts, _ in points])
    if number is None:
        _bars(path, _series(points, "link"), title)
    else:
        _lines(path, _series(points, "link", number), number, title)


def seconds_by_protocol(path: Path, points: Sequence[Measured], title: str = "") -> None:
    """Seconds a slice against the choice of protocols. Raises as `seconds_by_link`."""
    _bars(path, _series(points, "protocols"), title)


def _series(points: Sequence[Measured], key: str, number: str | None = None) -> _Series:
    """The points as a series for every combination of the facts but `key`, which says where a point lies in its series.

    number: the detail of the key that is its place, in place of its words.
    """
    if not points:
        raise ValueError("there is no finished point to draw")
    told_apart = varied([facts for facts, _ in points], but=(key,))
    lines: dict[str, dict[Any, float]] = {}
    drawn: dict[tuple[str, Any], Facts] = {}
    for facts, seconds in points:
        name, place = name_of(facts, told_apart), words(key, facts[key]) if number is None else facts[number]
        if (name, place) in drawn:
            raise SameBar(
                f"two points would be drawn at one place ({place}): {_whole(drawn[name, place])}; and {_whole(facts)}"
            )
        drawn[name, place] = facts
        lines.setdefault(name, {})[place] = seconds
    places = list(dict.fromkeys(place for _, place in drawn))
    first = points[0][0]
    return _Series(lines, places if number is None else sorted(places), _shared(first, (key, *told_apart)))


def _shared(facts: Facts, but: Sequence[str]) -> str:
    return name_of(facts, [fact for fact in told(facts) if fact not in (*COMMON, *but)])


def _whole(facts: Facts) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _number_of_links(points: Sequence[Facts]) -> str | None:
    """The one number in which links differ; None where they are categories."""
    differ = [key for key in NUMBERS if len({facts.get(key) for facts in points}) > 1]
    if len(differ) != 1 or any(facts.get(key) is None for facts in points for key in NUMBERS):
        return None
    own = {Link(*(facts[key] for key in NUMBERS)).name == facts["link"] for facts in points}
    return differ[0] if own == {True} and not {facts["link"] for facts in points} <= PRESETS.keys() else None


def _bars(path: Path, series: _Series, title: str) -> None:
    """A group of bars for each place, each bar with its name and its seconds beside it."""
    labels: list[tuple[float, str, bool]] = []  # where, what, whether it heads a group
    bars: list[tuple[float, float, int]] = []  # where, seconds, number of the series
    row = 0.0
    for place in series.places:
        single = len(series.lines) == 1
        if not single:
            labels.append((row, str(place), True))
            row += 1
        for number, (name, points) in enumerate(series.lines.items()):
            if place in points:
                bars.append((row, points[place], 0 if single else number))
                labels.append((row, str(place) if single else name, False))
                row += 1
        row += 0 if single else 0.6
    widest = max(len(line) for _, text, _ in labels for line in _wrapped(text).splitlines())
    figure = new_figure(5.5 + 0.075 * widest, min(MAX_INCHES, 1.3 + BAR_INCHES * 1.35 * row))
    axes = figure.add_subplot()
    values = [seconds for _, seconds, _ in bars]
    low = _scale(axes.xaxis, values)
    for at, seconds, number in bars:
        axes.barh(at, seconds - low, 0.8, left=low, color=COLOURS[number % len(COLOURS)])
        axes.annotate(f" {_figure(seconds)}", (seconds, at), va="center", fontsize=8)
    axes.set_yticks([at for at, _, _ in labels], [_wrapped(text) for _, text, _ in labels], fontsize=8)
    for tick, (_, _, heads) in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if heads else "normal")
    axes.set_ylim(row, -0.8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("seconds a slice" + (", logarithmic" if low else ""))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    _head(axes, title, series.shared, 72)
    save_figure(figure, path)


def _lines(path: Path, series: _Series, number: str, title: str) -> None:
    """Seconds over a number of the link, a line for each series."""
    label, factor = NUMBERS[number]
    widest = max(len(line) for name in series.lines for line in _wrapped(name).splitlines()) if len(series.lines) > 1 else 0
    figure = new_figure(6.5 + 0.075 * widest + 0.5 * bool(widest), min(MAX_INCHES, max(4.2, 0.24 * len(series.lines) + 1.5)))
    axes = figure.add_subplot()
    for at, (name, points) in enumerate(series.lines.items()):
        there = sorted(points.items())
        axes.plot(
            [factor * place for place, _ in there],
            [seconds for _, seconds in there],
            marker=MARKERS[at % len(MARKERS)],
            color=COLOURS[at % len(COLOURS)],
            label=_wrapped(name),
            linewidth=1.2,
        )
    places = [factor * place for place in series.places]
    across = _scale(axes.xaxis, places)
    if len(places) <= 8 and (across or max(places) < 12 * _closest(places)):
        axes.set_xticks(places, [f"{place:g}" for place in places])
    upward = _scale(axes.yaxis, [seconds for points in series.lines.values() for seconds in points.values()])
    axes.set_xlabel(label + (", logarithmic" if across else ""))
    axes.set_ylabel("seconds a slice" + (", logarithmic" if upward else ""))
    axes.grid(alpha=0.3)
    _head(axes, title, series.shared, 85)
    if len(series.lines) > 1:
        figure.legend(loc="outside right upper", fontsize=8)
    save_figure(figure, path)


def _closest(places: Sequence[float]) -> float:
    """The smallest step between neighbours, in order."""
    return min((b - a for a, b in itertools.pairwise(places)), default=max(places))


def _scale(axis: Any, values: Sequence[float]) -> float:
    """Scale an axis for the values: from 0, or logarithmic from the number that is returned, which is above 0."""
    from matplotlib.ticker import NullLocator

    least, most = min(values), max(values)
    across = axis.axis_name == "x"
    limits, scale = (axis.axes.set_xlim, axis.axes.set_xscale) if across else (axis.axes.set_ylim, axis.axes.set_yscale)
    if least <= 0 or most / least < DECADE:
        limits(0, 1.12 * most or 1)
        return 0.0
    ladder = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5)]
    low = max(step for step in ladder if step < 0.9 * least)
    high = most * (most / low) ** 0.12  # room for the figure at the end of the longest bar
    scale("log")
    limits(low, high)
    ticks = [step for step in ladder if low <= step <= high]
    if len(ticks) > 12:
        ticks = [step for step in ticks if f"{step:e}"[0] == "1"]
    axis.set_ticks(ticks, [f"{step:g}" if step < 1e5 else f"{step:.0e}" for step in ticks])
    axis.set_minor_locator(NullLocator())
    return low


def _figure(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds < 1000 else f"{seconds:.0f}"


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text.replace("$", r"\$"), 46, break_on_hyphens=False)) or text


def _head(axes: Any, title: str, shared: str, width: int) -> None:
    """The title, and below it what is the same for all points."""
    plain = [text.replace("$", r"\$") for text in (title, shared)]
    lines = [*textwrap.wrap(plain[0], width), *textwrap.wrap(plain[1], width)]
    axes.set_title("\n".join(lines), fontsize=9, loc="left")


def seconds_by_family(path: Path, points: Sequence[tuple[Facts, Mapping[str, float]]], title: str = "") -> None:
    """Seconds a slice of each point, stacked by family of operations. points: facts and `accuracy_table.seconds_by_family`.

    Raises as `seconds_by_link`.
    """
    totals = [(facts, sum(families.values())) for facts, families in points]
    if not points:
        raise ValueError("there is no secure run to draw")
    told_apart = varied([facts for facts, _ in points])
    names: dict[str, Facts] = {}
    for facts, _ in points:
        name = name_of(facts, told_apart) or words("format", facts["format"])
        if name in names:
            raise SameBar(f"two points would be one bar: {_whole(names[name])}; and {_whole(facts)}")
        names[name] = facts
    widest = max(len(line) for name in names for line in _wrapped(name).splitlines())
    figure = new_figure(6.0 + 0.075 * widest, min(MAX_INCHES, 1.5 + 0.42 * len(points)))
    axes = figure.add_subplot()
    rows = range(len(points))
    base = [0.0] * len(points)
    for family, colour in FAMILY_COLOURS.items():  # parts of a whole: their lengths add up, so the axis is never logarithmic
        lengths = [max(0.0, families[family]) for _, families in points]
        axes.barh(rows, lengths, 0.62, left=base, color=colour, label=family)
        base = [start + length for start, length in zip(base, lengths, strict=True)]
    for row, (_, seconds) in zip(rows, totals, strict=True):
        axes.annotate(f" {_figure(seconds)}", (base[row], row), va="center", fontsize=8)
    axes.set_yticks(rows, [_wrapped(name) for name in names], fontsize=8)
    axes.set_ylim(len(points) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.12 * max(base) or 1)
    axes.set_xlabel("seconds a slice")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    _head(axes, title, _shared(points[0][0], told_apart), 78)
    figure.legend(loc="outside lower center", fontsize=8, ncols=len(FAMILY_COLOURS))
    save_figure(figure, path)
