"""Alice's slices of one session, made where they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bunet.models.program import Program

SliceAt = Callable[[Program, int], np.ndarray]


@dataclass(frozen=True)
class InputSlices:
    """What Alice has segmented.

    labels: (axis, index) of each slice. at(program, k): the k-th, int64 (channels, height, width), quantised for the program.
    size: (height, width) of a slice before it was padded, None where all of it counts.
    """

    labels: Sequence[tuple[str, int]]
    at: SliceAt
    size: tuple[int, int] | None = None
