"""A whole slice as one generator, every layer's half after the other: what the scheduler runs, without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bunet.models.program import Node
from bunet.parties.engine.scheduler import layer_steps
from bunet.parties.planner import PlannedLayer
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context
from bunet.protocols.steps import Steps


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
