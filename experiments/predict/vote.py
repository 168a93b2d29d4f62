"""`--ensemble majority`: from both parties' shares of every slice to the one mask that is opened."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.predict.region import AXIS_ORDER, Region, gather
from bunet.experiments.predict.settings import PredictSettings
from bunet.experiments.predict.stage import SCRATCH, Stage
from bunet.experiments.storage.results import environment
from bunet.parties.console import RunConsole
from bunet.parties.vote import ballots, shares
from bunet.parties.vote.pair import VoteJob, run_vote


def vote(
    stages: Sequence[Stage], region: Region, settings: PredictSettings, folder: Path, console: RunConsole
) -> tuple[NDArray[np.bool_], dict[str, Any]]:
    """(the region's mask, the session's document). stages: done ones, of read-out label-share. folder: for shares.

    A party's ballot is gathered from its own shares alone: pixels take the nearest share, so no message is needed. Raises
    RunError.
    """
    ordered = sorted(stages, key=lambda stage: (stage.model.target, AXIS_ORDER.index(stage.model.axis)))
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder) as temporary:
        for party in range(2):
            for stage in ordered:
                _write_ballot(stage, region, party, Path(temporary) / ("alice", "bob")[party])
        job = VoteJob(
            region.size,
            [stage.model.name for stage in ordered],
            Path(temporary) / "alice",
            Path(temporary) / "bob",
            Path(temporary),
            settings.run.link,
            settings.run.cores,
            filtered=settings.filters["infection"],
        )
        with console:
            mask = run_vote(job, console)
    facts = {"ballots": list(job.ballots), "shape": list(region.size), "cores": settings.run.cores, "ot": job.ot}
    document = console.ledger.document(
        link=settings.run.link.describe(), environment=environment(settings.run.cores), run=facts
    )
    return mask != 0, document


def _write_ballot(stage: Stage, region: Region, party: int, folder: Path) -> None:
    done = shares.complete(*stage.shares)
    axis = stage.model.axis
    chosen = {(axis, k): done[axis, k] for k in stage.positions}
    bits = gather(region, stage.frame, lambda axis, k: shares.read(stage.shares[party], (axis, k), chosen[axis, k]), np.uint8)
    ballots.write(folder, stage.model.name, bits, shares.source(chosen))
