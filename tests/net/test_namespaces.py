"""Two hosts, a cable, CURVE: the channels off loopback, and the shaper beside the kernel's own token bucket."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bunet.net.keys import keygen
from tests.net.namespaces import Host, NotPermitted, hosts

__all__ = ["hosts"]
HERE = Path(__file__).parent
Hosts = tuple[Host, Host]


class Keys:
    """Key files of a server, a client and a stranger, and the server's allow-list."""

    def __init__(self, folder: Path) -> None:
        for name in ("bob", "alice", "mallory"):
            keygen(folder / name)
        self.folder = folder
        self.allow = folder / "alice.pub"

    def client(self, host: Host, address: str, name: str = "alice") -> subprocess.Popen[str]:
        return host.python(str(HERE / "client_process.py"), address, str(self.folder / name), str(self.folder / "bob.pub"))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@contextmanager
def serving(host: Host, keys: Keys, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = host.python(
        str(HERE / "server_process.py"), f"{host.address}:0", str(keys.folder / "bob"), str(keys.allow), *arguments
    )
    with process:
        try:
            yield process, line(process)
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    text = process.stdout.readline().strip()
    if not text:
        process.kill()
        assert process.stderr is not None
        pytest.fail(process.stderr.read())
    return text


def run_stream(hosts: Hosts, keys: Keys, *arguments: str) -> dict[str, Any]:
    alice, bob = hosts
    with serving(bob, keys, *arguments) as (server, address), keys.client(alice, address) as client:
        try:
            return json.loads(line(server))
        finally:
            client.kill()


def test_frames_cross_with_curve_and_strangers_do_not(hosts: Hosts, keys: Keys) -> None:
    alice, bob = hosts
    with serving(bob, keys, "20", "300000") as (server, address):
        assert bob.address in address
        with keys.client(alice, address, "mallory") as stranger:
            assert line(stranger).startswith("NotAllowed")
        with keys.client(alice, address) as client:
            result = json.loads(line(server))
            assert result["same"]
            assert result["common_clock"]  # one machine, after all
            assert "alice" in result["peer"]
            assert alice.address in result["peer"]
            client.terminate()
            assert json.loads(line(server))["error"] == "PeerGone"


def test_a_pulled_cable_is_noticed_on_both_sides(hosts: Hosts, keys: Keys) -> None:
    alice, bob = hosts
    with serving(bob, keys, "1", "1000") as (server, address), keys.client(alice, address) as client:
        assert json.loads(line(server))["same"]
        start_s = time.monotonic()
        alice.unplug()
        assert json.loads(line(server))["error"] == "PeerGone"
        assert line(client).startswith("PeerGone")
        assert time.monotonic() - start_s < 15


def test_the_shaper_beside_a_real_token_bucket(hosts: Hosts, keys: Keys, record_property: Any) -> None:
    """12 MiB from Bob at 200 Mbit/s: emulated on a free cable, and over the kernel's own shaper.

    The bounds are wide: TCP/IP headers cost the real one about 5 %, the way back is free but not of no time, and the
    machine may be busy.
    """
    stream = ("12", str(1 << 20))
    emulated = run_stream(hosts, keys, *stream, "200Mbit,0")
    try:
        hosts[1].shape("tbf", "rate", "200mbit", "burst", "64kb", "latency", "400ms")
    except NotPermitted as reason:
        pytest.skip(str(reason))
    real = run_stream(hosts, keys, *stream)
    one_way_s = emulated["bytes"] * 8 / 200e6
    record_property("emulated_s", emulated["seconds"])
    record_property("real_s", real["seconds"])
    print(f"ideal {one_way_s:.3f} s, shaper {emulated['seconds']:.3f} s, token bucket {real['seconds']:.3f} s")
    assert emulated["same"]
    assert real["same"]
    assert one_way_s <= emulated["seconds"] < 3 * one_way_s
    assert 0.95 * one_way_s <= real["seconds"] < 3 * one_way_s
