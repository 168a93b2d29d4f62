"""A results folder belongs to one run, and to one process at a time."""

import json
from pathlib import Path
from typing import Any, Never

import pytest

from bunet.experiments.storage.run_folder import RunFolder
from bunet.models.errors import UsageError

IDENTITY = {"volume": "abc", "axes": ("x", "z")}


def make(folder: Path, identity: dict[str, Any] = IDENTITY, later: tuple[str, ...] = ()) -> RunFolder:
    return RunFolder(folder, identity, command="bunet test", later=later)


def test_what_was_claimed_is_found_again(tmp_path: Path) -> None:
    with make(tmp_path / "out", later=("program",)) as run:
        assert run.noted is None
        run.claim(program="p")
    with make(tmp_path / "out", later=("program",)) as run:
        assert run.noted == {"program": "p"}


def test_another_run_is_told_what_differs(tmp_path: Path) -> None:
    with make(tmp_path) as run:
        run.claim()
    before = run.file.read_bytes()
    with pytest.raises(UsageError, match=r"holds another run \(its axes differs\)"):
        make(tmp_path, {**IDENTITY, "axes": ("x",)})
    assert run.file.read_bytes() == before
    with make(tmp_path):  # a refusal does not keep the lock
        pass


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with make(tmp_path), pytest.raises(UsageError, match="used by another process"):
        make(tmp_path)


@pytest.mark.parametrize("text", ["nonsense", "[]", json.dumps({"volume": "abc"})])
def test_what_is_no_identity_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError, match=r"run\.json"):
        make(tmp_path)


def test_slices_of_nobody_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "slice-0001.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="unknown run"):
        make(tmp_path)


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl")

    def refuse(*_: Any) -> Never:
        raise OSError("no locks here")

    monkeypatch.setattr("bunet.experiments.storage.lock.fcntl.flock", refuse)
    with make(tmp_path) as run:
        run.claim()
    assert run.file.exists()
