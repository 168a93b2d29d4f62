"""Two hosts on one machine: network namespaces joined by a veth pair. Needs Linux, root and `ip`."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

_NUMBERS = itertools.count()


class NotPermitted(Exception):
    """This machine or user cannot do what was asked; the text is the reason to skip."""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise NotPermitted(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


@dataclass(frozen=True)
class Host:
    """One end: its namespace, its end of the cable, its address there."""

    namespace: str
    device: str
    address: str

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a process on this host (pipes in text mode for its output)."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen(["ip", "netns", "exec", self.namespace, *command], **options)

    def python(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start this interpreter on this host."""
        return self.popen([sys.executable, *arguments], **options)

    def shape(self, *qdisc: str) -> None:
        """`shape("tbf", "rate", "100mbit", ...)`: a real traffic shaper on what this host sends. May be NotPermitted."""
        if shutil.which("tc") is None:
            raise NotPermitted("there is no `tc` here")
        _run("tc", "-n", self.namespace, "qdisc", "replace", "dev", self.device, "root", *qdisc)

    def unplug(self) -> None:
        """Take this host's end of the cable down."""
        _run("ip", "-n", self.namespace, "link", "set", self.device, "down")


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """(alice, bob), each reachable from the other alone. Raises NotPermitted."""
    if not sys.platform.startswith("linux") or shutil.which("ip") is None:
        raise NotPermitted("network namespaces need Linux and the `ip` command")
    if os.geteuid() != 0:
        raise NotPermitted("network namespaces need root")
    label = f"bunet{os.getpid()}-{next(_NUMBERS)}"
    hosts = [Host(f"{label}{side}", f"bn{side}0", f"10.213.77.{number}") for number, side in ((1, "a"), (2, "b"))]
    made: list[str] = []
    try:
        for host in hosts:
            _run("ip", "netns", "add", host.namespace)
            made.append(host.namespace)
        alice, bob = hosts
        _run(
            "ip",
            "link",
            "add",
            alice.device,
            "netns",
            alice.namespace,
            "type",
            "veth",
            "peer",
            "name",
            bob.device,
            "netns",
            bob.namespace,
        )
        for host in hosts:
            _run("ip", "-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", host.device)
            for device in ("lo", host.device):
                _run("ip", "-n", host.namespace, "link", "set", device, "up")
        yield alice, bob
    finally:
        for namespace in made:  # the cable goes with them
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, timeout=30, check=False)


@cache
def obstacle() -> str | None:
    """Why there can be no two hosts here, or None."""
    try:
        with two_hosts():
            return None
    except NotPermitted as reason:
        return str(reason)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """(alice, bob); the test is skipped, with the reason, where they cannot be. Import it into a test file to use it."""
    if obstacle():
        pytest.skip(str(obstacle()))
    with two_hosts() as pair:
        yield pair
