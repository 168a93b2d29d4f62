"""`bunet synthesise` and `bunet fingerprint`, and what is said of weights that know synthetic chests only."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from zmq.utils import z85

from bunet.experiments.settings import RunSettings
from bunet.experiments.weights_choice import named_weights
from bunet.models.network.seeded import seeded_weights
from bunet.models.network.weights import FloatWeights, save
from bunet.models.volumes import formats, synthetic
from bunet.net import keys
from tests.experiments.command_line import Bunet
from tests.experiments.test_demo import pretend


@pytest.mark.parametrize("name", ["chest.npz", "chest.nii.gz"])
def test_a_synthetic_chest_is_the_demos_in_hounsfield_units(name: str, tmp_path: Path, bunet: Bunet) -> None:
    status, out, error = bunet("synthesise", tmp_path / name, "--size", "64", "--slices", "8")
    assert status == 0, error
    assert "8x64x64 voxels of 5.47 mm" in out
    loaded = formats.load(tmp_path / name)
    assert loaded.rule == "hu"
    expected = synthetic.embedded(64, 8).volume
    assert np.abs(np.asarray(loaded.volume) - np.clip(expected, 0, 1)).max() < 0.51 / 1500 + 1e-6
    assert loaded.stored.spacing == pytest.approx((350 / 64,) * 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("chest",), "is an .npz or a NIfTI file"),
        (("chest.npy",), "is an .npz or a NIfTI file"),
        (("chest.txt",), "chest.txt"),
        (("no/chest.npz",), "there is no folder"),
        (("chest.npz", "--size", "8"), "--size"),
    ],
)
def test_a_chest_that_cannot_be_is_a_sentence(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, error = bunet("synthesise", *arguments)
    assert status == 2
    assert words in error
    assert not list(tmp_path.iterdir())


def test_a_fingerprint_is_of_the_keys_bytes_and_the_same_for_both(tmp_path: Path, bunet: Bunet) -> None:
    status, made, _ = bunet("keygen", tmp_path / "bob.key", "--name", "imaging service")
    assert status == 0
    pair = keys.KeyPair.load(tmp_path / "bob.key")
    digits = hashlib.sha256(z85.decode(pair.public.encode())).hexdigest()[:32]
    expected = " ".join(digits[k : k + 4] for k in range(0, 32, 4))
    assert f"fingerprint: {expected}" in made
    (tmp_path / "clients.allow").write_text((tmp_path / "bob.key.pub").read_text() + keys.KeyPair.generate().public + " ward\n")
    status, out, _ = bunet("fingerprint", *(tmp_path / name for name in ("bob.key", "bob.key.pub", "clients.allow")))
    assert status == 0
    lines = out.splitlines()
    assert [line.startswith(expected) for line in lines] == [True, True, True, False]
    assert ["imaging service" in line for line in lines] == [False, True, True, False]
    assert pair.secret not in out
    assert pair.secret not in made


def test_a_fingerprint_is_all_that_a_key_file_can_show(tmp_path: Path, bunet: Bunet) -> None:
    public, path = keys.KeyPair.generate().public, tmp_path / "bob\x1b[2K.pub"
    path.write_text(f"{public} Bob\x1b[1G0000 0000\n")
    status, out, _ = bunet("fingerprint", path)
    assert status == 0
    assert out.startswith(f"{keys.fingerprint(public)}  Bob?[1G0000 0000  (")
    assert out.rstrip("\n").isprintable()


@pytest.mark.parametrize(("content", "words"), [(None, "cannot read"), ("", "no public key"), ("hello\n", "not a key")])
def test_what_is_no_key_file_is_named(content: str | None, words: str, tmp_path: Path, bunet: Bunet) -> None:
    path = tmp_path / "x.pub"
    if content is not None:
        path.write_text(content)
    status, _, error = bunet("fingerprint", path)
    assert status == 2
    assert words in error
    assert "x.pub" in error


def test_weights_know_whether_they_have_seen_a_patient(tmp_path: Path) -> None:
    known = {name: named_weights(name).warning for name in ("demo-relu", "demo-hybrid", "infection-z", "lung-x")}
    assert [warning is None for warning in known.values()] == [False, False, True, True]
    assert "infection-z" in str(known["demo-relu"])
    tiny: FloatWeights = seeded_weights(RunSettings(features=1).architecture(), 0)
    for source, warned in (("synthetic", True), ("cases", False)):
        save(tiny, tmp_path / f"{source}.safetensors", notes={"source": source})
        assert bool(named_weights(str(tmp_path / f"{source}.safetensors")).warning) is warned


@pytest.mark.parametrize("weights", ["auto", "demo", "demo-relu"])
def test_the_demo_warns_of_its_own_weights_on_a_volume_that_is_given(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    from bunet.experiments import demo

    monkeypatch.setattr(demo.run_demo, "__defaults__", (pretend(),))
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "ct.npy", np.random.default_rng(1).random((6, 128, 128), np.float32))
    asked = ("demo", "--slices", "1", "--weights", weights, "--size", "128", "--no-verify")
    status, out, error = bunet(*asked, "--volume", "ct.npy")
    assert status == 0, error
    assert "warning: these weights were trained on synthetic chests" in out
    assert "--weights infection-z" in out
    assert "bunet predict" in out
    if weights == "auto":
        status, out, error = bunet(*asked)
        assert status == 0, error
        assert "warning" not in out


def test_compile_says_what_the_demos_weights_are(tmp_path: Path, bunet: Bunet) -> None:
    for name, warned in (("demo-relu", True), ("infection-z", False)):
        status, out, error = bunet("compile", "--weights", name, "--size", "32", "--out", tmp_path / "m")
        assert status == 0, error
        assert ("trained on synthetic chests" in out) is warned
