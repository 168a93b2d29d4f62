"""Whole cases of real CT segmented in the clear, one after the other, and held against their labels. Needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import torch

from bunet.experiments import checks
from bunet.experiments.calibration import compile_for
from bunet.experiments.one_line import Say
from bunet.experiments.settings import RunSettings
from bunet.experiments.training.evaluation import Evaluation
from bunet.experiments.weights_choice import ChosenWeights, named_weights, weight_path
from bunet.models.compiled import Compiled
from bunet.models.errors import UsageError
from bunet.models.network import weights as weight_files
from bunet.models.network.architecture import ArchitectureError
from bunet.models.network.unet import UNet
from bunet.models.training import files
from bunet.models.training.cases import case_names, known_cases, read_case
from bunet.models.training.config import TARGETS, TrainConfig
from bunet.models.volumes.reading import DEFAULT_READING, VolumeReading
from bunet.models.volumes.slicing.slices import AXES

DOCUMENT_VERSION = 1
PARTS = ("test", "validation", "training")


class Watcher(Protocol):
    """Who is told how far it is: a context of the whole job."""

    def __enter__(self) -> Watcher: ...
    def __exit__(
        self, exception_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def begin(self, name: str, slices: int, axis: str, passes: int) -> None:
        """The next case: its slices are segmented `passes` times."""

    def remark(self, text: str) -> None:
        """A line of the case."""

    def done(self, numbers: str, count: int) -> None:
        """Slices that are done in a format (or `float`)."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What `bunet evaluate` was asked for; None for what the weights' notes tell.

    weights: a file, or committed ones by name. data: a folder of cases. cases: a part that the notes name, `all`, or names.
    formats: operand formats whose integer programs are run too. reading: of cases (a file has no
    series). seed: of the oracle's stochastic rounding. threads: of torch.
    """

    weights: str
    data: Path
    cases: str = "test"
    target: str | None = None
    axis: str | None = None
    size: int | None = None
    formats: tuple[str, ...] = ()
    reading: VolumeReading = DEFAULT_READING
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class EvaluationResult:
    """weights: the file. notes: what it says of itself. calibration: of the integer programs, in words."""

    request: EvaluationRequest
    weights: Path
    notes: dict[str, Any]
    calibration: str
    evaluation: Evaluation

    def document(self) -> dict[str, Any]:
        """For JSON."""
        done, asked = self.evaluation, self.request
        return {
            "version": DOCUMENT_VERSION,
            "weights": self.weights.name,
            "notes": self.notes,
            "target": done.target,
            "axis": done.axis,
            "size": done.size,
            "intensity": asked.reading.rule,
            "field_of_view": asked.reading.field_of_view,
            "seed": asked.seed,
            "calibration": self.calibration,
            "cases": done.figures,
            **done.summary(),
        }


def evaluate_cases(request: EvaluationRequest, watcher: Watcher, say: Say) -> EvaluationResult:
    """Score every case that was asked for. say: gets warnings, before the first case. Raises UsageError."""
    weights, path, reading = named_weights(request.weights), weight_path(request.weights), request.reading
    if weights.warning:
        say(f"warning: {weights.warning}")
    notes = weight_files.read_notes(path)
    target = _noted("--target", request.target, notes.get("target", TARGETS[0]), TARGETS)
    axis = _noted("--axis", request.axis, notes.get("axis", "z"), tuple(AXES))
    size = notes.get("size", TrainConfig.size) if request.size is None else request.size
    if not isinstance(size, int):
        raise UsageError(f"the weights note size {size!r}: say --size")
    names = known_cases(request.data, _case_names(request.cases, notes, request.data))
    torch.set_num_threads(request.threads)
    model = files.load(path)
    compiled = _compiled(request.formats, model, weights, size)
    evaluation = Evaluation(model, target, axis, size, compiled, request.seed)
    with watcher:
        for name in names:
            case = read_case(request.data, name, target, reading.label_values, reading.rule, reading.field_of_view)
            watcher.begin(name, evaluation.slices(case), axis, len(compiled) + 1)
            for remark in case.remarks():
                watcher.remark(f"{name}: {remark}")
            figures = evaluation.score(case, watcher.done)
            if case.labelled is not None:
                figures["label"] = case.labelled.document()
    return EvaluationResult(request, path, notes, weights.calibration, evaluation)


def _compiled(formats: tuple[str, ...], model: UNet, weights: ChosenWeights, size: int) -> dict[str, Compiled]:
    """The integer program of each format, for square slices."""
    try:
        model.architecture.check_size(size, size)
    except ArchitectureError as error:
        raise UsageError(f"--size: {error}") from error
    RunSettings(size=size)  # as everywhere
    compiled = {}
    for text in formats:
        settings = RunSettings(features=model.architecture.features, pool=model.architecture.pooling, format=text)
        compiled[str(checks.operand_format(text))] = compile_for(settings, weights, (size, size))
    return compiled


def _noted(option: str, given: str | None, noted: object, known: tuple[str, ...]) -> str:
    """What was given, else what the weights note; UsageError, which does not say what nobody gave, where it is not known."""
    if given is not None:
        return checks.one_of(option, given, known)
    if noted not in known:
        raise UsageError(f"the weights note {option.removeprefix('--')} {noted!r}: say {option} {' or '.join(known)}")
    return str(noted)


def _case_names(wanted: str, notes: dict[str, Any], data: Path) -> tuple[str, ...]:
    """Names for `test`, `validation`, `training` (from the weights' notes), `all`, or names; UsageError for none."""
    if wanted == "all":
        return case_names(data)
    if wanted not in PARTS:
        names = checks.names(wanted)
    elif wanted in notes:
        names = tuple(notes[wanted])
    else:
        raise UsageError(f"--cases {wanted}: the weights do not note a split by case; name the cases, or say all")
    if not names:
        raise UsageError(f"--cases {wanted}: there is no such case")
    return names
