"""`bunet predict`: volumes and models read and checked, then one case after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bunet.experiments.calibration import Calibration, spread_slices
from bunet.experiments.predict import models as predict_models
from bunet.experiments.predict.case import Case, CaseRun, open_case, written
from bunet.experiments.predict.case_files import CaseFiles, find_cases, one_case
from bunet.experiments.predict.job import Job, Models, View
from bunet.experiments.predict.results import write_case
from bunet.experiments.predict.settings import PredictSettings
from bunet.experiments.storage.places import check_apart
from bunet.models.errors import UsageError
from bunet.models.volumes import formats
from bunet.models.volumes.volume import SeveralSeries

Folders = Mapping[str, tuple[str, str]]  # by target: the option, and its value


@dataclass(frozen=True)
class PredictRequest:
    """What `bunet predict` was asked for beyond its settings.

    infection_models, lung_models: a folder, or a name of `models.COMMITTED`. cases: a folder of cases; else volume, a single
    one, with its label. pool, activation: of published models. calibration: volumes
    of Bob's. json: where the document of all cases goes.
    """

    settings: PredictSettings
    out: Path
    infection_models: str = "clinical"
    lung_models: str = "clinical"
    cases: Path | None = None
    volume: Path | None = None
    label: Path | None = None
    pool: str = "auto"
    activation: str = "relu"
    calibration: tuple[Path, ...] = ()
    json: Path | None = None

    @property
    def folders(self) -> Folders:
        """Where the models of each target are."""
        each = {
            "infection": ("--model-infection-dir", self.infection_models),
            "lung": ("--model-lung-dir", self.lung_models),
        }
        return {target: each[target] for target in self.settings.targets}


def predict(request: PredictRequest, view: View, created: str) -> list[dict[str, Any]]:
    """Run what is left of every case and write its results; returns the documents. created: a date, as text.

    Raises a BunetError, one sentence.
    """
    settings = predict_models.suited(request.settings, request.folders)
    cases = [open_case(files, settings) for files in _case_files(request)]
    if settings.reading.label_values and not any(case.labelled for case in cases):
        raise UsageError("--label-value: there is no label")
    try:
        volumes = [replace(settings.reading, series=None).load(path) for path in request.calibration]
    except SeveralSeries as error:
        raise UsageError(f"--calibration: {error.elsewhere}") from error
    models = _load_models(request, settings, [*volumes, cases[0].loaded][0], view)
    sized = {(settings.size or model.size) is not None for of_axis in models.values() for model in of_axis.values()}
    for remark in [remark for each in volumes for remark in each.remarks(sized)]:
        view.say(f"calibration: {remark}")
    calibration = Calibration(tuple(each.volume for each in volumes), tuple(each.crop for each in volumes))
    return run_job(cases, Job(models, settings, request.out, calibration, view), created)


def _case_files(request: PredictRequest) -> list[CaseFiles]:
    """The volumes, whose results go nowhere among the input; found out by name alone, before anything is read."""
    if request.cases is not None:
        each = find_cases(request.cases)
    else:
        assert request.volume is not None  # one of the two is given
        each = [one_case(request.volume, request.label)]
    given = [request.cases, request.volume, request.label, *request.calibration]
    for files in each:
        results = [*written(formats.format_of(files.volume), request.out, files.name), request.json]
        check_apart(given, request.out / files.name, results)
    return each


def _load_models(request: PredictRequest, settings: PredictSettings, example: formats.LoadedVolume, view: View) -> Models:
    """The models of each target. example: what pooling is told from: Bob's own volume, or else the first case, since how he
    pools is no secret.
    """

    def images(axis: str) -> Sequence[np.ndarray]:
        return spread_slices(example.volume, axis, settings.size, example.crop)

    return {
        target: predict_models.load_models(
            option,
            where,
            target,
            settings.axes,
            pool=request.pool,
            activation=request.activation,
            images=images,
            say=view.say,
        )
        for target, (option, where) in request.folders.items()
    }


def run_job(cases: Sequence[Case], job: Job, created: str) -> list[dict[str, Any]]:
    """Run what is left of every case and write its results; returns the documents. created: a date, as text.

    Raises a BunetError, one sentence. A folder of another run is found before anything is run, and so is a model or
    a protocol that cannot be (on the first case), before any folder is claimed.
    """
    documents = []
    runs = [CaseRun(case, job) for case in cases]
    for each in runs:
        for remark in each.remarks():
            job.view.say(f"{each.case.name}: {remark}")
    runs[0].check_plans()
    with ExitStack() as folders:
        for each in runs:
            folders.enter_context(each.open())
            for stage in each.stages:
                job.progress.expect(stage)
        for each in runs:
            each.run_stages()
            documents.append(write_case(each, each.combine(), created))
    return documents
