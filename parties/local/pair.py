"""Both parties on this machine, as two processes over ZeroMQ on loopback: demo, bench, sweep and tests.

The parent starts them, merges their events, and after the timed part opens every layer's shares and holds them against
the oracle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bunet.models.compiled import load_compiled
from bunet.models.errors import UsageError
from bunet.models.files.disk_space import explaining_full_disk
from bunet.parties import input_range
from bunet.parties.events import ROLES, Subscriber
from bunet.parties.local import processes, profile, record
from bunet.parties.local.inputs import open_source
from bunet.parties.local.job import PairJob
from bunet.parties.local.processes import Outcome
from bunet.parties.local.profile import Line
from bunet.parties.local.record import Verification


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


def run_pair(job: PairJob, emit: Subscriber) -> PairResult:
    """Run Alice and Bob to the end; raises LocalError (or PeerError) with one sentence if either fails."""
    if not job.labels:
        raise UsageError("there is no slice to run")
    with explaining_full_disk(job.folder):
        outcome = processes.run({role: job.write(role) for role in ROLES}, emit)
    return _collect(job, outcome)


def _collect(job: PairJob, outcome: Outcome) -> PairResult:
    elsewhere = job.results is not None or job.shares
    masks = np.empty(0) if elsewhere else np.load(job.folder / "masks.npy", allow_pickle=False)
    verification: Verification | None = None
    if job.record:
        compiled = load_compiled(job.model)
        slices = open_source(job.inputs, job.labels).slices
        count = min(job.record, len(job.labels))
        kept = (job.folder / "alice.npz", job.folder / "bob.npz")
        verification = record.verify(compiled, lambda k: slices.at(compiled.program, k), count, *kept)
    seconds = [outcome.slice_seconds[k] for k in sorted(outcome.slice_seconds)]
    profiles = {role: profile.load(job.folder / f"{role}-profile.json") for role in ROLES} if job.profile else {}
    verified = None if verification is None else verification.compared > 0 and not verification.mismatches
    mismatches, compared = ([], 0) if verification is None else (verification.mismatches, verification.compared)
    beyond = None if verification is None else dict(verification.beyond)
    return PairResult(
        masks,
        verified,
        mismatches,
        compared,
        outcome.seconds,
        seconds,
        outcome.peak,
        profiles,
        beyond,
        input_range.load(job.folder),
    )
