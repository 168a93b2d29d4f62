"""Every reader of what comes from outside, as a function of bytes: only its declared errors may leave it.

A target gets data and a folder of its own, and returns which of its readers took the data. Whatever else is raised is a
finding, and so is an error whose sentence is none, an internal error's, or of several lines.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from bunet.experiments import checks
from bunet.experiments.alice.folder import SliceFolder
from bunet.experiments.bench.kernels import load_baseline
from bunet.experiments.commands.failure import explain
from bunet.experiments.predict.case import OPENED
from bunet.experiments.sweep.reading import ConfigError, parse
from bunet.experiments.sweep.run import read_points
from bunet.models.compiled import FILE, CompileError, load_compiled
from bunet.models.errors import PeerError, UsageError
from bunet.models.files import sealed
from bunet.models.files.disk_space import DiskFull
from bunet.models.files.json_text import parse as parse_json
from bunet.models.files.sealed import SealError
from bunet.models.network import weights
from bunet.models.network.weights import WeightsError
from bunet.models.program import Program, ProgramError
from bunet.models.volumes import formats
from bunet.models.volumes.labels import labels
from bunet.models.volumes.volume import VolumeError
from bunet.net import address, keys
from bunet.net.channel import AddressError
from bunet.net.frame import Control, MalformedFrame, decode
from bunet.net.keys import BadKey
from bunet.parties import outcomes, shares
from bunet.parties.session import handshake as session
from bunet.parties.vote import ballots
from bunet.parties.vote import session as vote_session
from tests.fuzz import seeds
from tests.fuzz.sealed_contents import seal
from tests.fuzz.seeds import SESSION, Recorder

Taken = dict[str, bool]
Target = Callable[[bytes, Path], Taken]


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _taken(read: Callable[[], Any], *errors: type[Exception]) -> bool:
    """Run a reader: whether it succeeds, or else ends in one of the errors with one sentence."""
    try:
        read()
    except errors as error:
        sentence, _ = explain(error)
        assert sentence, "an error without a sentence"
        assert not sentence.startswith("internal error"), sentence
        assert "\n" not in sentence, f"a sentence of several lines: {sentence!r}"
        return False
    return True


def _volume(name: str) -> Target:
    def target(data: bytes, folder: Path) -> Taken:
        path = _file(folder, name, data)
        taken = {"load": _taken(lambda: formats.load(path), VolumeError, DiskFull)}
        if name.endswith(".npz"):
            keys_of: list[str] = []
            _taken(lambda: keys_of.extend(formats.keys_of(path)), VolumeError)
            read = [_taken(partial(formats.read_array, path, key), VolumeError, DiskFull) for key in keys_of]
            taken["read_array"] = any(read)
        return taken

    return target


def _labelled(label: list[Any], volume: Any, asked: tuple[int, ...]) -> None:
    label.append(labels.beside(None, volume, asked)[0])


def _labels(data: bytes, folder: Path) -> Taken:
    """A label inside a volume's own file, and as a file of its own."""
    path = _file(folder, "x.npz", data)
    found: list[Any] = []
    taken = {"read_volume": _taken(lambda: found.append(formats.read_volume(path, dtype_kinds="biuf")), VolumeError, DiskFull)}
    if not found:
        return taken
    volume = found[0]
    label: list[Any] = []
    lung: list[Any] = []
    values: tuple[tuple[int, ...], ...] = ((), (1,), (1, 2))
    for asked in values:
        _taken(partial(_labelled, label, volume, asked), VolumeError, DiskFull)
    _taken(lambda: lung.append(labels.lung_of(path, volume)), VolumeError, DiskFull)
    return {
        **taken,
        "inside": any(one is not None for one in label),
        "lung": any(one is not None for one in lung),
        "beside": _taken(lambda: labels.beside(path, volume), VolumeError, DiskFull),
    }


def _gzipped(data: bytes, folder: Path) -> Taken:
    """As it is, and as what a good gzip holds."""
    outer = _volume("x.nii.gz")(data, folder)["load"]
    return {"load": outer, "load what is inside": _volume("x.nii.gz")(gzip.compress(data, 1), folder)["load"]}


