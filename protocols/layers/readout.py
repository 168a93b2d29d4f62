"""What Alice learns at the end: the label only (`argmax`), both logits, or nothing (`label-share`, `share`).

Bob learns nothing. With `label-share` both keep the label as bits shared by XOR, for a vote over several slices
(`protocols.vote`); with `share`, the network's last tensor as additive shares.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.ass.share import Share, reduce_to, signed
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.gc import garbling, library
from bunet.protocols.kernels.packing.bits import pack, packed_bytes, unpack
from bunet.protocols.layers.relu_gc import garbler_of
from bunet.protocols.ot import extension
from bunet.protocols.registry import Layer, Protocol, register
from bunet.protocols.steps import Receive, Send, Steps, spec


def argmax(ctx: Context, layer: Layer, share: Share) -> Steps[np.ndarray | None]:
    """Both halves of `argmax` over two channels: the sign of z0 - z1, opened to Alice.

    Returns uint8 (height, width) labels to Alice (1 where z1 > z0), None to Bob.
    """
    mine = yield from label_share(ctx, layer, share)
    if ctx.role is Role.BOB:
        yield Send("label", (pack(mine.reshape(-1).astype(np.uint64), 1),))
        return None
    (theirs,) = yield Receive("label", (spec(np.uint8, packed_bytes(mine.size, 1)),))
    return mine ^ unpack(theirs, mine.size, 1).astype(np.uint8).reshape(mine.shape)


def argmax_cost(layer: Layer) -> Cost:
    pixels, garbled = layer.node.type.elements, label_share_cost(layer)
    # The last tables come from the garbler. If Bob evaluates, his answer is one more flight; if he garbles, none.
    rounds = garbled.rounds + (1 if garbler_of(layer) is Role.ALICE else 0)
    return Cost(garbled.alice_bytes, garbled.bob_bytes + packed_bytes(pixels, 1), rounds, garbled.work)


def label_share(ctx: Context, layer: Layer, share: Share) -> Steps[np.ndarray]:
    """Both halves of `label-share`: as `argmax`, but nobody learns the label.

    Returns each party's XOR share of it, uint8 (height, width) of 0 and 1. The garbler's is the permute bit of the output
    wire's zero label, the evaluator's the permute bit of the label it holds: fresh in every run, since the last gate of the
    carry chain gives the wire a hash of labels under the session's delta.
    """
    height, width = share.values.shape[1:]
    difference = reduce_to(share.values[0] - share.values[1], share.width).reshape(-1).astype(np.uint64)
    run = garbling.garbler if ctx.role is garbler_of(layer) else garbling.evaluator
    (mine,) = yield from run(ctx, library.sign(share.width), [difference])
    return mine.astype(np.uint8).reshape(height, width)


def label_share_cost(layer: Layer) -> Cost:
    (source,) = layer.inputs
    pixels = source.elements // source.shape[0]
    return garbling.cost(library.sign(source.width), pixels, garbler_of(layer), extension.of(layer.settings))


def logits(ctx: Context, layer: Layer, share: Share) -> Steps[np.ndarray | None]:
    """Both halves of `logits`: Bob sends his share; Alice gets the signed int64 logits (channels, height, width)."""
    count = share.values.size
    if ctx.role is Role.BOB:
        yield Send("logits", (pack(share.values.reshape(-1), share.width),))
        return None
    (theirs,) = yield Receive("logits", (spec(np.uint8, packed_bytes(count, share.width)),))
    total = share.values.reshape(-1) + unpack(theirs, count, share.width)
    return signed(total, share.width).reshape(share.values.shape)


def logits_cost(layer: Layer) -> Cost:
    (source,) = layer.inputs
    return Cost(0, packed_bytes(source.elements, source.width), 1)


def keep(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both halves of `share`: nobody learns anything; each keeps its share."""
    return share
    yield  # a generator that never yields


def _only(kind: str):
    def supports(layer: Layer) -> str | None:
        wanted = layer.node.attributes["kind"]
        return None if wanted == kind else f"the program reads out {wanted}, not {kind}"

    return supports


register(Protocol("readout", "argmax", alice=argmax, bob=argmax, cost=argmax_cost, supports=_only("argmax")))
register(
    Protocol("readout", "label-share", alice=label_share, bob=label_share, cost=label_share_cost, supports=_only("label-share"))
)
register(Protocol("readout", "logits", alice=logits, bob=logits, cost=logits_cost, supports=_only("logits")))
register(Protocol("readout", "share", alice=keep, bob=keep, cost=lambda layer: Cost(), supports=_only("share")))
