"""Which protocol runs which layer: the default of its operation, unless the operation or the layer is told another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bunet.models.errors import UsageError
from bunet.models.integers import IntegerWeights
from bunet.models.program import Node, Program
from bunet.parties.events import LayerPlan
from bunet.protocols import registry
from bunet.protocols.registry import Layer, Protocol

# Operations that only rearrange tensors: nothing to choose, nothing to pay.
STRUCTURAL = ("input", "concat")


@dataclass
class PlannedLayer:
    """A node, the protocol that runs it, and what that protocol needs. Structural nodes have no protocol."""

    index: int
    node: Node
    protocol: Protocol | None
    layer: Layer

    def prepared(self) -> PlannedLayer:
        """The same with what this party keeps of it between slices."""
        return self if self.protocol is None else replace(self, layer=self.protocol.prepared(self.layer))

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
    Raises UsageError for an unknown key or protocol, or one that does not support the layer.
    """
    overrides = dict(overrides or {})
    names = {node.name for node in program}
    operations = {node.operation for node in program}
    for key, value in overrides.items():
        if key not in names and key not in registry.DEFAULTS:
            raise UsageError(f"protocol override {key}={value}: {key!r} is neither an operation nor a layer of the program")
        if key in registry.DEFAULTS and key not in operations:
            registry.get(key, value)
    protocols: dict[str, str] = {}
    for node in program:
        if node.operation in STRUCTURAL:
            continue
        name = overrides.get(node.name, overrides.get(node.operation, registry.default_of(node)))
        try:
            protocol = registry.get(node.operation, name)
        except UsageError as error:
            raise UsageError(f"{node.name}: {error}") from None
        reason = protocol.supports(Layer(node, program.input_types(node)))
        if reason:
            raise UsageError(f"{node.name}: protocol {name!r} cannot run it: {reason}")
        protocols[node.name] = name
    return protocols


def check_settings(settings: Mapping[str, str]) -> None:
    """UsageError for a public setting that does not exist or has no such value."""
    known = registry.settings()
    for name, value in settings.items():
        if name not in known:
            raise UsageError(f"there is no setting {name!r}; known are {', '.join(known)}")
        if value not in known[name]:
            raise UsageError(f"setting {name}={value} is not one of {', '.join(known[name])}")


def plan(
    program: Program,
    protocols: Mapping[str, str],
    settings: Mapping[str, str] | None = None,
    weights: Mapping[str, IntegerWeights] | None = None,
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
                raise UsageError(f"{node.name}: protocol {protocol.name!r} cannot run it: {reason}")
        layers.append(PlannedLayer(index, node, protocol, layer))
    return layers


def pahe_names(layers: list[PlannedLayer]) -> tuple[str, ...]:
    """PAHE parameter sets whose keys the session must exchange, sorted."""
    return tuple(sorted({n for p in layers if p.protocol for n in p.protocol.pahe(p.layer)}))