def _series(data: bytes, folder: Path) -> Taken:
    inside = folder / "series"
    inside.mkdir(exist_ok=True)
    path = _file(inside, "1.dcm", data)
    return {
        "load a folder": _taken(lambda: formats.load(inside), VolumeError, DiskFull),
        "load a file": _taken(lambda: formats.load(path), VolumeError, DiskFull),
    }


def _segmentation(data: bytes, folder: Path) -> Taken:
    from bunet.models.volumes.dicom.segmentation import holds

    path = _file(folder, "x.dcm", data)
    answers: list[bool] = []
    _taken(lambda: answers.append(holds(path, seeds.placed(seeds.HU), seeds.MASKS)), VolumeError)
    return {"holds": answers == [True]}


def _checkpoint(data: bytes, folder: Path) -> Taken:
    from bunet.models.network.unet import read_checkpoint

    path = _file(folder, "x.pth", data)
    return {"read_checkpoint": _taken(lambda: read_checkpoint(path), WeightsError)}


def _sealed(name: str, format: sealed.FileFormat, *errors: type[Exception], **readers: Callable[[Path], Any]) -> Target:
    """The data as a file of ours, and as the contents of one that is sealed. name: of the file. readers: of its path."""

    def target(data: bytes, folder: Path) -> Taken:
        path = _file(folder, name, data)
        taken = {what: _taken(partial(read, path), *errors) for what, read in readers.items()}
        if seal(data, path, format):
            taken |= {f"{what}, sealed": _taken(partial(read, path), *errors) for what, read in readers.items()}
        return taken

    return target


def _training(data: bytes, folder: Path) -> Taken:
    from bunet.models.training.config import TrainError
    from bunet.models.training.files import CHECKPOINT, read_tensors

    return _sealed("x.safetensors", CHECKPOINT, TrainError, read_tensors=read_tensors)(data, folder)


def _slice(data: bytes, folder: Path) -> Taken:
    name = outcomes.path_of(Path(), 7).name
    read = _sealed(name, outcomes.FILE, SealError, read=lambda path: outcomes.read(path.parent, 7))
    vote = _file(folder, "vote.safetensors", data)
    return {**read(data, folder), "a vote": _taken(lambda: sealed.load(vote, OPENED), SealError)}


def _program(data: bytes, folder: Path) -> Taken:
    return {"from_json": _taken(lambda: Program.from_json(data.decode("utf-8", "surrogateescape")), ProgramError)}


def _key(data: bytes, folder: Path) -> Taken:
    path = _file(folder, "a.key", data)
    path.chmod(0o600)
    readers = {"KeyPair.load": keys.KeyPair.load, "load_allowed": keys.load_allowed, "load_public": keys.load_public}
    return {what: _taken(partial(read, path), BadKey) for what, read in readers.items()}


def experiment(text: str) -> bool:
    """Whether an experiment's file of this text is one; its first points are made."""

    def read() -> None:
        for number, point in enumerate(parse(text, "x.yaml").points(None)):
            point.identity()
            if number > 50:
                break

    return _taken(read, ConfigError)


def _experiment(data: bytes, folder: Path) -> Taken:
    return {"parse": experiment(data.decode("utf-8", "surrogateescape"))}


def _message(data: bytes, folder: Path) -> Taken:
    """The parts of a message: each begins with its length, two bytes."""
    parts: list[bytes] = []
    rest = data
    while rest and len(parts) < 8:
        size = int.from_bytes(rest[:2], "little")
        parts.append(rest[2 : 2 + size])
        rest = rest[2 + size :]
    _taken(lambda: decode([memoryview(data)]), MalformedFrame)
    return {"decode": _taken(lambda: decode([memoryview(part) for part in parts]), MalformedFrame)}


def handshake(body: Any) -> Taken:
    """What the peer says in the handshake, in both directions; nothing where the fuzzer's body is no table."""
    if not isinstance(body, dict):
        return {}
    known = {"version": session.software(), "protocol": session.PROTOCOL_VERSION, **body}
    bob = Recorder(Control("accept", known))
    ready = Control("ready", {"digest": seeds.small_model().program.digest()})
    alice = Recorder(Control("open", known), ready)
    return {
        "ask": _taken(lambda: session.ask(bob, seeds.REQUEST), PeerError),  # type: ignore[arg-type]
        "answer": _taken(
            lambda: session.answer(alice, lambda *_: seeds.small_offer()),  # type: ignore[arg-type]
            PeerError,
        ),
    }


