"""square `gilboa`: the shares themselves multiplied by Gilboa's products, with no pair made beforehand.

With Alice's share a and Bob's share b of x, x^2 = a^2 + b^2 + 2ab. Each party squares its own share; correlated OTs give them
shares of ab (`mt.gilboa`). Twice a number modulo 2^width asks for the number modulo 2^(width - 1). Nothing is opened, and
what a party receives are the peer's choices under the columns of the OT extension and corrections masked by hashes.
"""

from __future__ import annotations

from bunet.models.program import Node, TensorType
from bunet.protocols.ass.share import Share, reduce_to
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.mt import gilboa
from bunet.protocols.ot import extension
from bunet.protocols.registry import Layer, Protocol, register
from bunet.protocols.steps import Steps


def run(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both halves: this party's share of x^2 in the ring of x."""
    own, width = share.values.reshape(-1), share.width
    factor = reduce_to(own, width - 1)[None]
    half = gilboa.alice if ctx.role is Role.ALICE else gilboa.bob
    product = yield from half(ctx, factor, width - 1)
    return Share.of(own * own + (product.astype(own.dtype) << 1), layer.node.type)


def cost(layer: Layer) -> Cost:
    """Exact cost: one product an element, a bit narrower than the ring."""
    (source,) = layer.inputs
    return gilboa.cost(1, source.elements, source.width - 1, extension.of(layer.settings))


def supports(layer: Layer) -> str | None:
    """None, or why not."""
    return None if layer.inputs[0].width > 1 else "a single bit is its own square"


def example() -> Layer:
    """The narrowest ring, which the shared tests do not have."""
    source, square = TensorType((1, 3, 5), 2, 0, 1), TensorType((1, 3, 5), 2, 0, 1)
    return Layer(Node("narrow", "square", ("x",), square), (source,))


register(Protocol("square", "gilboa", run, run, cost, supports, settings=extension.SETTING, examples=(example(),)))
