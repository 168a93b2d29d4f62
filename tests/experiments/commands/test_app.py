"""The command line: bad input is one sentence and a status, never a traceback."""

from __future__ import annotations

import dataclasses
import errno
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bunet.experiments.bench import slices
from bunet.experiments.commands import model
from bunet.experiments.commands.app import app, explain
from bunet.experiments.options import UsageError
from bunet.models.training.config import TrainConfig
from bunet.net.channel import AddressError, InsecureChannel, PeerGone
from bunet.net.keys import BadKey
from bunet.parties.errors import PeerError, RunError

COMMANDS = (
    "demo",
    "bench",
    "sweep",
    "train",
    "evaluate",
    "compile",
    "plan",
    "alice",
    "bob",
    "keygen",
    "fingerprint",
    "synthesise",
    "seal",
)


def bunet(*arguments: str | Path) -> tuple[int, str, str]:
    """(status, standard output, standard error) of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    status, out, _ = bunet(command, "--help")
    assert status == 0
    assert "Usage:" in out


@pytest.mark.parametrize("command", ["demo", "sweep", "train", "evaluate", "compile", "plan", "alice", "bob"])
def test_help_carries_examples(command: str) -> None:
    assert f"bunet {command}" in bunet(command, "--help")[1].partition("Example")[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--link", "lann"), "unknown link 'lann': give one of loopback"),
        (("--bandwidth", "fast"), "bandwidth 'fast' is not understood"),
        (("--rtt", "20"), "time '20' is not understood"),
        (("--format", "8"), "format '8' is not INTEGER.FRACTION"),
        (("--format", "40.40"), "operands must have 2 to 24 bits"),
        (("--size", "100"), "--size 100 is not a multiple of 16"),
        (("--size", "16"), "--size: size 16 is below 32"),
        (("--features", "0"), "--features: features must be a whole number"),
        (("--activation", "tanh"), "--activation 'tanh' is not one of relu, square, hybrid"),
        (("--relu", "magic"), "--relu 'magic' is not one of gc, gc-sign"),
        (("--pool", "median"), "--pool 'median' is not one of avg, max"),
        (("--axis", "w"), "--axis 'w' is not one of"),
        (("--slices", "0"), "--slices must be a whole number"),
        (("--slices", "33", "--size", "32"), "has 32 slices along z"),
        (("--size", "0"), "--size 0 is not a multiple of 16"),
        (("--in-flight", "65"), "--in-flight must be a whole number from 1 to 64"),
        (("--in-flight", "0"), "--in-flight must be a whole number"),
        (("--cores", "0"), "--cores must be a whole number"),
        (("--seed", "-1"), "--seed must be a whole number"),
        (("--protocol", "relu"), "--protocol 'relu' is not OPERATION=PROTOCOL"),
        (("--weights", "nowhere.safetensors", "--size", "32"), "--weights nowhere.safetensors: no weight file"),
        (("--weights", "demo", "--features", "3", "--size", "32"), "--weights demo: there are none for 3 features"),
        (("--truth", "x.npz"), "--truth belongs to a --volume"),
        (("--volume", "nowhere.npz"), "nowhere.npz: there is no such file"),
        (("--json", "nowhere/run.json"), "there is no folder nowhere"),
    ],
)
def test_demo_names_what_is_wrong_and_leaves_nothing(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, error = bunet("demo", *arguments)
    assert status == 2
    assert words in error
    assert error.startswith("bunet: ")
    assert len(error.strip().splitlines()) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((8, 8), np.uint8), "a volume has shape (slices, rows, columns), this one has (8, 8)"),
        (np.zeros((2, 3, 8, 8), np.uint8), "this one has (2, 3, 8, 8)"),
        (np.zeros((0, 8, 8), np.uint8), "this one has (0, 8, 8)"),
        (np.zeros((2, 8, 8), np.complex64), "values are of kind complex64"),
        (np.full((2, 8, 8), np.nan, np.float32), "slice 0 holds NaN"),
        (np.full((2, 8, 8), 7.5, np.float32), "neither within [0, 1] nor Hounsfield"),
    ],
)
def test_a_volume_of_the_wrong_shape_or_kind(array: np.ndarray, words: str, tmp_path: Path) -> None:
    path = tmp_path / "ct.npy"
    np.save(path, array)
    status, _, error = bunet("demo", "--volume", path, "--out", tmp_path / "out")
    assert status == 2
    assert words in error
    assert str(path) in error
    assert not list((tmp_path / "out").iterdir())


def test_a_volume_without_a_known_key_or_with_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "ct.npz"
    np.savez(path, scan=np.zeros((2, 32, 32), np.uint8))
    assert "no key `array` or `ct`" in bunet("demo", "--volume", path, "--out", tmp_path)[2]
    np.savez(path, array=np.array([{"a": 1}], dtype=object))
    status, _, error = bunet("demo", "--volume", path, "--out", tmp_path)
    assert status == 2
    assert "not a readable .npz" in error


def test_a_truth_of_another_shape(tmp_path: Path) -> None:
    path = tmp_path / "ct.npz"
    np.savez(path, ct=np.zeros((8, 32, 32), np.uint8), infection=np.zeros((8, 32, 16), np.uint8))
    status, _, error = bunet("demo", "--volume", path, "--truth", path, "--out", tmp_path)
    assert status == 2
    assert "ct.npz: the label has shape (8, 32, 16), the volume ct.npz (8, 32, 32)" in error


@pytest.mark.parametrize(
    "arguments", [("demo", "--bogus"), ("bench", "slice", "--bogus"), ("nonsense",), ("sweep",), ("demo", "--size", "big")]
)
def test_unknown_options_and_commands_are_usage_errors(arguments: tuple[str, ...]) -> None:
    status, _, error = bunet(*arguments)
    assert status == 2
    assert "Error: " in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bench", "slice", "--size", "100"), "--size 100"),
        (("bench", "slice", "--json", "nowhere/x.json"), "there is no folder nowhere"),
        (("plan", "--relu", "magic"), "--relu 'magic'"),
        (("compile", "--weights", "nowhere", "--out", "x.model"), "--weights nowhere: no weight file nowhere"),
        (("compile", "--weights", "nowhere", "--out", "x.model", "--readout", "all"), "--readout 'all' is not one of"),
        (("train", "--out", "weights.bin"), "--out weights.bin must end in .safetensors"),
    ],
)
def test_other_commands_name_what_is_wrong(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, error = bunet(*arguments)
    assert status == 2
    assert words in error
    assert not list(tmp_path.iterdir())


def test_sweep_names_the_unknown_key_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("name: x\ngrid:\n  links: [lan]\n  protocol: [{relu: gc}]\n")
    status, _, error = bunet("sweep", file, "--out", tmp_path / "out")
    assert status == 2
    assert f"{file}: grid.protocol: unknown key; known are links, protocols" in error
    assert not (tmp_path / "out").exists()


def test_a_dry_sweep_lists_its_points_and_runs_none(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("name: x\ngrid:\n  links: [lan, wan]\n  protocols: [{relu: gc}]\n")
    status, out, _ = bunet("sweep", file, "--out", tmp_path / "out", "--dry-run")
    assert status == 0
    assert [line.split(",")[0] for line in out.splitlines()] == ["to do lan", "to do wan"]
    assert not (tmp_path / "out").exists()


def test_train_has_the_defaults_of_the_configuration(tmp_path: Path) -> None:
    config = TrainConfig(tmp_path / "w.safetensors")
    options = inspect.signature(model.train).parameters
    names = {field.name for field in dataclasses.fields(TrainConfig)} & set(options)
    assert names >= {"size", "volumes", "steps", "batch", "rate", "evaluate_every", "patience", "threads", "mixed", "seed"}
    assert names >= {"data", "target", "axis"}
    assert {name: options[name].default for name in names} == {name: getattr(config, name) for name in names}
    shape = config.architecture
    defaults = [options[name].default for name in ("features", "activation", "pool")]
    assert defaults == [shape.features, shape.activation, shape.pooling]


def test_plan_shows_protocols_and_stated_bytes() -> None:
    status, out, error = bunet("plan", "--size", "32", "--features", "1", "--activation", "hybrid", "--pool", "max")
    assert status == 0, error
    for word in ("pahe-coefficient", "gc-sign", "mt", "argmax", "rounds", "MiB from Bob"):
        assert word in out


def test_plan_cuts_no_name_and_leaves_out_columns_where_it_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no terminal gets all of it, however wide."""
    names = ("encoder1.conv1", "encoder1.relu1.extend", "bottleneck.relu1.extend", "pahe-coefficient")

    def planned(columns: str | None) -> list[str]:
        monkeypatch.delenv("COLUMNS", raising=False)
        if columns is not None:
            monkeypatch.setenv("COLUMNS", columns)
        status, out, error = bunet("plan", "--features", "1")
        assert (status, "…" in out) == (0, False), error
        assert all(name in out for name in names if name != "pahe-coefficient" or columns != "24")
        return out.splitlines()[:-1]  # without the totals

    assert planned(None)[0].split() == ["layer", "protocol", "shape", "bits", "MiB", "Alice", "MiB", "Bob", "rnd"]
    for columns, title in (("24", "layer"), ("40", "layer protocol"), ("60", "layer protocol MiB Alice MiB Bob")):
        lines = planned(columns)
        assert " ".join(lines[0].split()) == title
        assert max(map(len, lines)) <= int(columns)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UsageError("--x is wrong"), 2, "--x is wrong"),
        (RunError("the disk is full"), 1, "the disk is full"),
        (PeerError("Bob is gone"), 1, "Bob is gone"),
        (PeerGone("no sign of the peer"), 1, "no sign of the peer"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "xx"), 2, "xx: File name too long"),
        (BadKey("the key is bad"), 2, "the key is bad"),
        (AddressError("no such host"), 2, "no such host"),
        (InsecureChannel("refusing"), 2, "refusing"),
        (KeyError("x"), 1, "internal error: KeyError: 'x' (BUNET_DEBUG=1 shows where)"),
    ],
)
def test_every_error_becomes_a_sentence(error: Exception, status: int, words: str) -> None:
    assert explain(error) == (words, status)


def test_a_tier_that_cannot_be_is_one_sentence() -> None:
    environment = {**os.environ, "BUNET_TIER": "quantum"}
    done = subprocess.run(
        [sys.executable, "-m", "bunet.experiments", "plan"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "bunet: BUNET_TIER='quantum' is not a tier; choose one of vaes, aesni, portable"


def test_bench_says_what_lies_beyond_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"compared_layers": 3, "verified_slices": 1, "beyond_calibration": {"conv": 7}}
    document = {"slices": [{"seconds": 1.0}], "dice": {"float": 1.0}, "run": run, "verified": True}

    class Pretended:
        def __call__(self, *_: object, **__: object) -> slices.Outcome:
            return slices.Outcome(document, [], None)

    monkeypatch.setattr(slices, "Bench", Pretended)
    result = CliRunner().invoke(app, ["bench", "slice", "--size", "16"])
    assert result.exit_code == 0, result.stderr
    assert "beyond calibration: 7 values in layer conv; the mask may be wrong there\n" in result.stdout
