"""One stage of a prediction: a model along one axis, over the slices that are not done yet, secure or in the clear."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bunet.experiments.calibration import Calibration
from bunet.experiments.jobs import RunPair, recordable
from bunet.experiments.machine import environment
from bunet.experiments.predict.models import PredictModel
from bunet.experiments.predict.settings import PredictSettings
from bunet.models.compiled import Compiled, save_compiled
from bunet.models.errors import UsageError
from bunet.models.network.reference import FloatModel
from bunet.models.passes.compile import compile_model
from bunet.models.volumes import ensemble
from bunet.models.volumes.slice_source import SliceFrame, SliceSource
from bunet.models.volumes.volume import Sliceable
from bunet.parties import outcomes
from bunet.parties.console import RunConsole
from bunet.parties.events import ROLES, Event, SliceFinished
from bunet.parties.local.inputs import VolumeSlices
from bunet.parties.local.job import PairJob
from bunet.parties.local.pair import PairResult, run_pair
from bunet.parties.shares import complete, discard_unpaired
from bunet.parties.words import duration

RECORDED = 2  # slices of a session whose layers are held against the oracle, if both parties can keep them in memory

SCRATCH = "scratch-"  # folders of what both parties hold while a session lasts; who locks the case's folder removes old ones

Track = Callable[[str, Sequence[int]], Iterable[int]]  # (title, positions) -> the positions, while their progress is shown


@dataclass(frozen=True)
class Stage:
    """way: secure or float. frame: how its slices are cut. folder: of finished slices.

    shared: whether slices are left shared between the parties.
    """

    way: str
    model: PredictModel
    positions: range
    frame: SliceFrame
    folder: Path
    shared: bool = False

    @property
    def name(self) -> str:
        """Such as infection-x-secure."""
        return f"{self.model.name}-{self.way}"

    @property
    def shares(self) -> tuple[Path, Path]:
        """Alice's folder and Bob's, of their shares."""
        return self.folder / "alice", self.folder / "bob"

    @property
    def title(self) -> str:
        return f"{self.model.target} along {self.model.along}" + (" in the clear" if self.way == "float" else "")

    def todo(self) -> list[int]:
        """Positions that are not done."""
        if self.shared:
            done = complete(*self.shares)
            return [k for k in self.positions if (self.model.axis, k) not in done]
        return [k for k in self.positions if not outcomes.path_of(self.folder, k).exists()]


class JobProgress:
    """How far the whole job is, over all stages, weighed by what a slice of each costs.

    Work is counted in slices times features, the secure one many times the other; the pace is measured.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.total = self.done = self._here = self._seconds = 0.0
        self._since: float | None = None

    @staticmethod
    def weight(stage: Stage) -> float:
        return stage.model.weights.architecture.features * (1.0 if stage.way == "secure" else 0.02)

    def expect(self, stage: Stage) -> None:
        """Count a stage in, with what is done of it already."""
        self.total += len(stage.positions) * self.weight(stage)
        self.done += (len(stage.positions) - len(stage.todo())) * self.weight(stage)

    def begin(self) -> None:
        """Slices run from now on."""
        self._since = self._clock()

    def finished(self, stage: Stage) -> None:
        """One slice more."""
        now = self._clock()
        self._seconds += now - (now if self._since is None else self._since)
        self._since = now
        self._here += self.weight(stage)
        self.done += self.weight(stage)

    def text(self) -> str:
        """Such as `job 12 %, about 3:40 left`."""
        share = 100 * self.done / self.total if self.total else 100.0
        if not self._here or not self._seconds or self.done > 0.9999 * self.total:
            return f"job {share:.0f} %"
        return f"job {share:.0f} %, about {duration((self.total - self.done) * self._seconds / self._here)} left"


def compile_stage(stage: Stage, settings: PredictSettings, calibration: Calibration) -> Compiled:
    """The stage's program and integers. Raises UsageError."""
    slices_or_ranges = calibration.of(stage.model.notes.get("ranges"), stage.model.axis, stage.frame.size)
    try:
        return compile_model(
            stage.model.weights, *stage.frame.padded, settings.format, slices_or_ranges, readout=settings.readout
        )
    except UsageError as error:
        raise UsageError(f"{stage.model.source} cannot be compiled: {error}") from error


