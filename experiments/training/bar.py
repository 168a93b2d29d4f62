"""How far a training is: a bar with the time left on a terminal, and a line for each evaluation everywhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bunet.experiments.one_line import one_line

if TYPE_CHECKING:
    from bunet.models.training.config import TrainProgress


class TrainBar:
    """A context whose methods are what `train.train` calls."""

    def __init__(self, steps: int, console: Console | None = None) -> None:
        self.steps = steps
        self.console = console or Console(highlight=False)
        self.progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.progress.add_task("train", total=steps, loss=float("nan"))
        self.mean = float("nan")  # of the loss, over about twenty steps
        self.first: tuple[int, float] | None = None

    def __enter__(self) -> TrainBar:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.stop()

    def say(self, text: str) -> None:
        self.console.print(one_line(text), markup=False, soft_wrap=True)

    def stepped(self, step: int, loss: float) -> None:
        if self.first is None:  # a run that goes on does not start at 0, and its earlier steps took none of our time
            self.first, self.mean = (step, time.perf_counter()), loss
            self.progress.reset(self.task, total=self.steps, completed=step, loss=loss)
        self.mean += 0.05 * (loss - self.mean)
        self.progress.update(self.task, completed=step, loss=self.mean)

    def evaluated(self, report: TrainProgress) -> None:
        left = ""
        if self.first is not None and report.step > self.first[0]:
            pace = (time.perf_counter() - self.first[1]) / (report.step - self.first[0])
            left = f", about {pace * (report.steps - report.step):.0f} s left"
        self.console.print(
            f"step {report.step}/{report.steps}: loss {report.loss:.4f}, validation Dice {report.dice:.4f} against the labels, "
            f"largest activation {report.peak:.1f}, {report.seconds:.0f} s{left}",
            soft_wrap=True,
        )
