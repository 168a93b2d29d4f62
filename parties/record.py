"""Keeps every layer's shares of a local run, so that the parent can hold them against the oracle afterwards.

Only local runs (tests, demo, bench) record: whoever reads both parties' records reads the secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models import oracle
from bunet.models.compile import Compiled
from bunet.models.program import Node
from bunet.models.volumes import formats
from bunet.parties.planner import PlannedLayer
from bunet.parties.scheduler import SliceJob
from bunet.protocols.ass.share import Share, open_shares


class Recorder:
    """Collects in memory during the run (so that no disk time enters the timed part), writes afterwards."""

    def __init__(self, only_slices: int | None = None) -> None:
        self._only = only_slices
        self._arrays: dict[str, np.ndarray] = {}

    def __call__(self, job: SliceJob, planned: PlannedLayer, result: Any) -> None:
        if self._only is not None and job.slice >= self._only:
            return
        if isinstance(result, Share):
            self._arrays[f"{job.slice}/{planned.node.name}"] = result.values
        elif result is not None:
            self._arrays[f"{job.slice}/{planned.node.name}"] = np.asarray(result)

    def save(self, path: Path) -> None:
        np.savez(path, **self._arrays)  # type: ignore[arg-type]


def verify(
    compiled: Compiled, slice_at: Callable[[int], np.ndarray], count: int, alice: Path, bob: Path
) -> tuple[int, list[str]]:
    """Open every layer of the first `count` slices and compare it with the oracle applied to the opened inputs (DESIGN 3).

    slice_at: int64 (channels, height, width), what Alice was to share; the opened input layers must equal it.
    Returns (layers compared, mismatches as sentences).
    """
    compared, mismatches = 0, []
    of_alice, of_bob = _Record(alice), _Record(bob)
    for k in range(count):
        for sentence in _verify_slice(compiled, k, slice_at(k), of_alice, of_bob):
            compared += 1
            if sentence:
                mismatches.append(f"slice {k}: {sentence}")
    return compared, mismatches


class _Record(Mapping[str, np.ndarray]):
    """What a party recorded, read where it is asked for, each array held against its checksum. Raises VolumeError."""

    def __init__(self, path: Path) -> None:
        self._path, self._names = path, frozenset(formats.keys_of(path))

    def __getitem__(self, name: str) -> np.ndarray:
        return formats.read_array(self._path, name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _verify_slice(compiled: Compiled, k: int, image: np.ndarray, alice: Mapping, bob: Mapping) -> Iterator[str | None]:
    """One value a layer: None where it agrees, a sentence where it does not."""
    opened: dict[str, np.ndarray] = {}
    last_use = compiled.program.last_use()
    for node in compiled.program:
        key = f"{k}/{node.name}"
        if key not in alice or (key not in bob and node.operation != "readout"):
            yield f"{node.name}: a party recorded nothing"
            return
        if node.attributes.get("kind") == "label-share":  # bits shared by XOR
            opened[node.name] = (alice[key] ^ bob[key]).astype(np.int64).reshape(node.type.shape)
        elif node.operation == "readout" and key not in bob:
            opened[node.name] = alice[key].astype(np.int64).reshape(node.type.shape)
        else:
            opened[node.name] = open_shares(alice[key], bob[key], node.type.width)
        inputs = tuple(opened[name] for name in node.inputs)
        if node.operation == "input":
            if not np.array_equal(opened[node.name], image):
                yield "the opened input is not the slice that was given"
        else:
            yield oracle.agrees(node, compiled.weights.get(node.name), inputs, opened[node.name]).message or _beyond(
                node, opened[node.name]
            )
        for name in node.inputs:
            if last_use[name] == node.name:
                opened.pop(name)


def _beyond(node: Node, output: np.ndarray) -> str | None:
    """A sentence if values left the bound that calibration promised: rings wrap alike here and in the oracle."""
    count = oracle.beyond_bound(node, output)
    return f"{node.name}: {count} values are beyond the calibrated bound of 2^{node.type.bound}" if count else None
