"""The square of a shared vector by a square pair: `mask`, an opening (`opening`), `finish`."""

from __future__ import annotations

import numpy as np

from bunet.protocols.ass.share import reduce_to
from bunet.protocols.context import Context, Role
from bunet.protocols.mt.triples import SquarePair


def mask(x: np.ndarray, a: np.ndarray, width: int) -> np.ndarray:
    """This party's share of x - a, which may be opened: a is uniform and used once."""
    if x.shape != a.shape:
        raise ValueError(f"{x.shape} squares from a pair of {a.shape}")
    return reduce_to(x - a, width)


def finish(ctx: Context, opened: np.ndarray, pair: SquarePair) -> np.ndarray:
    """x^2 = a^2 + 2 d a + d^2 with d = x - a open; local."""
    result = pair.aa + opened * pair.a * pair.a.dtype.type(2)
    if ctx.role is Role.ALICE:  # the public term belongs to one of the two shares
        result += opened * opened
    return reduce_to(result, pair.width)
