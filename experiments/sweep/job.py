"""A sweep from its experiment file on: its points and their data, checked before the first one is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bunet.experiments.bench.data import CtData
from bunet.experiments.bench.slices import Bench
from bunet.experiments.one_line import Say
from bunet.experiments.storage.places import check_apart
from bunet.experiments.sweep.data import Asked, chosen_data
from bunet.experiments.sweep.grid import SweepConfig
from bunet.experiments.sweep.points import Point
from bunet.experiments.sweep.run import SweepSummary, read_points, run_sweep, title_of
from bunet.experiments.weights_choice import choose_weights


@dataclass(frozen=True)
class SweepJob:
    """data: by activation, empty for random weights and images. folder: of the results."""

    config: SweepConfig
    data: Mapping[str, CtData]
    points: tuple[Point, ...]
    folder: Path

    @classmethod
    def of(cls, config: SweepConfig, asked: Asked, out: Path | None, say: Say) -> SweepJob:
        """The sweep of an experiment file; what does not fit together is a UsageError now, not at its point.

        out: folder of the results, by default `runs/NAME`. say: gets how the data are read, and warnings of the weights.
        """
        data = chosen_data(config, asked, say)
        points = tuple(config.points(data))
        warnings: dict[str, None] = {}
        for point in points:
            if point.data is not None:
                weights = choose_weights(point.settings, point.data.weights, (point.settings.size, point.settings.size))
                if weights.warning:
                    warnings[f"warning: {point.data.weights}: {weights.warning}"] = None
        for warning in warnings:
            say(warning)
        folder = out or Path("runs") / config.name
        inputs = [file for each in data.values() for file in (each.volume, each.truth)]
        check_apart(inputs, folder, [folder / "points.jsonl"])
        return cls(config, data, points, folder)

    def progress(self) -> Iterator[str]:
        """A line for each point: whether it is done."""
        entries, _ = read_points(self.folder / "points.jsonl")
        for point in self.points:
            done = "document" in entries.get(point.identity(), {})
            yield f"{'done' if done else 'to do':6}{title_of(point)}"

    def run(self, say: Say) -> SweepSummary:
        """Run what is not done. say: gets a line for each point."""
        bench = Bench()

        def runner(point: Point) -> dict[str, Any]:
            return bench(point.settings, verify=point.verify, data=point.data).document

        return run_sweep(self.config, self.folder, runner, say, data=self.data)
