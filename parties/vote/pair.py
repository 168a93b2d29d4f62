"""A vote of two processes on this machine, over ZeroMQ on loopback through the emulated link."""

from __future__ import annotations

import numpy as np

from bunet.models.files.disk_space import explaining_full_disk
from bunet.parties.events import ROLES, Subscriber
from bunet.parties.local import processes
from bunet.parties.vote import ballots
from bunet.parties.vote.job import VoteJob


def run_vote(job: VoteJob, emit: Subscriber) -> np.ndarray:
    """The mask as Alice learns it, uint8 (Z, H, W) of 0 and 1; Bob learns nothing.

    A voxel is set where, in every group, one of its 27 neighbours (itself, if not filtered) has more than half of the group's
    ballots. Raises LocalError, PeerError or UsageError with one sentence.
    """
    ballots.election_of(job.shape, job.ballots)
    result = job.folder / "mask.npy"
    result.unlink(missing_ok=True)  # an earlier vote's must not be taken for this one's
    with explaining_full_disk(job.folder):
        processes.run({role: job.write(role) for role in ROLES}, emit, "bunet.parties.vote.worker")
    mask: np.ndarray = np.load(result, allow_pickle=False)
    return mask
