"""`bunet alice`, `bob` and `keygen` around a session that is pretended: what is cut, kept, refused and written."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.experiments.alice.folder import SliceFolder
from bunet.experiments.weights_choice import named_weights
from bunet.models.compiled import Compiled, quantise_input
from bunet.models.errors import PeerError, UsageError
from bunet.models.model_card import ModelWish
from bunet.models.volumes import formats
from bunet.models.volumes.slicing import slices
from bunet.models.volumes.slicing.resampling import resample
from bunet.net import keys
from bunet.parties import alice as alice_party
from bunet.parties import bob as bob_party
from bunet.parties.engine.scheduler import SliceJob
from bunet.parties.events import Failed, LayerPlan, SessionFinished, SessionStarted, SliceFinished, SliceStarted
from bunet.parties.input_slices import InputSlices
from bunet.parties.run_options import MAX_IN_FLIGHT
from bunet.parties.session.handshake import Request, Terms
from bunet.parties.session.run import Hooks
from bunet.protocols.ass.share import Share
from tests.experiments.command_line import Bunet
from tests.parties.programs import CARD, named, small


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return named(small(16))


class Session:
    """Stands in for parties.alice.run: a mask of ones a slice, until it is told to fail."""

    def __init__(self, compiled: Compiled, lose_after: int | None = None, beyond: dict[str, float] | None = None) -> None:
        self.compiled, self.lose_after, self.beyond = compiled, lose_after, beyond or {}
        self.requests: list[Request] = []
        self.inputs: list[np.ndarray] = []

    def __call__(
        self,
        connect: Any,
        request: Request,
        slices: InputSlices,
        on_result: Callable[..., None],
        hooks: Hooks,
        agreed: Callable[..., None],
    ) -> None:
        program, labels, emit = self.compiled.program, slices.labels, hooks.emit
        self.requests.append(request)
        agreed(
            Terms(program, {}, {}, len(labels), 1, request.session, self.compiled.card, self.compiled.commitment), self.beyond
        )
        plan = (LayerPlan("input", "input", "local", request.shape, 12),)
        emit(SessionStarted("alice", program.digest(), "8.4", plan, "loopback", len(labels), 1))
        for k, (axis, index) in enumerate(labels):
            if k == self.lose_after:
                emit(Failed("alice", "Bob is gone", "peer"))
                raise PeerError("Bob is gone")
            emit(SliceStarted("alice", k, axis, index))
            self.inputs.append(slices.at(program, k))
            job = SliceJob(k, axis, index, Share.of(self.inputs[-1].astype(np.uint64), program.input.type))
            on_result(job, np.ones(request.shape[1:], np.uint8))
            emit(SliceFinished("alice", k, axis, index, 1.0))
        emit(SessionFinished("alice", 2.0, 10, 20, 30))


@pytest.fixture
def session(compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> Session:
    made = Session(compiled)
    monkeypatch.setattr(alice_party, "run", made)
    return made


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "ct.npy"
    np.save(path, np.random.default_rng(1).random((20, 30, 40), np.float32))
    return path


def alice(bunet: Bunet, volume: Path, *arguments: str | Path) -> tuple[int, str, str]:
    return bunet("alice", "--volume", volume, "--out", volume.parent / "out", *arguments)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_slices_are_stretched_where_height_and_width_are_given(axis: str, volume: Path, session: Session, bunet: Bunet) -> None:
    status, _, error = alice(bunet, volume, "--axis", axis, "--size", "16x16", "--slices", "3:5")
    assert status == 0, error
    array = formats.load(volume).volume
    for k, seen in zip((3, 4), session.inputs, strict=True):
        expected = resample(slices.slice_at(array, axis, k), 16)
        np.testing.assert_array_equal(seen, quantise_input(session.compiled.program, expected))


def test_what_was_cut_off_goes_on_and_the_document_says_so(
    volume: Path, compiled: Compiled, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    monkeypatch.setattr(alice_party, "run", Session(compiled, lose_after=2))
    file, arguments = volume.parent / "run.json", ("--size", "16", "--slices", "2:7")
    status, out, error = alice(bunet, volume, *arguments, "--json", file)
    assert (status, error) == (1, "bunet: Bob is gone\n")
    assert "Bob is gone" not in out
    assert not file.exists()
    again = Session(compiled)
    monkeypatch.setattr(alice_party, "run", again)
    status, out, error = alice(bunet, volume, *arguments, "--json", file)
    assert status == 0, error
    assert "2 of 5 slices are done already" in out
    assert again.requests[0].slices == 3
    assert again.requests[0].digest == compiled.program.digest()
    assert again.requests[0].commitment == compiled.commitment
    assert again.requests[0].model == ModelWish("infection", "z", "small", "1"), "the very model of the slices that are there"
    run = json.loads(file.read_text())["run"]
    assert (run["asked_slices"], run["resumed_slices"], run["slices"]) == ([2, 3, 4, 5, 6], [2, 3], 3)
    file.unlink()
    status, out, _ = alice(bunet, volume, *arguments, "--json", file)
    assert status == 0
    assert "nothing was left to run" in out
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("--size", "16x16", "--relu", "gc"), "protocols"),
        (("--size", "32"), "size"),
        (("--axis", "y", "--size", "16"), "axis"),
        (("--size", "16", "--format", "8.4"), "format"),
        (("--size", "16", "--ot", "softspoken-2"), "ot"),
        (("--size", "16", "--server", "bob.pub"), "server"),
        (("--size", "16", "--target", "infection"), "wish"),
        (("--size", "16", "--model", "small@1"), "wish"),
    ],
)
def test_another_run_is_not_mixed_in(
    arguments: tuple[str, ...], key: str, volume: Path, session: Session, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    monkeypatch.chdir(volume.parent)
    keys.keygen("bob")
    assert alice(bunet, volume, "--size", "16", "--slices", "0:2")[0] == 0
    status, _, error = alice(bunet, volume, "--slices", "0:3", *arguments)
    assert status == 2
    assert f"its {key} differs" in error
    assert len(session.requests) == 1


def test_another_volume_at_the_same_place_is_not_mixed_in(volume: Path, session: Session, bunet: Bunet) -> None:
    assert alice(bunet, volume, "--size", "16", "--slices", "0:2")[0] == 0
    array = np.load(volume)
    array[7, 7, 7] += 0.25 if array[7, 7, 7] < 0.5 else -0.25
    np.save(volume, array)
    status, _, error = alice(bunet, volume, "--size", "16", "--slices", "0:3")
    assert status == 2
    assert "its volume differs" in error


def noted(**changes: object) -> str:
    """The text of a run.json with something changed."""
    good = {"a": 1, "program": "0" * 64, "commitment": "0" * 64, "model": CARD.to_document()}
    return json.dumps({**good, **changes})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("\xff", "cannot be read"),
        ("[]", "not of a run of `bunet alice`"),
        ('{"volume": 1}', "not of a run of `bunet alice`"),
        ('{"a": 1, "program": "x"}', "not of a run of `bunet alice`"),
        (noted(program="x"), "names no program"),
        (noted(program=None), "names no program"),
        (noted(commitment="x"), "has no commitment to Bob's weights"),
        (noted(commitment=None), "has no commitment"),
        (noted(model=None), "does not name a model"),
        (noted(model={**CARD.to_document(), "axis": "w"}), "does not name a model"),
        (noted(a=2), "its a differs"),
    ],
)
def test_a_damaged_or_foreign_folder_is_refused_in_a_sentence(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=words):
        SliceFolder(tmp_path, {"a": 1})


def test_what_bob_serves_is_in_run_json_and_in_the_document(
    volume: Path, compiled: Compiled, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    pretended = Session(compiled, beyond={"z3": 0.25})
    monkeypatch.setattr(alice_party, "run", pretended)
    asked = ("--target", "infection", "--model", "small@1", "--size", "16", "--slices", "2:4")
    status, out, error = alice(bunet, volume, *asked, "--json", volume.parent / "run.json")
    assert status == 0, error
    assert pretended.requests[0].model == ModelWish("infection", "z", "small", "1")
    assert pretended.requests[0].committed
    kept = json.loads((volume.parent / "out" / "run.json").read_text())
    run = json.loads((volume.parent / "run.json").read_text())["run"]
    for document in (kept, run):
        assert document["model"] == CARD.to_document()
        assert document["commitment"] == compiled.commitment
        assert document["wish"] == {"target": "infection", "axis": "z", "name": "small", "version": "1"}
    assert run["input_beyond_calibration"] == {"z3": 0.25}
    assert "the model takes values" not in out


def test_alice_is_told_where_the_model_takes_values_of_another_meaning(
    volume: Path, compiled: Compiled, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    other = replace(compiled, card=replace(CARD, intensity="as-is"))
    monkeypatch.setattr(alice_party, "run", Session(other))
    status, out, error = alice(bunet, volume, "--size", "16", "--slices", "2:3")
    assert status == 0, error
    assert (
        "the model takes values as-is, and this volume has values window -1250..250 HU on 0..1 (rule `unit`): the mask may be "
        "wrong"
    ) in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", ""), "the model's target is not a text of 1 to 64 characters"),
        (("--target", "x" * 65), "the model's target is not a text of 1 to 64 characters"),
        (("--target", "in\nfection"), "the model's target holds characters that cannot be printed"),
        (("--model", ""), "the model's name is not a text"),
        (("--model", "a@"), "the model's version is not a text"),
        (("--model", "a@b@c"), "holds an @"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_before_anything(
    arguments: tuple[str, ...], words: str, volume: Path, session: Session, bunet: Bunet
) -> None:
    status, _, error = alice(bunet, volume, *arguments)
    assert status == 2
    assert words in error
    assert session.requests == []


def compile_demo(bunet: Bunet, folder: Path, name: str, *arguments: str) -> Path:
    status, _, error = bunet("compile", "--weights", "demo-relu", "--size", "32", "--out", folder / name, *arguments)
    assert status == 0, error
    return folder / name


def test_compile_says_what_the_model_is_and_commits_to_its_weights(tmp_path: Path, bunet: Bunet) -> None:
    from bunet.models.compiled import load_compiled

    status, out, error = bunet("compile", "--weights", "infection-z", "--size", "32", "--out", tmp_path / "a")
    assert status == 0, error
    made = load_compiled(tmp_path / "a")
    assert made.card is not None
    assert made.card.to_document() == {
        "target": "infection",
        "axis": "z",
        "name": "infection-z",
        "version": "1",
        "size": 128,
        "intensity": "window -1250..250 HU on 0..1",
    }
    assert f"model: {made.card}\n" in out
    assert f"commitment to the weights: {made.commitment}\n" in out
    assert out.endswith("licence of these weights: CC BY-NC-SA 4.0, no commercial use\n")
    again = load_compiled(
        compile_demo(bunet, tmp_path, "b", "--target", "lung", "--axis", "y", "--name", "ours", "--version", "2.0")
    )
    assert again.card is not None
    assert again.card.short == "lung along y (ours@2.0)"
    assert all(named_weights(name).licence is None for name in ("demo-relu", "demo-hybrid")), "as the code"
    demo = load_compiled(compile_demo(bunet, tmp_path, "c"))
    assert demo.card is not None
    assert demo.card.short == "lesion along z (demo-relu@1)"
    assert demo.commitment != again.commitment, "the same weights under another salt"
    wrong = ((("--axis", "w"), "axis 'w'"), (("--name", "a@1"), "holds an @"), (("--target", "x\ty"), "printed"))
    for arguments, words in wrong:
        status, _, error = bunet("compile", "--weights", "demo-relu", "--size", "32", "--out", tmp_path / "n", *arguments)
        assert status == 2
        assert words in error
        assert not (tmp_path / "n").exists()


def test_weights_that_do_not_say_what_they_mark_are_not_compiled_unsaid(tmp_path: Path, bunet: Bunet) -> None:
    from bunet.models.network import weights as weight_files

    plain = tmp_path / "plain.safetensors"
    weight_files.save(named_weights("demo-relu").weights, plain)
    for said, missing in (((), "target"), (("--target", "lung"), "axis")):
        status, _, error = bunet("compile", "--weights", plain, "--size", "32", "--out", tmp_path / "n", *said)
        assert status == 2
        assert f"the weights do not say their {missing}: say --{missing}" in error
    status, out, error = bunet(
        "compile", "--weights", plain, "--size", "32", "--out", tmp_path / "n", "--target", "lung", "--axis", "z"
    )
    assert status == 0, error
    assert "lung along z, `plain` version 1, of unknown training size" in out
    assert "licence" not in out


def test_a_network_of_one_s_own_is_made_a_weight_file_first(tmp_path: Path, bunet: Bunet) -> None:
    """As docs/models.md says it, word for word but for the file and what is known of the network."""
    torch = pytest.importorskip("torch")
    page = (Path(__file__).resolve().parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    script = re.search(r"## Your own network\n.*?python - <<'END'\n(.*?)\n    END\n", page, re.DOTALL)[1]
    tensors = named_weights("demo-relu").weights.tensors
    torch.save({"state_dict": {n: torch.from_numpy(t.copy()) for n, t in tensors.items()}}, tmp_path / "best_model-Z.pth")
    made = ("--size", "32", "--out", tmp_path / "ours.model")
    status, _, error = bunet("compile", "--weights", tmp_path / "best_model-Z.pth", *made)
    assert status == 2
    assert "a .pth file is made a weight file first, as 'Your own network' in docs/models.md shows" in error
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=True)
    status, out, error = bunet("compile", "--weights", tmp_path / "mine.safetensors", *made, "--name", "ours")
    assert status == 0, error
    assert "model: infection along z, `ours` version 1, trained at 512 pixels, values as-is\n" in out
    assert "calibrated: ranges measured on synthetic chests\n" in out


def test_bob_does_not_start_with_models_that_nobody_can_tell_apart(tmp_path: Path, bunet: Bunet) -> None:
    first, second = compile_demo(bunet, tmp_path, "first.model"), compile_demo(bunet, tmp_path, "second.model")
    status, _, error = bunet("bob", "--model", first, "--model", second, "--listen", "tcp://127.0.0.1:0")
    assert status == 2
    assert error.startswith(f"bunet: {first} and {second} cannot be told apart, both are lesion along z (demo-relu@1), 5x32x32")


def test_bob_does_not_serve_a_model_without_a_name(tmp_path: Path, bunet: Bunet) -> None:
    from bunet.models.compiled import save_compiled

    save_compiled(small(16), tmp_path / "small.model")
    status, _, error = bunet("bob", "--model", tmp_path / "small.model", "--listen", "tcp://127.0.0.1:0")
    assert status == 2
    assert "small.model does not say which model it is: make it with `bunet compile`" in error


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"nonsense"])
def test_a_damaged_slice_is_named(damage: bytes, volume: Path, session: Session, bunet: Bunet) -> None:
    assert alice(bunet, volume, "--size", "16", "--slices", "0:2")[0] == 0
    (volume.parent / "out" / "slice-0001.safetensors").write_bytes(damage)
    status, _, error = alice(bunet, volume, "--size", "16", "--slices", "0:2")
    assert status == 2
    assert "slice-0001.safetensors is damaged" in error


def test_the_place_of_the_document_is_checked_first(volume: Path, session: Session, bunet: Bunet) -> None:
    out = volume.parent / "out"
    assert "there is no folder" in alice(bunet, volume, "--json", volume.parent / "nowhere" / "x.json")[2]
    assert not out.exists()
    out.mkdir()
    names = (
        "run.json",
        "mask.npz",
        "result.json",
        "alice-warnings.json",
        "ct_prediction.npy",
        "ct_lung.npy",
        "slice-0003.safetensors",
    )
    for name in names:
        status, _, error = alice(bunet, volume, "--json", out / name)
        assert status == 2
        assert f"{name} is where --out keeps its own" in error
    assert session.requests == []
    assert (
        alice(bunet, volume, "--size", "16", "--slices", "0:1", "--target", "infection", "--json", out / "ct_lung.npy")[0] == 0
    )


def test_the_document_does_not_take_the_place_of_a_mask_whose_name_bob_says(
    volume: Path, compiled: Compiled, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    session = Session(named(compiled, target="left lobe"))
    monkeypatch.setattr(alice_party, "run", session)
    (volume.parent / "out").mkdir()
    status, _, error = alice(bunet, volume, "--size", "16", "--json", volume.parent / "out" / "ct_mask-left-lobe.npy")
    assert status == 2
    assert "ct_mask-left-lobe.npy is where --out keeps its own" in error
    assert not session.inputs


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--in-flight", str(MAX_IN_FLIGHT + 1)), "--in-flight"),
        (("--size", "0"), "--size 0"),
        (("--size", "ax4"), "--size"),
        (("--connect", "nowhere"), "'nowhere' is not understood"),
        (("--key", "nokey"), "cannot read the key file"),
        (("--connect", "tcp://192.0.2.1:7010"), "refusing to connect"),
        (("--format", "8"), "--format"),
        (("--slices", "9:9"), "--slices 9:9: A must be below B"),
        (("--slices", "18:21"), "--slices 18:21: along z the volume has the slices 0:20"),
        (("--axis", "w"), "axis 'w'"),
        (("--ot", "magic"), "--ot 'magic'"),
    ],
)
def test_what_is_asked_wrongly_is_said_once_with_status_2(
    arguments: tuple[str, ...], words: str, volume: Path, bunet: Bunet
) -> None:
    status, out, error = alice(bunet, volume, *arguments)
    assert status == 2, error
    assert words in error
    assert words not in out


def test_bob_refuses_to_listen_without_keys(tmp_path: Path, compiled: Compiled, bunet: Bunet) -> None:
    from bunet.models.compiled import save_compiled

    save_compiled(named(compiled), tmp_path / "small.model")
    for address, words in (("tcp://0.0.0.0:0", "refusing to listen"), ("here", "is not understood")):
        status, _, error = bunet("bob", "--model", tmp_path / "small.model", "--listen", address)
        assert status == 2
        assert words in error


def test_bob_warns_where_his_list_lets_nobody_in(
    tmp_path: Path, compiled: Compiled, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    from bunet.models.compiled import save_compiled

    save_compiled(named(compiled), tmp_path / "small.model")
    keys.keygen(tmp_path / "bob.key")
    monkeypatch.setattr(bob_party, "serve", lambda *_, **__: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    arguments = ("bob", "--model", tmp_path / "small.model", "--listen", "tcp://127.0.0.1:0", "--key", tmp_path / "bob.key")
    warning = f"warning: {tmp_path / 'clients.allow'} lists no client: nobody will be served\n"
    for text, warned in (("# nobody yet\n", True), (keys.KeyPair.generate().public, False)):
        (tmp_path / "clients.allow").write_text(text)
        status, out, error = bunet(*arguments, "--allow", tmp_path / "clients.allow")
        assert (status, warning in out) == (0, warned), error


@pytest.mark.parametrize("path", ["", ".", "nowhere/key"])
def test_keygen_names_a_place_that_cannot_be(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, error = bunet("keygen", path)
    assert status == 2
    assert error.startswith("bunet: the key file")
    assert not list(tmp_path.iterdir())


def test_keygen_never_overwrites(tmp_path: Path, bunet: Bunet) -> None:
    assert bunet("keygen", tmp_path / "k")[0] == 0
    status, _, error = bunet("keygen", tmp_path / "k")
    assert (status, "not overwritten" in error) == (2, True)


def test_compile_takes_slices_that_are_not_square(tmp_path: Path, bunet: Bunet) -> None:
    from bunet.models.compiled import load_compiled

    status, out, error = bunet("compile", "--weights", "demo-relu", "--size", "32x48", "--out", tmp_path / "m")
    assert status == 0, error
    assert "32x48" in out
    assert load_compiled(tmp_path / "m").program.input.type.shape == (5, 32, 48)
    for size in ("32x40", "0", "32x", "axb", "32x48x64"):
        status, _, error = bunet("compile", "--weights", "demo-relu", "--size", size, "--out", tmp_path / "n")
        assert status == 2
        assert f"--size {size!r}" in error or f"--size {size}" in error


def test_the_parties_commands_do_not_import_torch() -> None:
    code = (
        "import sys, bunet.experiments.commands.party, bunet.experiments.commands.app as cli\n"
        "for command in ('bob', 'alice'):\n"
        "    try: cli.app([command, '--help'])\n"
        "    except SystemExit as end: assert not end.code\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "torch was imported"
    assert done.stdout.count("Usage:") == 2
