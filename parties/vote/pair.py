"""A vote of two processes on this machine, over ZeroMQ on loopback through the emulated link."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bunet.models.errors import UsageError
from bunet.models.files.disk_space import room_in
from bunet.net.link import Link
from bunet.parties.events import Subscriber
from bunet.parties.local import processes
from bunet.parties.vote import ballots
from bunet.protocols.ot import extension

# A quarter of IKNP's bytes, and no slower: gates are made of little but the extension.
OT = "softspoken-4"


@dataclass(frozen=True)
class VoteJob:
    """What to vote on.

    shape: voxels of the region (Z, H, W). ballots: public names in public order, GROUP-AXIS, such as ("infection-x",
    "infection-y", "lung-x"); the ballots of a group stand together, one or two groups of 1 to 3. alice, bob: folders of
    each party's shares (`ballots.write`). folder: an existing folder for the run's files. ot: the OT extension.
    filtered: whether the groups' masks go through the maximum filter.
    """

    shape: tuple[int, int, int]
    ballots: Sequence[str]
    alice: Path
    bob: Path
    folder: Path
    link: Link = field(default_factory=Link)
    cores: int = 1
    ot: str = OT
    filtered: bool = True


def run_vote(job: VoteJob, bus: Subscriber) -> np.ndarray:
    """The mask as Alice learns it, uint8 (Z, H, W) of 0 and 1; Bob learns nothing.

    A voxel is set where, in every group, one of its 27 neighbours (itself, if not filtered) has more than half of the group's
    ballots. Raises LocalError, PeerError or UsageError with one sentence.
    """
    ballots.election_of(job.shape, job.ballots)
    if job.ot not in extension.KINDS:
        raise UsageError(f"OT extension {job.ot!r} is not one of {', '.join(extension.KINDS)}")
    result = job.folder / "mask.npy"
    result.unlink(missing_ok=True)  # an earlier vote's must not be taken for this one's
    with room_in(job.folder):
        processes.run({role: _write_job(job, role) for role in ("alice", "bob")}, bus, "bunet.parties.vote.worker")
    return np.load(result, allow_pickle=False)


def _write_job(job: VoteJob, role: str) -> Path:
    shares = job.alice if role == "alice" else job.bob
    path = job.folder / f"{role}.json"
    path.write_text(
        json.dumps(
            {
                "shape": list(job.shape),
                "ballots": list(job.ballots),
                "shares": str(shares.resolve()),
                "folder": str(job.folder.resolve()),
                "link": processes.link_document(job.link),
                "cores": job.cores,
                "ot": job.ot,
                "filtered": job.filtered,
                "first_core": 0 if role == "alice" else job.cores,
            }
        )
    )
    return path
