"""A layer's half, whatever the node is; and a whole slice as one generator, every layer's half after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bunet.models.program import Node
from bunet.parties.planner import PlannedLayer
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context, Role
from bunet.protocols.steps import Steps


def layer_steps(context: Context, slice_: int, planned: PlannedLayer, given: Share, inputs: list[Share]) -> Steps[Any]:
    """This party's half of a layer. given: its share of the slice, for the input node.

    context: of the session. Only a protocol gets a fork of it: forks draw from its randomness.
    """
    if planned.protocol is None:
        return _structural(planned.node, given, inputs)
    half = planned.protocol.alice if context.role is Role.ALICE else planned.protocol.bob
    steps: Steps[Any] = half(context.fork(slice_, planned.index), planned.layer, *inputs)
    return steps


def _structural(node: Node, given: Share, inputs: list[Share]) -> Steps[Share]:
    """input and concat as generators, so that every node runs alike; neither sends anything."""
    if node.operation == "input":
        return given
    if node.operation == "concat":
        return Share.of(np.concatenate([share.values for share in inputs]), node.type)
    raise ValueError(f"{node.name}: operation {node.operation!r} has no protocol")
    yield  # a generator that never yields


def whole_program(
    context: Context,
    layers: Sequence[PlannedLayer],
    given: Share,
    on_layer: Callable[[Node, Any], None] | None = None,
) -> Steps[Any]:
    """One party's half of a whole slice as one generator; returns its read-out. on_layer sees every layer's result."""
    values: dict[str, Any] = {}
    for planned in layers:
        node = planned.node
        inputs = [values[name] for name in node.inputs]
        values[node.name] = yield from layer_steps(context, context.stream.slice, planned, given, inputs)
        if on_layer is not None:
            on_layer(node, values[node.name])
    return values[layers[-1].node.name]
