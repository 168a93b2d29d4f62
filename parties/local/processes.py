"""The two processes of a local pair: started, told of each other, listened to, ended."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bunet.models.errors import LocalError, PeerError
from bunet.parties.events import Failed, SessionFinished, SliceFinished, Subscriber, from_document

STARTUP_TIMEOUT_S = 180.0
EXIT_GRACE_S = 15.0

Inbox = queue.SimpleQueue[tuple[str, dict[str, Any] | None]]


@dataclass
class Outcome:
    """What the events of both processes said. seconds, slice_seconds: Alice's; by slice. peak: resident bytes by role."""

    seconds: float = 0.0
    slice_seconds: dict[int, float] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)


def run(files: Mapping[str, Path], emit: Subscriber, module: str = "bunet.parties.local.worker") -> Outcome:
    """Run `module` as both roles, each with its job file; raises LocalError or PeerError with one sentence if either fails."""
    inbox: Inbox = queue.SimpleQueue()
    parties: list[_Party] = []
    try:
        bob = _Party("bob", files["bob"], module, inbox)
        parties.append(bob)
        address = _await_address(bob, inbox, emit)
        alice = _Party("alice", files["alice"], module, inbox)
        parties.append(alice)
        alice.tell({"connect": address})
        return _follow({"alice": alice, "bob": bob}, inbox, emit)
    except BaseException:
        for party in parties:
            party.process.kill()
        raise
    finally:
        for party in parties:
            party.close()


class _Party:
    """A subprocess: its events go to a queue, its stderr is kept for the case that it dies."""

    def __init__(self, role: str, job_file: Path, module: str, inbox: Inbox) -> None:
        self.role = role
        self._stderr = open(job_file.parent / f"{role}.log", "w+b")  # noqa: SIM115 - lives as long as the process
        command = [sys.executable, "-m", module, role, str(job_file)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, env=environment
        )
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout, inbox), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes], inbox: Inbox) -> None:
        for line in stream:
            try:
                inbox.put((self.role, json.loads(line)))
            except ValueError:
                self._stderr.write(line)
        inbox.put((self.role, None))

    def tell(self, document: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which its reader says
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
            with suppress(BrokenPipeError):
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


def _await_address(bob: _Party, inbox: Inbox, emit: Subscriber) -> str:
    deadline = time.monotonic() + STARTUP_TIMEOUT_S
    while True:
        try:
            _, document = inbox.get(timeout=max(0.1, deadline - time.monotonic()))
        except queue.Empty:
            raise LocalError(f"Bob's process did not start within {STARTUP_TIMEOUT_S:.0f} s") from None
        if document is None:
            raise LocalError(f"Bob's process ended before it listened: {bob.complaint()}")
        if "listening" in document:
            return str(document["listening"])
        _publish(document, emit)


def _publish(document: dict[str, Any], emit: Subscriber) -> Any:
    event = from_document(document)
    emit(event)
    return event


def _follow(parties: dict[str, _Party], inbox: Inbox, emit: Subscriber) -> Outcome:
    """Forward events until both processes have said that they are done, or one has failed."""
    outcome = Outcome()
    done: set[str] = set()
    failed: Failed | None = None
    while len(done) < len(parties):
        role, document = inbox.get()
        if document is None:
            if role in done:
                continue
            code = parties[role].process.wait()
            if failed is not None:
                raise failed.error()
            raise PeerError(f"{role.capitalize()}'s process ended with status {code}: {parties[role].complaint()}")
        if "done" in document:
            done.add(role)
            continue
        event = _publish(document, emit)
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
