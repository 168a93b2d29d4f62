"""From what was asked for to a job: weights, slices, compiled model, and the files a pair of parties starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bunet import models
from bunet.experiments import clinical_weights
from bunet.experiments.options import DEMO_SIZE, RunSettings, UsageError
from bunet.models.files.atomic import write_whole
from bunet.models.model_card import ModelCard, ModelCardError, card_of_notes
from bunet.models.network import weights as weight_files
from bunet.models.network.architecture import Architecture
from bunet.models.network.reference import FloatModel
from bunet.models.network.weights import FloatWeights
from bunet.models.passes import compile as compiling
from bunet.models.passes.compile import Compiled
from bunet.models.volumes import formats, synthetic
from bunet.models.volumes.labels import labels
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing import slices
from bunet.models.volumes.slicing.field_of_view import Crop
from bunet.models.volumes.slicing.resampling import resample
from bunet.models.volumes.volume import Sliceable
from bunet.parties.local.pair import PairJob

DEMO_FOLDER = Path(models.__file__).parent / "demo"
EMBEDDED_SLICES = 32
CALIBRATION_CHESTS = 6
CALIBRATION_SIZE = 128  # calibration slices may be of another size than the compiled ones; larger ones only cost time
SEEDED_CALIBRATION = range(10_001, 10_007)
RECORDED_PIXELS = 512 * 512  # of the slices whose every layer is kept in memory for verification


@dataclass(frozen=True)
class ChosenWeights:
    """Float weights and where they come from, in words. trained: whether a mask of theirs means anything.

    synthetic: whether they were trained on synthetic chests, so that of a patient's CT they know nothing.
    ranges: what their training measured on its own slices, by float node (`models/training/ranges.py`); None where the
    weight file has none, and calibration is done on synthetic chests. target: what they mark, None where nothing tells.
    """

    weights: FloatWeights
    source: str
    trained: bool
    ranges: Mapping[str, float] | None = None
    synthetic: bool = False
    target: str | None = None

    @property
    def warning(self) -> str | None:
        """What people should know before they believe a mask of these weights; None where there is nothing."""
        if not self.synthetic:
            return None
        return (
            "these weights were trained on synthetic chests: of a patient's CT their mask means nothing. Weights trained on "
            "real CT are such as `--weights infection-z`, and `bunet predict` segments whole volumes with them"
        )

    @property
    def calibration(self) -> str:
        """What the integer program's ranges come from, in words."""
        if self.ranges is not None:
            return "ranges measured on slices of the weights' own training"
        images = "synthetic chests" if self.trained else "synthetic chests and random images"
        return f"ranges measured on {images}"


@dataclass(frozen=True)
class SliceSet:
    """Slices that go in. images: float32 (5, H, W) each, H and W as the network takes them. labels: (axis, index).

    truth: bool (slices, height, width), or None. height, width: before padding, what a mask is cut to. label: of the file that
    the truth was read from, what a JSON document says.
    """

    images: list[np.ndarray]
    labels: list[tuple[str, int]]
    height: int
    width: int
    source: str
    truth: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    label: Mapping[str, Any] | None = None

    @property
    def padded(self) -> tuple[int, int]:
        return self.images[0].shape[1], self.images[0].shape[2]


def demo_weights(architecture: Architecture, folder: Path = DEMO_FOLDER) -> tuple[FloatWeights, str] | None:
    """The committed weights of this architecture with their file's name, or None where there are none."""
    for path in sorted(folder.glob("*.safetensors")):
        weights = weight_files.load(path)
        if _same(weights.architecture, architecture):
            return weights, path.name
    return None


def _same(first: Architecture, second: Architecture) -> bool:
    def facts(a: Architecture) -> tuple[object, ...]:
        return (a.features, a.in_channels, a.depth, a.out_channels, a.level_activations(), a.pooling)

    return facts(first) == facts(second)


def choose_weights(settings: RunSettings, wanted: str, size: tuple[int, int]) -> ChosenWeights:
    """Weights for `wanted`: `auto` (the demo's where they fit, else random), `demo`, `random`, or a weight file.

    size: (height, width) of the slices. UsageError where the wanted weights do not exist or do not fit the settings.
    """
    architecture = settings.architecture()
    if wanted in ("auto", "demo"):
        found = demo_weights(architecture)
        if found and (wanted == "demo" or size == (DEMO_SIZE, DEMO_SIZE)):
            trained_at = "" if size == (DEMO_SIZE, DEMO_SIZE) else f", trained at {DEMO_SIZE}x{DEMO_SIZE}"
            return ChosenWeights(found[0], f"demo weights {found[1]}{trained_at}", True, synthetic=True)
        if wanted == "demo":
            raise UsageError(
                f"--weights demo: there are none for {settings.features} features, activation {settings.activation}, "
                f"{settings.pool} pooling"
            )
        why = (
            f"the demo weights are for {DEMO_SIZE}x{DEMO_SIZE} (--weights demo takes them all the same)"
            if found
            else "there are no demo weights for this network"
        )
        note = f"random weights of seed {settings.seed}: {why}, so the mask means nothing"
        return ChosenWeights(weight_files.seeded(architecture, settings.seed), note, False)
    if wanted == "random":
        note = f"random weights of seed {settings.seed}: the mask means nothing"
        return ChosenWeights(weight_files.seeded(architecture, settings.seed), note, False)
    chosen = named_weights(wanted)
    theirs = chosen.weights.architecture
    if not _same(theirs, architecture):
        raise UsageError(
            f"--weights {wanted} holds {theirs.features} features, activation {theirs.activation}, {theirs.pooling} "
            f"pooling; the options ask for {settings.features}, {settings.activation}, {settings.pool}"
        )
    return chosen


