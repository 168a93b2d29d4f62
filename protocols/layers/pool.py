"""2x2 pooling: avgpool `local` (the sum; the program carries the quarter in frac), maxpool `gc`."""

from __future__ import annotations

import numpy as np

from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context
from bunet.protocols.cost import Cost
from bunet.protocols.gc import library
from bunet.protocols.kernels import shares
from bunet.protocols.layers.relu_gc import SETTINGS, garbler_of, reshared, reshared_cost
from bunet.protocols.registry import Layer, Protocol, register
from bunet.protocols.steps import Steps


def corners(values: np.ndarray) -> list[np.ndarray]:
    """The four members of every 2x2 window, each (channels, height / 2, width / 2)."""
    return [values[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]


def average(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both halves of avgpool: each adds up its own shares; no message."""
    return Share.reduced(shares.window_sums(share.values, layer.node.type.width), layer.node.type)
    yield  # a generator that never yields


def maximum(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both halves of maxpool: the circuit recombines four numbers, takes the largest and re-shares it."""
    inputs = [np.ascontiguousarray(part).reshape(-1).astype(np.uint64) for part in corners(share.values)]
    circuit = library.maximum(share.width, 4)
    result = yield from reshared(ctx, circuit, inputs, share.width, garbler_of(layer))
    return Share.of(result, layer.node.type)


def maximum_cost(layer: Layer) -> Cost:
    (source,) = layer.inputs
    circuit = library.maximum(source.width, 4)
    return reshared_cost(circuit, layer.node.type.elements, source.width, layer)


register(Protocol("avgpool", "local", alice=average, bob=average, cost=lambda layer: Cost()))
register(Protocol("maxpool", "gc", alice=maximum, bob=maximum, cost=maximum_cost, settings=SETTINGS))
