"""Where training slices come from: synthetic chests, or cases of real CT. Both draw from (seed, step) alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bunet.models.training.augment import varied
from bunet.models.training.cases import Bools, Case, read_case, split
from bunet.models.training.config import SEEDS_A_RUN, TrainConfig
from bunet.models.training.ranges import calibration_rows
from bunet.models.volumes import synthetic
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing.slices import Floats, axis_number, slice_at, slice_count
from bunet.models.volumes.synthetic import SyntheticVolume

TARGET_SHARE = 0.75  # of the training slices are drawn from those that show the target
BORDER_SHARE = 0.25  # with squares: of the slices are near the first or last, whose zeros beyond the border stand out
EVALUATED_TOGETHER = 8
CALIBRATION_CHESTS = 12

Batch = tuple[Floats, Bools]  # images (n, 5, size, size), labels (n, size, size)


class Source(Protocol):
    """What a training needs of its data."""

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (batch, 5, size, size) float32 in about [0, 1] and labels (batch, size, size) int64 of 0, 1."""

    def validation(self) -> Iterator[Iterable[Batch]]:
        """Groups of batches: the Dice is that of each group's pixels together, and the mean over the groups."""

    def calibration(self) -> list[Floats]:
        """Slices (5, size, size) of the training's volumes, with and without the target, on which ranges are measured."""

    def notes(self) -> dict[str, Any]:
        """What the weights' file says of the data."""

    @property
    def remarks(self) -> Sequence[str]:
        """What people should know of the data, a line each."""


def source_of(config: TrainConfig) -> Source:
    """The configuration's source; TrainError where its cases do not fit."""
    return SyntheticSource(config) if config.data is None else CaseSource(config)


class SyntheticSource:
    """Seeded chests; axial slices of slabs, or slices of whole cubes along the other axes."""

    remarks: Sequence[str] = ()

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        first = synthetic.TRAINING_SEEDS.start + SEEDS_A_RUN * config.seed
        self.seeds = [first + k for k in range(config.volumes)]
        self.squares = has_squares(config)
        self.cache: dict[int, SyntheticVolume] = {}
        seeds = synthetic.VALIDATION_SEEDS[: config.validation_volumes]
        self.watched = [self.generate(seed) for seed in seeds]

    def generate(self, seed: int) -> SyntheticVolume:
        config = self.config
        return synthetic.generate(config.size, config.slices if config.axis == "z" else config.size, seed)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """With mirroring and shifts of brightness and contrast."""
        rng = np.random.default_rng([self.config.seed, step])
        images, labels = [], []
        for _ in range(self.config.batch):
            index = int(rng.integers(len(self.seeds)))
            if index not in self.cache:
                self.cache[index] = self.generate(self.seeds[index])
            chest = self.cache[index]
            target = target_of(chest, self.config.target)
            count = slice_count(chest.volume, self.config.axis)
            rows = showing(target, self.config.axis)
            if rows.size == 0 or rng.uniform() > TARGET_SHARE:
                rows = np.arange(count)
            if self.squares and rng.uniform() < BORDER_SHARE:
                rows = near_border(count)
            k = int(rng.choice(rows))
            image, label = slice_at(chest.volume, self.config.axis, k), label_at(target, self.config.axis, k)
            if rng.uniform() < 0.5:
                image, label = image[:, :, ::-1], label[:, ::-1]
            if rng.uniform() < 0.5:
                image = image[::-1]  # slice order runs either way in the wild
            inside = image.any(axis=(1, 2), keepdims=True)  # slices beyond the border stay zero
            image = inside * (image * rng.uniform(0.93, 1.07) + rng.uniform(-0.03, 0.03))
            images.append(np.ascontiguousarray(image, dtype=np.float32))
            labels.append(np.ascontiguousarray(label, dtype=np.int64))
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))

    def validation(self) -> Iterator[Iterable[Batch]]:
        yield chest_batches(self.watched, self.config.axis, self.config.target)

    def calibration(self) -> list[Floats]:
        axis = self.config.axis
        chests = [self.generate(seed) for seed in self.seeds[:CALIBRATION_CHESTS]]
        shows = [showing(target_of(chest, self.config.target), axis) for chest in chests]
        rows = calibration_rows(shows, [slice_count(chest.volume, axis) for chest in chests], self.config.seed)
        return [slice_at(chests[number].volume, axis, k) for number, k in rows]

    def notes(self) -> dict[str, Any]:
        return {"source": "synthetic", "volumes": self.config.volumes}


