"""What sessions cost, added up from their JSON documents by family of operations, by protocol and by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bunet.models.program import FAMILIES

SET_UP = "set-up"
_FAMILY_OF = {operation: family for family, operations in FAMILIES.items() for operation in operations}


@dataclass(frozen=True)
class Cost:
    """One party's seconds and payload bytes. unsplit_s: seconds not told apart into compute and waiting.

    Slices in flight overlap, so that the seconds of layers may add up to more than those of their session.
    """

    compute_s: float = 0.0
    wait_s: float = 0.0
    unsplit_s: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    rounds: int = 0

    @property
    def seconds(self) -> float:
        return self.compute_s + self.wait_s + self.unsplit_s

    @property
    def bytes(self) -> int:
        return self.bytes_sent + self.bytes_received

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.compute_s + other.compute_s,
            self.wait_s + other.wait_s,
            self.unsplit_s + other.unsplit_s,
            self.bytes_sent + other.bytes_sent,
            self.bytes_received + other.bytes_received,
            self.rounds + other.rounds,
        )


@dataclass(frozen=True)
class LayerCost:
    """One layer's cost over the slices of a session. shape: (channels, rows, columns), empty where no plan tells."""

    name: str
    operation: str
    protocol: str
    shape: tuple[int, ...]
    cost: Cost


def family_of(operation: str) -> str:
    """The family that an operation is counted under (`program.FAMILIES`); its own name where it has none."""
    return _FAMILY_OF.get(operation, operation)


def by_family(documents: Iterable[Mapping[str, Any]]) -> dict[str, Cost]:
    """Family to cost over all sessions, in the order of FAMILIES, then operations that have none, then the set-up.

    documents: as Ledger.document makes them.
    """
    costs = _sums(documents, lambda layer: family_of(layer["operation"]))
    order = [*(k for k in FAMILIES if k in costs), *(k for k in costs if k not in FAMILIES and k != SET_UP), SET_UP]
    return {family: costs[family] for family in order if family in costs}


def by_protocol(documents: Iterable[Mapping[str, Any]]) -> dict[str, Cost]:
    """Protocol to cost over all sessions, the costliest in seconds first."""
    costs = _sums(documents, lambda layer: layer["protocol"])
    return dict(sorted(costs.items(), key=lambda item: -item[1].seconds))


def by_layer(document: Mapping[str, Any]) -> list[LayerCost]:
    """The layers of one session in the order they ran, summed over its slices."""
    shapes = {line["name"]: tuple(line["shape"]) for line in document.get("plan", ())}
    sums: dict[tuple[str, str, str], Cost] = {}
    for layer in _layers(document):
        key = layer["name"], layer["operation"], layer["protocol"]
        sums[key] = sums.get(key, Cost()) + _cost(layer)
    return [LayerCost(*key, shapes.get(key[0], ()), cost) for key, cost in sums.items()]


def _sums(documents: Iterable[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], str]) -> dict[str, Cost]:
    sums: dict[str, Cost] = {}
    for document in documents:
        for layer in _layers(document):
            name = key(layer)
            sums[name] = sums.get(name, Cost()) + _cost(layer)
        setup = document["setup"]
        sums[SET_UP] = sums.get(SET_UP, Cost()) + Cost(
            unsplit_s=setup["seconds"],
            bytes_sent=setup["bytes_sent"],
            bytes_received=setup["bytes_received"],
            rounds=setup["rounds"],
        )
    return sums


def _layers(document: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return (layer for record in document["slices"] for layer in record["layers"])


def _cost(layer: Mapping[str, Any]) -> Cost:
    return Cost(
        compute_s=layer["compute_s"],
        wait_s=layer["wait_s"],
        bytes_sent=layer["bytes_sent"],
        bytes_received=layer["bytes_received"],
        rounds=layer["rounds"],
    )
