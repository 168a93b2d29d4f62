"""What Bob calibrates on where the weights of `bunet predict` bring no ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bunet.experiments.predict.models import PredictModel
from bunet.experiments.storage.run_folder import digest_of
from bunet.models.volumes import synthetic
from bunet.models.volumes.slice_source import Size as SliceSize
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing.field_of_view import Crop
from bunet.models.volumes.slicing.slices import axis_number
from bunet.models.volumes.volume import Sliceable

CALIBRATION_SLICES = 8
CHEST = (64, 96)  # slices, and pixels of a slice, of the synthetic chests that stand in for calibration data


@dataclass(frozen=True)
class Calibration:
    """What Bob calibrates on where a weight file brings no ranges: volumes of his own, or synthetic chests.

    crops: of the volumes, where any is cropped. Never the volume that will be segmented: Bob has not seen it.
    """

    volumes: Sequence[Sliceable] = ()
    crops: Sequence[Crop | None] = ()

    def images(self, axis: str, size: SliceSize) -> list[np.ndarray]:
        """float32 (5, H, W) each, as the network takes them, spread along the axis."""
        volumes = self.volumes or _chests()
        cropped = zip(volumes, self.crops or [None] * len(volumes), strict=True)
        return [image for volume, crop in cropped for image in spread_slices(volume, axis, size, crop)]

    def of(self, model: PredictModel, size: SliceSize) -> Any:
        """Ranges by node where the weights know them, else slices; what `compile_model` takes."""
        ranges = model.notes.get("ranges")
        return self.images(model.axis, size if self.volumes else None) if ranges is None else ranges

    def identity(self) -> list[str]:
        """What integers depend on where they are calibrated here; the synthetic chests are always the same."""
        crops = [f" {crop.as_list()}" if crop else "" for crop in self.crops or [None] * len(self.volumes)]
        return [digest_of(volume) + crop for volume, crop in zip(self.volumes, crops, strict=True)]


def _chests() -> list[np.ndarray]:
    count, pixels = CHEST
    return [synthetic.generate(pixels, count, seed).volume for seed in synthetic.TRAINING_SEEDS[:2]]


def spread_slices(
    volume: Sliceable, axis: str, size: SliceSize, crop: Crop | None = None, count: int = CALIBRATION_SLICES
) -> list[np.ndarray]:
    """`count` slices of a volume, evenly along the axis, as a network takes them. size, crop: as `SliceFrame.of`."""
    source = SliceSource.of(volume, axis, size, crop)
    there = source.frame.positions(range(volume.shape[axis_number(axis)]))
    return [source.image(there[int((k + 0.5) * len(there) / count)]) for k in range(count)]
