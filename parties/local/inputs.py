"""Where Alice's slices of a local run come from: a file of quantised slices, or a volume that she cuts as she goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, PlainValidator

from bunet.models.compiled import quantise_input
from bunet.models.volumes.reading import DEFAULT_READING, VolumeReading
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing.field_of_view import Crop
from bunet.parties.input_slices import InputSlices


def _crop(value: Any) -> Crop | None:
    return value if value is None or isinstance(value, Crop) else Crop.of_list(value)


def _crop_list(crop: Crop | None) -> list[list[Any]] | None:
    return None if crop is None else crop.as_list()


class VolumeSlices(BaseModel):
    """Slices of a volume's file or folder, cut where they are needed.

    size, crop: as `SliceFrame.of`. reading: of the volume; `crop` stands in place of its field of view.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    volume: Annotated[Path, AfterValidator(Path.resolve)]
    size: int | tuple[int, int] | None = None
    reading: VolumeReading = DEFAULT_READING
    crop: Annotated[Crop | None, PlainValidator(_crop), PlainSerializer(_crop_list)] = None


@dataclass(frozen=True)
class Source:
    """shape: (channels, height, width) of every slice."""

    shape: tuple[int, int, int]
    slices: InputSlices


def open_source(inputs: Path | VolumeSlices, labels: Sequence[tuple[str, int]]) -> Source:
    """The slices of a job. labels: (axis, index) of each, all of one axis where they are cut from a volume.

    Raises VolumeError, ValueError as reading and cutting do.
    """
    if not isinstance(inputs, VolumeSlices):
        array = np.load(inputs, mmap_mode="r", allow_pickle=False)
        return Source(array.shape[1:], InputSlices(labels, lambda program, k: np.asarray(array[k])))
    volume = replace(inputs.reading, field_of_view="whole").load(inputs.volume).volume
    cut = SliceSource.of(volume, labels[0][0], inputs.size, inputs.crop)
    slices = InputSlices(labels, lambda program, k: quantise_input(program, cut.image(labels[k][1])), cut.frame.fit.size)
    return Source(cut.shape, slices)
