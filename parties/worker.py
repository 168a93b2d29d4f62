"""One party of a local pair, as a process: `python -m bunet.parties.worker alice|bob JOB.json`.

Reads its job from a file that `parties.local` wrote, writes events as JSON lines to stdout. Bob says where he listens;
Alice reads that from stdin.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.compile import load
from bunet.net import zeromq
from bunet.net.link import Link
from bunet.parties import alice, bob
from bunet.parties.allocator import keep_freed_memory
from bunet.parties.errors import RunError
from bunet.parties.events import Event, Failed, to_document
from bunet.parties.profile import Profiler
from bunet.parties.record import Recorder
from bunet.parties.session import Request
from bunet.parties.store import CompiledStore

_LOCK = threading.Lock()


def say(document: dict[str, Any]) -> None:
    line = json.dumps(document) + "\n"
    with _LOCK:
        sys.stdout.write(line)
        sys.stdout.flush()


def emit(event: Event) -> None:
    say(to_document(event))


def pin(first: int, cores: int) -> None:
    """Give this process `cores` processors of its own, where the machine has that many."""
    if not hasattr(os, "sched_setaffinity"):
        return
    present = sorted(os.sched_getaffinity(0))
    wanted = present[first : first + cores]
    if len(wanted) == cores:
        os.sched_setaffinity(0, wanted)


def run_bob(job: dict[str, Any], link: Link) -> None:
    recorder = Recorder(job["record"]) if job["record"] else None
    service = bob.Service(CompiledStore([load(Path(job["model"]))]), link, emit, job["cores"], recorder)
    profiler = Profiler() if job["profile"] else None
    service.thread_hook = profiler.start if profiler else None
    with zeromq.Listener("tcp://127.0.0.1:*") as listener:
        say({"listening": listener.address})
        bob.serve(listener, service, once=True)
    _keep(job, "bob", recorder, profiler)


def run_alice(job: dict[str, Any], link: Link) -> None:
    address = json.loads(sys.stdin.readline())["connect"]
    inputs = np.load(job["inputs"], mmap_mode="r", allow_pickle=False)
    recorder = Recorder(job["record"]) if job["record"] else None
    profiler = Profiler() if job["profile"] else None
    labels = [(str(axis), int(index)) for axis, index in job["labels"]]
    results: dict[int, np.ndarray] = {}
    request = Request(
        tuple(inputs.shape[1:]), len(labels), job["in_flight"], choices=job["choices"], settings=job["settings"]
    )
    alice.run(
        lambda: zeromq.connect(address), request, labels,
        lambda program, k: np.asarray(inputs[k]), lambda done, result: results.__setitem__(done.slice, result),
        emit, link=link, cores=job["cores"], on_layer=recorder, thread_hook=profiler.start if profiler else None,
    )
    np.save(Path(job["folder"]) / "masks.npy", np.stack([results[k] for k in range(len(labels))]))
    _keep(job, "alice", recorder, profiler)


def _keep(job: dict[str, Any], role: str, recorder: Recorder | None, profiler: Profiler | None) -> None:
    """Write what was collected during the run, after its timed part."""
    folder = Path(job["folder"])
    if recorder is not None:
        recorder.save(folder / f"{role}.npz")
    if profiler is not None:
        profiler.save(folder / f"{role}-profile.json")


def main(arguments: list[str]) -> int:
    role, path = arguments
    job = json.loads(Path(path).read_text())
    given = job["link"]
    link = Link(given["bandwidth_bps"] or float("inf"), given["rtt_s"], given["jitter_s"])
    keep_freed_memory()
    pin(job["first_core"], job["cores"])
    try:
        (run_alice if role == "alice" else run_bob)(job, link)
    except RunError as error:
        if role == "bob":  # alice.run has said so itself
            emit(Failed(role, str(error), error.fault))
        print(f"{role}: {error}", file=sys.stderr)
        return 1
    say({"done": role})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
