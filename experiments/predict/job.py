"""Several cases one after the other, each checked before the first is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from bunet.experiments.predict.case import Case, CaseRun, Models
from bunet.experiments.predict.results import write_case
from bunet.experiments.predict.settings import PredictSettings
from bunet.experiments.predict.stage import Calibration, JobProgress


def run_job(
    cases: Sequence[Case],
    models: Models,
    settings: PredictSettings,
    out: Path,
    calibration: Calibration,
    console: Console,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Run what is left of every case and write its results; returns the documents.

    Raises UsageError, RunError in one sentence. A folder of another run is found before anything is run, and so is a model or
    a protocol that cannot be (on the first case), before any folder is claimed.
    """
    progress, documents, created = JobProgress(), [], date.today().isoformat()
    runs = [CaseRun(case, models, settings, out, calibration, progress, console) for case in cases]
    for each in runs:
        for remark in each.remarks():
            say(f"{each.case.name}: {remark}")
    runs[0].check_plans()
    with ExitStack() as folders:
        for each in runs:
            folders.enter_context(each.open())
            for stage in each.stages:
                progress.expect(stage)
        for each in runs:
            each.run_stages(say)
            documents.append(write_case(each, each.combine(), created, say))
    return documents
