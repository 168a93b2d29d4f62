"""No point of a sweep is lost: facts come from the grid itself, every bar is one point, what looks alike is refused."""

from __future__ import annotations

import itertools
from dataclasses import field, fields, make_dataclass
from pathlib import Path
from typing import Any

import pytest

from bunet.experiments.sweep import pictures
from bunet.experiments.sweep.facts import name_of, varied
from bunet.experiments.sweep.grid import VARIED, Grid
from bunet.experiments.sweep.pictures import SameBar
from bunet.experiments.sweep.points import Point
from bunet.experiments.sweep.reading import ConfigError, parse
from bunet.experiments.sweep.run import title_of

TWO_OF_EACH = {
    "links": ["lan", "wan"],
    "protocols": [{"relu": "gc"}, {"relu": "gc-sign"}],
    "ot": ["iknp", "softspoken-4"],
    "formats": ["8.4", "12.4"],
    "in_flight": [1, 2],
    "sizes": [32, 64],
    "features": [4, 8],
    "activations": ["relu", "hybrid"],
    "pools": ["avg", "max"],
}
POINT = next(parse("name: a", "x").points())


def points(grid: str) -> list[dict[str, Any]]:
    return [point.describe() for point in parse(f"name: a\ngrid:\n{grid}", "x").points()]


def measured(*facts: dict[str, Any], seconds: Any = None) -> list[tuple[dict[str, Any], float]]:
    return list(zip(facts, seconds or itertools.count(1.0), strict=False))


def test_the_list_of_what_a_grid_varies_is_whole() -> None:
    assert TWO_OF_EACH.keys() == VARIED.keys() == Grid.model_fields.keys()
    assert set(VARIED.values()) <= POINT.describe().keys()


@pytest.mark.parametrize("key", TWO_OF_EACH)
def test_every_list_of_the_grid_tells_points_apart(key: str) -> None:
    first, second = parse(f"name: a\ngrid: {{{key}: {TWO_OF_EACH[key]}}}", "x").points()
    assert varied([first.describe(), second.describe()]) == [VARIED[key]]
    assert title_of(first) != title_of(second), "a line of progress names it"
    assert first.identity() != second.identity()
    again = [VARIED[key]] if key in ("links", "protocols") else []
    by_link = pictures._series(measured(first.describe(), second.describe()), "link")
    by_protocol = pictures._series(measured(first.describe(), second.describe()), "protocols")
    for series, mine in ((by_link, "link"), (by_protocol, "protocols")):
        bars = [(name, place) for name, line in series.lines.items() for place in line]
        assert len(bars) == len(set(bars)) == 2
        assert len(series.places) == (2 if mine in again else 1)


def test_a_key_that_nobody_has_thought_of_yet_tells_points_apart() -> None:
    Later = make_dataclass("Later", [("padding", str, field(default="none"))], bases=(Point,), frozen=True)
    common = {each.name: getattr(POINT, each.name) for each in fields(Point)}
    plain, padded = (Later(**common, padding=value) for value in ("none", "border"))
    assert title_of(padded).endswith("padding border")
    facts = [plain.describe(), padded.describe()]
    assert varied(facts) == ["padding"]
    assert plain.identity() != padded.identity()
    series = pictures._series(measured(*facts), "link")
    assert series.lines == {"padding none": {"lan": 1.0}, "padding border": {"lan": 2.0}}
    # A point that was run before there was such a key has it not.
    assert name_of(POINT.describe(), ["padding"]) == "no padding"
    assert len(pictures._series(measured(POINT.describe(), *facts), "link").lines) == 3


