"""square `mt` and `mt-ot`: Beaver square pairs, made from PAHE or from correlated OT.

The opening of x - a needs only the shares of a, which each party draws itself: it travels with the messages that make
the pair, and the layer takes two rounds in all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.mt import opening, slot_products, square, triples
from bunet.protocols.ot import extension
from bunet.protocols.registry import Layer, Protocol, Settings, register
from bunet.protocols.steps import Steps


def run(ctx: Context, layer: Layer, share: Share, source: str) -> Steps[Share]:
    """Both halves: this party's share of x^2 in the ring of x."""
    width = share.width
    values = share.values.reshape(-1)
    a = triples.random_share(ctx, values.size, width)
    masked = square.mask(values, a, width)
    if ctx.role is Role.ALICE:  # who speaks first in making the pair opens before it, her peer after it
        yield from opening.send(masked, width)
        pair = yield from triples.square_pair(ctx, a, width, source)
        opened = yield from opening.receive(masked, width)
    else:
        opened = yield from opening.receive(masked, width)
        pair = yield from triples.square_pair(ctx, a, width, source)
        yield from opening.send(masked, width)
    return Share.of(square.finish(ctx, opened, pair), layer.node.type)


def cost(layer: Layer, source: str) -> Cost:
    """Exact cost: the pairs', and one opening that goes with them, Alice's share first."""
    count, width = layer.node.type.elements, layer.node.type.width
    pairs = triples.square_pair_cost(count, width, source, extension.of(layer.settings))
    opened = opening.send_cost(count, width, Role.ALICE).then(opening.send_cost(count, width, Role.BOB))
    return pairs.beside(opened)


def sets(layer: Layer) -> tuple[str, ...]:
    """Parameter sets whose keys the session exchanges."""
    width = layer.node.type.width
    return (slot_products.plan_of(1, width - 1).set_name,) if width > 1 else ()


def _register(name: str, source: str, pahe: Callable[[Layer], tuple[str, ...]], settings: Settings) -> None:
    both = partial(run, source=source)
    register(Protocol("square", name, both, both, partial(cost, source=source), pahe=pahe, settings=settings))


_register("mt", "pahe", sets, {})
_register("mt-ot", "ot", lambda layer: (), extension.SETTING)
