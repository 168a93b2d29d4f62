"""Which slices a model is calibrated on where its weights bring no ranges, and the compiled model that follows.

Never the slices that will be segmented: Bob has not seen them. `calibration_slices` is of the runs on one machine (demo,
bench, sweep) and of `bunet compile`; `Calibration` is of `bunet predict`, whose user may have volumes to calibrate on.
Each has its own synthetic chests, since a model's integers, and so its masks, follow from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bunet.experiments.settings import RunSettings
from bunet.experiments.storage.run_folder import digest_of
from bunet.experiments.weights_choice import ChosenWeights
from bunet.models.compiled import Compiled
from bunet.models.errors import UsageError
from bunet.models.network.seeded import seeded_slice
from bunet.models.passes.compile import compile_model
from bunet.models.volumes import synthetic
from bunet.models.volumes.slice_source import Size as SliceSize
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing.field_of_view import Crop
from bunet.models.volumes.slicing.slices import axis_number, slice_at
from bunet.models.volumes.volume import Sliceable

RUN_CHESTS, RUN_CHEST_SLICES, RUN_POSITIONS = 6, 8, (1, 5)
RUN_SIZE = 128  # calibration slices may be of another size than the compiled ones; larger ones only cost time
RUN_SEEDS = range(10_001, 10_007)  # of the images that random weights are calibrated on too

PREDICT_CHESTS, PREDICT_CHEST = 2, (64, 96)  # how many; slices, and pixels of a slice, of each
PREDICT_SLICES = 8  # of each volume


def calibration_slices(settings: RunSettings, weights: ChosenWeights, size: tuple[int, int]) -> list[np.ndarray]:
    """What Bob calibrates on where weights bring no ranges: synthetic chests of the training's seeds, and seeded images
    for random weights.
    """
    side = min(max(*size, synthetic.MIN_SIZE), RUN_SIZE)
    chests = [synthetic.generate(side, RUN_CHEST_SLICES, seed) for seed in synthetic.TRAINING_SEEDS[:RUN_CHESTS]]
    images = [slice_at(chest.volume, "z", index) for chest in chests for index in RUN_POSITIONS]
    if not weights.trained:
        architecture = settings.architecture()
        images += [seeded_slice(architecture, side, side, seed) for seed in RUN_SEEDS]
    return images


def compile_for(settings: RunSettings, weights: ChosenWeights, size: tuple[int, int], readout: str = "argmax") -> Compiled:
    """The program and integers for slices of `size`, from the weights' own ranges where they have them.

    UsageError where they cannot be compiled.
    """
    calibration = calibration_slices(settings, weights, size) if weights.ranges is None else weights.ranges
    try:
        return compile_model(weights.weights, *size, settings.format, calibration, readout=readout)
    except UsageError as error:
        raise UsageError(f"this network cannot be compiled: {error}") from error


@dataclass(frozen=True)
class Calibration:
    """What Bob calibrates on where a weight file brings no ranges: volumes of his own, or synthetic chests.

    crops: of the volumes, where any is cropped.
    """

    volumes: Sequence[Sliceable] = ()
    crops: Sequence[Crop | None] = ()

    def images(self, axis: str, size: SliceSize) -> list[np.ndarray]:
        """float32 (5, H, W) each, as the network takes them, spread along the axis."""
        volumes = self.volumes or _chests()
        cropped = zip(volumes, self.crops or [None] * len(volumes), strict=True)
        return [image for volume, crop in cropped for image in spread_slices(volume, axis, size, crop)]

    def of(self, ranges: Any, axis: str, size: SliceSize) -> Any:
        """What `compile_model` takes: ranges by node where a weight file's notes have them (it checks them), else slices."""
        return self.images(axis, size if self.volumes else None) if ranges is None else ranges

    def identity(self) -> list[str]:
        """What integers depend on where they are calibrated here; the synthetic chests are always the same."""
        crops = [f" {crop.as_list()}" if crop else "" for crop in self.crops or [None] * len(self.volumes)]
        return [digest_of(volume) + crop for volume, crop in zip(self.volumes, crops, strict=True)]


def _chests() -> list[np.ndarray]:
    count, pixels = PREDICT_CHEST
    return [synthetic.generate(pixels, count, seed).volume for seed in synthetic.TRAINING_SEEDS[:PREDICT_CHESTS]]


def spread_slices(
    volume: Sliceable, axis: str, size: SliceSize, crop: Crop | None = None, count: int = PREDICT_SLICES
) -> list[np.ndarray]:
    """`count` slices of a volume, evenly along the axis, as a network takes them. size, crop: as `SliceFrame.of`."""
    source = SliceSource.of(volume, axis, size, crop)
    there = source.frame.positions(range(volume.shape[axis_number(axis)]))
    return [source.image(there[int((k + 0.5) * len(there) / count)]) for k in range(count)]
