"""Where Alice's slices of a local run come from: a file of quantised slices, or a volume that she cuts as she goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.compiled import quantise_input
from bunet.models.program import Program
from bunet.models.volumes import formats
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing.field_of_view import Crop


@dataclass(frozen=True)
class VolumeSlices:
    """Slices of a volume's file or folder, cut where they are needed.

    size, crop: as `models.slice_source` takes them. rule: of the intensities (`volumes.intensity`). series: which of a DICOM
    folder's, None where it holds one.
    """

    volume: Path
    size: int | tuple[int, int] | None = None
    rule: str = "auto"
    series: str | None = None
    crop: Crop | None = None


@dataclass(frozen=True)
class Source:
    """shape: (channels, height, width) of every slice. slice_at(program, k): the k-th, int64, quantised for the program.

    size: (height, width) of a slice before it was padded, None where that is not known.
    """

    shape: tuple[int, int, int]
    slice_at: Callable[[Program, int], np.ndarray]
    size: tuple[int, int] | None = None


def to_document(inputs: Path | VolumeSlices) -> dict[str, Any]:
    """JSON-able, for `open_source`."""
    if isinstance(inputs, VolumeSlices):
        crop = None if inputs.crop is None else inputs.crop.as_list()
        return {
            "volume": str(inputs.volume.resolve()),
            "size": inputs.size,
            "rule": inputs.rule,
            "series": inputs.series,
            "crop": crop,
        }
    return {"file": str(inputs.resolve())}


def open_source(document: dict[str, Any], labels: Sequence[tuple[str, int]]) -> Source:
    """The slices of a job. labels: (axis, index) of each, all of one axis where they are cut from a volume.

    Raises VolumeError, ValueError as reading and cutting do.
    """
    if "file" in document:
        array = np.load(document["file"], mmap_mode="r", allow_pickle=False)
        return Source(array.shape[1:], lambda program, k: np.asarray(array[k]))
    volume = formats.load(document["volume"], document["rule"], document["series"], "whole").volume
    size, crop = document["size"], document["crop"]
    cut = SliceSource.of(
        volume, labels[0][0], tuple(size) if isinstance(size, list) else size, None if crop is None else Crop.of_list(crop)
    )
    return Source(cut.shape, lambda program, k: quantise_input(program, cut.image(labels[k][1])), cut.frame.fit.size)
