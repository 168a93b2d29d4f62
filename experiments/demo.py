"""The whole job on one machine: two processes, a volume, a live console, a mask, a picture and a JSON document."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bunet.experiments.bench.slices import document_of, masks_of
from bunet.experiments.calibration import compile_for
from bunet.experiments.images import SliceSet, embedded_slices, float_labels, volume_slices
from bunet.experiments.jobs import RunPair, write_job
from bunet.experiments.one_line import Say, one_line
from bunet.experiments.predict.warnings import result_warnings
from bunet.experiments.report import plots
from bunet.experiments.settings import RunSettings
from bunet.experiments.storage.results import write_json, write_mask
from bunet.experiments.weights_choice import ChosenWeights, choose_weights
from bunet.models.metrics import dice_text, known_dice
from bunet.models.volumes.reading import DEFAULT_READING, VolumeReading
from bunet.models.volumes.slicing.slices import OFFSETS
from bunet.parties.console import RunConsole
from bunet.parties.local.pair import run_pair
from bunet.parties.local.record import beyond_calibration

CENTRE = OFFSETS.index(0)


@dataclass(frozen=True)
class DemoRequest:
    """What `bunet demo` was asked for beyond the run's settings.

    volume: a file instead of the embedded chest; its slices keep their own size where `own_size`. truth: a file with its
    labels. reading: of both. weights: auto, demo, random or a file. out: folder of the results. json: a further place for the
    document.
    """

    settings: RunSettings
    out: Path
    volume: Path | None = None
    own_size: bool = False
    truth: Path | None = None
    weights: str = "auto"
    json: Path | None = None
    verify: bool = True
    reading: VolumeReading = DEFAULT_READING


@dataclass(frozen=True)
class DemoResult:
    """document: as docs/documents.md has it. files: what was written. mismatches: where a layer differs from the oracle."""

    document: dict[str, Any]
    masks: np.ndarray
    files: tuple[Path, ...]
    mismatches: list[str]


def run_demo(request: DemoRequest, console: RunConsole, run: RunPair = run_pair) -> DemoResult:
    """Prepare, run, show, write. Raises a BunetError.

    Nothing is written unless the whole run ended; of a run that disagrees with the oracle only the document is.
    """
    settings = request.settings

    def say(text: str) -> None:
        console.console.print(one_line(text), highlight=False, markup=False, soft_wrap=True)

    images, weights = _inputs(request, say)
    say("compiling the model")
    compiled = compile_for(settings, weights, images.padded)
    with tempfile.TemporaryDirectory(prefix="bunet-") as folder:
        job = write_job(settings, compiled, images, Path(folder), request.verify)
        with console:
            result = run(job, console)
    masks = masks_of(result, images)
    against_float = known_dice(masks, float_labels(weights, images))
    against_truth = known_dice(masks, images.truth) if images.truth is not None and weights.trained else None
    document = document_of(
        console.ledger,
        settings,
        result,
        images,
        weights=weights.source,
        dice_float=against_float,
        dice_truth=against_truth,
        record=job.record,
    )
    if weights.trained:
        doubts = [note for note in images.notes if note.startswith("WARNING")]
        document["run"]["remarks"] += result_warnings(masks != 0, weights.target, doubts=doubts)
    console.print_table()
    for line in _verdict(document, result.mismatches, images, weights):
        say(line)
    for warning in document["run"]["remarks"][len(images.notes) :]:
        say(f"  {warning}")
    files = _write(request, images, masks, document, say)
    return DemoResult(document, masks, files, result.mismatches)


def _inputs(request: DemoRequest, say: Say) -> tuple[SliceSet, ChosenWeights]:
    settings = request.settings
    if request.volume is None:
        images = embedded_slices(settings, settings.size)
    else:
        size = None if request.own_size else settings.size
        images = volume_slices(settings, request.volume, request.truth, size, request.reading)
    weights = choose_weights(settings, request.weights, images.padded)
    numbers = ", ".join(str(index) for _, index in images.labels)
    say(f"volume: {images.source}, axis {settings.axis}, slices {numbers}, {images.height}x{images.width}")
    for note in images.notes:
        say(f"  {note}")
    say(f"model: {weights.source}")
    say(f"  calibrated: {weights.calibration}")
    if request.volume is not None and weights.warning:
        say(f"  warning: {weights.warning}")
    return images, weights


def _verdict(document: dict[str, Any], mismatches: list[str], images: SliceSet, weights: ChosenWeights) -> list[str]:
    agreement = document["dice"]
    lines = [f"Dice of the secure mask against the float model: {dice_text(agreement['float'])}"]
    if images.truth is None:
        lines.append("Dice against the truth: the volume has no labels")
    elif not weights.trained:
        lines.append("Dice against the truth: none, the weights are random")
    else:
        lines.append(f"Dice of the secure mask against the truth: {dice_text(agreement['truth'])}")
    run = document["run"]
    if document["verified"] is None:
        lines.append("layers were not compared with the oracle")
    elif document["verified"]:
        checked, count = run["verified_slices"], run["slices"]
        lines.append(f"verified: all {run['compared_layers']} layers of {checked} of {count} slices agree with the oracle")
    elif not mismatches:
        lines.append("NOT verified: there was no layer to compare")
    else:
        lines.append(f"NOT verified: {len(mismatches)} of {run['compared_layers']} layers differ; {mismatches[0]}")
    return [*lines, *beyond_calibration(run["beyond_calibration"])]


def _write(request: DemoRequest, images: SliceSet, masks: np.ndarray, document: dict[str, Any], say: Say) -> tuple[Path, ...]:
    out = request.out
    out.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    if document["verified"] is False:  # a mask that may be wrong must not look like a result
        say(f"no mask and no picture, since they may be wrong; what {out} holds of an earlier run stays")
    else:
        files += _write_pictures(out, images, masks, document, say)
    for path in (request.json, out / "run.json"):  # last, so that whoever finds it finds the rest
        if path is not None:
            write_json(path, document)
            files.append(path)
    say("written: " + ", ".join(str(path) for path in files))
    return tuple(files)


def _write_pictures(out: Path, images: SliceSet, masks: np.ndarray, document: dict[str, Any], say: Say) -> list[Path]:
    mask, picture = out / "mask.npz", out / "overlay.png"
    write_mask(mask, masks, images.labels[0][0], [index for _, index in images.labels])
    try:
        shown = [image[CENTRE, : images.height, : images.width] for image in images.images]
        title = f"{images.source}, {document['format']}, link {document['link']['name']}"
        plots.overlay(picture, shown, masks, images.labels, images.truth, title)
    except plots.PicturesUnavailable as error:
        picture.unlink(missing_ok=True)  # one of an earlier run would pass for this one's
        say(f"no picture: {error}")
        return [mask]
    return [mask, picture]
