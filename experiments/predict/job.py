"""What the cases of one job share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bunet.experiments.calibration import Calibration
from bunet.experiments.jobs import RunPair
from bunet.experiments.predict.models import PredictModel
from bunet.experiments.predict.settings import PredictSettings
from bunet.experiments.predict.stage import JobProgress
from bunet.parties.console import RunConsole
from bunet.parties.local.pair import run_pair

Models = Mapping[str, Mapping[str, PredictModel]]  # target, axis


class View(Protocol):
    """Where a job shows how far it is."""

    def say(self, text: str) -> None:
        """One line."""

    def session(self, bandwidth_bps: float, above: Callable[[], str]) -> RunConsole:
        """What shows a session of the parties. above: the line over it."""

    def track(self, title: str, positions: Sequence[int]) -> Iterable[int]:
        """The positions, one after the other, while a bar shows how many are left."""


@dataclass(frozen=True)
class Job:
    """models: by target and axis. out: the folder that masks go to; each case has a folder of its own in it.

    run: what runs a pair (for tests).
    """

    models: Models
    settings: PredictSettings
    out: Path
    calibration: Calibration
    view: View
    progress: JobProgress = field(default_factory=JobProgress)
    run: RunPair = run_pair
