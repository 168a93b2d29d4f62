"""Masks that say something against themselves are never passed over in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.experiments.calibration import Calibration
from bunet.experiments.predict import stage
from bunet.experiments.predict.case import CaseRun, RegionMasks, open_case
from bunet.experiments.predict.case_files import one_case
from bunet.experiments.predict.job import Job
from bunet.experiments.predict.models import PredictModel
from bunet.experiments.predict.results import case_warnings, write_case
from bunet.experiments.predict.settings import PredictSettings
from bunet.experiments.predict.warnings import FoundLung, lung_warnings, result_warnings
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_weights
from bunet.models.volumes import synthetic
from tests.experiments.predict.views import QuietView


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        ({"lung": False, "infection": True}, "no lung was found (0 voxels), so the infection's mask is empty whatever"),
        ({"lung": True, "infection": False}, "100.0 % of the voxels were taken for lung, too much for a chest"),
        ({"lung": True, "infection": False}, "nothing was marked: the models found no infection in the lung of 16384 voxels"),
    ],
)
def test_an_empty_or_impossible_mask_is_said_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marked: dict[str, bool], words: str
) -> None:
    run = a_run(tmp_path, monkeypatch, marked)
    with run.open():
        run.run_stages()
        write_case(run, run.combine(), "2026-01-01")
    assert isinstance(run.job.view, QuietView)
    assert words in "\n".join(run.job.view.said)
    assert words in "\n".join(json.loads((tmp_path / "ct" / "result.json").read_text())["remarks"])
    assert words.replace("'", "&#x27;") in (tmp_path / "ct" / "report.html").read_text()


def a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marked: dict[str, bool], **changes: Any) -> CaseRun:
    """In the clear, with networks that mark everything or nothing."""
    np.save(tmp_path / "ct.npy", synthetic.generate(32, 16, 3).volume)
    weights = seeded_weights(Architecture(features=2), 1)
    models = {target: {"z": PredictModel(target, "z", weights, "m", 32)} for target in ("infection", "lung")}

    def answer(model: PredictModel, threads: int) -> Callable[..., Any]:
        value = 9.0 if marked[model.target] else -9.0
        return lambda image: np.stack([np.zeros(image.shape[1:]), np.full(image.shape[1:], value)])

    monkeypatch.setattr(stage, "_float_model", answer)
    settings = PredictSettings(axes=("z",), secure=False, **changes)
    case = open_case(one_case(tmp_path / "ct.npy", None), settings)
    return CaseRun(case, Job(models, settings, tmp_path, Calibration(), QuietView()))


def test_a_lung_of_a_chest_s_size_is_not_warned_of() -> None:
    lung = np.zeros(1000, bool)
    lung[:100] = True
    assert lung_warnings(lung, 1000, True) == []
    lung[10:] = False
    assert "1.0 % of the voxels were taken for lung, too little" in lung_warnings(lung, 1000, True)[0]
    assert lung_warnings(lung, 1000, False) == [], "a few slices at the end of a lung show little of it"


@pytest.mark.parametrize(
    ("compared", "words"),
    [
        (True, "no lung was found (0 voxels), so the infection's mask is empty whatever there is"),
        (False, "the lung was not opened"),
    ],
)
def test_a_vote_is_warned_of_by_the_lung_that_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compared: bool, words: str
) -> None:
    """A vote opens one mask; the clear run beside it has a lung."""
    run, empty = a_run(tmp_path, monkeypatch, {"lung": False, "infection": True}), np.zeros((16, 32, 32), bool)
    opened = RegionMasks({"secure": empty, "float": empty}, {"float": empty}) if compared else RegionMasks({"secure": empty})
    says = case_warnings(run, opened)
    assert words in " ".join(says)
    assert ("this is the float model's lung: the mask's own is not opened" in " ".join(says)) is compared


def test_any_target_s_empty_mask_is_said() -> None:
    empty, full = np.zeros((2, 3, 4), bool), np.ones((2, 3, 4), bool)
    assert result_warnings(empty, "lesion") == ["nothing was marked: the models found no lesion"]
    assert result_warnings(empty, None) == ["nothing was marked: the models found nothing"]
    assert result_warnings(empty, None, doubts=["WARNING: why"])[0].endswith("found nothing; of the input: WARNING: why")
    assert result_warnings(full, "lesion") == result_warnings(full, "lesion", doubts=["WARNING: why"]) == []
    assert result_warnings(full, "infection", FoundLung(full, 240, True)) == []