def vote(body: Any) -> Taken:
    """Likewise in the handshake of a vote."""
    if not isinstance(body, dict):
        return {}
    known = {"version": session.software(), "protocol": session.PROTOCOL_VERSION, **body}
    bob, alice = Recorder(Control("accept", known)), Recorder(Control("open", known))
    return {
        "ask": _taken(lambda: vote_session.ask(bob, seeds.VOTE), PeerError),  # type: ignore[arg-type]
        "answer": _taken(lambda: vote_session.answer(alice, seeds.VOTE), PeerError),  # type: ignore[arg-type]
    }


def _json(of_body: Callable[[Any], Taken]) -> Target:
    def target(data: bytes, folder: Path) -> Taken:
        body = None
        with suppress(ValueError):
            body = parse_json(data)
        return of_body(body)

    return target


def _run_json(data: bytes, folder: Path) -> Taken:
    _file(folder, "run.json", data)
    identity: Mapping[str, object] = {"axis": "z", "size": "8x8"}

    def read() -> None:
        with SliceFolder(folder, identity) as found:
            assert found.digest is None or len(found.digest) == 64
            assert found.noted is None or found.wish

    return {"SliceFolder": _taken(read, UsageError)}


def _journals(data: bytes, folder: Path) -> Taken:
    path = _file(folder, "points.jsonl", data)
    points: list[Any] = []
    _taken(lambda: points.extend(read_points(path)[0]), UsageError)
    return {"read_points": bool(points), "load_baseline": _taken(lambda: load_baseline(path), UsageError)}


def texts(text: str) -> Taken:
    """The values of options."""
    readers: dict[str, Callable[[], Any]] = {
        "--slices": lambda: checks.slice_range(text, 9, "z"),
        "--size": lambda: checks.slice_size("--size", text),
        "--format": lambda: checks.operand_format(text),
        "--link": lambda: checks.link(text, None, None),
        "--bandwidth": lambda: checks.link("lan", text, None),
        "--rtt": lambda: checks.link("lan", "5Mbit", text),
        "--protocol": lambda: checks.protocols([text]),
        "names": lambda: checks.names(text),
        "--label-value": lambda: checks.label_values(text),
    }
    taken = {what: _taken(read, UsageError) for what, read in readers.items()}
    if not any(letter.isalpha() for letter in text.removeprefix("tcp://")):  # no name is looked up
        taken["address"] = _taken(lambda: address.parse(text), AddressError)
    return taken


TARGETS: dict[str, Target] = {
    "npz": _volume("x.npz"),
    "npy": _volume("x.npy"),
    "nifti": _volume("x.nii"),
    "nifti-gz": _gzipped,
    "dicom": _series,
    "segmentation": _segmentation,
    "labels": _labels,
    "pth": _checkpoint,
    "weights": _sealed(
        "x.safetensors", weights.FILE, WeightsError, load=weights.load, notes=weights.read_notes, seal=weights.seal
    ),
    "compiled": _sealed("x.model", FILE, CompileError, load=load_compiled),
    "checkpoint": _training,
    "slice": _slice,
    "share": _sealed(
        shares.path_of(Path(), ("z", 7), SESSION).name,
        shares.FILE,
        SealError,
        read=lambda path: shares.read(path.parent, ("z", 7), SESSION),
    ),
    "ballot": _sealed(
        "lung-x.ballot", ballots.FILE, UsageError, read=lambda path: ballots.read(path.parent, "lung-x", (2, 2, 2))
    ),
    "program": _program,
    "key": _key,
    "experiment": _experiment,
    "message": _message,
    "handshake": _json(handshake),
    "vote": _json(vote),
    "run-json": _run_json,
    "journals": _journals,
    "texts": lambda data, folder: texts(os.fsdecode(data)),
}
NEEDS = {
    "nifti": "nibabel",
    "nifti-gz": "nibabel",
    "dicom": "pydicom",
    "segmentation": "pydicom",
    "pth": "torch",
    "checkpoint": "torch",
}
