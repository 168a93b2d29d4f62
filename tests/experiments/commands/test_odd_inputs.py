"""Odd names, pipes, terminals, hosts and texts: one sentence and a status, never an internal error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.experiments.bench.kernels import load_baseline
from bunet.experiments.commands.failure import explain
from bunet.experiments.storage import places
from bunet.experiments.sweep.reading import ConfigError, parse
from bunet.experiments.sweep.run import read_points
from bunet.models.errors import UsageError
from bunet.models.files.atomic import write_atomic
from bunet.models.network.architecture import Architecture, ArchitectureError
from bunet.models.printable import printable
from bunet.models.program import Program, ProgramError
from bunet.models.volumes import formats
from bunet.models.volumes.labels import labels
from bunet.models.volumes.volume import Volume, VolumeError
from bunet.net import keys
from bunet.net.keys import BadKey
from tests.experiments.command_line import Bunet

BUNET = [sys.executable, "-m", "bunet.experiments"]


def run(*arguments: str | bytes | Path, **options: Any) -> subprocess.CompletedProcess[Any]:
    environment = {**os.environ, **options.pop("env", {})}
    command: list[str | bytes] = [*BUNET, *(os.fsencode(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, env=environment, timeout=120, **options)


def in_shell(text: str, cwd: Path, **environment: str) -> tuple[int, str]:
    """(status of the command named $BUNET, all that was said)."""
    known = {**os.environ, "BUNET": " ".join(BUNET), **environment}
    done = subprocess.run(["bash", "-c", text], cwd=cwd, capture_output=True, env=known, timeout=120)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def test_a_sentence_stays_one_line_whatever_the_name(tmp_path: Path) -> None:
    for name, shown in ((b"x\n.npz", b"x .npz"), (b"x\xff.npz", b"x?.npz"), (b"x\x1b[1m.npz", b"x?[1m.npz")):
        done = run("predict", "--float", "--volume", name, "--out", "o", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (2, b"bunet: " + shown + b": there is no such file\n")


def test_a_name_is_no_line_and_no_command_on_standard_output_either(tmp_path: Path) -> None:
    """JSON documents keep the true name."""
    name = "s\x1b[31mx\ny"
    np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).integers(-1000, 400, (9, 32, 32)).astype(np.int16))
    arguments = ("--float", "--axes", "z", "--slices", "2:4", "--no-lung-mask", "--volume", f"{name}.npy")
    done = run("predict", *arguments, "--out", "o", "--json", "o.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout
    assert b"written: o/s?[31mx y_prediction.npy" in done.stdout
    assert json.loads((tmp_path / "o.json").read_text())["cases"][0]["case"] == name
    done = run("keygen", "k\x1b[1m\n.key", cwd=tmp_path)
    assert done.stdout.splitlines()[:2] == [b"secret key: k?[1m .key (keep it; mode 0600)", b"public key: k?[1m .key.pub"]
    done = run("fingerprint", "k\x1b[1m\n.key.pub", cwd=tmp_path)
    assert (done.returncode, done.stdout.count(b"\n"), b"(k?[1m .key.pub)" in done.stdout) == (0, 1, True)


def test_names_that_are_no_text_reach_the_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    volume = np.random.default_rng(0).integers(-1000, 400, (9, 32, 32)).astype(np.int16)
    np.save(tmp_path / "ct.npy", volume)
    odd = os.fsencode(tmp_path) + b"/s\xff\xc3\xa9.npy"
    os.rename(tmp_path / "ct.npy", odd)
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    done = run("predict", "--float", "--axes", "z", "--no-lung-mask", "--volume", odd, "--out", tmp_path / "o", env=ascii_only)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"written: " in done.stdout
    assert len(list((tmp_path / "o").glob("*/montage.png"))) == 1


def bytes_of_a_name(folder: Path) -> int:
    return os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255


@pytest.mark.parametrize("command", ["predict", "alice", "demo", "sweep"])
def test_a_place_that_cannot_be_is_a_sentence_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, bunet: Bunet
) -> None:
    """The volumes are not even volumes, which reading them would say."""
    if bytes_of_a_name(tmp_path) != 255:
        pytest.skip("names of another length here")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").touch()
    (tmp_path / "ct.npz").touch()
    long = "ä" * 120  # 240 bytes
    (tmp_path / f"{long}.npz").touch()
    (tmp_path / "x.yaml").write_text("name: x\n")
    read = ("--float",) if command == "predict" else ()

    def said(volume: str, *arguments: str) -> tuple[int, str]:
        given = ("x.yaml",) if command == "sweep" else ("--volume", volume)
        result = bunet(command, *given, *read, *arguments)
        return result.status, result.error

    for out in ("f", "f/deeper"):
        assert said("ct.npz", "--out", out) == (2, "bunet: --out f is a file, not a folder\n")
    assert said("ct.npz", "--out", "x" * 300)[0] == 2
    if command in ("predict", "alice"):
        status, sentence = said(f"{long}.npz", "--out", "o")
        assert status == 2
        assert "bytes, and 240 are possible: choose a shorter one" in sentence
    assert not (tmp_path / "o").exists()


def test_the_longest_name_is_one_that_can_be_written(tmp_path: Path) -> None:
    if bytes_of_a_name(tmp_path) != 255:
        pytest.skip("names of another length here")
    longest = tmp_path / ("x" * 240)
    places.possible_name("--out", longest)
    write_atomic(longest, lambda stream: stream.write(b"1"))
    with pytest.raises(UsageError, match=r"--json: the name x{20}\.\.\.x{20} has 241 bytes, and 240 are possible"):
        places.writable_parent("--json", tmp_path / ("x" * 241))
    longest.touch()
    with pytest.raises(UsageError, match="is a file, not a folder"):
        places.writable_parent("--json", longest / "run.json")


def test_keys_are_named_in_letters(tmp_path: Path) -> None:
    keys.keygen(tmp_path / "a.key", "St.\udcff\nMary\x07")
    assert list(keys.load_allowed(tmp_path / "a.key.pub").values()) == ["St.? Mary?"]
    assert printable("é ÿ\n\udc80") == "é ÿ??"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    for name in ("a.npz", "a.npy", "a.nii.gz", "a.key"):
        os.mkfifo(tmp_path / name)
    for name in ("a.npz", "a.npy", "a.nii.gz"):
        with pytest.raises(VolumeError, match="is neither a file nor a folder"):
            formats.read_volume(tmp_path / name)
    with pytest.raises(VolumeError, match="is neither a file nor a folder"):
        labels.read(tmp_path / "a.npz", Volume(np.zeros((2, 2, 2))))
    os.chmod(tmp_path / "a.key", 0o600)
    for read in (keys.KeyPair.load, keys.load_allowed):
        for path in (tmp_path / "a.key", Path("/dev/zero"), tmp_path):
            with pytest.raises(BadKey, match="it is not a file"):
                read(path)
    (tmp_path / "long").write_bytes(b"#" * (keys.MAX_BYTES + 1))
    with pytest.raises(BadKey, match="it has more than 16 MiB"):
        keys.load_allowed(tmp_path / "long")


@pytest.mark.skipif(sys.platform == "win32", reason="bash")
def test_closed_streams(tmp_path: Path) -> None:
    assert in_shell("$BUNET plan --size 32 | true; exit ${PIPESTATUS[0]}", tmp_path) in [(1, ""), (141, "")]
    _, said = in_shell("$BUNET demo --help | head -1; exit ${PIPESTATUS[0]}", tmp_path)
    assert said.strip() == "Usage: bunet demo [OPTIONS]"
    assert in_shell("$BUNET plan --size 32 >&-", tmp_path) == (0, "")
    assert in_shell("$BUNET plan --size 32 >&- 2>&- <&-", tmp_path) == (0, "")
    assert in_shell("$BUNET plan --size 33 2>&-", tmp_path) == (2, "")


@pytest.mark.parametrize(
    "environment", [{"TERM": "dumb"}, {"COLUMNS": "1"}, {"COLUMNS": "x"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
)
def test_terminals(tmp_path: Path, environment: dict[str, str]) -> None:
    status, said = in_shell("$BUNET plan --size 32", tmp_path, **environment)
    assert status == 0, said
    assert "local layers" in " ".join(said.split())


def test_no_home_to_keep_compiled_kernels_in(tmp_path: Path) -> None:
    """Kernels are then kept for the run; here none is compiled, only the place is chosen."""
    if os.name != "posix":
        pytest.skip("HOME is the home here")
    (tmp_path / "file").touch()
    code = (
        "import os; from bunet.protocols.kernels.machine import tier; import numba; "
        "print(os.environ['NUMBA_CACHE_DIR']); assert os.access(numba.config.CACHE_DIR, os.W_OK)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    environment |= {"HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "removed when the process ends"


DEEP = ["[" * 100_000, '{"a":' * 50_000]


@pytest.mark.parametrize("text", ["", "[]", "1", "null", '"a"', "NaN", "9" * 5000, "\ud800", "{} {}", "\ufeff{}", "\0", *DEEP])
def test_json_of_all_kinds(tmp_path: Path, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    path = tmp_path / "x.json"
    path.write_bytes(data + b"\n")
    with pytest.raises(ProgramError):
        Program.from_json(text)
    with pytest.raises(ArchitectureError):
        Architecture.from_json(text)
    with pytest.raises(UsageError):
        load_baseline(path)
    with pytest.raises(UsageError, match="not a line of a sweep"):
        read_points(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "1",
        "~",
        "a: &a [*a]",
        "&a {name: *a}",
        "? [a]\n: b",
        "? {a: b}\n: c",
        "a: !!python/object:os.system x",
        "a: 2026-01-01",
        "a: .nan",
        "a: " + "9" * 5000,
        "[" * 5000,
        "a: !!binary xx",
        "a: !!int x",
        "a: !!float x",
        "a: !!timestamp 9999-99-99",
        "a: 2026-13-45",
        "<<: 1",
        "a: \0",
        "%YAML 9.9\n---\na: 1",
        "--- a\n--- b",
        "a: *b",
        "\t",
        "a: !!set {x}",
        "a: !!omap [x]",
    ],
)
def test_yaml_of_all_kinds(text: str) -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml") as caught:
        parse(text, "x.yaml")
    assert explain(caught.value)[1] == 2


def test_memory_that_is_not_there() -> None:
    assert explain(MemoryError()) == ("there is not enough memory", 1)
    assert explain(MemoryError("Unable to allocate 1. TiB")) == ("there is not enough memory: Unable to allocate 1. TiB", 1)
