"""Every reader of what comes from outside, as a function of bytes: only its declared errors may leave it.

A target gets data and a folder of its own; whatever else is raised is a finding, and so is a sentence of several lines.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from bunet.experiments import commands_party, options
from bunet.experiments.cli import explain
from bunet.experiments.kernel_bench import load_baseline
from bunet.experiments.options import UsageError
from bunet.experiments.predict import OPENED
from bunet.experiments.sweep import SweepError, read_points
from bunet.experiments.sweep_config import ConfigError, parse
from bunet.models import compile as compiling
from bunet.models import sealed, weights
from bunet.models.compile import CompileError
from bunet.models.program import Program, ProgramError
from bunet.models.room import NoRoom
from bunet.models.sealed import SealError
from bunet.models.volumes import formats
from bunet.models.volumes.volume import VolumeError
from bunet.models.weights import WeightsError
from bunet.net import address, keys
from bunet.net.channel import AddressError, ChannelError
from bunet.net.frame import Control, MalformedFrame, decode
from bunet.net.keys import BadKey
from bunet.parties import ballots, outcomes, session, shares_on_disk
from bunet.parties.errors import RunError
from bunet.parties.outcomes import DamagedSlice
from bunet.parties.session import Request

Target = Callable[[bytes, Path], None]
SESSION = "0" * 32
KINDS = (np.uint8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64)


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _refused(read: Callable[[], Any], *errors: type[Exception]) -> None:
    """Run a reader: it may succeed, or end in one of the errors with one sentence."""
    try:
        read()
    except errors as error:
        sentence, _ = explain(error)
        assert sentence, "an error without a sentence"
        assert not sentence.startswith("internal error"), sentence


def _volume(name: str) -> Target:
    def target(data: bytes, folder: Path) -> None:
        path = _file(folder, name, data)
        _refused(lambda: formats.load(path), VolumeError, NoRoom)
        if name.endswith(".npz"):
            for key in _or([], lambda: formats.keys_of(path), VolumeError):
                _refused(lambda key=key: formats.read_array(path, key), VolumeError, NoRoom)

    return target


def _or(otherwise: Any, read: Callable[[], Any], *errors: type[Exception]) -> Any:
    try:
        return read()
    except errors:
        return otherwise


def _gzipped(data: bytes, folder: Path) -> None:
    """As it is, and as what a good gzip holds."""
    _volume("x.nii.gz")(data, folder)
    _volume("x.nii.gz")(gzip.compress(data, 1), folder)


def _series(data: bytes, folder: Path) -> None:
    inside = folder / "series"
    inside.mkdir(exist_ok=True)
    _file(inside, "1.dcm", data)
    _refused(lambda: formats.load(inside), VolumeError, NoRoom)


def _checkpoint(data: bytes, folder: Path) -> None:
    from bunet.models.unet import read_checkpoint

    path = _file(folder, "x.pth", data)
    _refused(lambda: read_checkpoint(path), WeightsError)


def _behind_the_seal(data: bytes, path: Path, kind: sealed.Kind, texts: dict[str, str], names: tuple[str, ...]) -> None:
    """Whole files of what the data says: no damage, but contents that no honest writer leaves."""
    head, _, tail = data.partition(b"\n")
    shapes = head[:24]
    arrays: dict[str, Any] = {}
    for number, name in enumerate(names):
        facts = shapes[4 * number : 4 * number + 4] or b"\x00"
        dtype = np.dtype(KINDS[facts[0] % len(KINDS)])
        shape = tuple(size % 9 for size in facts[1:])
        count = int(np.prod(shape))
        arrays[name] = np.resize(np.frombuffer(tail[: len(tail) // 8 * 8] or bytes(8), dtype), count).reshape(shape)
    sealed.save(path, kind, arrays, texts)


def _weights(data: bytes, folder: Path) -> None:
    path = _file(folder, "x.safetensors", data)
    for read in (weights.load, weights.read_notes, weights.seal):
        _refused(lambda read=read: read(path), WeightsError)
    text = data.decode(errors="replace")
    architecture = '{"features":1,"in_channels":1,"depth":1}' if data[:1] < b"\x80" else text
    _behind_the_seal(data, path, weights.FILE, {"architecture": architecture, "notes": text}, ("conv.weight", "conv.bias"))
    for read in (weights.load, weights.read_notes):
        _refused(lambda read=read: read(path), WeightsError)


def _compiled(data: bytes, folder: Path) -> None:
    path = _file(folder, "x.model", data)
    _refused(lambda: compiling.load(path), CompileError)
    _behind_the_seal(data, path, compiling.FILE, {"program": data.decode(errors="replace")}, ("conv.weight", "conv.bias"))
    _refused(lambda: compiling.load(path), CompileError)


def _slice(data: bytes, folder: Path) -> None:
    path = _file(folder, outcomes.path_of(folder, 7).name, data)
    _refused(lambda: outcomes.read(folder, 7), DamagedSlice)
    _behind_the_seal(data, path, outcomes.FILE, {"index": data[:1].decode(errors="replace")}, ("slice",))
    _refused(lambda: outcomes.read(folder, 7), DamagedSlice)
    vote = _file(folder, "vote.safetensors", data)
    _refused(lambda: sealed.load(vote, OPENED), SealError)


def _share(data: bytes, folder: Path) -> None:
    path = _file(folder, shares_on_disk.path_of(folder, ("z", 7), SESSION).name, data)
    read = lambda: shares_on_disk.read(folder, ("z", 7), SESSION)  # noqa: E731
    _refused(read, RunError)
    for width in (data[24:34].decode(errors="replace"), "8"):
        _behind_the_seal(data, path, shares_on_disk.FILE, {"slice": path.name, "width": width}, ("bits",))
        _refused(read, RunError)


def _ballot(data: bytes, folder: Path) -> None:
    path = _file(folder, "lung-x.ballot", data)
    _refused(lambda: ballots.read(folder, "lung-x", (2, 2, 2)), RunError)
    _behind_the_seal(data, path, ballots.FILE, {"name": "lung-x"}, ("bits",))
    _refused(lambda: ballots.read(folder, "lung-x", (2, 2, 2)), RunError)


def _program(data: bytes, folder: Path) -> None:
    _refused(lambda: Program.from_json(data.decode("utf-8", "surrogateescape")), ProgramError)


def _key(data: bytes, folder: Path) -> None:
    path = _file(folder, "a.key", data)
    path.chmod(0o600)
    for read in (keys.KeyPair.load, keys.load_allowed, keys.load_public):
        _refused(lambda read=read: read(path), BadKey)


def _experiment(data: bytes, folder: Path) -> None:
    try:
        config = parse(data.decode("utf-8", "surrogateescape"), "x.yaml")
    except ConfigError:
        return
    for number, point in enumerate(config.points(None)):
        point.identity()
        if number > 50:
            break


def _message(data: bytes, folder: Path) -> None:
    """The parts of a message: each begins with its length, two bytes."""
    parts, rest = [], data
    while rest and len(parts) < 8:
        size = int.from_bytes(rest[:2], "little")
        parts.append(rest[2 : 2 + size])
        rest = rest[2 + size :]
    _refused(lambda: decode([memoryview(part) for part in parts]), MalformedFrame)
    _refused(lambda: decode([memoryview(data)]), MalformedFrame)


class _Peer:
    """A channel on whose other side somebody says one thing, and leaves."""

    def __init__(self, kind: str, body: Any) -> None:
        self._said: list[Control] = [Control(kind, body)]

    def send(self, message: Any) -> None:
        pass

    def receive(self, timeout: float | None = None) -> Control:
        if not self._said:
            raise ChannelError("the peer has left")
        return self._said.pop()


def _handshake(data: bytes, folder: Path) -> None:
    """What the peer says in the handshake, in both directions."""
    with suppress(ValueError, RecursionError):
        body = json.loads(data)
        if isinstance(body, dict):
            known = {"version": session.software(), "protocol": session.PROTOCOL_VERSION, **body}
            request = Request((1, 8, 8), 1, 1)
            _refused(lambda: session.ask(_Peer("accept", known), request), RunError, ChannelError)  # type: ignore[arg-type]
            _refused(lambda: session.answer(_Peer("open", known), _no_program), RunError, ChannelError)  # type: ignore[arg-type]


def _no_program(*_: object) -> Program:
    raise RunError("there is no such program")


def _run_json(data: bytes, folder: Path) -> None:
    _file(folder, "run.json", data)
    identity: dict[str, object] = {"axis": "z", "size": "8x8"}

    def read() -> None:
        with commands_party.SliceFolder(folder, identity) as found:
            assert found.digest is None or len(found.digest) == 64

    _refused(read, UsageError)


def _journals(data: bytes, folder: Path) -> None:
    path = _file(folder, "points.jsonl", data)
    _refused(lambda: read_points(path), SweepError)
    _refused(lambda: load_baseline(path), UsageError)


def _texts(data: bytes, folder: Path) -> None:
    """Values of options."""
    text = os.fsdecode(data)
    for read in (
        lambda: commands_party._positions(text, 9), lambda: options.slice_size("--size", text),
        lambda: options.operand_format(text), lambda: options.chosen_link(text, None, None),
        lambda: options.chosen_link("lan", text, None), lambda: options.chosen_link("lan", "5Mbit", text),
        lambda: options.chosen_protocols([text]), lambda: options.names(text),
    ):
        _refused(read, UsageError, ValueError)  # of ours: others are internal errors
    if not any(letter.isalpha() for letter in text.removeprefix("tcp://")):  # no name is looked up
        _refused(lambda: address.parse(text), AddressError)


TARGETS: dict[str, Target] = {
    "npz": _volume("x.npz"), "npy": _volume("x.npy"), "nifti": _volume("x.nii"), "nifti-gz": _gzipped, "dicom": _series,
    "pth": _checkpoint, "weights": _weights, "compiled": _compiled, "slice": _slice, "share": _share, "ballot": _ballot,
    "program": _program, "key": _key, "experiment": _experiment, "message": _message, "handshake": _handshake,
    "run-json": _run_json, "journals": _journals, "texts": _texts,
}
NEEDS = {"nifti": "nibabel", "nifti-gz": "nibabel", "dicom": "pydicom", "pth": "torch"}
