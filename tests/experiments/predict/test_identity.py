"""What belongs to a prediction: slices that were made otherwise are never taken for its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bunet.experiments.calibration import Calibration
from bunet.experiments.jobs import RunPair
from bunet.experiments.predict.case import OPENED, CaseRun, open_case
from bunet.experiments.predict.case_files import one_case
from bunet.experiments.predict.job import Job
from bunet.experiments.predict.models import PredictModel
from bunet.experiments.predict.settings import PredictSettings
from bunet.models.errors import UsageError
from bunet.models.files import sealed
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_weights
from bunet.parties.local.pair import run_pair
from tests.experiments.predict.views import QuietView

SETTINGS = PredictSettings(axes=("z",), lung_mask=False, compare=False, slices="z=4:6")


def volume(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((16, 16, 16)).astype(np.float32)


def a_run(
    folder: Path, calibration: Calibration, settings: PredictSettings = SETTINGS, run: RunPair = run_pair, **notes: object
) -> CaseRun:
    path = folder / "ct.npy"
    if not path.exists():
        np.save(path, volume(0))
    model = PredictModel("infection", "z", seeded_weights(Architecture(features=2), 1), "z.pth", notes=notes)
    case = open_case(one_case(path, None), settings)
    return CaseRun(case, Job({"infection": {"z": model}}, settings, folder / "out", calibration, QuietView(), run=run))


def claim(run: CaseRun) -> None:
    with run.open():
        pass


def test_slices_of_one_calibration_are_not_gone_on_with_by_another(tmp_path: Path) -> None:
    claim(a_run(tmp_path, Calibration((volume(1),))))
    claim(a_run(tmp_path, Calibration((volume(1),))))
    for other in (Calibration((volume(2),)), Calibration(), Calibration((volume(1), volume(2)))):
        with pytest.raises(UsageError, match="its calibration differs"):
            claim(a_run(tmp_path, other))


def test_in_the_clear_nothing_depends_on_the_calibration(tmp_path: Path) -> None:
    clear = replace(SETTINGS, secure=False)
    claim(a_run(tmp_path, Calibration((volume(1),)), clear))
    claim(a_run(tmp_path, Calibration(), clear))


def test_the_same_weights_with_other_ranges_are_another_model(tmp_path: Path) -> None:
    claim(a_run(tmp_path, Calibration(), ranges={"input": 1.0}))
    with pytest.raises(UsageError, match="its models differs"):
        claim(a_run(tmp_path, Calibration(), ranges={"input": 2.0}))


@pytest.mark.parametrize(("mask", "words"), [(None, "vote.safetensors is damaged"), ((3, 3, 3), "is not of this region")])
def test_a_damaged_vote_is_named(tmp_path: Path, mask: tuple[int, int, int] | None, words: str) -> None:
    run = a_run(tmp_path, Calibration(), replace(SETTINGS, ensemble="majority"))
    with run.open() as folder:
        (folder.folder / "slices").mkdir()
        opened = folder.folder / "slices" / "vote.safetensors"
        if mask is None:
            opened.write_bytes(b"nonsense")
        else:
            sealed.save(opened, OPENED, {"mask": np.zeros(mask, np.uint8)})
        with pytest.raises(UsageError, match=words):
            run.combine()
