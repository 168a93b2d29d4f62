"""What a prediction leaves: masks in the volume's format, scores, pictures, a report, one JSON document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.predict.case import VOTE, Case, CaseRun, Found
from bunet.experiments.predict.figures import filter_of, hu_range, millilitres, scope_of
from bunet.experiments.predict.mask_files import write_masks, write_probabilities
from bunet.experiments.predict.region import letter
from bunet.experiments.predict.warnings import NOT_OPENED, FoundLung, result_warnings, searched
from bunet.experiments.report import overlays, page, tables
from bunet.experiments.report.plots import PicturesUnavailable
from bunet.experiments.storage.results import write_json
from bunet.models.metrics import BOTH_EMPTY, Agreement, agreement
from bunet.parties.input_range import percent
from bunet.parties.local.record import beyond_calibration
from bunet.parties.session.handshake import software

DOCUMENT_VERSION = 2  # since `label` is an object
Sessions = list[tuple[str, str, list[dict[str, Any]]]]  # title, way, documents
MASKS = {"secure": "secure mask", "float": "float model's mask", "label": "label"}
WHOSE = {"secure": "secure run's", "float": "float model's"}


@dataclass(frozen=True)
class Score:
    """One comparison of two masks of a case's region. found, against: of which masks, such as secure and label."""

    found: str
    against: str
    agreement: Agreement

    @property
    def name(self) -> str:
        return f"{MASKS[self.found]} against the {MASKS[self.against]}"

    def document(self) -> dict[str, Any]:
        """Dice, overlap and sensitivity are null where both masks are empty."""
        return {"found": self.found, "against": self.against, **self.agreement.known(), "voxels": asdict(self.agreement)}


def scores_of(case: Case, found: Found) -> list[Score]:
    """Every mask against the label, and the secure one against the float model's, within the region."""
    scores = []
    if {"secure", "float"} <= found.masks.keys():
        scores.append(Score("secure", "float", agreement(found.masks["secure"], found.masks["float"])))
    if case.label is not None:
        label = case.label[case.region.slices]
        scores += [Score(way, "label", agreement(mask, label)) for way, mask in found.masks.items()]
    return scores


def infected_shares(case: Case, found: Found) -> dict[str, float]:
    """Infected share of the lung within the region, by way and for the label, where a lung mask was opened; 0 to 1.

    The label's is of the first way's lung, the one that is written.
    """
    shares = {}
    for way, lung in found.lungs.items():
        voxels = int(lung.sum())
        if voxels:
            shares[way] = int((found.masks[way] & lung).sum()) / voxels
            if case.label is not None:
                shares.setdefault("label", int((case.label[case.region.slices] & lung).sum()) / voxels)
    return shares


