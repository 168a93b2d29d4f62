"""Where Alice's slices of a local run come from: a file of quantised slices, or a volume that she cuts as she goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.compile import quantise_input
from bunet.models.cut import fit_slices
from bunet.models.program import Program
from bunet.models.volumes import formats
from bunet.models.volumes.slices import OFFSETS, slice_at


@dataclass(frozen=True)
class VolumeSlices:
    """Slices of a volume's file or folder, cut where they are needed.

    size: pixels of the network's square slices (`models.cut`), None for the volume's own, padded. rule: of the
    intensities (`volumes.intensity`). series: which of a DICOM folder's, None where it holds one.
    """

    volume: Path
    size: int | None = None
    rule: str = "auto"
    series: str | None = None


@dataclass(frozen=True)
class Source:
    """shape: (channels, height, width) of every slice. slice_at(program, k): the k-th, int64, quantised for the program."""

    shape: tuple[int, int, int]
    slice_at: Callable[[Program, int], np.ndarray]


def to_document(inputs: Path | VolumeSlices) -> dict[str, Any]:
    """JSON-able, for `open_source`."""
    if isinstance(inputs, VolumeSlices):
        return {**asdict(inputs), "volume": str(inputs.volume.resolve())}
    return {"file": str(inputs.resolve())}


def open_source(document: dict[str, Any], labels: Sequence[tuple[str, int]]) -> Source:
    """The slices of a job. labels: (axis, index) of each, all of one axis where they are cut from a volume.

    Raises VolumeError, ValueError as reading and cutting do.
    """
    if "file" in document:
        array = np.load(document["file"], mmap_mode="r", allow_pickle=False)
        return Source(array.shape[1:], lambda program, k: np.asarray(array[k]))
    volume = formats.load(document["volume"], document["rule"], document["series"]).volume
    axis = labels[0][0]
    fit = fit_slices(volume.shape, axis, document["size"])

    def slice_of(program: Program, k: int) -> np.ndarray:
        return quantise_input(program, fit.image(slice_at(volume, axis, labels[k][1])))

    return Source((len(OFFSETS), *fit.padded), slice_of)
