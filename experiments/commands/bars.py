"""How far a command is: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from bunet.experiments.one_line import one_line
from bunet.parties.words import counted

if TYPE_CHECKING:
    from bunet.models.training.config import TrainProgress


@contextmanager
def step_bar(verb: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on standard error, where that is a terminal; the step function is told what comes next."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(verb, total=total)
        begun = 0

        def step(name: str) -> None:
            nonlocal begun
            progress.update(task, description=f"{verb} {name}"[:44], completed=begun)
            begun += 1

        yield step


class TrainBar:
    """A context whose methods are what `train.train` calls."""

    def __init__(self, steps: int, console: Console | None = None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

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

    def __exit__(
        self, exception_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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


class CaseBar:
    """On a terminal a bar for each case with the time left; elsewhere a line. Both on stderr: stdout is for figures."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = console or Console(stderr=True, highlight=False)
        self.progress = Progress(
            TextColumn("{task.description}"),
            TextColumn("{task.fields[numbers]}"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> CaseBar:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, name: str, slices: int, axis: str, passes: int) -> None:
        """The next case: its slices are segmented `passes` times."""
        self.console.print(one_line(f"{name}: {counted(slices, 'slice')} along {axis}"), markup=False, soft_wrap=True)
        for task in self.progress.task_ids:
            self.progress.remove_task(task)
        self.task = self.progress.add_task(escape(one_line(name)), total=slices * passes, numbers="")
        self.slices, self.earlier, self.numbers = slices, -slices, ""

    def remark(self, text: str) -> None:
        """A line of the case."""
        self.console.print(one_line(text), markup=False, soft_wrap=True)

    def done(self, numbers: str, count: int) -> None:
        if numbers != self.numbers:
            self.numbers, self.earlier = numbers, self.earlier + self.slices
        self.progress.update(self.task, completed=self.earlier + count, numbers=numbers)
