"""All layer protocols, under (operation, name), and the default of each operation.

A protocol joins by existing: a module in `protocols/layers`, or one that an installed package names as an entry point of the
group `bunet.protocols`, calls `register` with its two halves, its stated cost and what it supports. Everything else follows
from that: the choice by name, the plan, the warm-up, the reports and the shared tests (docs/adding-a-protocol.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Any

from bunet.models.errors import UsageError
from bunet.models.integers import IntegerWeights
from bunet.models.printable import reason
from bunet.models.program import OPERATIONS, Node, TensorType
from bunet.protocols import defaults
from bunet.protocols.cost import Cost
from bunet.protocols.steps import Steps

DEFAULTS = defaults.DEFAULTS
ENTRY_POINTS = "bunet.protocols"
_LAYERS = "bunet.protocols.layers"

Settings = Mapping[str, tuple[str, ...]]  # public settings, equal at both parties, and their values, the default first


@dataclass(frozen=True, eq=False)
class Layer:
    """A node with what a protocol needs beside shares; Bob's has weights, Alice's has None.

    settings: public choices, equal at both parties, such as {"garbler": "alice"}.
    prepared: what this party made of it once and keeps between slices (`Protocol.prepare`), None where there is nothing.
    """

    node: Node
    inputs: tuple[TensorType, ...]
    weights: IntegerWeights | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    prepared: object = None


def _supports_all(layer: Layer) -> str | None:
    return None


def _no_keys(layer: Layer) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, eq=False)
class Protocol:
    """alice, bob: (ctx, layer, *shares) -> Steps[Share] (a readout returns what its party learns, or None).

    cost: (layer) -> Cost, exact; computed without weights. supports: (layer) -> None, or the reason why not.
    prepare: (layer) -> what this party keeps between slices, such as transformed weights; work that needs no peer. The halves
    find it in `Layer.prepared`, and do without where nobody has called it.
    pahe: (layer) -> names of the PAHE parameter sets whose keys the session must exchange.
    settings: the public settings that change what it does, each with its values, the default first. A name that several
    protocols have, such as "ot" and "garbler", has the same values in all.
    examples: layers that the shared tests run it on, beside those that they have for its operation; Bob's, with weights.
    """

    operation: str
    name: str
    alice: Callable[..., Steps[Any]]
    bob: Callable[..., Steps[Any]]
    cost: Callable[[Layer], Cost]
    supports: Callable[[Layer], str | None] = _supports_all
    prepare: Callable[[Layer], object] | None = None
    pahe: Callable[[Layer], tuple[str, ...]] = _no_keys
    settings: Settings = field(default_factory=dict)
    examples: tuple[Layer, ...] = ()

    def prepared(self, layer: Layer) -> Layer:
        """The layer with what this party keeps between slices. ValueError where its weights do not fit it."""
        return layer if self.prepare is None else replace(layer, prepared=self.prepare(layer))


_PROTOCOLS: dict[tuple[str, str], Protocol] = {}


def register(protocol: Protocol) -> Protocol:
    """Make a protocol known.

    ValueError for an operation that no program has, for a name that is taken, and for a setting with other values elsewhere.
    """
    if protocol.operation not in OPERATIONS:
        raise ValueError(f"protocol {protocol.name!r}: there is no operation {protocol.operation!r}")
    key = (protocol.operation, protocol.name)
    if key in _PROTOCOLS:
        raise ValueError(f"protocol {key} is registered twice")
    for other in _PROTOCOLS.values():
        for name in other.settings.keys() & protocol.settings.keys():
            if other.settings[name] != protocol.settings[name]:
                raise ValueError(f"protocol {key} has other values of the setting {name!r} than {other.operation} {other.name}")
    _PROTOCOLS[key] = protocol
    return protocol


def get(operation: str, name: str) -> Protocol:
    """The protocol; UsageError naming the known ones where there is none."""
    load()
    try:
        return _PROTOCOLS[operation, name]
    except KeyError:
        known = ", ".join(names(operation))
        raise UsageError(f"no protocol {name!r} for {operation}; known: {known or 'none'}") from None


def names(operation: str) -> list[str]:
    """Names of an operation's protocols, sorted."""
    load()
    return sorted(name for known, name in _PROTOCOLS if known == operation)


def everything() -> list[Protocol]:
    """All protocols, in the order of operation and name."""
    load()
    return [_PROTOCOLS[key] for key in sorted(_PROTOCOLS)]


def settings() -> dict[str, tuple[str, ...]]:
    """The public settings of all protocols and their values, by name."""
    return dict(sorted(item for protocol in everything() for item in protocol.settings.items()))


def default_of(node: Node) -> str:
    """Name of the protocol that runs a node where nobody has chosen another."""
    return str(node.attributes["kind"]) if node.operation == "readout" else DEFAULTS[node.operation]


@cache
def load() -> None:
    """Import every module of `protocols/layers`, in the order of their names, then what installed packages offer.

    UsageError, with the package in its sentence, where one of those cannot be loaded.
    """
    package = import_module(_LAYERS)
    for name in sorted(module.name for module in iter_modules(package.__path__)):
        import_module(f"{_LAYERS}.{name}")
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        _load_package(entry)


def _load_package(entry: EntryPoint) -> None:
    """What it has registered is forgotten where it fails: the next `load` runs it again."""
    known = dict(_PROTOCOLS)
    try:
        entry.load()
    except Exception as error:
        _PROTOCOLS.clear()
        _PROTOCOLS.update(known)
        name = entry.dist.name if entry.dist else entry.name
        raise UsageError(
            f"the protocol package {name} ({entry.value}) cannot be loaded: {reason(error)}", "mend it, or uninstall it"
        ) from error
