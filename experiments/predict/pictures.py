"""The report and the pictures of a case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.predict.case import CaseRun
from bunet.experiments.predict.figures import MASKS, Score, filter_of, hu_range, millilitres, scope_of
from bunet.experiments.predict.region import letter
from bunet.experiments.report import overlays, page
from bunet.experiments.report.data import ReportData
from bunet.experiments.report.data import Score as ReportScore
from bunet.experiments.report.data import Stage as ReportStage
from bunet.experiments.report.plots import PicturesUnavailable
from bunet.parties.session.handshake import software

Sessions = list[tuple[str, str, list[dict[str, Any]]]]  # title, way, documents


@dataclass(frozen=True)
class Findings:
    """What was found in a case.

    masks: of the volume's shape, by way, and the lung's. measured: masks of the region whose size is told, by name. shares:
    infected share of the lung, by way and for the label. sessions: of every stage and of the vote. remarks: lines for people.
    """

    masks: dict[str, NDArray[Any]]
    measured: dict[str, NDArray[Any]]
    scores: list[Score]
    shares: dict[str, float]
    sessions: Sessions
    remarks: list[str]


def write_pictures(run: CaseRun, findings: Findings, created: str) -> list[Path]:
    """`report.html`, and two pictures where matplotlib is installed; returns the files. created: a date, as text."""
    data = _report(run, findings, created)
    files = [run.folder / "report.html"]
    page.write_report(files[0], data)
    try:
        for name, write in (("montage.png", overlays.write_montage), ("views.png", overlays.write_views)):
            write(run.folder / name, data)
            files.append(run.folder / name)
    except PicturesUnavailable as error:
        run.job.view.say(f"no pictures: {error}")
    return files


def _report(run: CaseRun, findings: Findings, created: str) -> ReportData:
    case, settings = run.case, run.settings
    masks = findings.masks if case.label is None else {**findings.masks, "truth": case.label}
    ml = millilitres(case.loaded.stored, findings.measured)
    return ReportData(
        title="COVID-19 infection",
        case=case.name,
        created=created,
        facts=_facts(run),
        volume=case.loaded.volume,
        masks=masks,
        region=case.region.slices,
        spacing=case.loaded.stored.spacing,
        oriented=case.loaded.stored.oriented,
        scores=[ReportScore(score.name, score.agreement) for score in findings.scores],
        shares=[(f"infected share of the lung, {MASKS[what]}", 100 * share) for what, share in findings.shares.items()],
        volumes=[
            (f"infection, {MASKS[what]}" if what in MASKS else what, int(np.count_nonzero(mask)), ml.get(what))
            for what, mask in findings.measured.items()
        ],
        scope=scope_of(case.region, settings.filters),
        hu=hu_range(case.loaded.rule),
        remarks=findings.remarks,
        stages=[
            ReportStage(title, document if way == "secure" else None)
            for title, way, documents in findings.sessions
            for document in documents
        ],
    )


def _facts(run: CaseRun) -> list[tuple[str, str]]:
    """(name, value) of the job."""
    case, settings = run.case, run.settings
    facts = [
        ("volume", f"{case.files.volume.name}, {'x'.join(map(str, case.region.shape))} voxels"),
        ("segmented", case.region.describe(settings.published)),
        ("axes", ", ".join(letter(axis, settings.published) for axis in settings.axes)),
        ("ensemble", settings.ensemble),
        ("maximum filter", filter_of(settings.filters) + ": masks are wider by a voxel" * any(settings.filters.values())),
        ("software", f"BUNET {software()}"),
        *(
            (f"model, {m.target} along {m.along}", f"{m.source}, SHA-256 of its weights {m.digest[:12]}")
            for of in run.models.values()
            for m in of.values()
        ),
    ]
    if case.labelled is not None:
        facts.insert(1, ("label", case.labelled.describe()))
    if settings.secure:
        facts += [
            ("format", settings.format),
            ("link", settings.run.link.name),
            ("protocols", ", ".join(f"{k} {v}" for k, v in settings.run.protocols.items()) + f", OT {settings.run.ot}"),
            ("security", "semi-honest; 128 bits computational, 40 bits statistical"),
        ]
    return facts
