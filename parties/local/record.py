"""Keeps every layer's shares of a local run, so that the parent can hold them against the oracle afterwards.

Only local runs (tests, demo, bench) record: whoever reads both parties' records reads the secrets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models import oracle
from bunet.models.compiled import Compiled
from bunet.models.oracle import Verdict
from bunet.models.volumes import formats
from bunet.parties.engine.scheduler import SliceJob
from bunet.parties.planner import PlannedLayer
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


@dataclass
class Verification:
    """What holding a run against the oracle gave.

    compared: layers. mismatches: where a layer is not what the oracle makes of its inputs, as sentences. beyond: by layer, how
    many values left the bound that the program states (none: no key). Those wrapped alike at the parties and in the oracle:
    the run did what the program defines, and the mask may be wrong where they matter.
    """

    compared: int = 0
    mismatches: list[str] = field(default_factory=list)
    beyond: Counter[str] = field(default_factory=Counter)


def verify(compiled: Compiled, slice_at: Callable[[int], np.ndarray], count: int, alice: Path, bob: Path) -> Verification:
    """Open every layer of the first `count` slices and compare it with the oracle applied to the opened inputs.

    slice_at: int64 (channels, height, width), what Alice was to share; the opened input layers must equal it.
    """
    verification = Verification()
    of_alice, of_bob = _Record(alice), _Record(bob)
    for k in range(count):
        for name, verdict in _verify_slice(compiled, k, slice_at(k), of_alice, of_bob):
            verification.compared += 1
            if verdict.message:
                verification.mismatches.append(f"slice {k}: {verdict.message}")
            if verdict.beyond:
                verification.beyond[name] += verdict.beyond
    return verification


def beyond_calibration(beyond: Mapping[str, int] | None, named: int = 4) -> list[str]:
    """What a person should read of the values that left their bounds, by layer: a sentence, or nothing where none did.

    named: how many layers are spelled out.
    """
    parts = [f"{count} values in layer {name}" for name, count in (beyond or {}).items()]
    rest = len(parts) - named
    listed = ", ".join(parts[:named]) + (f" and more in {rest} further layers" if rest > 0 else "")
    return [f"beyond calibration: {listed}; the mask may be wrong there"] if parts else []


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


def _verify_slice(compiled: Compiled, k: int, image: np.ndarray, alice: _Record, bob: _Record) -> Iterator[tuple[str, Verdict]]:
    """Each layer's name and verdict, until a party has recorded nothing."""
    opened: dict[str, np.ndarray] = {}
    last_use = compiled.program.last_use()
    for node in compiled.program:
        key = f"{k}/{node.name}"
        if key not in alice or (key not in bob and node.operation != "readout"):
            yield node.name, Verdict(1, 1, f"{node.name}: a party recorded nothing")
            return
        if node.attributes.get("kind") == "label-share":  # bits shared by XOR
            opened[node.name] = (alice[key] ^ bob[key]).astype(np.int64).reshape(node.type.shape)
        elif node.operation == "readout" and key not in bob:
            opened[node.name] = alice[key].astype(np.int64).reshape(node.type.shape)
        else:
            opened[node.name] = open_shares(alice[key], bob[key], node.type.width)
        output = opened[node.name]
        inputs = tuple(opened[name] for name in node.inputs)
        if node.operation == "input":
            if not np.array_equal(output, image):
                yield node.name, Verdict(output.size, output.size, "the opened input is not the slice that was given")
        else:
            width = compiled.program.input_types(node)[0].width
            yield node.name, oracle.agrees(node, compiled.weights.get(node.name), inputs, output, width)
        for name in node.inputs:
            if last_use[name] == node.name:
                opened.pop(name)