def run_secure(
    stage: Stage,
    compiled: Compiled,
    inputs: VolumeSlices,
    settings: PredictSettings,
    *,
    folder: Path,
    console: RunConsole,
    progress: JobProgress,
    run: RunPair = run_pair,
) -> dict[str, Any]:
    """Run what is left of a stage with two processes; each slice is on disk as soon as it is done.

    folder: where the run's own files lie while it lasts. Returns the session's document, whose `verified` is False where a
    layer differs from the oracle. Raises LocalError or PeerError.
    """
    if stage.shared:
        discard_unpaired(*stage.shares)
    todo, axis = stage.todo(), stage.model.axis
    _, height, width = compiled.program.input.type.shape

    def bus(event: Event) -> None:
        if isinstance(event, SliceFinished) and event.role == "alice":
            progress.finished(stage)
        console(event)

    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder) as temporary:
        model = Path(temporary) / "model.safetensors"
        save_compiled(compiled, model)
        job = PairJob(
            folder=Path(temporary),
            run=settings.run,
            model=model,
            inputs=inputs,
            labels=tuple((axis, k) for k in todo),
            record=recordable(RECORDED, height, width) if settings.verify else 0,
            results=None if stage.shared else stage.folder,
            shares=dict(zip(ROLES, stage.shares, strict=True)) if stage.shared else {},
        )
        with console:
            progress.begin()
            result = run(job, bus)
    return console.ledger.document(
        link=settings.run.link.describe(),
        environment=environment(settings.run.cores),
        verified=result.verified,
        run=_facts(stage, settings, len(todo), (height, width), result),
    )


def _facts(stage: Stage, settings: PredictSettings, slices: int, size: tuple[int, int], result: PairResult) -> dict[str, Any]:
    """What a session's document says of its run. size: (height, width) as the network takes slices."""
    return {
        "target": stage.model.target,
        "axis": stage.model.axis,
        "weights": stage.model.source,
        "slices": slices,
        "height": size[0],
        "width": size[1],
        **settings.run.pace(),
        **settings.run.choices(),
        "readout": settings.readout,
        "compared_layers": result.compared_layers,
        "mismatches": result.mismatches,
        "beyond_calibration": result.beyond,
        "input_beyond_calibration": dict(result.input_beyond),
    }


def run_float(
    stage: Stage, volume: Sliceable, settings: PredictSettings, progress: JobProgress, track: Track
) -> dict[str, Any]:
    """The same in the clear, with torch where it is installed. Returns what it took. Raises UsageError where it overflows."""
    todo, model = stage.todo(), stage.model
    source, logits_of = SliceSource(volume, stage.frame), _float_model(stage.model, settings.run.cores)
    progress.begin()
    started = time.perf_counter()
    for k in track(stage.title, todo):
        logits = logits_of(source.image(k))
        if not np.isfinite(logits).all():  # a comparison with NaN is false: the mask would be empty
            where = f"slice {k} along {model.along}"
            raise UsageError(f"{model.source}: its network overflows on {where}: is --activation right?")
        if settings.ensemble == "probabilities":
            outcomes.write(stage.folder, k, ensemble.probability(logits))
        else:
            outcomes.write(stage.folder, k, logits.argmax(axis=0).astype(np.uint8))
        progress.finished(stage)
    return {"slices": len(todo), "seconds": time.perf_counter() - started}


def _float_model(model: PredictModel, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """(5, H, W) -> logits (2, H, W), float32."""
    try:
        import torch

        from bunet.models.network.unet import from_weights
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return FloatModel(model.weights).logits
    torch.set_num_threads(threads)  # of its own accord it takes all cores, and crawls where another process has one
    network = from_weights(model.weights)

    def logits(image: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(network(torch.from_numpy(np.ascontiguousarray(image))[None])[0].numpy())

    return logits
