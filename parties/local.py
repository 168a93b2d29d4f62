"""Both parties on this machine, as two processes over ZeroMQ on loopback: demo, bench, sweep and tests.

The parent starts them, merges their events, and after the timed part opens every layer's shares and holds them against
the oracle.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from bunet.models import compile as compiling
from bunet.net.link import Link
from bunet.parties import inputs, profile, record
from bunet.parties.errors import PeerError, RunError
from bunet.parties.events import Failed, SessionFinished, SliceFinished, Subscriber, from_document
from bunet.parties.inputs import VolumeSlices
from bunet.parties.profile import Line

STARTUP_TIMEOUT_S = 180.0
EXIT_GRACE_S = 15.0


@dataclass(frozen=True)
class PairJob:
    """What to run.

    model: a compiled model file. inputs: an .npy file, int64 (slices, channels, height, width), quantised for the
    program, or a volume that Alice cuts. labels: (axis, index) of each slice. cores: of each party. choices, settings: plan
    overrides. results: a folder where Alice writes each slice as it comes out (`parties.outcomes`), so that nothing that is
    done is lost; without one the result holds them all.
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


@dataclass(frozen=True)
class PairResult:
    """What came out, as Alice saw it.

    masks: the read-outs, uint8 (slices, height, width) labels (int64 (slices, classes, height, width) logits); empty where
    each was written to a folder.
    verified: every recorded layer agreed with the oracle; None if nothing was recorded. seconds: the timed part.
    """

    masks: np.ndarray
    verified: bool | None
    mismatches: list[str]
    compared_layers: int
    seconds: float
    slice_seconds: list[float]
    peak_memory_bytes: dict[str, int]
    profiles: dict[str, list[Line]] = field(default_factory=dict)


