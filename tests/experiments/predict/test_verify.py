"""What `--verify` found wrong stays known: the slices are on the disk, and no later run takes them for good ones."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bunet.experiments.calibration import Calibration
from bunet.experiments.predict.results import write_case
from bunet.experiments.settings import run_options
from bunet.models.errors import LocalError
from bunet.net.link import PRESETS
from bunet.parties.local.job import PairJob
from bunet.parties.local.pair import PairResult, run_pair
from tests.experiments.predict.test_identity import SETTINGS, a_run
from tests.experiments.predict.views import QuietView

LOCAL = replace(SETTINGS, run=run_options(in_flight=2, link=PRESETS["loopback"]))


def test_a_layer_that_differs_ends_this_run_and_the_next(tmp_path: Path) -> None:
    ran: list[PairJob] = []

    def disagreeing(job: PairJob, bus: Callable[..., Any]) -> PairResult:
        ran.append(job)
        return replace(run_pair(job, bus), verified=False, mismatches=["slice 0, conv: 3 values differ"])

    for _ in range(2):
        run = a_run(tmp_path, Calibration(), LOCAL, disagreeing)
        with run.open(), pytest.raises(LocalError, match="1 layers differ from the oracle; slice 0, conv: 3 values differ"):
            run.run_stages()
    assert len(ran) == 1, "its slices were all there the second time"
    (document,) = (tmp_path / "out" / "ct" / "sessions").glob("*.json")
    assert json.loads(document.read_text())["verified"] is False


def test_values_beyond_calibration_are_said_and_end_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):  # of the run, and of the slices that it finds done
        run = a_run(
            tmp_path,
            Calibration(),
            LOCAL,
            lambda job, bus: replace(run_pair(job, bus), beyond={"conv": 3}),
        )
        with run.open():
            run.run_stages()
        assert isinstance(run.job.view, QuietView)
        said += run.job.view.said
    told = [line for line in said if line.endswith("beyond calibration: 3 values in layer conv; the mask may be wrong there")]
    assert len(told) == 2
    (document,) = (tmp_path / "out" / "ct" / "sessions").glob("*.json")
    assert json.loads(document.read_text())["run"]["beyond_calibration"] == {"conv": 3}


def test_values_beyond_calibration_are_in_the_document_and_the_report(tmp_path: Path) -> None:
    run = a_run(
        tmp_path,
        Calibration(),
        LOCAL,
        lambda job, bus: replace(run_pair(job, bus), beyond={"conv": 3}, input_beyond={"z4": 0.25, "z5": 0.5}),
    )
    with run.open():
        run.run_stages()
        document = write_case(run, run.combine(), "2026-01-01")
    report = html.unescape((tmp_path / "out" / "ct" / "report.html").read_text())
    for line in (
        "WARNING: infection along X (array axis 0): beyond calibration: 3 values in layer conv; the mask may be wrong there",
        "WARNING: infection along X (array axis 0): of 2 of 2 slices values lie beyond what the model was calibrated for, "
        "at most 50.0 % of them (slice z5): the mask may be wrong there",
    ):
        assert line in document["remarks"]
        assert report.count(line) == 1
