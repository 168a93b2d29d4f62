"""Bob and Alice on two hosts (network namespaces joined by a veth pair), by the commands a person would type."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bunet.models.compiled import save_compiled
from bunet.net.keys import keygen
from tests.net.namespaces import Host, hosts
from tests.parties.programs import named, small

__all__ = ["hosts"]
BUNET = str(Path(sys.executable).with_name("bunet"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("bob", "alice", "mallory"):
        keygen(tmp_path / name)
    save_compiled(named(small(16)), tmp_path / "small.model")
    np.save(tmp_path / "volume.npy", np.random.default_rng(1).random((12, 16, 16), np.float32))
    return tmp_path


def bob(host: Host, folder: Path) -> tuple[subprocess.Popen[str], str]:
    process = host.popen(
        [
            BUNET,
            "bob",
            "--model",
            str(folder / "small.model"),
            "--listen",
            f"{host.address}:0",
            "--key",
            str(folder / "bob"),
            "--allow",
            str(folder / "alice.pub"),
        ]
    )
    for line in process.stdout:
        if line.startswith("Bob listens at "):
            return process, line.split()[3]
    pytest.fail(process.stderr.read())


def alice(host: Host, folder: Path, address: str, name: str = "alice") -> subprocess.CompletedProcess[str]:
    process = host.popen(
        [
            BUNET,
            "alice",
            "--volume",
            str(folder / "volume.npy"),
            "--slices",
            "3:5",
            "--connect",
            address,
            "--key",
            str(folder / name),
            "--server",
            str(folder / "bob.pub"),
            "--out",
            str(folder / f"result-{name}"),
        ]
    )
    out, err = process.communicate(timeout=200)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_two_hosts_with_curve_and_an_allow_list(hosts: tuple[Host, Host], folder: Path) -> None:
    here, there = hosts
    process, address = bob(there, folder)
    with process:
        try:
            stranger = alice(here, folder, address, "mallory")
            assert stranger.returncode == 1
            assert "not allowed" in stranger.stderr or "does not allow" in stranger.stderr or "allow-list" in stranger.stderr
            assert not (folder / "result-mallory" / "mask.npz").exists()

            done = alice(here, folder, address)
            assert done.returncode == 0, done.stderr
            with np.load(folder / "result-alice" / "mask.npz", allow_pickle=False) as result:
                assert result["array"].shape == (12, 16, 16)
                assert not np.delete(result["array"], [3, 4], axis=0).any()
                assert set(np.unique(result["array"])) <= {0, 1}

            again = alice(here, folder, address)
            assert again.returncode == 0
            assert "2 of 2 slices are done already" in again.stdout
        finally:
            process.kill()


def test_nobody_listens_off_loopback_without_keys(hosts: tuple[Host, Host], folder: Path) -> None:
    _, there = hosts
    process = there.popen([BUNET, "bob", "--model", str(folder / "small.model"), "--listen", f"{there.address}:0"])
    _, err = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "refusing to listen" in err
    assert len(err.strip().splitlines()) == 1
