"""What the layout promises: the import names, the files beside the code, the wheels and their licences."""

import configparser
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import bunet_clinical

ROOT = Path(__file__).parent.parent
TOP = ("experiments", "models", "net", "parties", "protocols")
WHEEL_BELOW = 8_000_000  # bytes


@pytest.mark.parametrize("name", TOP)
def test_a_package_refuses_another_name(name: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0
    assert f"import bunet.{name}, not {name}" in done.stderr


def test_a_party_does_not_import_torch() -> None:
    code = "import sys, bunet.parties.local.worker; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "torch was imported"


def test_every_file_beside_the_code_is_in_the_wheel() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    listed = {key: value.split() for key, value in parser["options.package_data"].items()}
    for top in TOP:
        folder = ROOT / top
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
                inner, globs = ".".join(path.parent.relative_to(ROOT).parts), listed.get(f"bunet.{top}", [])
                listing = any(path.relative_to(folder).match(glob) for glob in globs)
                listing |= any(path.match(glob) for glob in listed.get(f"bunet.{inner}", []))
                assert listing, f"{path.relative_to(ROOT)} is in no wheel"


def test_the_command_says_the_version() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    done = subprocess.run([Path(sys.executable).parent / "bunet", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"bunet {parser['metadata']['version']}\n"), "`make setup` is due"


def _built(folder: Path, into: Path) -> Path:
    """The wheel of a folder, of its files alone: what an earlier build left beside them goes into no wheel."""
    source = into / "source"
    listed = subprocess.run(["git", "ls-files", "-z", "."], cwd=folder, check=True, capture_output=True, text=True).stdout
    for name in listed.split("\0")[:-1]:
        if (folder / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, source / name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into)]
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(ROOT, tmp_path_factory.mktemp("bunet"))


@pytest.mark.slow
def test_the_wheel_holds_what_the_program_needs_and_nothing_under_another_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        said = archive.read(metadata).decode()
    folders = (ROOT / top for top in TOP)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {name for name in names if ".dist-info/" not in name} == {f"bunet/{path.relative_to(ROOT)}" for path in files}
    assert "License-Expression: Apache-2.0" in said
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name for name in names if name.endswith(".safetensors")} == {
        "bunet/models/demo/demo-hybrid.safetensors",
        "bunet/models/demo/demo-relu.safetensors",
    }
    assert wheel.stat().st_size < WHEEL_BELOW


@pytest.mark.slow
def test_the_clinical_wheel_brings_its_licence(tmp_path: Path) -> None:
    with zipfile.ZipFile(_built(ROOT / "clinical", tmp_path)) as archive:
        names = set(archive.namelist())
        said = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
        (licence,) = (archive.read(name).decode() for name in names if name.endswith("licenses/LICENSE"))
    weights = {f"bunet_clinical/{path.name}" for path in bunet_clinical.FOLDER.glob("*.safetensors")}
    assert len(weights) == 9
    assert {*weights, "bunet_clinical/MODEL_CARD.md", "bunet_clinical/TRAIN.md", "bunet_clinical/py.typed"} <= names
    assert "License-Expression: CC-BY-NC-SA-4.0" in said
    assert "creativecommons.org/licenses/by-nc-sa/4.0" in licence
    assert "10.5281/zenodo.3757476" in licence


@pytest.mark.slow
@pytest.mark.timeout(1800)  # nothing is compiled yet in a new environment
def test_the_wheel_runs_the_demo_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=True)
    python, bunet = tmp_path / "empty" / "bin" / "python", tmp_path / "empty" / "bin" / "bunet"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", ROOT / "constraints.txt"]
    index = subprocess.run([*pip, "msgpack"], capture_output=True, text=True)  # a small one of what it needs
    if index.returncode:
        pytest.skip(f"no package index: {index.stderr.strip().splitlines()[-1]}")
    installed = subprocess.run([*pip, wheel], capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "NUMBA_CACHE_DIR")}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([bunet, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)

    demo = run("demo", "--out", "result")
    assert demo.returncode == 0, demo.stderr
    assert (tmp_path / "result").is_dir()
    chest = run("synthesise", "chest.npz")
    assert chest.returncode == 0, chest.stderr
    predict = run("predict", "--volume", "chest.npz", "--out", "predicted")
    assert (predict.returncode, predict.stdout) == (2, "")
    assert "the clinical weights are not installed" in predict.stderr
    assert len(predict.stderr.splitlines()) == 1
