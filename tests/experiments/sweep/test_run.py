"""Sweeps with an injected runner: what is written when, and what is run again."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bunet.experiments.sweep import pictures as sweep_pictures
from bunet.experiments.sweep.grid import SweepConfig
from bunet.experiments.sweep.pictures import SameBar
from bunet.experiments.sweep.points import Point
from bunet.experiments.sweep.reading import parse
from bunet.experiments.sweep.run import RESULTS, Journal, read_points, row_of, run_sweep
from bunet.models.errors import PeerError, UsageError

CONFIG = parse(
    "name: test\nslices: 2\ngrid:\n  links: [lan, wan]\n  protocols: [{relu: gc}, {relu: gc-sign}]\n  in_flight: [1, 2]\n",
    "test.yaml",
)


def document(point: Point) -> dict[str, Any]:
    seconds = 10.0 + point.settings.run.link.rtt_s * 100 + point.settings.run.in_flight
    return {
        "slices": [{}] * point.settings.slices,
        "dice": {"float": 1.0, "truth": None},
        "verified": True,
        "setup": {"seconds": 1.0},
        "totals": {
            "seconds": seconds,
            "bytes_sent": 100,
            "bytes_received": 200,
            "rounds": 30,
            "peak_memory_bytes": {"alice": 1, "bob": 2},
        },
    }


class Runner:
    """Runs points by inventing documents; fails, or is interrupted, where told."""

    def __init__(self, fail_at: int | None = None, stop_at: int | None = None) -> None:
        self.points: list[Point] = []
        self._fail_at, self._stop_at = fail_at, stop_at

    def __call__(self, point: Point) -> Mapping[str, Any]:
        if len(self.points) == self._stop_at:
            raise KeyboardInterrupt
        self.points.append(point)
        if len(self.points) - 1 == self._fail_at:
            raise PeerError("Bob is gone")
        return document(point)


def sweep(folder: Path, runner: Runner, config: SweepConfig = CONFIG, pictures: bool = False) -> tuple[Any, list[str]]:
    said: list[str] = []
    return run_sweep(config, folder, runner, said.append, pictures=pictures), said


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "points.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_point_is_run_once_and_written(tmp_path: Path) -> None:
    runner = Runner()
    summary, said = sweep(tmp_path / "deep" / "folder", runner)
    folder = tmp_path / "deep" / "folder"
    assert (summary.points, summary.ran, summary.skipped, summary.failed, summary.disagreeing) == (8, 8, 0, 0, 0)
    lines = [json.loads(line) for line in (folder / "points.jsonl").read_text().splitlines()]
    assert [line["identity"] for line in lines] == [point.identity() for point in CONFIG.points()]
    table = rows(folder)
    assert len(table) == 8
    assert tuple(table[0]) == ("identity", *next(CONFIG.points()).describe(), *RESULTS)
    assert {(row["link"], row["protocols"], row["in_flight"]) for row in table} == {
        (link, f"relu {relu}", k) for link in ("lan", "wan") for relu in ("gc", "gc-sign") for k in ("1", "2")
    }
    assert float(table[0]["seconds_per_slice"]) == pytest.approx(float(table[0]["seconds"]) / 2)
    assert len(said) == 8
    assert len({line.partition("] ")[2] for line in said}) == 8


def test_no_line_of_progress_hides_what_is_varied(tmp_path: Path) -> None:
    config = parse("name: test\ngrid:\n  links: [lan]\n  ot: [iknp, softspoken-4]\n", "test.yaml")
    _, said = sweep(tmp_path, Runner(), config)
    assert ["OT iknp" in line for line in said] == [True, False]
    assert ["OT softspoken-4" in line for line in said] == [False, True]


def test_a_finished_sweep_runs_nothing_again(tmp_path: Path) -> None:
    sweep(tmp_path, Runner())
    before = (tmp_path / "points.jsonl").read_bytes()
    again = Runner()
    summary, _ = sweep(tmp_path, again)
    assert again.points == []
    assert summary.skipped == 8
    assert (tmp_path / "points.jsonl").read_bytes() == before


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = Runner(stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, first)
    assert len(rows(tmp_path)) == 3
    second = Runner()
    summary, said = sweep(tmp_path, second)
    assert (summary.ran, summary.skipped) == (5, 3)
    assert said[0] == "3 of 8 points are done already"
    assert first.points + second.points == list(CONFIG.points())
    assert len(rows(tmp_path)) == 8


def test_a_line_cut_off_by_the_interruption_is_run_again(tmp_path: Path) -> None:
    sweep(tmp_path, Runner())
    journal = tmp_path / "points.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-40])
    again = Runner()
    summary, _ = sweep(tmp_path, again)
    assert again.points == [list(CONFIG.points())[-1]]
    assert summary.skipped == 7
    assert journal.read_bytes() == whole


def test_a_failed_point_is_written_and_tried_again(tmp_path: Path) -> None:
    first = Runner(fail_at=2)
    summary, said = sweep(tmp_path, first)
    assert (summary.ran, summary.failed) == (8, 1)
    assert "failed: Bob is gone" in said[2]
    assert rows(tmp_path)[2]["error"] == "Bob is gone"
    assert rows(tmp_path)[2]["seconds"] == ""
    second = Runner()
    summary, _ = sweep(tmp_path, second)
    assert second.points == [first.points[2]]
    assert (summary.failed, summary.skipped) == (0, 7)
    assert rows(tmp_path)[2]["error"] == ""


def test_another_grid_in_the_same_folder_reuses_equal_points(tmp_path: Path) -> None:
    sweep(tmp_path, Runner())
    narrower = parse("name: test\nslices: 2\ngrid:\n  links: [wan, wan-100m]\n  protocols: [{relu: gc}]\n", "n.yaml")
    runner = Runner()
    summary, _ = sweep(tmp_path, runner, narrower)
    assert [point.link_name for point in runner.points] == ["wan-100m"]
    assert summary.skipped == 1
    assert len(rows(tmp_path)) == 2


def test_tables_call_links_as_the_grid_at_hand_does(tmp_path: Path) -> None:
    text = "name: test\ngrid:\n  links: [{{bandwidth: 1Mbit, rtt: 1ms, name: {name}}}]\n  protocols: [{{relu: gc}}]\n"
    sweep(tmp_path, Runner(), parse(text.format(name="before"), "a.yaml"))
    again = Runner()
    sweep(tmp_path, again, parse(text.format(name="after"), "b.yaml"))
    assert again.points == []
    assert [row["link"] for row in rows(tmp_path)] == ["after"]


def test_two_sweeps_do_not_write_to_one_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first = Journal(tmp_path / "points.jsonl")
    with pytest.raises(UsageError, match="another sweep is writing to"):
        sweep(tmp_path, Runner())
    first.close()
    assert sweep(tmp_path, Runner())[0].ran == 8


def test_a_point_that_disagrees_with_the_oracle_is_counted(tmp_path: Path) -> None:
    def runner(point: Point) -> dict[str, Any]:
        return {**document(point), "verified": point.settings.run.in_flight != 2}

    said: list[str] = []
    summary = run_sweep(CONFIG, tmp_path, runner, said.append, pictures=False)
    assert summary.disagreeing == 4
    assert sum("DOES NOT AGREE" in line for line in said) == 4


def test_values_beyond_calibration_are_told_and_in_the_table(tmp_path: Path) -> None:
    def runner(point: Point) -> dict[str, Any]:
        beyond = {"a": 3, "b": 4} if point.settings.run.in_flight == 2 else {}
        share = {"z 1": 0.05} if point.settings.run.in_flight == 2 else {}  # of one of two slices
        return {**document(point), "run": {"beyond_calibration": beyond, "input_beyond_calibration": share}}

    said: list[str] = []
    run_sweep(CONFIG, tmp_path, runner, said.append, pictures=False)
    for row, line in zip(rows(tmp_path), said, strict=True):
        assert (row["beyond"], row["input_beyond"]) == (("7", "0.025") if row["in_flight"] == "2" else ("0", "0.0"))
        told = "verified, 7 values beyond calibration, the mask may be wrong there, 2.5 % of the input beyond calibration ("
        assert (told in line, "beyond" in line) == (row["in_flight"] == "2", row["in_flight"] == "2")
    sweep(tmp_path / "unknown", Runner())
    assert {(row["beyond"], row["input_beyond"]) for row in rows(tmp_path / "unknown")} == {("", "")}


def test_a_defect_ends_the_sweep_but_keeps_what_is_done(tmp_path: Path) -> None:
    def runner(point: Point) -> dict[str, Any]:
        if point.settings.run.in_flight == 2:
            raise ZeroDivisionError
        return document(point)

    with pytest.raises(ZeroDivisionError):
        run_sweep(CONFIG, tmp_path, runner, lambda text: None)
    entries, _ = read_points(tmp_path / "points.jsonl")
    assert len(entries) == 2


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "points.jsonl").write_text('{"other": 1}\n')
    with pytest.raises(UsageError, match="line 1: not a line of a sweep"):
        sweep(tmp_path, Runner())
    assert (tmp_path / "points.jsonl").read_text() == '{"other": 1}\n'


def test_pictures_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    summary, _ = sweep(tmp_path, Runner(), pictures=True)
    assert [path.name for path in summary.pictures] == ["seconds_by_link.png", "seconds_by_protocol.png"]
    for path in summary.pictures:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 5000


def test_a_row_of_a_failed_point_has_no_figures() -> None:
    point = next(CONFIG.points())
    row = row_of({"identity": "ab", "point": point.describe(), "error": "no"})
    assert row["error"] == "no"
    assert "seconds" not in row


def test_two_points_in_one_place_end_the_sweep_with_the_table_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def same(*_: Any) -> None:
        raise SameBar("two points would be drawn at one place: a; and b")

    monkeypatch.setattr(sweep_pictures, "seconds_by_link", same)
    with pytest.raises(UsageError, match="at one place: a; and b"):
        sweep(tmp_path, Runner(), pictures=True)
    assert len(rows(tmp_path)) == 8
