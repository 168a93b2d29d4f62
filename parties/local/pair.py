"""Both parties on this machine, as two processes over ZeroMQ on loopback: demo, bench, sweep and tests.

The parent starts them, merges their events, and after the timed part opens every layer's shares and holds them against
the oracle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bunet.models.errors import UsageError
from bunet.models.files.disk_space import room_in
from bunet.models.passes import compile as compiling
from bunet.net.link import Link
from bunet.parties import input_range
from bunet.parties.events import Subscriber
from bunet.parties.local import inputs, processes, profile, record
from bunet.parties.local.inputs import VolumeSlices
from bunet.parties.local.processes import Outcome
from bunet.parties.local.profile import Line
from bunet.parties.local.record import Verification


@dataclass(frozen=True)
class PairJob:
    """What to run.

    model: a compiled model file. inputs: an .npy file, int64 (slices, channels, height, width), quantised for the
    program, or a volume that Alice cuts. labels: (axis, index) of each slice. cores: of each party. choices, settings: plan
    overrides. results: a folder where Alice writes each slice as it comes out (`parties.outcomes`), so that nothing that is
    done is lost; without one the result holds them all. shares: Alice's and Bob's folder for their shares of the labels
    (`parties.shares_on_disk`), where the read-out is label-share; nothing is learned then.
    record: keep every layer's shares of the first `record` slices and verify them (0: none). profile: also say where the
    compute threads spend their seconds, which costs some. folder: an existing folder for the run's files.
    """

    model: Path
    inputs: Path | VolumeSlices
    labels: Sequence[tuple[str, int]]
    folder: Path
    link: Link = field(default_factory=Link)
    in_flight: int = 1
    cores: int = 1
    choices: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    record: int = 0
    profile: bool = False
    results: Path | None = None
    shares: tuple[Path, Path] | None = None


@dataclass(frozen=True)
class PairResult:
    """What came out, as Alice saw it.

    masks: the read-outs, uint8 (slices, height, width) labels (int64 (slices, classes, height, width) logits); empty where
    each was written to a folder, or nothing was opened.
    verified: every recorded layer agreed with the oracle; None if nothing was recorded. seconds: the timed part.
    beyond: by layer, how many of its values left the bound that the program states; None if nothing was recorded.
    input_beyond: by slice, which share of its values lies beyond the calibrated range, where any does (`input_range`).
    """

    masks: np.ndarray
    verified: bool | None
    mismatches: list[str]
    compared_layers: int
    seconds: float
    slice_seconds: list[float]
    peak_memory_bytes: dict[str, int]
    profiles: dict[str, list[Line]] = field(default_factory=dict)
    beyond: Mapping[str, int] | None = None
    input_beyond: Mapping[str, float] = field(default_factory=dict)


def run_pair(job: PairJob, bus: Subscriber) -> PairResult:
    """Run Alice and Bob to the end; raises LocalError (or PeerError) with one sentence if either fails."""
    if not job.labels:
        raise UsageError("there is no slice to run")
    with room_in(job.folder):
        outcome = processes.run({role: _write_job(job, role) for role in ("alice", "bob")}, bus)
    return _collect(job, outcome)


def _write_job(job: PairJob, role: str) -> Path:
    path = job.folder / f"{role}.json"
    document = {
        "model": str(job.model.resolve()),
        "inputs": inputs.to_document(job.inputs),
        "labels": [list(x) for x in job.labels],
        "folder": str(job.folder.resolve()),
        "in_flight": job.in_flight,
        "cores": job.cores,
        "link": processes.link_document(job.link),
        "choices": dict(job.choices),
        "settings": dict(job.settings),
        "record": job.record,
        "profile": job.profile,
        "results": None if job.results is None else str(job.results.resolve()),
        "shares": None if job.shares is None else str(job.shares[role == "bob"].resolve()),
        "first_core": 0 if role == "alice" else job.cores,
    }
    path.write_text(json.dumps(document))
    return path


def _collect(job: PairJob, outcome: Outcome) -> PairResult:
    elsewhere = job.results is not None or job.shares is not None
    masks = np.empty(0) if elsewhere else np.load(job.folder / "masks.npy", allow_pickle=False)
    found: Verification | None = None
    if job.record:
        compiled = compiling.load(job.model)
        source = inputs.open_source(inputs.to_document(job.inputs), job.labels)
        count = min(job.record, len(job.labels))
        kept = (job.folder / "alice.npz", job.folder / "bob.npz")
        found = record.verify(compiled, lambda k: source.slice_at(compiled.program, k), count, *kept)
    slices = [outcome.slice_seconds[k] for k in sorted(outcome.slice_seconds)]
    profiles = {role: profile.load(job.folder / f"{role}-profile.json") for role in ("alice", "bob")} if job.profile else {}
    verified = None if found is None else found.compared > 0 and not found.mismatches
    mismatches, compared = ([], 0) if found is None else (found.mismatches, found.compared)
    beyond = None if found is None else dict(found.beyond)
    return PairResult(
        masks,
        verified,
        mismatches,
        compared,
        outcome.seconds,
        slices,
        outcome.peak,
        profiles,
        beyond,
        input_range.load(job.folder),
    )
