"""A grid of runs: every point is written as it ends, and what is written is not run again.

A folder holds `points.jsonl` (one line a point, appended and put on the disk before the next one starts), `points.csv`
(the same as a table, rewritten whole) and two pictures; a sweep over a CT volume also leaves `accuracy.md`, `accuracy.csv`
and a third picture.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bunet.experiments.bench.data import CtData
from bunet.experiments.one_line import Say
from bunet.experiments.report import plots
from bunet.experiments.storage.lock import lock
from bunet.experiments.storage.results import write_csv
from bunet.experiments.sweep import accuracy_table
from bunet.experiments.sweep import pictures as sweep_pictures
from bunet.experiments.sweep.facts import beyond_of, name_of, words
from bunet.experiments.sweep.grid import SweepConfig
from bunet.experiments.sweep.points import Point
from bunet.models.errors import BunetError, UsageError
from bunet.models.files import json_text
from bunet.models.files.disk_space import DiskFull, explaining_full_disk

RESULTS = (
    "seconds",
    "seconds_per_slice",
    "setup_s",
    "bytes_sent",
    "bytes_received",
    "rounds",
    "dice_float",
    "dice_truth",
    "verified",
    "beyond",
    "input_beyond",
    "peak_memory_alice",
    "peak_memory_bob",
    "error",
)

Runner = Callable[[Point], Mapping[str, Any]]


@dataclass(frozen=True)
class SweepSummary:
    """How many points were there, were run now, had been run before, failed now, differ from the oracle; and the
    pictures that were drawn."""

    points: int
    ran: int
    skipped: int
    failed: int
    disagreeing: int
    pictures: tuple[Path, ...]


def read_points(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """(the lines of a `points.jsonl` by identity, the length in bytes of its whole lines).

    The last line may be cut off, by an interruption; it does not count. A later line of the same point replaces an
    earlier one. UsageError for a line before the last that is not one of ours.
    """
    if not path.exists():
        return {}, 0
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    entries: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            entry = json_text.parse(line)
            entries[entry["identity"]] = entry
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}, line {number}: not a line of a sweep; move the file away or mend it") from error
    return entries, whole


class Journal:
    """The JSON lines of a sweep, appended to durably; held by one sweep at a time where the system has file locks."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self._stream = open(path, "ab")  # noqa: SIM115 - lives as long as the sweep
        try:
            lock(self._stream)
            self.entries, whole = read_points(path)
            if whole < path.stat().st_size:
                self._stream.truncate(whole)
        except BlockingIOError:
            self._stream.close()
            raise UsageError(f"another sweep is writing to {path.parent}: wait for it, or choose another --out") from None
        except BaseException:
            self._stream.close()
            raise

    def done(self, identity: str) -> bool:
        """Whether the point has run and did not fail; failed ones are tried again."""
        entry = self.entries.get(identity)
        return entry is not None and "document" in entry

    def append(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, separators=(",", ":"), allow_nan=False) + "\n"
        with explaining_full_disk(self._folder):
            self._stream.write(line.encode())
            self._stream.flush()
            os.fsync(self._stream.fileno())
        self.entries[entry["identity"]] = entry

    def close(self) -> None:
        with explaining_full_disk(self._folder):
            self._stream.close()


