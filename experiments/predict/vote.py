"""`--ensemble majority`: from both parties' shares of every slice to the one mask that is opened."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.machine import environment
from bunet.experiments.predict.region import AXIS_ORDER, Region, gather
from bunet.experiments.predict.settings import PredictSettings
from bunet.experiments.predict.stage import SCRATCH, Stage
from bunet.parties import shares
from bunet.parties.console import RunConsole
from bunet.parties.events import ROLES
from bunet.parties.run_options import RunOptions
from bunet.parties.vote import ballots
from bunet.parties.vote.job import VoteJob
from bunet.parties.vote.pair import run_vote


def vote(
    stages: Sequence[Stage], region: Region, settings: PredictSettings, folder: Path, console: RunConsole
) -> tuple[NDArray[np.bool_], dict[str, Any]]:
    """(the region's mask, the session's document). stages: done ones, of read-out label-share. folder: for shares.

    A party's ballot is gathered from its own shares alone: pixels take the nearest share, so no message is needed. Raises
    LocalError or PeerError.
    """
    ordered = sorted(stages, key=lambda stage: (stage.model.target, AXIS_ORDER.index(stage.model.axis)))
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder) as temporary:
        for party, role in enumerate(ROLES):
            for stage in ordered:
                _write_ballot(stage, region, party, Path(temporary) / role)
        scratch = Path(temporary)
        job = VoteJob(
            folder=scratch,
            run=RunOptions(link=settings.run.link, cores=settings.run.cores),
            shares={role: scratch / role for role in ROLES},
            shape=region.size,
            ballots=tuple(stage.model.name for stage in ordered),
            filtered=settings.filters["infection"],
        )
        with console:
            mask = run_vote(job, console)
    facts = {"ballots": list(job.ballots), "shape": list(region.size), "cores": job.run.cores, "ot": job.run.ot}
    document = console.ledger.document(
        link=settings.run.link.describe(), environment=environment(settings.run.cores), run=facts
    )
    return mask != 0, document


def _write_ballot(stage: Stage, region: Region, party: int, folder: Path) -> None:
    done = shares.complete(*stage.shares)
    axis = stage.model.axis
    sessions = {(axis, k): done[axis, k] for k in stage.positions}
    bits = gather(region, stage.frame, lambda axis, k: shares.read(stage.shares[party], (axis, k), sessions[axis, k]), np.uint8)
    ballots.write(folder, stage.model.name, bits, shares.source(sessions))
