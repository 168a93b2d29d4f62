"""Without `bunet_clinical` whatever needs its weights says how to install it, and all else works."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.experiments.command_line import Bunet

SENTENCE = (
    "the clinical weights are not installed; `python -m pip install ./clinical` in BUNET's source folder installs them, "
    "or the wheel `bunet_clinical` beside BUNET's own (CC BY-NC-SA 4.0, no commercial use)\n"
)


@pytest.fixture(autouse=True)
def _absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bunet_clinical", None)


def test_predict_says_how_to_install_them(tmp_path: Path, bunet: Bunet) -> None:
    np.savez(tmp_path / "chest.npz", array=np.zeros((8, 32, 32), np.float32))
    options = ("--volume", tmp_path / "chest.npz", "--intensity", "as-is", "--out", tmp_path / "out")
    assert bunet("predict", *options) == (2, "", f"bunet: --model-infection-dir clinical: {SENTENCE}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["infection-z", "lung-x", "infection-y-hybrid"])
def test_compile_says_how_to_install_them(tmp_path: Path, name: str, bunet: Bunet) -> None:
    answer = bunet("compile", "--weights", name, "--out", tmp_path / "model.safetensors")
    assert answer == (2, "", f"bunet: --weights {name}: {SENTENCE}")


def test_other_names_are_told_what_there_is(tmp_path: Path, bunet: Bunet) -> None:
    status, _, error = bunet("compile", "--weights", "demo-rulu", "--out", tmp_path / "model.safetensors")
    assert status == 2
    assert error.endswith("committed ones: demo-hybrid, demo-relu\n")
