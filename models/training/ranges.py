"""The end of a training: ranges of the finished weights on slices they were trained on, for whoever compiles them.

A compiler needs to know how large each tensor becomes (`calibrate`), and seldom has the training's data; so the ranges
travel in the notes of the weight file. They are measured on the file itself, in half precision as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bunet.models.errors import UsageError
from bunet.models.network import weights
from bunet.models.network.graph import lower
from bunet.models.passes.calibrate import calibrate
from bunet.models.passes.fold import fold
from bunet.models.training.config import TrainError

RANGES = "ranges"  # {float node: largest |x|} in a weight file's notes
CALIBRATION_SLICES = 96
CALIBRATION_STREAM = 3  # of the training's seed, beside those of its steps


def calibration_rows(shows: Sequence[np.ndarray], counts: Sequence[int], seed: int) -> list[tuple[int, int]]:
    """(series, position) of about CALIBRATION_SLICES distinct slices, as many of each series as it has.

    shows: positions that show the target, by series; half of a series' slices are drawn from them, the others from all
    of its `counts` slices. Drawn from the seed alone.
    """
    rng = np.random.default_rng([seed, CALIBRATION_STREAM])
    half = max(1, CALIBRATION_SLICES // (2 * len(counts)))
    chosen: list[tuple[int, int]] = []
    for number, (rows, count) in enumerate(zip(shows, counts, strict=True)):
        drawn = rng.choice(rows, min(half, len(rows)), replace=False)
        rest = np.setdiff1d(np.arange(count), drawn)
        others = rng.choice(rest, min(2 * half - len(drawn), len(rest)), replace=False)
        chosen += [(number, int(position)) for position in sorted([*drawn, *others])]
    return chosen


def note_ranges(path: Path, slices: Sequence[np.ndarray]) -> None:
    """Measure the weight file's ranges on slices (5, H, W) and add them to its notes; TrainError naming the file."""
    try:
        found = weights.load(path)
        graph = lower(found.architecture)
        ranges = calibrate(graph, fold(graph, found.tensors), slices)
        weights.add_notes(path, {RANGES: ranges, "calibration_slices": len(slices)})
    except UsageError as error:
        raise TrainError(f"{path}: its ranges cannot be measured: {error}") from error


def has_ranges(path: Path) -> bool:
    """Whether the file's notes have ranges; TrainError naming the file where it is none."""
    try:
        return RANGES in weights.read_notes(path)
    except UsageError as error:
        raise TrainError(f"{path}: {error}") from error
