"""README's two machines, typed as it stands: every line is run in order, in two folders of this machine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
WAIT_S = 300.0  # a cold cache of kernels is compiled first


def lines() -> list[tuple[str, str, str]]:
    """(whose, command, comment) of every line of the section's block."""
    section = README.read_text(encoding="utf-8").partition("## Two machines\n")[2].partition("\n## ")[0]
    found = re.findall(r"^    (bob|alice)\$ +(.+?)(?: +# (.*))?$", section, re.MULTILINE)
    assert len(found) == len([line for line in section.splitlines() if line.startswith("    ")]), "every line is somebody's"
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Machines:
    """A folder and a shell's state for each party. `bob` is this machine, on a port that is free."""

    def __init__(self, folder: Path) -> None:
        self.folders = {"bob": folder / "bob", "alice": folder / "alice"}
        self.before = {"bob": "", "alice": ""}
        self.port = free_port()
        self.serving: subprocess.Popen[str] | None = None
        for party in self.folders.values():
            party.mkdir()
            (party / ".venv").mkdir()
            # What `make setup` leaves, whatever runs the tests: activating puts the commands on the PATH.
            (party / ".venv" / "bin").mkdir()
            activate = party / ".venv" / "bin" / "activate"
            activate.write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\nexport PATH\n')

    def command(self, whose: str, text: str) -> list[str]:
        text = text.replace("7010", str(self.port)).replace("0.0.0.0", "127.0.0.1").replace("tcp://bob:", "tcp://127.0.0.1:")
        return ["bash", "-c", f"set -e; {self.before[whose]}\nexec 2>&1; {text}"]

    def run(self, whose: str, text: str) -> str:
        done = subprocess.run(
            self.command(whose, text),
            cwd=self.folders[whose],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        assert done.returncode == 0, f"{whose}$ {text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def serve(self, whose: str, text: str) -> None:
        self.serving = subprocess.Popen(
            self.command(whose, "exec " + text), cwd=self.folders[whose], env=environment(), stdout=subprocess.PIPE, text=True
        )
        assert self.serving.stdout is not None
        assert f"Bob listens at tcp://127.0.0.1:{self.port}" in self.serving.stdout.readline()

    def send(self, whose: str, name: str, to: str) -> None:
        shutil.copy(self.folders[whose] / name, self.folders[to])


def environment() -> dict[str, str]:
    """Without the commands on the PATH: the README's own line has to put them there."""
    mine = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != mine)
    return {**os.environ, "PATH": path}


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    if shutil.which("bash") is None:
        pytest.skip("the README's lines are for a shell, and there is no bash here")
    made = Machines(tmp_path)
    yield made
    if made.serving is not None:
        made.serving.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            made.serving.wait(10)
        assert made.serving.stdout is not None
        made.serving.stdout.close()


def test_two_machines_can_be_typed_as_it_stands(machines: Machines) -> None:
    printed: dict[str, str] = {}
    for whose, text, comment in lines():
        if text == ". .venv/bin/activate":
            machines.before[whose] = text
        elif text.startswith("sudo ufw allow"):
            assert "7010/tcp" in text, "the port that Bob listens at"
        elif text.startswith("bunet bob"):
            machines.serve(whose, text)
        else:
            printed[text] = machines.run(whose, text)
        if sent := re.match(r"send (\S+) to (\w+)", comment):
            machines.send(whose, sent[1], sent[2].lower())
    digits = r"[0-9a-f]{4}(?: [0-9a-f]{4}){7}"
    made = {re.search(digits, out)[0] for text, out in printed.items() if "keygen" in text}
    seen = {re.search(digits, out)[0] for text, out in printed.items() if "fingerprint" in text}
    assert made == seen
    assert len(made) == 2
    marked = [int(np.load(path)["array"].sum()) for path in (machines.folders["alice"] / "result").glob("*.npz")]
    assert max(marked) > 0, "the synthetic chest's lesions are found"