def write_case(run: CaseRun, found: Found, created: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Write everything, the document last; returns it. created: a date, as text."""
    case, first, sessions = run.case, run.settings.ways[0], _sessions(run)
    scores, shares = scores_of(case, found), infected_shares(case, found)
    warnings = [*beyond_warnings(sessions), *case_warnings(run, found)]
    remarks = [*run.remarks(), *warnings]
    masks: dict[str, NDArray[Any]] = {way: case.region.embed(mask) for way, mask in found.masks.items()}
    targets = {"infection": masks[first]}
    for lung in list(found.lungs.values())[:1]:  # with a vote the float model's: it is shown, not written
        masks["lung"] = case.region.embed(lung)
    if first in found.lungs:
        targets["lung"] = masks["lung"]
    files = write_masks(case.loaded.stored, targets, run.out, case.name)
    if found.mean is not None:
        files.append(_write_probabilities(run, found.mean))
    measured = _measured(case, found)
    document = {
        "version": DOCUMENT_VERSION,
        "case": case.name,
        "volume": str(case.files.volume),
        "label": None if case.labelled is None else case.labelled.document(),
        "region": [list(b) for b in case.region.box],
        "intensity": case.loaded.rule,
        "remarks": remarks,
        "asked": run.settings.document(),
        "models": {m.name: {"file": m.source, "digest": m.digest} for of in run.models.values() for m in of.values()},
        "scores": [score.document() for score in scores],
        "infected_share": shares,
        "voxels": {way: int(mask.sum()) for way, mask in found.masks.items()},
        "millilitres": millilitres(case.loaded.stored, measured),
        "scope": scope_of(case.region, run.settings.filters),
        "stages": [{"title": title, "way": way, "sessions": documents} for title, way, documents in sessions],
        "verified": _verified(sessions),
    }
    files += _write_pictures(run, _report_data(run, masks, measured, document, scores, sessions, created), say)
    document["files"] = [str(path) for path in files]
    path = run.folder / "result.json"
    write_json(path, document)
    for line in [*summary(document, scores), *(f"  {text}" for text in warnings)]:
        say(line)
    say("written: " + ", ".join(str(file) for file in [*files, path]))
    return document


def case_warnings(run: CaseRun, found: Found) -> list[str]:
    """Of the masks that are written, `result_warnings`. A vote opens no lung of its own: then by whichever there is."""
    (way, mask), doubts = next(iter(found.masks.items())), run.case.loaded.doubts
    if "lung" not in run.settings.targets:
        return result_warnings(mask, "infection", doubts=doubts)
    if not found.lungs:
        return [*result_warnings(mask, "infection", doubts=doubts), NOT_OPENED]
    whose = way if way in found.lungs else next(iter(found.lungs))
    region = run.case.region
    lung = FoundLung(
        found.lungs[whose],
        searched(region, run.crop),
        region.size[0] == region.shape[0],
        "" if whose == way else f"the {WHOSE[whose]}",
    )
    return result_warnings(mask, "infection", lung, doubts)


def beyond_warnings(sessions: Sessions) -> list[str]:
    """Of every session, what left the ranges that its program was calibrated for: layers' values, and the input's."""
    says = []
    for title, _, documents in sessions:
        for run in (document.get("run", {}) for document in documents):
            says += [f"WARNING: {title}: {line}" for line in beyond_calibration(run.get("beyond_calibration"))]
            if shares := run.get("input_beyond_calibration"):
                worst = max(shares, key=shares.__getitem__)
                says.append(
                    f"WARNING: {title}: of {len(shares)} of {run['slices']} slices values lie beyond what the model was "
                    f"calibrated for, at most {percent(shares[worst])} of them (slice {worst}): the mask may be wrong there"
                )
    return says


def _sessions(run: CaseRun) -> Sessions:
    """(title, way, documents of the sessions that ended well) of every stage, and of the vote where there was one."""
    vote = [("the vote", "secure", run.documents(VOTE))] if run.settings.ensemble == "majority" and run.settings.secure else []
    return [*((stage.title, stage.way, run.documents(stage.name)) for stage in run.stages), *vote]


def _verified(sessions: Sessions) -> bool | None:
    """Whether every session whose layers were compared agreed with the oracle; None where none was."""
    verdicts = [document.get("verified") for _, _, documents in sessions for document in documents]
    known = [verdict for verdict in verdicts if verdict is not None]
    return all(known) if known else None


def _measured(case: Case, found: Found) -> dict[str, NDArray[Any]]:
    """The masks of the region whose size is told: the infection's by way, the label, and the lung that is written."""
    masks = dict(found.masks)
    if case.label is not None:
        masks["label"] = case.label[case.region.slices]
    if found.lungs:
        masks["lung"] = next(iter(found.lungs.values()))
    return masks


def summary(document: dict[str, Any], scores: list[Score]) -> list[str]:
    """Lines for people; each figure says what it is of."""
    scope, ml = document["scope"], document["millilitres"]
    way = next(way for way in ("secure", "float") if way in document["voxels"])
    volume = f", {ml[way]:.1f} ml" if way in ml else ""
    lines = [f"{document['case']}: {document['voxels'][way]} voxels{volume} marked by the {MASKS[way]} ({scope})"]
    for score in scores:
        a = score.agreement
        if a.empty:
            lines.append(f"  {score.name}: {BOTH_EMPTY} ({scope})")
            continue
        lines.append(
            f"  Dice {a.dice:.4f} of the {score.name}; overlap {a.overlap:.4f}, sensitivity {a.sensitivity:.4f} ({scope})"
        )
    if "lung" in ml:
        lines.append(f"  lung: {ml['lung']:.1f} ml ({scope})")
    for what, share in document["infected_share"].items():
        lines.append(f"  infected share of the lung by the {MASKS[what]}: {100 * share:.2f} % ({scope})")
    return lines


def _write_probabilities(run: CaseRun, mean: NDArray[np.float32]) -> Path:
    region = run.case.region
    whole = np.zeros(region.shape, np.float32)
    whole[region.slices] = mean
    return write_probabilities(run.case.loaded.stored, whole, run.out, run.case.name)


def _report_facts(run: CaseRun) -> list[tuple[str, str]]:
    """What the report says of the job."""
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


def _report_data(
    run: CaseRun,
    masks: dict[str, NDArray[Any]],
    measured: dict[str, NDArray[Any]],
    document: dict[str, Any],
    scores: list[Score],
    sessions: Sessions,
    created: str,
) -> page.ReportData:
    """What the report and the pictures show. document: the case's, whose figures and remarks they repeat."""
    case, shares, ml = run.case, document["infected_share"], document["millilitres"]
    if case.label is not None:
        masks = {**masks, "truth": case.label}
    return page.ReportData(
        title="COVID-19 infection",
        case=case.name,
        created=created,
        facts=_report_facts(run),
        volume=case.loaded.volume,
        masks=masks,
        region=case.region.slices,
        spacing=case.loaded.stored.spacing,
        oriented=case.loaded.stored.oriented,
        scores=[tables.Score(score.name, score.agreement) for score in scores],
        shares=[(f"infected share of the lung, {MASKS[what]}", 100 * share) for what, share in shares.items()],
        volumes=[
            (f"infection, {MASKS[what]}" if what in MASKS else what, int(np.count_nonzero(mask)), ml.get(what))
            for what, mask in measured.items()
        ],
        scope=document["scope"],
        hu=hu_range(case.loaded.rule),
        remarks=document["remarks"],
        stages=[
            tables.Stage(title, document if way == "secure" else None)
            for title, way, documents in sessions
            for document in documents
        ],
    )


def _write_pictures(run: CaseRun, data: page.ReportData, say: Callable[[str], None]) -> list[Path]:
    files = [run.folder / "report.html"]
    page.write_report(files[0], data)
    try:
        for name, write in (("montage.png", overlays.write_montage), ("views.png", overlays.write_views)):
            write(run.folder / name, data)
            files.append(run.folder / name)
    except PicturesUnavailable as error:
        say(f"no pictures: {error}")
    return files
