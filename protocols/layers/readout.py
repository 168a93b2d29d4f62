"""What Alice learns at the end: the label only (`argmax`), both logits, or nothing (`label-share`, `share`).

Bob learns nothing. With `label-share` both keep the label as bits shared by XOR, for a vote over several slices
(`protocols.vote`); with `share`, the network's last tensor as additive shares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bunet.protocols.ass.share import Share, reduce_to, signed
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.gc import garbling, library
from bunet.protocols.kernels.packing.bits import pack, packed_bytes, unpack
from bunet.protocols.layers.relu_gc import SETTINGS, garbler_of
from bunet.protocols.ot import extension
from bunet.protocols.registry import Layer, Protocol, Settings, register
from bunet.protocols.steps import Receive, Send, Steps, spec


def argmax(ctx: Context, layer: Layer, share: Share) -> Steps[np.ndarray | None]:
    """Both halves of `argmax` over two channels: the sign of z0 - z1, opened to Alice.

    Returns uint8 (height, width) labels to Alice (1 where z1 > z0), None to Bob.
    """
    label = yield from label_share(ctx, layer, share)
    if ctx.role is Role.BOB:
        yield Send("label", (pack(label.reshape(-1).astype(np.uint64), 1),))
        return None
    (packed,) = yield Receive("label", (spec(np.uint8, packed_bytes(label.size, 1)),))
    label ^= unpack(packed, label.size, 1).astype(np.uint8).reshape(label.shape)
    return label


def argmax_cost(layer: Layer) -> Cost:
    garbled = label_share_cost(layer)
    opened = Cost.flight(Role.BOB, packed_bytes(layer.node.type.elements, 1))
    # If Bob garbles, what he opens goes with his last tables; if he evaluates, it answers them.
    return garbled.beside(opened) if garbler_of(layer) is Role.BOB else garbled.then(opened)


def label_share(ctx: Context, layer: Layer, share: Share) -> Steps[np.ndarray]:
    """Both halves of `label-share`: as `argmax`, but nobody learns the label.

    Returns each party's XOR share of it, uint8 (height, width) of 0 and 1. The garbler's is the permute bit of the output
    wire's zero label, the evaluator's the permute bit of the label it holds: fresh in every run, since the last gate of the
    carry chain gives the wire a hash of labels under the session's delta.
    """
    height, width = share.values.shape[1:]
    difference = reduce_to(share.values[0] - share.values[1], share.width).reshape(-1).astype(np.uint64)
    run = garbling.garbler if ctx.role is garbler_of(layer) else garbling.evaluator
    (sign,) = yield from run(ctx, library.sign(share.width), [difference])
    return sign.astype(np.uint8).reshape(height, width)


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
    (packed,) = yield Receive("logits", (spec(np.uint8, packed_bytes(count, share.width)),))
    total = share.values.reshape(-1) + unpack(packed, count, share.width)
    return signed(total, share.width).reshape(share.values.shape)


def logits_cost(layer: Layer) -> Cost:
    (source,) = layer.inputs
    return Cost.flight(Role.BOB, packed_bytes(source.elements, source.width))


def keep(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both halves of `share`: nobody learns anything; each keeps its share."""
    return share
    yield  # a generator that never yields


def _register(name: str, half: Callable[..., Steps[Any]], cost: Callable[[Layer], Cost], settings: Settings) -> None:
    """A protocol by the name of the one read-out that it serves; both halves are one generator."""

    def supports(layer: Layer) -> str | None:
        wanted = layer.node.attributes["kind"]
        return None if wanted == name else f"the program reads out {wanted}, not {name}"

    register(Protocol("readout", name, half, half, cost, supports, settings=settings))


_register("argmax", argmax, argmax_cost, SETTINGS)
_register("label-share", label_share, label_share_cost, SETTINGS)
_register("logits", logits, logits_cost, {})
_register("share", keep, lambda layer: Cost(), {})
