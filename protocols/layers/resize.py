"""truncate `local` and extend `ot`: the layer protocols over `ass.resize`."""

from __future__ import annotations

from bunet.protocols.ass import resize
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.ot import extension
from bunet.protocols.registry import Layer, Protocol, register
from bunet.protocols.steps import Steps


def truncate(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both halves: no message."""
    return resize.truncate_reduce(share, layer.node.integer("shift"), layer.node.type, ctx.role)
    yield  # a generator that never yields


def extend(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both halves: Alice sends the correlated OT, so that its larger message rides with Bob's label requests."""
    return (yield from resize.extend(ctx, share, layer.node.type, Role.ALICE))


def extend_cost(layer: Layer) -> Cost:
    (source,) = layer.inputs
    return resize.extend_cost(source.elements, source.width, layer.node.type.width, Role.ALICE, extension.of(layer.settings))


register(Protocol("truncate", "local", alice=truncate, bob=truncate, cost=lambda layer: Cost()))
register(Protocol("extend", "ot", alice=extend, bob=extend, cost=extend_cost, settings=extension.SETTING))
