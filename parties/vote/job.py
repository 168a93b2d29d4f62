"""What the processes of a local vote are told."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from bunet.parties.local.job import Job
from bunet.parties.run_options import RunOptions

# A quarter of IKNP's bytes, and no slower: gates are made of little but the extension.
OT = "softspoken-4"


def _with_ot(run: RunOptions) -> RunOptions:
    return run if "ot" in run.settings else run.model_copy(update={"settings": {**run.settings, "ot": OT}})


class VoteJob(Job):
    """What to vote on.

    shape: voxels of the region (Z, H, W). ballots: public names in public order, GROUP-AXIS, such as ("infection-x",
    "infection-y", "lung-x"); the ballots of a group stand together, one or two groups of 1 to 3. shares: a folder of each
    party's shares (`ballots.write`). filtered: whether the groups' masks go through the maximum filter. run: with `OT`
    where its settings name no OT extension.
    """

    shape: tuple[int, int, int]
    ballots: tuple[str, ...]
    run: Annotated[RunOptions, AfterValidator(_with_ot)] = Field(default_factory=RunOptions, validate_default=True)
    filtered: bool = True
