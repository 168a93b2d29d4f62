"""Which protocol runs which layer: a fixed choice per operation with overrides by operation or by layer name.

The choice by cost and link (DESIGN 10) will take the place of `DEFAULTS`; what follows from a choice stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bunet.models.program import Node, Program
from bunet.parties.errors import RunError
from bunet.parties.events import LayerPlan
from bunet.protocols import registry
from bunet.protocols.context import Role
from bunet.protocols.ot import extension
from bunet.protocols.registry import Layer, LayerWeights, Protocol

DEFAULTS = {
    "conv": "pahe-coefficient",
    "conv_transpose": "pahe-coefficient",
    "relu": "gc-sign",
    "square": "mt",
    "avgpool": "local",
    "maxpool": "gc",
    "extend": "ot",
    "truncate": "local",
}

# Operations that only rearrange tensors: nothing to choose, nothing to pay.
STRUCTURAL = ("input", "concat")


# Public settings, equal at both parties, and their values.
SETTINGS = {"garbler": tuple(role.value for role in Role), "ot": extension.KINDS}


@dataclass
class PlannedLayer:
    """A node, the protocol that runs it, and what that protocol needs. Structural nodes have no protocol."""

    index: int
    node: Node
    protocol: Protocol | None
    layer: Layer

    @property
    def summary(self) -> LayerPlan:
        node = self.node
        if self.protocol is None:
            return LayerPlan(node.name, node.operation, "local", node.type.shape, node.type.width)
        cost = self.protocol.cost(self.layer)
        return LayerPlan(
            node.name,
            node.operation,
            self.protocol.name,
            node.type.shape,
            node.type.width,
            cost.alice_bytes,
            cost.bob_bytes,
            cost.rounds,
        )


def choose(program: Program, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """Protocol name of every non-structural node, by node name.

    overrides: protocol by operation ("relu": "gc") or by node name ("decoder1.relu2": "gc"), the latter stronger.
    Raises RunError for an unknown key or protocol, or one that does not support the layer.
    """
    overrides = dict(overrides or {})
    names = {node.name for node in program}
    operations = {node.operation for node in program}
    for key, value in overrides.items():
        if key not in names and key not in DEFAULTS:
            raise RunError(f"protocol override {key}={value}: {key!r} is neither an operation nor a layer of the program")
        if key in DEFAULTS and key not in operations:
            try:
                registry.get(key, value)
            except LookupError as error:
                raise RunError(str(error)) from None
    protocols: dict[str, str] = {}
    for node in program:
        if node.operation in STRUCTURAL:
            continue
        if node.operation == "readout":
            default = str(node.attributes["kind"])
        else:
            default = overrides.get(node.operation, DEFAULTS[node.operation])
        name = overrides.get(node.name, default)
        try:
            protocol = registry.get(node.operation, name)
        except LookupError as error:
            raise RunError(f"{node.name}: {error}") from None
        reason = protocol.supports(Layer(node, program.input_types(node)))
        if reason:
            raise RunError(f"{node.name}: protocol {name!r} cannot run it: {reason}")
        protocols[node.name] = name
    return protocols


def check_settings(settings: Mapping[str, str]) -> None:
    """RunError for a public setting that does not exist or has no such value."""
    for name, value in settings.items():
        if name not in SETTINGS:
            raise RunError(f"there is no setting {name!r}; known are {', '.join(SETTINGS)}")
        if value not in SETTINGS[name]:
            raise RunError(f"setting {name}={value} is not one of {', '.join(SETTINGS[name])}")


def plan(
    program: Program,
    protocols: Mapping[str, str],
    settings: Mapping[str, str] | None = None,
    weights: Mapping[str, LayerWeights] | None = None,
) -> list[PlannedLayer]:
    """The layers in execution order, ready to run. weights: Bob's, by node name; None for Alice."""
    check_settings(settings or {})
    layers = []
    for index, node in enumerate(program):
        layer = Layer(node, program.input_types(node), (weights or {}).get(node.name), dict(settings or {}))
        protocol = None
        if node.operation not in STRUCTURAL:
            protocol = registry.get(node.operation, protocols[node.name])
            reason = protocol.supports(layer)
            if reason:
                raise RunError(f"{node.name}: protocol {protocol.name!r} cannot run it: {reason}")
        layers.append(PlannedLayer(index, node, protocol, layer))
    return layers


def pahe_names(layers: list[PlannedLayer]) -> tuple[str, ...]:
    """PAHE parameter sets whose keys the session must exchange, sorted."""
    return tuple(sorted({n for p in layers if p.protocol and p.protocol.pahe for n in p.protocol.pahe(p.layer)}))
