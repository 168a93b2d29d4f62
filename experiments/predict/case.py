"""The clinical job on one volume: every slice of two models along three axes, one mask, and how well it agrees.

A case's folder holds each slice as soon as it is done, so that the same command goes on after any interruption; its
`run.json` says what the slices belong to, and no other run touches them.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.predict.case_files import CaseFiles
from bunet.experiments.predict.job import Job
from bunet.experiments.predict.models import PredictModel
from bunet.experiments.predict.region import Region, decide, total
from bunet.experiments.predict.settings import PredictSettings
from bunet.experiments.predict.stage import SCRATCH, Stage, compile_stage, run_float, run_secure
from bunet.experiments.predict.vote import vote
from bunet.experiments.storage import mask_files
from bunet.experiments.storage.results import write_json
from bunet.experiments.storage.run_folder import RunFolder, digest_of
from bunet.models.errors import LocalError, PeerError, UsageError
from bunet.models.files import sealed
from bunet.models.files.disk_space import DiskFull
from bunet.models.volumes import formats
from bunet.models.volumes.labels import labels
from bunet.models.volumes.slice_source import SliceFrame
from bunet.models.volumes.slicing.field_of_view import Crop
from bunet.models.volumes.slicing.slices import axis_number
from bunet.parties import outcomes
from bunet.parties.console import RunConsole
from bunet.parties.local.inputs import VolumeSlices
from bunet.parties.local.record import beyond_calibration
from bunet.parties.planner import choose
from bunet.parties.session.handshake import software
from bunet.parties.words import counted

GOES_ON = "the same command goes on with what is not done"
SESSIONS, VOTE = "sessions", "vote"
OPENED = sealed.FileFormat("bunet-vote", 1, "the mask of a vote", "remove it, and the same command votes again")

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """A volume that was read and found in order, with what will be segmented of it.

    labelled: what its mask is held against, None where there is no label. label_notes: what to say of it, a line each.
    """

    files: CaseFiles
    loaded: formats.LoadedVolume
    region: Region
    labelled: labels.Label | None
    label_notes: tuple[str, ...] = ()

    @property
    def label(self) -> Bools | None:
        return None if self.labelled is None else self.labelled.mask

    @property
    def name(self) -> str:
        return self.files.name


@dataclass
class RegionMasks:
    """Masks of a case's region, by way (`secure`, `float`); lungs likewise, where they were opened.

    mean: the mean probability of the infection, where it is known and wanted.
    """

    masks: dict[str, Bools] = field(default_factory=dict)
    lungs: dict[str, Bools] = field(default_factory=dict)
    mean: NDArray[np.float32] | None = None


def open_case(files: CaseFiles, settings: PredictSettings) -> Case:
    """Read the volume and its label. Raises UsageError in one sentence that names the file."""
    loaded = settings.reading.load(files.volume)
    mask_files.check_writable(loaded.stored)
    label, notes = settings.reading.label(files.label, loaded.stored)
    region = Region.of(settings.slices, loaded.volume.shape, settings.axes, settings.published)
    return Case(files, loaded, region, label, notes)


def written(file_format: str, out: Path, name: str) -> list[Path]:
    """What a case may leave outside of its own folder, `out/name`. file_format: its volume's."""
    return [
        *mask_files.paths(file_format, ("infection", "lung"), out, name),
        mask_files.probabilities_path(file_format, out, name),
    ]