def named_weights(name: str) -> ChosenWeights:
    """A weight file, or a committed one by its name without the ending, such as `demo-relu` or `infection-z`.

    UsageError otherwise.
    """
    path = weight_path(name)
    try:
        found, notes = weight_files.load(path), weight_files.read_notes(path)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(f"--weights {name}: {error}; committed ones: {', '.join(_committed()) or 'none'}") from error
    synthetic_only = path.parent == DEMO_FOLDER or notes.get("source") == "synthetic"
    target = notes.get("target")
    return ChosenWeights(
        found, f"weights {path.name}", True, notes.get("ranges"), synthetic_only, target if isinstance(target, str) else None
    )


def model_card(name: str, said: Mapping[str, str | None]) -> ModelCard:
    """The card of `named_weights(name)`: what was said of it, else what its notes say. UsageError where it cannot be one."""
    path = weight_path(name)
    try:
        return card_of_notes(weight_files.read_notes(path), path.stem, said)
    except ModelCardError as error:
        raise UsageError(f"--weights {name}: {error}") from error


def weight_path(name: str) -> Path:
    """The file of committed weights of this name, else the name as a path. UsageError where it would be one of the clinical
    weights, and these are not installed."""
    path = _committed().get(name, Path(name))
    if clinical_weights.NAME.fullmatch(name) and not path.exists():
        clinical_weights.needed_folder(f"--weights {name}")
    return path


def _committed() -> dict[str, Path]:
    folders = (DEMO_FOLDER, clinical_weights.installed_folder())
    return {path.stem: path for folder in folders if folder for path in sorted(folder.glob("*.safetensors"))}


def embedded_slices(settings: RunSettings, size: int) -> SliceSet:
    """Slices of the embedded synthetic chest, `size` pixels square."""
    try:
        chest = synthetic.embedded(size, EMBEDDED_SLICES if settings.axis == "z" else size)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from error
    return _cut(chest.volume, chest.lesion, settings, None, "embedded synthetic chest", ())


def volume_slices(
    settings: RunSettings,
    path: Path,
    truth_path: Path | None,
    size: int | None,
    *,
    label_values: Sequence[int] = (),
    series: str | None = None,
    rule: str = "auto",
    field_of_view: str = "auto",
) -> SliceSet:
    """Slices of a volume file, at their own size or brought to `size` as everywhere (`slice_source`); UsageError in one
    sentence.

    truth_path: its label's file, else the label inside its own `.npz` is taken. label_values: what is inside of a label
    (`labels.beside`). series, rule, field_of_view: as `formats.load`.
    """
    try:
        loaded = formats.load(path, rule, series, field_of_view, sized=size is not None)
    except ValueError as error:
        raise UsageError(f"--volume: {error}") from error
    try:
        label, notes = labels.beside(truth_path, loaded.stored, label_values)
    except ValueError as error:
        raise UsageError(f"--truth: {error}" if truth_path is not None else str(error)) from error
    if label_values and label is None:
        raise UsageError("--label-value: there is no label")
    notes, mask = (*loaded.remarks(), *notes), None if label is None else label.mask
    found = _cut(loaded.volume, mask, settings, size, loaded.source, notes, loaded.crop)
    return found if label is None else replace(found, label=label.document())


