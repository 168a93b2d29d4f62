"""A whole slice as one generator: every layer's half after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bunet.models.program import Node
from bunet.parties.planner import PlannedLayer
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context, Role
from bunet.protocols.steps import Steps


def structural(node: Node, given: Share, inputs: list[Share]) -> Steps[Share]:
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
        if planned.protocol is None:
            steps = structural(node, given, inputs)
        else:
            half = planned.protocol.alice if context.role is Role.ALICE else planned.protocol.bob
            steps = half(context.fork(context.stream.slice, planned.index), planned.layer, *inputs)
        values[node.name] = yield from steps
        if on_layer is not None:
            on_layer(node, values[node.name])
    return values[layers[-1].node.name]
