"""One party of a local vote, as a process: `python -m bunet.parties.vote.worker alice|bob JOB.json`; see `worker`.

A party's job names the folder of its own shares, never the other's.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.errors import BunetError
from bunet.models.files import private
from bunet.net import zeromq
from bunet.net.link import Link
from bunet.parties.bob import LISTEN_POLL_S
from bunet.parties.events import Failed
from bunet.parties.local.worker import emit, leave_with_parent, main, say
from bunet.parties.vote import ballots, session
from bunet.parties.vote.session import VoteTerms


def _read(job: dict[str, Any], link: Link) -> tuple[VoteTerms, list[np.ndarray]]:
    """What this party votes on, and its shares."""
    names, shape = tuple(job["ballots"]), tuple(job["shape"])
    found = [ballots.read(Path(job["shares"]), name, shape) for name in names]
    sources = {name: source for name, (_, source) in zip(names, found, strict=True)}
    return VoteTerms(shape, names, sources, job["ot"], link.name, job["filtered"]), [bits for bits, _ in found]


def run_bob(job: dict[str, Any], link: Link) -> None:
    threading.Thread(target=leave_with_parent, daemon=True).start()
    terms, shares = _read(job, link)
    with zeromq.Listener("tcp://127.0.0.1:*") as listener:
        say({"listening": listener.address})
        while (connected := listener.accept(LISTEN_POLL_S)) is None:
            pass
        session.run_bob(connected, terms, shares, emit, link=link)


def run_alice(job: dict[str, Any], link: Link) -> None:
    address = json.loads(sys.stdin.readline())["connect"]
    threading.Thread(target=leave_with_parent, daemon=True).start()
    try:
        terms, shares = _read(job, link)
    except BunetError as error:
        emit(Failed.of("alice", error))
        raise
    mask = session.run_alice(lambda: zeromq.connect(address), terms, shares, emit, link=link)
    private.write(Path(job["folder"]) / "mask.npy", lambda stream: np.save(stream, mask))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], run_alice, run_bob))