class CaseSource:
    """Cases of real CT, split by case; all training and validation cases are kept in memory.

    A case is drawn with the square root of how many slices it has to offer: long series teach more than short ones,
    but not in proportion, since their slices are alike.
    """

    def __init__(self, config: TrainConfig) -> None:
        assert config.data is not None
        self.config = config
        self.split = split(config.data, config.test_cases, config.validation_cases)
        self.squares = has_squares(config)
        read = partial(read_case, config.data, target=config.target, label_values=config.label_values, rule=config.intensity)
        self.cases = [read(name) for name in self.split.training]
        self.watched = [read(name) for name in self.split.validation]
        self.remarks: Sequence[str] = [
            f"{case.name}: {remark}" for case in (*self.cases, *self.watched) for remark in case.remarks()
        ]
        self.showing = [showing(case.label, config.axis) for case in self.cases]
        self.all = [np.arange(slice_count(case.volume, config.axis)) for case in self.cases]
        self.slices = [source_of_case(case, config) for case in self.cases]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """With mirroring, small turns, scales and shifts, and other brightness and contrast (`augment`)."""
        rng = np.random.default_rng([self.config.seed, step])
        images, labels = [], []
        for _ in range(self.config.batch):
            number, index = self.draw(rng)
            image = self.slices[number].image(index)
            label = self.slices[number].label(self.cases[number].label, index).astype(np.int64)
            image, label = varied(image, label, rng)
            images.append(torch.from_numpy(np.ascontiguousarray(image)))
            labels.append(torch.from_numpy(np.ascontiguousarray(label)))
        return torch.stack(images), torch.stack(labels)

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """The number of a case and the position of a slice in it."""
        choices = self.all
        if rng.uniform() < TARGET_SHARE and any(rows.size for rows in self.showing):
            choices = self.showing
        elif self.squares and rng.uniform() < BORDER_SHARE / (1 - TARGET_SHARE):
            choices = [near_border(rows.size) for rows in self.all]
        chance = np.sqrt([rows.size for rows in choices])
        number = int(rng.choice(len(self.cases), p=chance / chance.sum()))
        return number, int(rng.choice(choices[number]))

    def validation(self) -> Iterator[Iterable[Batch]]:
        each = max(1, self.config.validation_slices // len(self.watched))
        for case in self.watched:
            count = slice_count(case.volume, self.config.axis)
            taken = min(each, count)
            yield case_batches(case, self.config, [int((k + 0.5) * count / taken) for k in range(taken)])

    def calibration(self) -> list[Floats]:
        rows = calibration_rows(self.showing, [every.size for every in self.all], self.config.seed)
        return [self.slices[number].image(k) for number, k in rows]

    def notes(self) -> dict[str, Any]:
        read = (*self.cases, *self.watched)
        asked: dict[str, Any] = {"label_values": list(self.config.label_values)} if self.config.label_values else {}
        asked |= {"intensity": self.config.intensity} if self.config.intensity != "auto" else {}
        return {
            "source": "cases",
            **{part: list(names) for part, names in self.split.parts().items()},
            **asked,
            "intensities": {case.name: case.rule for case in read},
            "remarks": [f"{case.name}: {remark}" for case in read for remark in case.read[1:]],  # the first is the rule
        }


def has_squares(config: TrainConfig) -> bool:
    return "square" in config.architecture.level_activations()


def target_of(chest: SyntheticVolume, target: str) -> Bools:
    return chest.lung if target == "lung" else chest.lesion


def showing(label: Bools, axis: str) -> NDArray[np.int64]:
    """Positions of the slices along an axis that show the target."""
    others = tuple(a for a in range(3) if a != axis_number(axis))
    return np.asarray(np.flatnonzero(label.any(axis=others)))


def near_border(count: int) -> NDArray[np.int64]:
    """Positions whose five slices reach beyond the first or the last."""
    return np.asarray(np.r_[: min(5, count), max(0, count - 5) : count])


def label_at(label: Bools, axis: str, index: int) -> Bools:
    return np.asarray(np.take(label, index, axis=axis_number(axis)))


def chest_batches(chests: Iterable[SyntheticVolume], axis: str, target: str) -> Iterator[Batch]:
    """All slices of synthetic chests."""
    for chest in chests:
        truth = target_of(chest, target)
        for rows in _groups(range(slice_count(chest.volume, axis))):
            images = np.stack([slice_at(chest.volume, axis, k) for k in rows])
            yield images, np.stack([label_at(truth, axis, k) for k in rows])


def case_batches(case: Case, config: TrainConfig, indices: Iterable[int]) -> Iterator[Batch]:
    """Slices of a case at the network's size."""
    source = source_of_case(case, config)
    for rows in _groups(indices):
        yield np.stack([source.image(k) for k in rows]), np.stack([source.label(case.label, k) for k in rows])


def source_of_case(case: Case, config: TrainConfig) -> SliceSource:
    """Slices of a case at the network's size, as everywhere."""
    return SliceSource.of(case.volume, config.axis, config.size, case.crop)


def _groups(indices: Iterable[int]) -> Iterator[list[int]]:
    every = list(indices)
    for start in range(0, len(every), EVALUATED_TOGETHER):
        yield every[start : start + EVALUATED_TOGETHER]
