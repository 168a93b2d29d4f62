"""What is counted while layers run: seconds, bytes and rounds of each layer, and how far a session's bytes have come.

Protocols know nothing of it. How far bytes have come is exact within a message where a link is emulated on one machine. Between
two machines, with an emulated link or without, a message counts whole: as sent once it is handed to the network, as received
once it is here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from bunet.net.channel import Channel
from bunet.net.frame import Frame
from bunet.parties.events import Traffic

EVERY_S = 0.25

Chain = tuple[int, int]  # slice, layer


@dataclass
class LayerMeter:
    """What one layer of one slice has used so far; payload bytes."""

    started: float = 0.0
    compute_s: float = 0.0
    sent: int = 0
    received: int = 0
    sent_messages: int = 0
    received_messages: int = 0
    round: int = 0  # of the last message read
    rounds: int = 0  # of the farthest message either way

    def count_sent(self, nbytes: int) -> None:
        self.sent_messages += 1
        self.sent += nbytes
        self.rounds = max(self.rounds, self.round + 1)

    def count_received(self, frame: Frame) -> None:
        self.received_messages += 1
        self.received += frame.nbytes
        self.round = max(self.round, frame.round)
        self.rounds = max(self.rounds, frame.round)


class TrafficMeter:
    """Books the bytes of a channel to the layers that they are of.

    Any thread may say what it has sent and what has ended; `received` and `report` are for the one that receives.
    """

    def __init__(self, role: str, channel: Channel, clock: Callable[[], float] = time.monotonic) -> None:
        self._role, self._channel, self._clock = role, channel, clock
        self._told_at = clock()
        self._before = channel.moved().left
        self._left = self._received = 0
        self._queue: deque[tuple[list[int], int]] = deque()  # what was sent and has not left, in order: whose, bytes
        self._moved: dict[Chain, list[int]] = {}  # bytes that have left and arrived, of layers that have not ended
        self._lock = threading.Lock()

    def sent(self, chain: Chain, nbytes: int) -> None:
        """A message is handed to the channel."""
        with self._lock:
            self._queue.append((self._moved.setdefault(chain, [0, 0]), nbytes))

    def received(self, frame: Frame) -> None:
        """A message is here."""
        with self._lock:
            self._received += frame.nbytes
            self._moved.setdefault((frame.slice, frame.layer), [0, 0])[1] += frame.nbytes

    def ended(self, chain: Chain) -> None:
        """A layer has ended; what of it still moves is booked to the session alone."""
        with self._lock:
            self._moved.pop(chain, None)

    def report(self) -> Traffic | None:
        """What has moved so far; None before it is time to say so again."""
        now = self._clock()
        if now - self._told_at < EVERY_S:
            return None
        self._told_at = now
        moved = self._channel.moved()
        with self._lock:
            fresh = moved.left - self._before - self._left
            self._left += fresh
            while fresh > 0 and self._queue:
                whose, nbytes = self._queue.popleft()
                gone = min(fresh, nbytes)
                fresh -= gone
                whose[0] += gone
                if gone < nbytes:
                    self._queue.appendleft((whose, nbytes - gone))
            layers = {chain: list(both) for chain, both in self._moved.items()}
        if isinstance(moved.arriving, Frame):
            both = layers.setdefault((moved.arriving.slice, moved.arriving.layer), [0, 0])
            both[1] += moved.arrived
        return Traffic(
            self._role,
            self._left,
            self._received + moved.arrived,
            tuple((*chain, left, arrived) for chain, (left, arrived) in layers.items()),
        )
