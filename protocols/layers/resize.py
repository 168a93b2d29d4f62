"""truncate `local` and extend `ot`: changing the ring of a share.

Proofs are in docs/protocols.md; `tests/protocols/ass` checks them exhaustively at small widths.
"""

from __future__ import annotations

from bunet.models.program import TensorType
from bunet.protocols.ass.share import Share, dtype_of
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels import shares
from bunet.protocols.ot import extension, streamed
from bunet.protocols.registry import Layer, Protocol, register
from bunet.protocols.steps import Steps


def truncate(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both halves: no message."""
    return truncate_reduce(share, layer.node.integer("shift"), layer.node.type, ctx.role)
    yield  # a generator that never yields


def truncate_reduce(share: Share, shift: int, type: TensorType, role: Role) -> Share:
    """Drop the low `shift` bits and whatever high bits `type.width` has no room for.

    The shares' low parts carry into the result with a probability that equals the dropped fraction, so the result is
    floor(x / 2^shift) or one more: stochastic rounding with a bias of 2^-shift of a unit. Alice adds the
    one unit that makes it so. shift = 0 is exact.
    """
    unit = 1 if shift and role is Role.ALICE else 0
    return Share.reduced(shares.shift(share.values, shift, unit, type.width), type)


def extend(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both halves: the same signed number in the wider ring of the layer's type, exactly, if |x| < 2^(width - 2).

    With x' = x + 2^(m-2) the top bit of x' is 0, so the shares' sum wraps iff one of their top bits a, b is set:
    wrap = a + b - ab, and ab comes from one OT with correlation a at Alice and choice b at Bob. Alice sends it, so that her
    larger message rides with Bob's label requests.

    share: m bits, any shape.
    """
    small, wide = share.width, layer.node.type.width
    if share.bound > small - 2:
        raise ValueError(f"extension needs a bit of headroom: bound {share.bound} > {small} - 2")
    if wide <= small:
        raise ValueError(f"extension from {small} to {wide} bits does not widen")
    values = share.values.reshape(-1)
    lift = 1 << (small - 2) if ctx.role is Role.ALICE else 0  # Alice's share of 2^(m-2)
    top = shares.top_bits(values, lift, small)
    if ctx.role is Role.ALICE:
        product = yield from streamed.send(ctx, top.astype(dtype_of(wide - small)), wide - small)
    else:
        product = yield from streamed.receive(ctx, top, wide - small)
    sign = 1 if ctx.role is Role.ALICE else -1  # the sender's share of ab is the negative of what it got
    result = shares.widen(values, product, sign, lift, small, wide)
    return Share.reduced(result, layer.node.type)


def extend_cost(layer: Layer) -> Cost:
    """Exact cost of `extend`."""
    (source,) = layer.inputs
    return streamed.cost(source.elements, layer.node.type.width - source.width, Role.ALICE, extension.of(layer.settings))


register(Protocol("truncate", "local", alice=truncate, bob=truncate, cost=lambda layer: Cost()))
register(Protocol("extend", "ot", alice=extend, bob=extend, cost=extend_cost, settings=extension.SETTING))