class CaseRun:
    """One case's run, as a part of its job."""

    def __init__(self, case: Case, job: Job) -> None:
        self.case, self.job, self.models, self.out = case, job, job.models, job.out
        self._usual = {target: all(model.filtered for model in of.values()) for target, of in job.models.items()}
        self.settings = job.settings.of_models(self._usual)
        self.folder = job.out / case.name
        self.stages = [
            self._stage(way, self.models[target][axis])
            for target in self.settings.targets
            for axis in self.settings.axes
            for way in reversed(self.settings.ways)
        ]

    def _stage(self, way: str, model: PredictModel) -> Stage:
        loaded, region = self.case.loaded, self.case.region
        frame = SliceFrame.of(loaded.volume.shape, model.axis, self.settings.size or model.size, loaded.crop)
        positions = frame.positions(region.positions(model.axis))
        if not positions:
            raise UsageError(
                f"{self.case.name}: --slices {self.settings.slices}: along {model.along} no body is there, and slices are cut "
                "to it; choose others, or say --field-of-view whole"
            )
        slices = self.folder / "slices" / f"{model.name}-{way}"
        shared = way == "secure" and self.settings.ensemble == "majority"
        return Stage(way, model, positions, frame, slices, shared)

    @property
    def _written(self) -> list[Path]:
        """What lies outside of the case's folder when all is done."""
        return written(self.case.loaded.stored.file_format, self.out, self.case.name)

    @property
    def crop(self) -> Crop | None:
        """What the slices of some stage are cut to; None where all are whole."""
        return next((stage.frame.crop for stage in self.stages if stage.frame.crop is not None), None)

    def remarks(self) -> list[str]:
        """What is to be said before anything is run, a line each."""
        lines = [*self.case.loaded.remarks({stage.frame.size is not None for stage in self.stages}), *self.case.label_notes]
        if self.settings.vote_differs(self._usual):
            on = "on" if self.settings.filters["infection"] else "off"
            lines.append(f"the vote has one maximum filter for all masks: {on}, as suits the infection's models")
        return lines

    def identity(self) -> dict[str, Any]:
        """Whatever the case's slices depend on."""
        models = {m.name: m.digest for of_axis in self.models.values() for m in of_axis.values()}
        return {
            "volume": digest_of(self.case.loaded.volume),
            "models": models,
            "region": [list(b) for b in self.case.region.box],
            "crop": None if self.crop is None else self.crop.as_list(),
            "calibration": self.job.calibration.identity() if self.settings.secure else None,
            **self.settings.identity(),
            "software": software(),
        }

    def check_plans(self) -> None:
        """Raise the UsageError of a model or a protocol that stands against the secure stages that are not done."""
        for stage in self.stages:
            if stage.way == "secure" and stage.todo():
                compiled = compile_stage(stage, self.settings, self.job.calibration)
                choose(compiled.program, self.settings.run.protocols)

    def open(self) -> RunFolder:
        """The case's folder, claimed for this run. Raises UsageError where it belongs to another, before anything is run."""
        folder = RunFolder(self.folder, self.identity(), command="bunet predict", leftovers="slices/*")
        there = [path for path in self._written if path.exists()]
        if folder.noted is None and there:
            with folder:
                raise UsageError(f"--out {self.out}: {there[0].name} is there already, of another run")
        folder.claim()
        for left in self.folder.glob(f"{SCRATCH}*"):  # of a run that was killed: what both parties held, side by side
            shutil.rmtree(left)
        return folder

    def run_stages(self) -> None:
        """Run whatever is not done. Raises LocalError, UsageError."""
        say = self.job.view.say
        for number, stage in enumerate(self.stages, 1):
            todo = stage.todo()
            head = f"{self.case.name}, {number} of {len(self.stages)}: {stage.title}"
            done = len(stage.positions) - len(todo)
            say(f"{head}, {counted(len(stage.positions), 'slice')}" + f" ({done} done already)" * bool(done))
            if todo:
                stage.folder.mkdir(parents=True, exist_ok=True)
                try:
                    self._run(stage)
                except DiskFull:
                    raise  # it says where there is none
                except LocalError as error:
                    raise LocalError(f"{head}: {error}", GOES_ON) from error
                except PeerError as error:
                    raise PeerError(f"{head}: {error}", GOES_ON) from error
            self._check_verified(stage)
            for document in self.documents(stage.name):
                for line in beyond_calibration(document.get("run", {}).get("beyond_calibration")):
                    say(f"{head}: {line}")

    def _run(self, stage: Stage) -> None:
        if stage.way == "float":
            document = run_float(stage, self.case.loaded.volume, self.settings, self.job.progress, self.job.view.track)
        else:
            compiled = compile_stage(stage, self.settings, self.job.calibration)
            frame, reading = stage.frame, replace(self.settings.reading, rule=self.case.loaded.rule)
            inputs = VolumeSlices(volume=self.case.files.volume, size=frame.size, reading=reading, crop=frame.crop)
            document = run_secure(
                stage,
                compiled,
                inputs,
                self.settings,
                folder=self.folder,
                console=self._live(stage.title),
                progress=self.job.progress,
                run=self.job.run,
            )
        self._keep_document(stage.name, document)

    def _check_verified(self, stage: Stage) -> None:
        """LocalError where a session of the stage differed from the oracle, now or before: its slices are on the disk."""
        for document in self.documents(stage.name):
            if document.get("verified") is False:
                wrong = document["run"]["mismatches"] or ["no layer was compared"]
                raise LocalError(
                    f"{self.case.name}, {stage.title}: {len(wrong)} layers differ from the oracle; {wrong[0]}; "
                    "its slices are no result: choose another --out"
                )

    def _live(self, what: str) -> RunConsole:
        above = lambda: f"{self.job.progress.text()}: {self.case.name}, {what}"  # noqa: E731 - what matters first: it may be cut
        return self.job.view.session(self.settings.run.link.bandwidth_bps, above)

    def _keep_document(self, name: str, document: dict[str, Any]) -> None:
        folder = self.folder / SESSIONS
        folder.mkdir(exist_ok=True)
        earlier = len(list(folder.glob(f"{name}-*.json")))
        write_json(folder / f"{name}-{earlier + 1:02d}.json", document)

    def documents(self, name: str) -> list[dict[str, Any]]:
        """Of the sessions that ended well, in their order. name: a stage's, or VOTE."""
        files = sorted((self.folder / SESSIONS).glob(f"{name}-*.json"), key=lambda path: (len(path.name), path.name))
        return [json.loads(path.read_text(encoding="utf-8")) for path in files]

    def combine(self) -> RegionMasks:
        """The masks of the region from what the stages left. Raises SealError."""
        opened, rule, axes = RegionMasks(), self.settings.ensemble, len(self.settings.axes)
        filters = self.settings.filters
        for way in self.settings.ways:
            if way == "secure" and rule == "majority":
                opened.masks[way] = self._vote()
                continue
            summed = self._total(way, "infection")
            opened.masks[way] = decide(summed, axes, rule, filters["infection"])
            if self.settings.probabilities and way == self.settings.ways[0]:
                opened.mean = np.asarray(summed / np.float32(axes), np.float32)
            if "lung" in self.settings.targets:
                opened.lungs[way] = decide(self._total(way, "lung"), axes, rule, filters["lung"])
                opened.masks[way] &= opened.lungs[way]
        return opened

    def _vote(self) -> Bools:
        """The mask that the parties vote on, opened once: a run that was cut off after it does not vote again."""
        opened = self.folder / "slices" / "vote.safetensors"
        if opened.exists():
            voted = sealed.load(opened, OPENED)[1].get("mask")
            if voted is None or voted.shape != self.case.region.size:
                raise sealed.SealError(f"{opened} is not of this region", OPENED.remedy)
            return np.asarray(voted != 0)
        stages = [stage for stage in self.stages if stage.shared]
        mask, document = vote(stages, self.case.region, self.settings, self.folder, self._live("the vote"))
        sealed.save(opened, OPENED, {"mask": mask.astype(np.uint8)})
        self._keep_document(VOTE, document)
        return mask

    def _total(self, way: str, target: str) -> NDArray[Any]:
        summed = [stage for stage in self.stages if (stage.way, stage.model.target) == (way, target)]
        # The published sum is X + Y + Z, and the order of a float sum decides on ties: X is array axis 0.
        summed.sort(key=lambda stage: axis_number(stage.model.axis) if stage.model.published else 0)
        stages = {stage.model.axis: stage for stage in summed}
        frames = {axis: stage.frame for axis, stage in stages.items()}
        dtype = np.float32 if self.settings.ensemble == "probabilities" else np.uint8
        return total(self.case.region, frames, lambda axis, k: outcomes.read(stages[axis].folder, k, dtype), dtype)
