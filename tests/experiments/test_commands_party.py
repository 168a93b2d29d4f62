"""`bunet alice`, `bob` and `keygen` around a session that is pretended: what is cut, kept, refused and written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bunet.experiments import commands_party, prepare
from bunet.experiments.cli import app
from bunet.experiments.options import RunSettings, UsageError
from bunet.models.compile import Compiled, quantise_input
from bunet.models.volumes import formats, slices
from bunet.models.volumes.resampling import resample
from bunet.net import keys
from bunet.parties.errors import PeerError
from bunet.parties.events import Failed, LayerPlan, SessionFinished, SessionStarted, SliceFinished, SliceStarted
from bunet.parties.scheduler import SliceJob
from bunet.parties.session import MAX_IN_FLIGHT, Request
from bunet.protocols.ass.share import Share
from tests.parties.programs import small


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return small(16)


class Session:
    """Stands in for parties.alice.run: a mask of ones a slice, until it is told to fail."""

    def __init__(self, compiled: Compiled, lose_after: int | None = None) -> None:
        self.compiled, self.lose_after = compiled, lose_after
        self.requests: list[Request] = []
        self.inputs: list[np.ndarray] = []

    def __call__(
        self, connect: Any, request: Request, labels: list[tuple[str, int]], slice_at: Callable[..., np.ndarray],
        on_result: Callable[..., None], emit: Callable[..., None], **_: Any,
    ) -> None:
        program = self.compiled.program
        self.requests.append(request)
        plan = (LayerPlan("input", "input", "local", request.shape, 12),)
        emit(SessionStarted("alice", program.digest(), "8.4", plan, "loopback", len(labels), 1))
        for k, (axis, index) in enumerate(labels):
            if k == self.lose_after:
                emit(Failed("alice", "Bob is gone", "peer"))
                raise PeerError("Bob is gone")
            emit(SliceStarted("alice", k, axis, index))
            self.inputs.append(slice_at(program, k))
            job = SliceJob(k, axis, index, Share.of(self.inputs[-1].astype(np.uint64), program.input.type))
            on_result(job, np.ones(request.shape[1:], np.uint8))
            emit(SliceFinished("alice", k, axis, index, 1.0))
        emit(SessionFinished("alice", 2.0, 10, 20, 30))


@pytest.fixture
def session(compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> Session:
    made = Session(compiled)
    monkeypatch.setattr(commands_party.alice_party, "run", made)
    return made


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "ct.npy"
    np.save(path, np.random.default_rng(1).random((20, 30, 40), np.float32))
    return path


def bunet(*arguments: str | Path) -> tuple[int, str, str]:
    """(status, standard output, standard error) of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def alice(volume: Path, *arguments: str | Path) -> tuple[int, str, str]:
    return bunet("alice", "--volume", volume, "--out", volume.parent / "out", *arguments)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_slices_are_resampled_after_they_are_cut_as_the_demo_does(axis: str, volume: Path, session: Session) -> None:
    status, _, error = alice(volume, "--axis", axis, "--size", "16", "--slices", "3:5")
    assert status == 0, error
    array = formats.load(volume).volume
    for k, seen in zip((3, 4), session.inputs, strict=True):
        expected = resample(slices.slice_at(array, axis, k), 16)
        np.testing.assert_array_equal(seen, quantise_input(session.compiled.program, expected))
    with np.load(volume.parent / "out" / "mask.npz") as mask:
        assert mask["array"].shape == (2, 16, 16)
    images = prepare.volume_slices(RunSettings(size=16, features=1, axis=axis), volume, None, 16)
    np.testing.assert_array_equal(images.images[0], prepare.slice_image(array, axis, images.labels[0][1], (16, 16)))


