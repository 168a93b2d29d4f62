"""One party of a local pair, as a process: `python -m bunet.parties.local.worker alice|bob JOB.json`.

Reads its job from a file that `parties.local` wrote, writes events as JSON lines to stdout. Bob says where he listens;
Alice reads that from stdin.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.errors import BunetError
from bunet.models.files.atomic import write_whole
from bunet.models.files.disk_space import NoRoom, room_in
from bunet.models.passes.compile import load
from bunet.models.program import Program
from bunet.net import zeromq
from bunet.net.link import Link
from bunet.parties import alice, bob, input_range, outcomes
from bunet.parties.engine.scheduler import SliceJob
from bunet.parties.events import Event, Failed, to_document
from bunet.parties.local.allocator import keep_freed_memory
from bunet.parties.local.inputs import open_source
from bunet.parties.local.processes import link_of
from bunet.parties.local.profile import Profiler
from bunet.parties.local.record import Recorder
from bunet.parties.session.handshake import Request
from bunet.parties.store import CompiledStore
from bunet.parties.vote.shares import keep_shares

Half = Callable[[dict[str, Any], Link], None]
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


def leave_with_parent() -> None:
    """The parent holds our standard input: it ends when the parent does, however that came, and nobody waits for us then."""
    while os.read(0, 1):  # not sys.stdin, whose lock the interpreter wants when it shuts down
        pass
    os._exit(1)


def run_bob(job: dict[str, Any], link: Link) -> None:
    threading.Thread(target=leave_with_parent, daemon=True).start()
    recorder = Recorder(job["record"]) if job["record"] else None
    service = bob.Service(CompiledStore([load(Path(job["model"]))]), link, emit, job["cores"], recorder)
    if job["shares"]:
        labels = _labels(job)
        service.keep = lambda terms: keep_shares(Path(job["shares"]), terms.session, labels)
    profiler = Profiler() if job["profile"] else None
    service.thread_hook = profiler.start if profiler else None
    with zeromq.Listener("tcp://127.0.0.1:*") as listener:
        say({"listening": listener.address})
        bob.serve(listener, service, once=True)
    _keep(job, "bob", recorder, profiler)


def run_alice(job: dict[str, Any], link: Link) -> None:
    address = json.loads(sys.stdin.readline())["connect"]
    threading.Thread(target=leave_with_parent, daemon=True).start()
    labels = _labels(job)
    source = open_source(job["inputs"], labels)
    recorder = Recorder(job["record"]) if job["record"] else None
    profiler = Profiler() if job["profile"] else None
    results: dict[int, np.ndarray] = {}
    request = Request(source.shape, len(labels), job["in_flight"], choices=job["choices"], settings=job["settings"])
    programs: list[Program] = []

    def slice_at(program: Program, k: int) -> np.ndarray:
        programs[:] = [program]
        return source.slice_at(program, k)

    def keep(done: SliceJob, result: np.ndarray) -> None:
        if job["results"] is None:
            results[done.slice] = result
        else:
            outcomes.write(Path(job["results"]), done.index, outcomes.compact(programs[0], result))

    alice.run(
        lambda: zeromq.connect(address),
        request,
        labels,
        slice_at,
        keep_shares(Path(job["shares"]), request.session, labels) if job["shares"] else keep,
        emit,
        link=link,
        cores=job["cores"],
        on_layer=recorder,
        thread_hook=profiler.start if profiler else None,
        agreed=lambda terms, beyond: input_range.save(beyond, Path(job["folder"])),
        size=source.size,
    )
    if job["results"] is None and job["shares"] is None:
        masks = np.stack([results[k] for k in range(len(labels))])
        write_whole(Path(job["folder"]) / "masks.npy", lambda stream: np.save(stream, masks))
    _keep(job, "alice", recorder, profiler)


def _labels(job: dict[str, Any]) -> list[tuple[str, int]]:
    return [(str(axis), int(index)) for axis, index in job["labels"]]


def _keep(job: dict[str, Any], role: str, recorder: Recorder | None, profiler: Profiler | None) -> None:
    """Write what was collected during the run, after its timed part."""
    folder = Path(job["folder"])
    with room_in(folder):
        if recorder is not None:
            recorder.save(folder / f"{role}.npz")
        if profiler is not None:
            profiler.save(folder / f"{role}-profile.json")


def main(arguments: list[str], as_alice: Half = run_alice, as_bob: Half = run_bob) -> int:
    """Run one half of a job as this process; the exit status. A half of Alice's says itself why it failed."""
    role, path = arguments
    job = json.loads(Path(path).read_text())
    link = link_of(job["link"])
    keep_freed_memory()
    pin(job["first_core"], job["cores"])
    try:
        (as_alice if role == "alice" else as_bob)(job, link)
    except NoRoom as error:
        emit(Failed.of(role, error))
        return 1
    except BunetError as error:
        if role == "bob":
            emit(Failed.of(role, error))
        print(f"{role}: {error}", file=sys.stderr)
        return 1
    say({"done": role})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
