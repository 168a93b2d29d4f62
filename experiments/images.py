"""The slices of a run, and what is right for them: of the embedded chest, of a volume's file, or random ones of a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bunet.experiments.settings import RunSettings
from bunet.experiments.weights_choice import ChosenWeights
from bunet.models.errors import UsageError
from bunet.models.network.reference import FloatModel
from bunet.models.network.seeded import seeded_slice
from bunet.models.volumes import synthetic
from bunet.models.volumes.reading import DEFAULT_READING, VolumeReading
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing import slices
from bunet.models.volumes.slicing.field_of_view import Crop
from bunet.models.volumes.volume import Sliceable, VolumeError

EMBEDDED_SLICES = 32


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


def embedded_slices(settings: RunSettings, size: int) -> SliceSet:
    """Slices of the embedded synthetic chest, `size` pixels square."""
    try:
        chest = synthetic.embedded(size, EMBEDDED_SLICES if settings.axis == "z" else size)
    except UsageError as error:
        raise UsageError(f"--size: {error}") from error
    return _cut(chest.volume, chest.lesion, settings, None, "embedded synthetic chest", ())


def volume_slices(
    settings: RunSettings,
    path: Path,
    truth_path: Path | None,
    size: int | None,
    reading: VolumeReading = DEFAULT_READING,
) -> SliceSet:
    """Slices of a volume file, at their own size or brought to `size` as everywhere (`slice_source`); UsageError in one
    sentence.

    truth_path: its label's file, else the label inside its own `.npz` is taken. reading: of both.
    """
    try:
        loaded = reading.load(path, sized=size is not None)
    except VolumeError as error:
        raise UsageError(f"--volume: {error}") from error
    try:
        label, notes = reading.label(truth_path, loaded.stored)
    except VolumeError as error:
        raise UsageError(f"--truth: {error}" if truth_path is not None else str(error)) from error
    if reading.label_values and label is None:
        raise UsageError("--label-value: there is no label")
    notes, mask = (*loaded.remarks(), *notes), None if label is None else label.mask
    images = _cut(loaded.volume, mask, settings, size, loaded.source, notes, loaded.crop)
    return images if label is None else replace(images, label=label.document())


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
        # Not by the nearest pixel, as `SliceSource.label` does it: the published Dice are against this truth, and stay.
        truths = cut.frame.fit.image(truths.astype(np.float32))[:, :height, :width] > 0.5
    if before != (height, width):
        notes = (*notes, f"slices resampled from {before[0]}x{before[1]} to {height}x{width}")
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
    images = [seeded_slice(architecture, size, size, settings.seed + k) for k in range(settings.slices)]
    labels = [(settings.axis, k) for k in range(settings.slices)]
    return SliceSet(images, labels, size, size, "seeded random images")


def float_labels(weights: ChosenWeights, images: SliceSet) -> np.ndarray:
    """uint8 (slices, height, width): what the float model says of the same slices."""
    model = FloatModel(weights.weights)
    return np.stack([model.label(image)[: images.height, : images.width] for image in images.images])