def test_what_was_cut_off_goes_on_and_the_document_says_so(
    volume: Path, compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands_party.alice_party, "run", Session(compiled, lose_after=2))
    file, arguments = volume.parent / "run.json", ("--size", "16", "--slices", "2:7")
    status, out, error = alice(volume, *arguments, "--json", file)
    assert (status, error) == (1, "bunet: Bob is gone\n")
    assert "Bob is gone" not in out
    assert not file.exists()
    again = Session(compiled)
    monkeypatch.setattr(commands_party.alice_party, "run", again)
    status, out, error = alice(volume, *arguments, "--json", file)
    assert status == 0, error
    assert "2 of 5 slices are done already" in out
    assert again.requests[0].slices == 3
    assert again.requests[0].digest == compiled.program.digest()
    run = json.loads(file.read_text())["run"]
    assert (run["asked_slices"], run["resumed_slices"], run["slices"]) == ([2, 3, 4, 5, 6], [2, 3], 3)
    file.unlink()
    status, out, _ = alice(volume, *arguments, "--json", file)
    assert status == 0
    assert "nothing was left to run" in out
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("--size", "16x16", "--relu", "gc"), "protocols"), (("--size", "32"), "size"),
        (("--axis", "y", "--size", "16"), "axis"),
        (("--size", "16", "--format", "8.4"), "format"), (("--size", "16", "--ot", "softspoken-2"), "ot"),
        (("--size", "16", "--server", "bob.pub"), "server"),
    ],
)
def test_another_run_is_not_mixed_in(
    arguments: tuple[str, ...], key: str, volume: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(volume.parent)
    keys.keygen("bob")
    assert alice(volume, "--size", "16", "--slices", "0:2")[0] == 0
    status, _, error = alice(volume, "--slices", "0:3", *arguments)
    assert status == 2
    assert f"its {key} differs" in error
    assert len(session.requests) == 1


def test_another_volume_at_the_same_place_is_not_mixed_in(volume: Path, session: Session) -> None:
    assert alice(volume, "--size", "16", "--slices", "0:2")[0] == 0
    array = np.load(volume)
    array[7, 7, 7] += 0.25 if array[7, 7, 7] < 0.5 else -0.25
    np.save(volume, array)
    status, _, error = alice(volume, "--size", "16", "--slices", "0:3")
    assert status == 2
    assert "its volume differs" in error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"), ("{", "cannot be read"), ("[" * 100_000, "cannot be read"), ("\xff", "cannot be read"),
        ("[]", "not of a run of `bunet alice`"), ('{"volume": 1}', "not of a run of `bunet alice`"),
        ('{"a": 1, "program": "x"}', "names no program"), ('{"a": 1, "program": null}', "names no program"),
        ('{"a": 2, "program": "' + "0" * 64 + '"}', "its a differs"),
    ],
)
def test_a_damaged_or_foreign_folder_is_refused_in_a_sentence(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=words):
        commands_party.SliceFolder(tmp_path, {"a": 1})


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"nonsense"])
def test_a_damaged_slice_is_named(damage: bytes, volume: Path, session: Session) -> None:
    assert alice(volume, "--size", "16", "--slices", "0:2")[0] == 0
    (volume.parent / "out" / "slice-0001.safetensors").write_bytes(damage)
    status, _, error = alice(volume, "--size", "16", "--slices", "0:2")
    assert status == 2
    assert "slice-0001.safetensors is damaged" in error


def test_the_place_of_the_document_is_checked_first(volume: Path, session: Session) -> None:
    out = volume.parent / "out"
    assert "there is no folder" in alice(volume, "--json", volume.parent / "nowhere" / "x.json")[2]
    assert not out.exists()
    out.mkdir()
    assert alice(volume, "--json", out / "run.json")[0] == 2
    assert session.requests == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--in-flight", str(MAX_IN_FLIGHT + 1)), "--in-flight"), (("--size", "0"), "--size 0"), (("--size", "ax4"), "--size"),
        (("--connect", "nowhere"), "'nowhere' is not understood"), (("--key", "nokey"), "cannot read the key file"),
        (("--connect", "tcp://192.0.2.1:7010"), "refusing to connect"), (("--format", "8"), "--format"),
        (("--slices", "9:9"), "--slices 9:9"), (("--axis", "w"), "axis 'w'"), (("--ot", "magic"), "--ot 'magic'"),
    ],
)
def test_what_is_asked_wrongly_is_said_once_with_status_2(arguments: tuple[str, ...], words: str, volume: Path) -> None:
    status, out, error = alice(volume, *arguments)
    assert status == 2, error
    assert words in error
    assert words not in out


def test_bob_refuses_to_listen_without_keys(tmp_path: Path, compiled: Compiled) -> None:
    from bunet.models import compile as compiling

    compiling.save(compiled, tmp_path / "small.model")
    for address, words in (("tcp://0.0.0.0:0", "refusing to listen"), ("here", "is not understood")):
        status, _, error = bunet("bob", "--model", tmp_path / "small.model", "--listen", address)
        assert status == 2
        assert words in error


@pytest.mark.parametrize("path", ["", ".", "nowhere/key"])
def test_keygen_names_a_place_that_cannot_be(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, error = bunet("keygen", path)
    assert status == 2
    assert error.startswith("bunet: the key file")
    assert not list(tmp_path.iterdir())


def test_keygen_never_overwrites(tmp_path: Path) -> None:
    assert bunet("keygen", tmp_path / "k")[0] == 0
    status, _, error = bunet("keygen", tmp_path / "k")
    assert (status, "not overwritten" in error) == (2, True)


def test_compile_takes_slices_that_are_not_square(tmp_path: Path) -> None:
    from bunet.models import compile as compiling

    status, out, error = bunet("compile", "--weights", "demo-relu", "--size", "32x48", "--out", tmp_path / "m")
    assert status == 0, error
    assert "32x48" in out
    assert compiling.load(tmp_path / "m").program.input.type.shape == (5, 32, 48)
    for size in ("32x40", "0", "32x", "axb", "32x48x64"):
        status, _, error = bunet("compile", "--weights", "demo-relu", "--size", size, "--out", tmp_path / "n")
        assert status == 2
        assert f"--size {size!r}" in error or f"--size {size}" in error


def test_the_parties_commands_do_not_import_torch() -> None:
    code = (
        "import sys, bunet.experiments.commands_party, bunet.experiments.cli as cli\n"
        "for command in ('bob', 'alice'):\n"
        "    try: cli.app([command, '--help'])\n"
        "    except SystemExit as end: assert not end.code\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "torch was imported"
    assert done.stdout.count("Usage:") == 2
