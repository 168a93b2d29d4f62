"""Every kind of channel that there is, as a factory of connected pairs; the conformance suite runs over all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bunet.net.channel import Channel
from bunet.net.frame import Limits
from bunet.net.keys import KeyPair
from bunet.net.link import PRESETS, Link
from bunet.net.shaper import Shaper
from bunet.net.zeromq import Listener, ZmqChannel, connect
from tests.net.manual_clock import ManualClock
from tests.net.memory import memory_pair

Pair = tuple[Channel, Channel]
ZmqPair = tuple[ZmqChannel, ZmqChannel]
LIMITS = Limits(nbytes=64 << 20)


@contextmanager
def memory(tmp_path: Path) -> Iterator[Pair]:
    yield memory_pair(limits=LIMITS)


@contextmanager
def memory_shaped(tmp_path: Path) -> Iterator[Pair]:
    clock = ManualClock(jump=True)
    alice, bob = memory_pair(clock, LIMITS)
    link = Link(100e6, 80e-3, jitter_s=20e-3)
    yield Shaper(alice, link), Shaper(bob, link)


@contextmanager
def memory_two_machines(tmp_path: Path) -> Iterator[Pair]:
    clock = ManualClock(jump=True)
    alice, bob = memory_pair(clock, LIMITS, common_clock=False)
    yield Shaper(alice, PRESETS["wan"]), Shaper(bob, PRESETS["wan"])


@contextmanager
def _zeromq(address: str, server: KeyPair | None = None, client: KeyPair | None = None) -> Iterator[ZmqPair]:
    allowed = None if client is None else {client.public}
    with Listener(address, server, allowed, limits=LIMITS) as listener:
        with connect(listener.address, client, server.public if server else None, limits=LIMITS) as alice:
            bob = listener.accept(10)
            assert bob is not None
            yield alice, bob


@contextmanager
def zeromq_tcp(tmp_path: Path) -> Iterator[Pair]:
    with _zeromq("tcp://127.0.0.1:0") as pair:
        yield pair


@contextmanager
def zeromq_ipc(tmp_path: Path) -> Iterator[Pair]:
    with _zeromq(f"ipc://{tmp_path}/bunet") as pair:
        yield pair


@contextmanager
def zeromq_curve(tmp_path: Path) -> Iterator[Pair]:
    with _zeromq("tcp://127.0.0.1:0", KeyPair.generate(), KeyPair.generate()) as pair:
        yield pair


@contextmanager
def zeromq_shaped(tmp_path: Path) -> Iterator[Pair]:
    with _zeromq("tcp://127.0.0.1:0") as (alice, bob):
        yield Shaper(alice, PRESETS["lan"]), Shaper(bob, PRESETS["lan"])


CHANNELS: dict[str, Callable[[Path], AbstractContextManager[Pair]]] = {
    "memory": memory,
    "memory-shaped": memory_shaped,
    "memory-two-machines": memory_two_machines,
    "zeromq-tcp": zeromq_tcp,
    "zeromq-ipc": zeromq_ipc,
    "zeromq-curve": zeromq_curve,
    "zeromq-shaped": zeromq_shaped,
}
