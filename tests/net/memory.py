"""Two ends of a channel in one process; no threads, no copies."""

from __future__ import annotations

from typing import Any

from bunet.net.channel import ChannelClosed, QueueChannel
from bunet.net.clock import Clock, RealClock
from bunet.net.frame import Limits, MalformedFrame, decode


class MemoryChannel(QueueChannel):
    """Messages are encoded, and decoded by the sender's thread into the peer's queue; arrays share memory."""

    _other: MemoryChannel

    def _post(self, parts: list[Any]) -> None:
        try:
            self._other.deliver(decode(parts, self._other.limits))
        except MalformedFrame as error:
            self._other.deliver_error(error)

    def close(self) -> None:
        self._closed.set()
        if self.end(ChannelClosed("this side has closed the channel")):
            self._other.end(ChannelClosed("the peer has closed the channel"))


def memory_pair(
    clock: Clock | None = None, limits: Limits = Limits(), *, common_clock: bool = True
) -> tuple[MemoryChannel, MemoryChannel]:
    """Two connected ends. `common_clock=False` makes a shaper hold messages at the sender, as between two machines."""
    clock = clock or RealClock()
    alice = MemoryChannel("memory pair", clock, limits, common_clock=common_clock)
    bob = MemoryChannel("memory pair", clock, limits, common_clock=common_clock)
    alice._other, bob._other = bob, alice
    return alice, bob
