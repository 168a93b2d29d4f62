"""What the processes of a local vote are told."""

from __future__ import annotations

from pydantic import Field

from bunet.parties.local.job import Job
from bunet.parties.run_options import RunOptions

# A quarter of IKNP's bytes, and no slower: gates are made of little but the extension.
OT = "softspoken-4"


class VoteJob(Job):
    """What to vote on.

    shape: voxels of the region (Z, H, W). ballots: public names in public order, GROUP-AXIS, such as ("infection-x",
    "infection-y", "lung-x"); the ballots of a group stand together, one or two groups of 1 to 3. shares: a folder of each
    party's shares (`ballots.write`). filtered: whether the groups' masks go through the maximum filter.
    """

    shape: tuple[int, int, int]
    ballots: tuple[str, ...]
    run: RunOptions = Field(default_factory=lambda: RunOptions(settings={"ot": OT}))
    filtered: bool = True
