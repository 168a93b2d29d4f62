"""`bunet alice`: a volume's slices are segmented by Bob, and the mask is written as far as they are finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bunet.experiments.alice import masks, warnings
from bunet.experiments.alice.folder import SliceFolder, served
from bunet.experiments.checks import slice_range
from bunet.experiments.machine import environment
from bunet.experiments.one_line import Say
from bunet.experiments.storage import mask_files
from bunet.experiments.storage.places import check_apart
from bunet.experiments.storage.results import write_json
from bunet.experiments.storage.run_folder import digest_of
from bunet.models.compiled import quantise_input
from bunet.models.model_card import ModelWish
from bunet.models.program import Program
from bunet.models.volumes import formats
from bunet.models.volumes.reading import DEFAULT_READING, VolumeReading
from bunet.models.volumes.slice_source import Size, SliceSource
from bunet.models.volumes.slicing import slices
from bunet.net import zeromq
from bunet.net.keys import KeyPair
from bunet.parties import alice as alice_party
from bunet.parties import input_range
from bunet.parties.console import RunConsole
from bunet.parties.engine.scheduler import SliceJob
from bunet.parties.events import Note
from bunet.parties.input_slices import InputSlices
from bunet.parties.run_options import RunOptions
from bunet.parties.session.handshake import Request, Terms
from bunet.parties.session.run import Hooks


@dataclass(frozen=True)
class AliceRequest:
    """What `bunet alice` was asked for, each part of it checked.

    connect: Bob's address. pair, server: Alice's keys and Bob's public one, None on loopback. wish: for Bob's model.
    axis: of the slices. slices: A:B, positions along it. size: as `SliceFrame.of`. reading: of the volume. format: None for
    whichever Bob's model has. run: how Alice's side runs. out: the folder that the mask goes to. json: where the run's
    document goes.
    """

    volume: Path
    out: Path
    connect: str
    wish: ModelWish
    run: RunOptions
    axis: str = "z"
    pair: KeyPair | None = None
    server: str | None = None
    slices: str = ":"
    size: Size = None
    reading: VolumeReading = DEFAULT_READING
    format: str | None = None
    json: Path | None = None


def segment(request: AliceRequest, say: Say) -> None:
    """Read the volume, run what is left of its slices, write what is finished. Raises a BunetError."""
    results = masks.paths(request.out, request.volume, formats.format_of(request.volume))
    check_apart([request.volume], request.out, [*results, request.json])
    loaded = request.reading.load(request.volume, sized=request.size is not None)
    mask_files.check_writable(loaded.stored)
    for remark in loaded.remarks():
        say(remark)
    positions = range(*slice_range(request.slices, slices.slice_count(loaded.volume, request.axis), request.axis))
    source = SliceSource.of(loaded.volume, request.axis, request.size, loaded.crop)
    identity = _identity(request, loaded, source)
    with SliceFolder(request.out, identity) as folder:
        session = AliceSession(request, loaded, source, positions, folder, say)
        if session.resumed:
            say(f"{len(session.resumed)} of {len(positions)} slices are done already in {request.out}")
        if session.todo:
            session.run()
        session.write_masks()
        if request.json is None:
            return
        if session.todo:
            write_json(request.json, session.document(identity))
        else:
            say(f"nothing was left to run, so there is no document of it: {request.json} is not written")


def _identity(request: AliceRequest, loaded: formats.LoadedVolume, source: SliceSource) -> dict[str, Any]:
    """Whatever the slices depend on."""
    frame = source.frame
    (height, width), (rows, columns) = frame.fit.size, frame.padded
    return {
        "volume": digest_of(loaded.volume),
        "axis": request.axis,
        "size": f"{height}x{width} in {rows}x{columns}",
        "crop": None if frame.crop is None else frame.crop.as_list(),
        "format": request.format,
        "server": request.server,
        **request.run.choices(),
        "wish": asdict(request.wish),
    }


class AliceSession:
    """The slices of one command that are not finished, run in one session with Bob.

    positions: along the axis, all that were asked for. Slices beside the body are sent too: how many there are would tell Bob
    how large it is. Raises UsageError where the folder holds what this run has not written.
    """

    def __init__(
        self,
        request: AliceRequest,
        loaded: formats.LoadedVolume,
        source: SliceSource,
        positions: range,
        folder: SliceFolder,
        say: Say,
    ) -> None:
        self.request, self.folder, self.positions = request, folder, positions
        self.todo = [k for k in positions if not folder.has(k)]
        self.resumed = [k for k in positions if folder.has(k)]
        self._loaded, self._source, self._say = loaded, source, say
        self._begun = folder.noted is not None
        self._check_places(folder.model.target if self._begun else request.wish.target)
        self._earlier = warnings.read(request.out) if self._begun else None
        self._agreed: tuple[Terms, Mapping[str, float]] | None = None
        self._console = RunConsole("alice", bandwidth_bps=request.run.link.bandwidth_bps)

    def run(self) -> None:
        """One session; each finished slice is on the disk at once."""
        asked, folder = self.request, self.folder
        request = Request(
            self._source.shape,
            len(self.todo),
            asked.run,
            format=asked.format,
            readout="argmax",
            digest=folder.digest,
            commitment=folder.commitment,
            committed=True,
            model=folder.wish or asked.wish,
        )
        with self._console as console:
            alice_party.run(
                lambda: zeromq.connect(asked.connect, asked.pair, asked.server),
                request,
                InputSlices([(asked.axis, k) for k in self.todo], self._slice_at, self._source.frame.fit.size),
                self._keep,
                Hooks(console),
                self._agree,
            )

    def write_masks(self) -> None:
        """The mask of all slices that are finished, of earlier commands too."""
        masks.write_masks(self.folder, self.request.volume, self._loaded, self._source.frame, self.positions, self._say)

    def document(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Of the session, once it has ended."""
        assert self._agreed is not None
        asked, (terms, beyond) = self.request, self._agreed
        rows, columns = self._source.frame.padded
        run = {
            **identity,
            "height": rows,
            "width": columns,
            "slices": len(self.todo),
            **asked.run.pace(),
            "asked_slices": list(self.positions),
            "resumed_slices": self.resumed,
            **served(terms),
            "input_beyond_calibration": dict(beyond),
        }
        return self._console.ledger.document(link=asked.run.link.describe(), environment=environment(asked.run.cores), run=run)

    def _check_places(self, target: str | None) -> None:
        asked = self.request
        masks.check_places(asked.out, asked.volume, self._loaded.stored, target, self._begun, asked.json)

    def _agree(self, terms: Terms, beyond: Mapping[str, float]) -> None:
        """Before anything of a slice is sent: what stands against it ends the session."""
        self._agreed = terms, beyond
        if terms.card is not None and not self._begun:
            self._check_places(terms.card.target)
        for sentence in warnings.of_intensity(terms.card, self._loaded.rule):
            self._console(Note("alice", sentence))
        names = [f"{self.request.axis}{k}" for k in self.todo]
        warnings.keep(self.request.out, input_range.limit_of(terms.program), names, beyond, self._earlier)

    def _slice_at(self, program: Program, k: int) -> np.ndarray:
        return quantise_input(program, self._source.image(self.todo[k]))

    def _keep(self, job: SliceJob, result: np.ndarray) -> None:
        assert self._agreed is not None  # a result comes after that
        self.folder.belongs_to(self._agreed[0])
        self.folder.write(job.index, result)
