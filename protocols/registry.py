"""All layer protocols, under (operation, name).

A protocol joins by existing: its module calls `register` with its two halves, its stated cost and what it supports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bunet.models.integers import IntegerWeights
from bunet.models.program import Node, TensorType
from bunet.protocols.cost import Cost


@dataclass
class Layer:
    """A node with what a protocol needs beside shares; Bob's has weights, Alice's has None.

    settings: public choices, equal at both parties, such as {"garbler": "alice"}.
    cache: what this party keeps between slices, such as transformed weights; filled by the protocol's `prepare`.
    """

    node: Node
    inputs: tuple[TensorType, ...]
    weights: IntegerWeights | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)


def _supports_all(layer: Layer) -> str | None:
    return None


@dataclass(frozen=True)
class Protocol:
    """alice, bob: (ctx, layer, *shares) -> Steps[Share] (a readout returns what its party learns, or None).

    cost: (layer) -> Cost, exact; computed without weights. supports: (layer) -> None, or the reason why not.
    prepare: (ctx, layer) -> None, work before the first slice that needs no peer (weight transforms).
    pahe: (layer) -> names of the PAHE parameter sets whose keys the session must exchange.
    """

    operation: str
    name: str
    alice: Callable[..., Any]
    bob: Callable[..., Any]
    cost: Callable[[Layer], Cost]
    supports: Callable[[Layer], str | None] = _supports_all
    prepare: Callable[[Any, Layer], None] | None = None
    pahe: Callable[[Layer], tuple[str, ...]] | None = None


_PROTOCOLS: dict[tuple[str, str], Protocol] = {}


def register(protocol: Protocol) -> Protocol:
    key = (protocol.operation, protocol.name)
    if key in _PROTOCOLS:
        raise ValueError(f"protocol {key} is registered twice")
    _PROTOCOLS[key] = protocol
    return protocol


def get(operation: str, name: str) -> Protocol:
    """The protocol, or LookupError naming the known ones."""
    load()
    try:
        return _PROTOCOLS[operation, name]
    except KeyError:
        known = ", ".join(n for o, n in sorted(_PROTOCOLS) if o == operation)
        raise LookupError(f"no protocol {name!r} for {operation}; known: {known or 'none'}") from None


def names(operation: str) -> list[str]:
    load()
    return [n for o, n in _PROTOCOLS if o == operation]


def everything() -> list[Protocol]:
    load()
    return list(_PROTOCOLS.values())


def load() -> None:
    """Import every module that registers protocols."""
    from bunet.protocols import layers

    layers.load()
