"""The square of a shared vector by a square pair: one opening, one round."""

from __future__ import annotations

import numpy as np

from bunet.protocols.ass.share import reduce_to
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.mt import opening
from bunet.protocols.mt.triples import SquarePair
from bunet.protocols.steps import Steps


def square(ctx: Context, x: np.ndarray, pair: SquarePair) -> Steps[np.ndarray]:
    """This party's share (n,) of x^2 modulo 2^width. Symmetric; x: (n,) share in the pair's ring."""
    masked = mask(x, pair.a, pair.width)
    opened = yield from opening.exchange(ctx, masked, pair.width)
    return finish(ctx, opened, pair)


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


def cost(count: int, width: int) -> Cost:
    """Exact online cost of `square`; the pair's own is `triples.square_pair_cost`."""
    return opening.cost(count, width)