def _cut(
    volume: Sliceable,
    truth: np.ndarray | None,
    settings: RunSettings,
    size: int | None,
    source: str,
    notes: tuple[str, ...],
    crop: Crop | None = None,
) -> SliceSet:
    count = slices.slice_count(volume, settings.axis)
    if settings.slices > count:
        raise UsageError(f"--slices {settings.slices}: {source} has {count} slices along {settings.axis}")
    axis, cut = slices.axis_number(settings.axis), SliceSource.of(volume, settings.axis, size, crop)
    indices = spread(volume, truth, axis, settings.slices, cut.frame.positions(range(count)))
    images = [np.ascontiguousarray(cut.image(index)) for index in indices]
    before, (height, width) = cut.frame.fit.shape, cut.frame.fit.size
    truths = None
    if truth is not None:
        truths = np.stack([cut.frame.taken(np.take(truth, index, axis=axis)) for index in indices])
    if before != (height, width):
        notes = (*notes, f"slices resampled from {before[0]}x{before[1]} to {height}x{width}")
        truths = None if truths is None else resample(truths.astype(np.float32), (height, width)) > 0.5
    if cut.padded != (height, width):
        notes = (*notes, f"slices padded from {height}x{width} to {cut.padded[0]}x{cut.padded[1]}")
    labels = [(settings.axis, index) for index in indices]
    return SliceSet(images, labels, height, width, source, truths, notes)


def spread(volume: Sliceable, truth: np.ndarray | None, axis: int, count: int, within: range | None = None) -> list[int]:
    """`count` distinct slice numbers, spread evenly over where there is something to see.

    That is the slices with at least half as much truth as the fullest one; without a truth, the middle half of the
    volume; the whole volume where these are fewer than `count`. within: the positions that are cut at all, by default all.
    """
    total = range(volume.shape[axis])
    there = total if within is None else within
    others = tuple(a for a in range(3) if a != axis)
    candidates = list(there[len(there) // 4 : len(there) - len(there) // 4])
    if truth is not None and truth.any():
        inside = truth.sum(axis=others)
        candidates = [int(k) for k in np.flatnonzero(inside * 2 >= inside.max()) if k in there]
    if len(candidates) < count:
        candidates = list(there if len(there) >= count else total)
    return [candidates[int((k + 0.5) * len(candidates) / count)] for k in range(count)]


def seeded_slices(settings: RunSettings, size: int) -> SliceSet:
    """Smooth random images, for benchmarks."""
    architecture = settings.architecture()
    images = [weight_files.seeded_slice(architecture, size, size, settings.seed + k) for k in range(settings.slices)]
    labels = [(settings.axis, k) for k in range(settings.slices)]
    return SliceSet(images, labels, size, size, "seeded random images")


def calibration_slices(settings: RunSettings, chosen: ChosenWeights, size: tuple[int, int]) -> list[np.ndarray]:
    """What Bob calibrates on where weights bring no ranges: synthetic chests of the training's seeds, and seeded images
    for random weights.

    Never the slices that will be segmented: Bob has not seen them.
    """
    side = min(max(*size, synthetic.MIN_SIZE), CALIBRATION_SIZE)
    chests = [synthetic.generate(side, 8, seed) for seed in synthetic.TRAINING_SEEDS[:CALIBRATION_CHESTS]]
    images = [slices.slice_at(chest.volume, "z", index) for chest in chests for index in (1, 5)]
    if not chosen.trained:
        architecture = settings.architecture()
        images += [weight_files.seeded_slice(architecture, side, side, seed) for seed in SEEDED_CALIBRATION]
    return images


def compile_for(settings: RunSettings, chosen: ChosenWeights, size: tuple[int, int], readout: str = "argmax") -> Compiled:
    """The program and integers for slices of `size`, from the weights' own ranges where they have them.

    UsageError where they cannot be compiled.
    """
    try:
        calibration = calibration_slices(settings, chosen, size) if chosen.ranges is None else chosen.ranges
        return compiling.compile_model(chosen.weights, *size, settings.format, calibration, readout=readout)
    except ValueError as error:
        raise UsageError(f"this network cannot be compiled: {error}") from error


def recordable(count: int, height: int, width: int) -> int:
    """How many of `count` slices of a session are recorded for verification: at least one, and what memory has room for."""
    return max(1, min(count, RECORDED_PIXELS // (height * width)))


def write_job(settings: RunSettings, compiled: Compiled, images: SliceSet, folder: Path, verify: bool) -> PairJob:
    """Write model and inputs into `folder`, an existing one; verify: keep what the check against the oracle needs."""
    model, inputs = folder / "model.safetensors", folder / "inputs.npy"
    compiling.save(compiled, model)
    quantised = np.stack([compiling.quantise_input(compiled.program, image) for image in images.images])
    write_whole(inputs, lambda stream: np.save(stream, quantised))
    height, width = images.padded
    recorded = recordable(len(images.labels), height, width) if verify else 0
    return PairJob(
        model=model,
        inputs=inputs,
        labels=images.labels,
        folder=folder,
        link=settings.link,
        in_flight=settings.in_flight,
        cores=settings.cores,
        choices=settings.choices(),
        settings=settings.public(),
        record=recorded,
    )


def float_labels(chosen: ChosenWeights, images: SliceSet) -> np.ndarray:
    """uint8 (slices, height, width): what the float model says of the same slices."""
    model = FloatModel(chosen.weights)
    return np.stack([model.label(image)[: images.height, : images.width] for image in images.images])
