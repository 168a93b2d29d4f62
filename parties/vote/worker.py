"""One party of a local vote, as a process: `python -m bunet.parties.vote.worker alice|bob JOB.json`; see `local.worker`.

A party's job names the folder of its own shares, never the other's.
"""

from __future__ import annotations

import sys

import numpy as np

from bunet.models.errors import BunetError
from bunet.models.files import private
from bunet.net import zeromq
from bunet.parties.bob import LISTEN_POLL_S
from bunet.parties.events import Failed
from bunet.parties.local.worker import await_address, emit, listening, main
from bunet.parties.vote import ballots, session
from bunet.parties.vote.job import VoteJob
from bunet.parties.vote.session import VoteTerms


def _read(job: VoteJob, role: str) -> tuple[VoteTerms, list[np.ndarray]]:
    """What this party votes on, and its shares."""
    read = {name: ballots.read(job.shares[role], name, job.shape) for name in job.ballots}
    sources = {name: source for name, (_, source) in read.items()}
    return VoteTerms(job.shape, job.ballots, sources, job.run, job.filtered), [bits for bits, _ in read.values()]


def run_bob(job: VoteJob) -> None:
    terms, shares = _read(job, "bob")
    with listening() as listener:
        while (connected := listener.accept(LISTEN_POLL_S)) is None:
            pass
        session.run_bob(connected, terms, shares, emit)


def run_alice(job: VoteJob) -> None:
    address = await_address()
    try:
        terms, shares = _read(job, "alice")
    except BunetError as error:
        emit(Failed.of("alice", error))
        raise
    mask = session.run_alice(lambda: zeromq.connect(address), terms, shares, emit)
    private.write(job.folder / "mask.npy", lambda stream: np.save(stream, mask))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], VoteJob, run_alice, run_bob))