def run_sweep(
    config: SweepConfig,
    folder: Path,
    runner: Runner,
    say: Say,
    *,
    pictures: bool = True,
    data: Mapping[str, CtData] | None = None,
) -> SweepSummary:
    """Run every point of the grid that `folder` does not hold yet.

    runner: a point to its JSON document (`slices.Bench` on the command line). A point whose run fails is written with
    its error, and the sweep goes on. say: gets a line for people. data: as for `SweepConfig.points`. Raises UsageError,
    OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    points = {point.identity(): point for point in config.points(data)}
    journal = Journal(folder / "points.jsonl")
    ran = failed = 0
    skipped = sum(journal.done(identity) for identity in points)
    try:
        if skipped:
            say(f"{skipped} of {len(points)} points are done already")
        for number, (identity, point) in enumerate(points.items(), start=1):
            if journal.done(identity):
                continue
            began = time.monotonic()
            entry: dict[str, Any] = {"identity": identity, "point": point.describe()}
            try:
                entry["document"] = dict(runner(point))
            except DiskFull:
                raise  # nor is there any for what would be said of it
            except BunetError as error:
                entry["error"] = str(error)
                failed += 1
            ran += 1
            journal.append(entry)
            write_table(folder, journal, points)
            say(f"[{number}/{len(points)}] {title_of(point)}: {_outcome(entry, time.monotonic() - began)}")
    finally:
        journal.close()
    write_table(folder, journal, points)
    if data:
        write_accuracy(folder, config, journal, points)
    drawn = draw(folder, config, journal, points, say) if pictures else ()
    finished = [journal.entries[identity]["document"] for identity in points if journal.done(identity)]
    disagreeing = sum(document["verified"] is False for document in finished)
    return SweepSummary(len(points), ran, skipped, failed, disagreeing, drawn)


def title_of(point: Point) -> str:
    """One point in words: everything that a grid can vary."""
    return name_of(point.describe())


def _outcome(entry: Mapping[str, Any], elapsed: float) -> str:
    if "error" in entry:
        return f"failed: {entry['error']}"
    row = row_of(entry)
    checked = {True: "verified", False: "DOES NOT AGREE with the oracle", None: "not verified"}[row["verified"]]
    parts = [f"{row['seconds_per_slice']:.2f} s a slice", checked]
    parts += [f"{row['beyond']} values beyond calibration, the mask may be wrong there"] * bool(row["beyond"])
    parts += [f"{100 * (row['input_beyond'] or 0):.2g} % of the input beyond calibration"] * bool(row["input_beyond"])
    return f"{', '.join(parts)} ({elapsed:.0f} s in all)"


def entries_of(journal: Journal, points: Mapping[str, Point]) -> list[dict[str, Any]]:
    """The lines of the journal for the points that are there, in the grid's order, each point as the grid at hand tells it:
    a link may have been called otherwise, and a key not have been there, when the point was run.
    """
    return [
        {**journal.entries[identity], "point": point.describe()}
        for identity, point in points.items()
        if identity in journal.entries
    ]


def row_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the table, from one line of `entries_of`."""
    point = entry["point"]
    row: dict[str, Any] = {"identity": entry["identity"], **point, "protocols": words("protocols", point["protocols"])}
    if "document" not in entry:
        return {**row, "error": entry.get("error", "")}
    document = entry["document"]
    totals, memory = document["totals"], document["totals"]["peak_memory_bytes"]
    return {
        **row,
        "seconds": totals["seconds"],
        "seconds_per_slice": totals["seconds"] / len(document["slices"]),
        "setup_s": document["setup"]["seconds"],
        "bytes_sent": totals["bytes_sent"],
        "bytes_received": totals["bytes_received"],
        "rounds": totals["rounds"],
        "dice_float": document["dice"]["float"],
        "dice_truth": document["dice"]["truth"],
        "verified": document["verified"],
        **beyond_of(document),
        "peak_memory_alice": memory["alice"],
        "peak_memory_bob": memory["bob"],
    }


def write_table(folder: Path, journal: Journal, points: Mapping[str, Point]) -> None:
    """`points.csv` of this grid's points that have run, in the grid's order: a column for every fact, then the results."""
    rows = [row_of(entry) for entry in entries_of(journal, points)]
    facts = dict.fromkeys(key for point in points.values() for key in point.describe())
    write_csv(folder / "points.csv", rows, ("identity", *facts, *RESULTS))


def write_accuracy(folder: Path, config: SweepConfig, journal: Journal, points: Mapping[str, Point]) -> None:
    """The accuracy and runtime table of the points that have run on a volume; none before the first one has."""
    entries = [entry for entry in entries_of(journal, points) if "document" in entry]
    if entries:
        accuracy_table.write(folder, config.title or config.name, entries)


def draw(folder: Path, config: SweepConfig, journal: Journal, points: Mapping[str, Point], say: Say) -> tuple[Path, ...]:
    """The two pictures, and a third of a sweep over a volume.

    None, and a line that says why, without matplotlib or without a finished point. UsageError where two points would be
    drawn at one place: the table has both.
    """
    entries = [entry for entry in entries_of(journal, points) if "document" in entry]
    if not entries:
        say("no point has finished, so there is nothing to draw")
        return ()
    title = config.title or config.name
    pictures = [folder / "seconds_by_link.png", folder / "seconds_by_protocol.png"]
    measured = [(entry["point"], row_of(entry)["seconds_per_slice"]) for entry in entries]
    split = [(e["point"], accuracy_table.seconds_by_family(e["document"])) for e in entries if "volume" in e["point"]]
    try:
        sweep_pictures.seconds_by_link(pictures[0], measured, title)
        sweep_pictures.seconds_by_protocol(pictures[1], measured, title)
        if split:
            pictures.append(folder / "seconds_by_kind.png")
            sweep_pictures.seconds_by_family(pictures[2], split, title)
    except plots.PicturesUnavailable as error:
        say(str(error))
        return ()
    except sweep_pictures.SameBar as error:
        raise UsageError(f"{folder}: {error}") from error
    return tuple(pictures)
