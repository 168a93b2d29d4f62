"""What the layout promises: the import names, and the files beside the code."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOP = ("experiments", "models", "net", "parties", "protocols")


@pytest.mark.parametrize("name", TOP)
def test_a_package_refuses_another_name(name) -> None:
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
