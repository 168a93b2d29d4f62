"""One party of a local pair, as a process: `python -m bunet.parties.local.worker alice|bob JOB.json`.

Reads its job from a file that `parties.local` wrote, writes events as JSON lines to stdout. Bob says where he listens;
Alice reads that from stdin.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bunet.models.compiled import load_compiled
from bunet.models.errors import BunetError
from bunet.models.files.atomic import write_atomic
from bunet.models.files.disk_space import DiskFull, explaining_full_disk
from bunet.models.program import Program
from bunet.net import zeromq
from bunet.parties import alice, bob, input_range, outcomes
from bunet.parties.engine.scheduler import SliceJob
from bunet.parties.events import Event, Failed, to_document
from bunet.parties.local.allocator import keep_freed_memory
from bunet.parties.local.inputs import open_source
from bunet.parties.local.job import Job, PairJob
from bunet.parties.local.profile import Profiler
from bunet.parties.local.record import Recorder
from bunet.parties.session.handshake import Request, Terms
from bunet.parties.session.run import Hooks
from bunet.parties.shares import keep_shares
from bunet.parties.store import CompiledStore

JobT = TypeVar("JobT", bound=Job)
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


def await_address() -> str:
    """Alice's first step: where Bob listens, as the parent says it."""
    address = str(json.loads(sys.stdin.readline())["connect"])
    threading.Thread(target=leave_with_parent, daemon=True).start()
    return address


@contextmanager
def listening() -> Iterator[zeromq.Listener]:
    """Bob's first step: a place where Alice can connect, told to the parent."""
    threading.Thread(target=leave_with_parent, daemon=True).start()
    with zeromq.Listener("tcp://127.0.0.1:*") as listener:
        say({"listening": listener.address})
        yield listener


class _Instruments:
    """What a job wants to know of a party's run beyond its events."""

    def __init__(self, job: PairJob, role: str) -> None:
        self._folder, self._role = job.folder, role
        self._recorder = Recorder(job.record) if job.record else None
        self._profiler = Profiler() if job.profile else None
        self.hooks = Hooks(emit, self._recorder, self._profiler.start if self._profiler else None)

    def save(self) -> None:
        """Write what was collected during the run, after its timed part."""
        with explaining_full_disk(self._folder):
            if self._recorder is not None:
                self._recorder.save(self._folder / f"{self._role}.npz")
            if self._profiler is not None:
                self._profiler.save(self._folder / f"{self._role}-profile.json")


def run_bob(job: PairJob) -> None:
    instruments = _Instruments(job, "bob")
    service = bob.Service(CompiledStore([load_compiled(job.model)]), job.run, instruments.hooks)
    if folder := job.shares.get("bob"):
        service.keep = lambda terms: keep_shares(folder, terms.session, job.labels)
    with listening() as listener:
        bob.serve(listener, service, once=True)
    instruments.save()


def run_alice(job: PairJob) -> None:
    address = await_address()
    source = open_source(job.inputs, job.labels)
    instruments = _Instruments(job, "alice")
    request = Request(source.shape, len(job.labels), job.run)
    results: dict[int, np.ndarray] = {}
    programs: list[Program] = []

    def agreed(terms: Terms, beyond: Mapping[str, float]) -> None:
        programs.append(terms.program)
        input_range.save(beyond, job.folder)

    def keep(done: SliceJob, result: np.ndarray) -> None:
        if job.results is None:
            results[done.slice] = result
        else:
            outcomes.write(job.results, done.index, outcomes.compact(programs[0], result))

    folder = job.shares.get("alice")
    on_result = keep_shares(folder, request.session, job.labels) if folder else keep
    alice.run(lambda: zeromq.connect(address), request, source.slices, on_result, instruments.hooks, agreed)
    if job.results is None and folder is None:
        masks = np.stack([results[k] for k in range(len(job.labels))])
        write_atomic(job.folder / "masks.npy", lambda stream: np.save(stream, masks))
    instruments.save()


def main(arguments: list[str], job_type: type[JobT], as_alice: Callable[[JobT], None], as_bob: Callable[[JobT], None]) -> int:
    """Run one half of a job as this process; the exit status. A half of Alice's says itself why it failed."""
    role, path = arguments
    job = job_type.from_json(Path(path).read_bytes())
    keep_freed_memory()
    pin(0 if role == "alice" else job.run.cores, job.run.cores)
    try:
        (as_alice if role == "alice" else as_bob)(job)
    except DiskFull as error:
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
    sys.exit(main(sys.argv[1:], PairJob, run_alice, run_bob))
