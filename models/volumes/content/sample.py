"""A few slices of a volume, thinned out: enough to tell what it shows, whatever its size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.volume import Sliceable

SLICES, PIXELS = 16, 128
ROUND_PART = 0.95  # of the radius: the edge of a round field of view is left out with what lies outside of it


def step(volume: Sliceable) -> int:
    """Every how many rows and columns `sample` takes one, so that there are at most PIXELS of each."""
    return -(-max(volume.shape[1:]) // PIXELS)


def sample(volume: Sliceable) -> list[NDArray[Any]]:
    """At most SLICES slices of the first axis, evenly spread, each with every `step`-th row and column; same dtype."""
    count, each = len(volume), step(volume)
    places = sorted({int((k + 0.5) * count / SLICES) for k in range(SLICES)})
    return [np.array(volume[k, ::each, ::each]) for k in places]


def within_circle(image: NDArray[Any]) -> NDArray[Any]:
    """The values inside the circle (of a slice that is not square, the ellipse) that scanners fill: what lies outside
    of it is padding in many files.
    """
    rows, columns = (np.linspace(-1, 1, n + 2)[1:-1] if n > 1 else np.zeros(1) for n in image.shape)
    return np.asarray(image[rows[:, None] ** 2 + columns**2 < ROUND_PART**2])