class _Party:
    """One child process: its events go to a queue, its stderr is kept for the case that it dies."""

    def __init__(self, role: str, job_file: Path, inbox: queue.SimpleQueue[tuple[str, dict[str, Any] | None]]) -> None:
        self.role = role
        self._stderr = open(job_file.parent / f"{role}.log", "w+b")  # noqa: SIM115 - lives as long as the process
        command = [sys.executable, "-m", "bunet.parties.worker", role, str(job_file)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, env=environment
        )
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout, inbox), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes], inbox: queue.SimpleQueue) -> None:
        for line in stream:
            try:
                inbox.put((self.role, json.loads(line)))
            except ValueError:
                self._stderr.write(line)
        inbox.put((self.role, None))

    def tell(self, document: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(document).encode() + b"\n")
        self.process.stdin.flush()

    def complaint(self) -> str:
        """The last line that the process wrote to stderr."""
        self._stderr.flush()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it wrote nothing"

    def close(self) -> None:
        """End the process; its pipes are closed and its exit is waited for."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(EXIT_GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._stderr.close()


def run_pair(job: PairJob, bus: Subscriber) -> PairResult:
    """Run Alice and Bob to the end; raises RunError (or PeerError) with one sentence if either fails."""
    if not job.labels:
        raise RunError("there is no slice to run")
    files = {role: _write_job(job, role) for role in ("alice", "bob")}
    inbox: queue.SimpleQueue[tuple[str, dict[str, Any] | None]] = queue.SimpleQueue()
    parties: list[_Party] = []
    try:
        bob = _Party("bob", files["bob"], inbox)
        parties.append(bob)
        address = _await_address(bob, inbox, bus)
        alice = _Party("alice", files["alice"], inbox)
        parties.append(alice)
        alice.tell({"connect": address})
        outcome = _follow({"alice": alice, "bob": bob}, inbox, bus)
    except BaseException:
        for party in parties:
            party.process.kill()
        raise
    finally:
        for party in parties:
            party.close()
    return _collect(job, outcome)


@dataclass
class _Outcome:
    seconds: float = 0.0
    slice_seconds: dict[int, float] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)


def _write_job(job: PairJob, role: str) -> Path:
    path = job.folder / f"{role}.json"
    bandwidth = None if job.link.unlimited or job.link.bandwidth_bps == float("inf") else job.link.bandwidth_bps
    document = {
        "model": str(job.model.resolve()), "inputs": inputs.to_document(job.inputs), "labels": [list(x) for x in job.labels],
        "folder": str(job.folder.resolve()), "in_flight": job.in_flight, "cores": job.cores,
        "link": {"bandwidth_bps": bandwidth, "rtt_s": job.link.rtt_s, "jitter_s": job.link.jitter_s},
        "choices": dict(job.choices), "settings": dict(job.settings), "record": job.record,
        "profile": job.profile, "results": None if job.results is None else str(job.results.resolve()),
        "first_core": 0 if role == "alice" else job.cores,
    }
    path.write_text(json.dumps(document))
    return path


def _await_address(bob: _Party, inbox: queue.SimpleQueue, bus: Subscriber) -> str:
    deadline = time.monotonic() + STARTUP_TIMEOUT_S
    while True:
        try:
            _, document = inbox.get(timeout=max(0.1, deadline - time.monotonic()))
        except queue.Empty:
            raise RunError(f"Bob's process did not start within {STARTUP_TIMEOUT_S:.0f} s") from None
        if document is None:
            raise RunError(f"Bob's process ended before it listened: {bob.complaint()}")
        if "listening" in document:
            return str(document["listening"])
        _publish(document, bus)


def _publish(document: dict[str, Any], bus: Subscriber) -> Any:
    event = from_document(document)
    bus(event)
    return event


def _follow(parties: dict[str, _Party], inbox: queue.SimpleQueue, bus: Subscriber) -> _Outcome:
    """Forward events until both processes have said that they are done, or one has failed."""
    outcome = _Outcome()
    done: set[str] = set()
    failed: Failed | None = None
    while len(done) < len(parties):
        role, document = inbox.get()
        if document is None:
            if role in done:
                continue
            code = parties[role].process.wait()
            if failed is not None:
                _raise(failed)
            raise PeerError(f"{role.capitalize()}'s process ended with status {code}: {parties[role].complaint()}")
        if "done" in document:
            done.add(role)
            continue
        event = _publish(document, bus)
        if isinstance(event, Failed):
            if failed is None or failed.fault == "peer":
                failed = event
        elif isinstance(event, SessionFinished):
            outcome.peak[role] = event.peak_memory_bytes
            if role == "alice":
                outcome.seconds = event.seconds
        elif isinstance(event, SliceFinished) and role == "alice":
            outcome.slice_seconds[event.slice] = event.seconds
    return outcome


def _raise(failed: Failed) -> None:
    kind = PeerError if failed.fault == "peer" else RunError
    raise kind(f"{failed.role.capitalize()}: {failed.message}")


def _collect(job: PairJob, outcome: _Outcome) -> PairResult:
    masks = np.empty(0) if job.results is not None else np.load(job.folder / "masks.npy", allow_pickle=False)
    verified: bool | None = None
    mismatches: list[str] = []
    compared = 0
    if job.record:
        compiled = compiling.load(job.model)
        source = inputs.open_source(inputs.to_document(job.inputs), job.labels)
        count = min(job.record, len(job.labels))
        kept = (job.folder / "alice.npz", job.folder / "bob.npz")
        compared, mismatches = record.verify(compiled, lambda k: source.slice_at(compiled.program, k), count, *kept)
        verified = compared > 0 and not mismatches
    slices = [outcome.slice_seconds[k] for k in sorted(outcome.slice_seconds)]
    profiles = {role: profile.load(job.folder / f"{role}-profile.json") for role in ("alice", "bob")} if job.profile else {}
    return PairResult(masks, verified, mismatches, compared, outcome.seconds, slices, outcome.peak, profiles)
