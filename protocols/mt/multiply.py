"""The product of two shared vectors by a Beaver triple: two openings, one round (Beaver, CRYPTO 1991).

Only tests call this, `triples.triple` and `triples.triple_cost` today; they stay because the published design (shares
modulo a prime, DFT convolutions by rotations) is built on them by later work.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.ass.share import reduce_to
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.mt import opening
from bunet.protocols.mt.triples import Triple
from bunet.protocols.steps import Steps


def multiply(ctx: Context, x: np.ndarray, y: np.ndarray, triple: Triple) -> Steps[np.ndarray]:
    """This party's share (n,) of x*y modulo 2^width. Symmetric; x, y: (n,) shares in the triple's ring.

    With d = x - a and e = y - b open, xy = ab + d b + e a + d e; a and b are uniform, so d and e tell nothing.
    """
    width = triple.width
    if not x.shape == y.shape == triple.a.shape:
        raise ValueError(f"{x.shape} and {y.shape} products from a triple of {triple.a.shape}")
    masked = np.concatenate((reduce_to(x - triple.a, width), reduce_to(y - triple.b, width)))
    d, e = np.split((yield from opening.exchange(ctx, masked, width)), 2)
    result = triple.ab + d * triple.b + e * triple.a
    if ctx.role is Role.ALICE:  # the public term belongs to one of the two shares
        result += d * e
    return reduce_to(result, width)


def cost(count: int, width: int) -> Cost:
    """Exact online cost of `multiply`; the triple's own is `triples.triple_cost`."""
    return opening.cost(2 * count, width)
