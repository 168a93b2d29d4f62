"""Whole slices timed, of random weights and images or of trained weights and a CT volume.

Two processes on this machine; every layer is held against the oracle afterwards.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bunet.experiments.bench.data import CtData
from bunet.experiments.calibration import compile_for
from bunet.experiments.images import SliceSet, float_labels, seeded_slices, volume_slices
from bunet.experiments.jobs import RunPair, write_job
from bunet.experiments.machine import environment
from bunet.experiments.settings import RunSettings
from bunet.experiments.weights_choice import ChosenWeights, choose_weights
from bunet.models.compiled import Compiled
from bunet.models.metrics import known_dice
from bunet.models.network.reference import FloatModel
from bunet.models.network.seeded import seeded_weights
from bunet.parties.events import Subscriber
from bunet.parties.ledger import Ledger
from bunet.parties.local.pair import PairResult, run_pair
from bunet.parties.local.profile import Line


@dataclass(frozen=True)
class Outcome:
    """What a run gave. document: as docs/documents.md has it. mismatches: of the oracle, as sentences. profiles: by role,
    the functions that compute threads were in, where that was asked for.
    """

    document: dict[str, Any]
    mismatches: list[str]
    profiles: Mapping[str, Sequence[Line]] = field(default_factory=dict)


class Bench:
    """Runs settings one after the other and keeps the last compiled model, so that a sweep over links compiles once."""

    def __init__(self, run: RunPair = run_pair) -> None:
        self._run = run
        self._key: tuple[object, ...] | None = None
        self._model: tuple[Compiled, ChosenWeights, SliceSet] | None = None
        self._read: tuple[tuple[object, ...], SliceSet] | None = None

    def __call__(
        self,
        settings: RunSettings,
        *,
        verify: bool = True,
        subscriber: Subscriber | None = None,
        profile: bool = False,
        data: CtData | None = None,
    ) -> Outcome:
        """One run. subscriber: sees the events too. profile: say where the compute threads were. data: a volume and weights
        in place of random ones; the document's `run.float` then has the float model's own seconds and Dice.

        Raises a BunetError.
        """
        compiled, weights, images = self._prepare(settings, data)
        ledger = Ledger()

        def bus(event: Any) -> None:
            ledger(event)
            if subscriber is not None:
                subscriber(event)

        with tempfile.TemporaryDirectory(prefix="bunet-") as folder:
            job = write_job(settings, compiled, images, Path(folder), verify)
            result = self._run(job.model_copy(update={"profile": profile}), bus)
        masks = masks_of(result, images)
        floats = float_labels(weights, images)
        truth = images.truth if weights.trained else None
        document = document_of(
            ledger,
            settings,
            result,
            images,
            weights=weights.source,
            dice_float=known_dice(masks, floats),
            dice_truth=None if truth is None else known_dice(masks, truth),
            record=job.record,
        )
        if data is not None:
            float_truth = None if truth is None else known_dice(floats, truth)
            document["run"]["float"] = {"seconds_per_slice": float_seconds(weights, images), "dice_truth": float_truth}
            document["run"]["calibration"] = weights.calibration
        if profile:
            document["profile"] = {role: [asdict(line) for line in lines] for role, lines in result.profiles.items()}
        return Outcome(document, result.mismatches, result.profiles)

    def _prepare(self, settings: RunSettings, data: CtData | None) -> tuple[Compiled, ChosenWeights, SliceSet]:
        key = (settings.architecture(), settings.size, settings.format, settings.seed, settings.slices, settings.axis, data)
        if self._model is not None and key == self._key:
            return self._model
        if data is not None:
            images = self._slices(settings, data)
            weights = choose_weights(settings, data.weights, images.padded)
            compiled = compile_for(settings, weights, images.padded)
            self._key, self._model = key, (compiled, weights, images)
        else:
            weights = ChosenWeights(
                seeded_weights(settings.architecture(), settings.seed), f"random weights of seed {settings.seed}", False
            )
            compiled = compile_for(settings, weights, (settings.size, settings.size))
            self._key, self._model = key, (compiled, weights, seeded_slices(settings, settings.size))
        return self._model

    def _slices(self, settings: RunSettings, data: CtData) -> SliceSet:
        """Read again for slices of another kind only, not for other weights or formats."""
        key = (settings.size, settings.slices, settings.axis, replace(data, weights="", digest=""))
        if self._read is None or self._read[0] != key:
            self._read = key, volume_slices(settings, data.volume, data.truth, settings.size, data.reading)
        return self._read[1]


def float_seconds(weights: ChosenWeights, images: SliceSet) -> float:
    """Seconds a slice of the float model in numpy, which has been run before: nothing is loaded or set up meanwhile."""
    model = FloatModel(weights.weights)
    began = time.perf_counter()
    for image in images.images:
        model.label(image)
    return (time.perf_counter() - began) / len(images.images)


def masks_of(result: PairResult, images: SliceSet) -> Any:
    """uint8 (slices, height, width): the labels without the padding."""
    height, width = images.padded
    return result.masks.reshape(len(images.labels), height, width)[:, : images.height, : images.width]


def document_of(
    ledger: Ledger,
    settings: RunSettings,
    result: PairResult,
    images: SliceSet,
    *,
    weights: str,
    dice_float: float | None,
    dice_truth: float | None,
    record: int,
) -> dict[str, Any]:
    """The JSON document of a local run."""
    run = {
        **settings.document(),
        "height": images.padded[0],
        "width": images.padded[1],
        "volume": images.source,
        "remarks": list(images.notes),
        "weights": weights,
        "verified_slices": record,
        "compared_layers": result.compared_layers,
        "beyond_calibration": result.beyond,
        "input_beyond_calibration": dict(result.input_beyond),
    }
    if images.label is not None:
        run["label"] = dict(images.label)
    return ledger.document(
        link=settings.run.link.describe(),
        environment=environment(settings.run.cores),
        dice={"float": dice_float, "truth": dice_truth},
        verified=result.verified,
        run=run,
    )