def test_two_points_at_one_place_are_refused_with_both_names(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one = POINT.describe()
    other = {**one, "data": "b"}  # a detail that nothing stands for would be shown; this one is of weights that are equal
    one, other = ({**facts, "weights": "w", "data": facts.get("data", "a")} for facts in (one, other))
    for draw in (pictures.seconds_by_link, pictures.seconds_by_protocol):
        with pytest.raises(SameBar, match=r"data a; and .*data b"):
            draw(tmp_path / "x.png", measured(one, other))
    families = dict.fromkeys(pictures.FAMILY_COLOURS, 1.0)
    with pytest.raises(SameBar, match=r"data a; and .*data b"):
        pictures.seconds_by_family(tmp_path / "x.png", [(one, families), (other, families)])
    assert not list(tmp_path.iterdir()), "no picture that lacks one of them"


def test_one_name_for_two_links_is_refused_before_anything_is_run() -> None:
    text = "name: a\ngrid:\n  links: [{bandwidth: 1Mbit, rtt: 1ms, name: n}, {bandwidth: 2Mbit, rtt: 1ms, name: n}]"
    with pytest.raises(ConfigError, match=r"grid\.links: 'n' is the name of two different links"):
        parse(text, "x")


@pytest.mark.parametrize(
    ("links", "number"),
    [
        ("[lan, wan]", None),
        ("[lan, lan-1g, wan, wan-100m]", None),
        ("[{bandwidth: 1Mbit, rtt: 9ms}, {bandwidth: 20Mbit, rtt: 9ms}]", "bandwidth_bps"),
        ("[{preset: lan, rtt: 9ms}, lan, {preset: lan, rtt: 2ms}]", "rtt_s"),
        ("[{bandwidth: 1Mbit, rtt: 9ms}, {bandwidth: 20Mbit, rtt: 8ms}]", None),
        ("[{bandwidth: 1Mbit, rtt: 9ms, name: dsl}, {bandwidth: 20Mbit, rtt: 9ms, name: cable}]", None),
        ("[{bandwidth: unlimited, rtt: 9ms}, {bandwidth: 20Mbit, rtt: 9ms}]", None),
        ("[lan]", None),
    ],
)
def test_links_are_numbers_only_where_they_differ_in_one_and_have_no_names(links: str, number: str | None) -> None:
    assert pictures._number_of_links(points(f"  links: {links}")) == number


def test_numbers_are_drawn_in_their_order_whatever_the_files() -> None:
    facts = points("  links: [{preset: lan, rtt: 9ms}, lan, {preset: lan, rtt: 2ms}]")
    series = pictures._series(measured(*facts), "link", "rtt_s")
    assert list(series.places) == pytest.approx([0.3e-3, 2e-3, 9e-3])
    assert [series.lines[""][place] for place in series.places] == [2.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("values", "low", "ticks"),
    [
        ([1.0, 9.9], 0.0, None),
        ([3.0], 0.0, None),
        ([0.0, 100.0], 0.0, None),
        ([1.0, 10.0], 0.5, ["0.5", "1", "2", "5", "10"]),
        ([2.2, 21.0, 300.0], 1.0, ["1", "2", "5", "10", "20", "50", "100", "200", "500"]),
        ([0.012, 4000.0], 0.01, ["0.01", "0.1", "1", "10", "100", "1000", "10000"]),
    ],
)
def test_an_axis_is_logarithmic_from_a_decade_on(values: list[float], low: float, ticks: list[str] | None) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert pictures._scale(axes.xaxis, values) == low
    assert axes.get_xscale() == ("log" if ticks else "linear")
    assert axes.get_xlim()[0] == low < min(values) or not ticks
    assert axes.get_xlim()[1] > max(values)
    assert ticks is None or [text.get_text() for text in axes.get_xticklabels()] == ticks


@pytest.mark.parametrize("grid", ["  links: [lan]", "  links: [lan, wan]\n  ot: [iknp, softspoken-4]"])
def test_bars_are_as_many_as_points(grid: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    drawn: list[Figure] = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: drawn.append(figure))
    facts = points(grid)
    pictures.seconds_by_link(tmp_path / "l.png", measured(*facts, seconds=[2.0, 3.0, 40.0, 50.0]))
    (axes,) = drawn[0].axes
    widths = sorted(bar.get_x() + bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle))
    assert widths == pytest.approx([2.0, 3.0, 40.0, 50.0][: len(facts)])
    assert {text.get_text() for text in axes.texts} == {" 2", " 3", " 40", " 50"} if len(facts) > 1 else {" 2"}
