"""What a prediction leaves: masks in the volume's format, figures, pictures, a report, one JSON document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.predict.case import VOTE, CaseRun, RegionMasks
from bunet.experiments.predict.figures import MASKS, Score, infected_shares, measured_masks, millilitres, scope_of, scores_of
from bunet.experiments.predict.pictures import Findings, Sessions, write_pictures
from bunet.experiments.predict.warnings import NOT_OPENED, FoundLung, result_warnings, searched
from bunet.experiments.storage.mask_files import write_masks, write_probabilities
from bunet.experiments.storage.results import write_json
from bunet.models.metrics import BOTH_EMPTY
from bunet.parties.input_range import percent
from bunet.parties.local.record import beyond_calibration

DOCUMENT_VERSION = 2  # since `label` is an object
WHOSE = {"secure": "secure run's", "float": "float model's"}


def write_case(run: CaseRun, opened: RegionMasks, created: str) -> dict[str, Any]:
    """Write everything, the document last; returns it. created: a date, as text."""
    case, say, sessions = run.case, run.job.view.say, _sessions(run)
    warnings = [*beyond_warnings(sessions), *case_warnings(run, opened)]
    findings = Findings(
        masks={way: case.region.embed(mask) for way, mask in opened.masks.items()},
        measured=measured_masks(case, opened),
        scores=scores_of(case, opened),
        shares=infected_shares(case, opened),
        sessions=sessions,
        remarks=[*run.remarks(), *warnings],
    )
    for lung in list(opened.lungs.values())[:1]:  # with a vote the float model's: it is shown, not written
        findings.masks["lung"] = case.region.embed(lung)
    files = _write_volumes(run, opened, findings)
    document = _document(run, opened, findings)
    files += write_pictures(run, findings, created)
    document["files"] = [str(path) for path in files]
    path = run.folder / "result.json"
    write_json(path, document)
    for line in [*summary(document, findings.scores), *(f"  {text}" for text in warnings)]:
        say(line)
    say("written: " + ", ".join(str(file) for file in [*files, path]))
    return document


def _write_volumes(run: CaseRun, opened: RegionMasks, findings: Findings) -> list[Path]:
    """The masks, of the way that counts, and the mean probability where it is wanted."""
    case, first = run.case, run.settings.ways[0]
    targets = {"infection": findings.masks[first]}
    if first in opened.lungs:
        targets["lung"] = findings.masks["lung"]
    files = write_masks(case.loaded.stored, targets, run.out, case.name)
    if opened.mean is not None:
        files.append(_write_probabilities(run, opened.mean))
    return files


def _document(run: CaseRun, opened: RegionMasks, findings: Findings) -> dict[str, Any]:
    case = run.case
    return {
        "version": DOCUMENT_VERSION,
        "case": case.name,
        "volume": str(case.files.volume),
        "label": None if case.labelled is None else case.labelled.document(),
        "region": [list(b) for b in case.region.box],
        "intensity": case.loaded.rule,
        "remarks": findings.remarks,
        "asked": run.settings.document(),
        "models": {m.name: {"file": m.source, "digest": m.digest} for of in run.models.values() for m in of.values()},
        "scores": [score.document() for score in findings.scores],
        "infected_share": findings.shares,
        "voxels": {way: int(mask.sum()) for way, mask in opened.masks.items()},
        "millilitres": millilitres(case.loaded.stored, findings.measured),
        "scope": scope_of(case.region, run.settings.filters),
        "stages": [{"title": title, "way": way, "sessions": documents} for title, way, documents in findings.sessions],
        "verified": _verified(findings.sessions),
    }


def case_warnings(run: CaseRun, opened: RegionMasks) -> list[str]:
    """Of the masks that are written, `result_warnings`. A vote opens no lung of its own: then by whichever there is."""
    (way, mask), doubts = next(iter(opened.masks.items())), run.case.loaded.doubts
    if "lung" not in run.settings.targets:
        return result_warnings(mask, "infection", doubts=doubts)
    if not opened.lungs:
        return [*result_warnings(mask, "infection", doubts=doubts), NOT_OPENED]
    whose = way if way in opened.lungs else next(iter(opened.lungs))
    region = run.case.region
    lung = FoundLung(
        opened.lungs[whose],
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
