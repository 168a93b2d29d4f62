"""Masks of whole volumes by the integer oracle: what a secure run gives, in the clear; no torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bunet.models import oracle
from bunet.models.compiled import Compiled, quantise_input
from bunet.models.training.cases import Bools
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing.field_of_view import Crop
from bunet.models.volumes.slicing.slices import Floats, axis_number, slice_count

ROUNDING_STREAM = 4  # of the seed, beside those of training


def segment(
    compiled: Compiled,
    volume: Floats,
    axis: str,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    crop: Crop | None = None,
) -> Bools:
    """The mask of a whole volume from its slices along one axis, of the volume's shape: class 1 of the integer program.

    compiled: of square slices, with readout argmax; slices are brought to its size. crop: what they are cut to before
    (`slice_source`); outside of it nothing is marked. Truncations round stochastically, distributed as the shared truncation
    rounds, from (seed, slice): a slice's mask does not depend on which others are asked for. progress is told how many slices
    are done. Raises ValueError for another readout or a program of slices that are not square.
    """
    program = compiled.program
    _, height, width = program.input.type.shape
    if height != width or program.output.attributes["kind"] != "argmax":
        raise ValueError("whole volumes are segmented by programs of square slices with readout argmax")
    source = SliceSource.of(volume, axis, height, crop)
    mask = np.zeros(volume.shape, dtype=np.bool_)
    along = np.moveaxis(mask, axis_number(axis), 0)
    for done, index in enumerate(source.frame.positions(range(slice_count(volume, axis))), start=1):
        numbers = quantise_input(program, source.image(index))
        rounding = np.random.default_rng([seed, ROUNDING_STREAM, index])
        labels = oracle.run(program, compiled.weights, numbers, rounding)[program.output.name][0]
        along[index] = source.frame.restore(labels == 1)
        if progress is not None:
            progress(done)
    return mask
