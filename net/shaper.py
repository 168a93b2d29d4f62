"""A link emulated over any channel: bandwidth, latency and jitter on what one side sends.

Model, per direction: a message of n wire bytes sent at time s begins to leave when the message before it has left, has
left n * 8 / bandwidth later, and arrives RTT/2 after that, plus jitter, never before the message ahead of it:

    left    = max(s, left of the message before) + n * 8 / bandwidth
    arrival = max(left + RTT/2 + jitter, arrival of the message before)

The message counts as arrived with its last byte. There is no loss, no congestion control and no packet overhead.

Where the two parties share a clock (one process, or one machine), the message goes to the peer at once with its
arrival time on it, and the peer's `receive` holds it until then. The emulation is then exact as long as the real
transfer is the faster one, and costs no thread. Otherwise a thread at the sender holds it and hands it on in time,
and the real transfer adds to the emulated one; `moved` then knows no parts of messages, each counts whole once it is handed on.
"""

from __future__ import annotations

import random
import threading
from collections import deque

from bunet.net.channel import Channel, ChannelClosed, ChannelError, Counters, Moved, QueueChannel
from bunet.net.clock import Clock, RealClock
from bunet.net.frame import Control, Encoded, Frame, Message, Signal, encode
from bunet.net.link import Link


class Pacer:
    """The model's arithmetic for one direction. Not thread-safe."""

    def __init__(self, link: Link, seed: int = 0) -> None:
        self._link = link
        self._jitter = random.Random(seed)  # emulates a network; nothing secret comes from it
        self._left_s = 0.0
        self._arrival_s = 0.0

    @property
    def left_s(self) -> float:
        """When the last message has left altogether."""
        return self._left_s

    def arrival_s(self, now_s: float, nbytes: int) -> float:
        """When a message of `nbytes` that is sent at `now_s` arrives at the other end. Calls are in sending order."""
        self._left_s = max(now_s, self._left_s) + self._link.transfer_seconds(nbytes)
        delay_s = self._link.rtt_s / 2
        if self._link.jitter_s:
            delay_s += self._jitter.random() * self._link.jitter_s
        self._arrival_s = max(self._arrival_s, self._left_s + delay_s)
        return self._arrival_s


class Shaper(Channel):
    """`channel` as if it ran over `link`; each side wraps its own end, which shapes what that side sends.

    seed: of the jitter. linger_s: how long `close` waits at most for messages that this side still holds.
    """

    def __init__(
        self, channel: QueueChannel, link: Link, clock: Clock | None = None, *, seed: int = 0, linger_s: float = 30.0
    ) -> None:
        self.link = link
        self.peer = channel.peer
        self._inner = channel
        self._clock = clock or channel.clock
        self._pacer = Pacer(link, seed)
        self._lock = threading.Lock()
        self._leaving: deque[tuple[float, float, int]] = deque()  # begin, end, payload bytes, of messages that leave
        common = channel.common_clock and (
            self._clock is channel.clock or (isinstance(self._clock, RealClock) and isinstance(channel.clock, RealClock))
        )
        self._holder = None if common or link.unlimited else _Holder(channel, self._clock, linger_s)

    def send(self, message: Message) -> None:
        if self.link.unlimited:
            self._inner.send(message)
            return
        encoded = encode(message, self._inner.limits)
        with self._lock:  # arrival times must be in the order of sending
            now_s = self._clock.now()
            begin_s = max(now_s, self._pacer.left_s)
            due_s = self._pacer.arrival_s(now_s, encoded.wire_bytes)
            if self._holder is None:
                self._forget_left(now_s)
                self._leaving.append((begin_s, self._pacer.left_s, encoded.payload_bytes))
                self._inner.send_encoded(encoded, due_s)
            else:
                self._inner.ensure_open()
                self._holder.put(encoded, due_s)

    def receive(self, timeout_s: float | None = None) -> Frame | Control | None:
        return self._inner.receive(timeout_s)

    def close(self) -> None:
        if self._holder is not None:
            self._holder.drain()
        self._inner.close()

    @property
    def counters(self) -> Counters:
        """The inner channel's; a message held at this side counts when it is handed on."""
        return self._inner.counters

    def moved(self) -> Moved:
        now_s = self._clock.now()
        with self._lock:
            left = self._inner.counters.payload_bytes_sent
            self._forget_left(now_s)
            for begin_s, end_s, nbytes in self._leaving:
                left -= nbytes - int(nbytes * _share(now_s, begin_s, end_s))
        held = self._inner.held
        if held is None or isinstance(held.message, Signal):
            return Moved(left)
        began_s = held.due_s - self.link.transfer_seconds(held.wire_bytes)
        return Moved(left, held.message, int(held.payload_bytes * _share(now_s, began_s, held.due_s)))

    def _forget_left(self, now_s: float) -> None:
        while self._leaving and self._leaving[0][1] <= now_s:
            self._leaving.popleft()


def _share(now_s: float, begin_s: float, end_s: float) -> float:
    """How much of a time from begin to end has gone, 0 to 1."""
    return min(1.0, max(0.0, (now_s - begin_s) / (end_s - begin_s))) if end_s > begin_s else float(now_s >= end_s)


class _Holder:
    """A thread that hands messages to a channel at their times."""

    def __init__(self, channel: QueueChannel, clock: Clock, linger_s: float) -> None:
        self._channel = channel
        self._clock = clock
        self._linger_s = linger_s
        self._waiting: deque[tuple[Encoded, float]] = deque()
        self._changed = threading.Condition()
        self._ended: ChannelError | None = None
        self._interrupt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bunet-shaper", daemon=True)
        self._thread.start()

    def put(self, encoded: Encoded, due_s: float) -> None:
        with self._changed:
            if self._ended is not None:
                raise type(self._ended)(*self._ended.args)
            self._waiting.append((encoded, due_s))
            self._changed.notify()

    def drain(self) -> None:
        """Let the rest go out at its times, for at most the linger time, then end the thread."""
        with self._changed:
            if self._ended is None:
                self._ended = ChannelClosed("this side has closed the channel")
            self._changed.notify()
        self._thread.join(self._linger_s)
        self._interrupt.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._ended is not None:
                        return
                    self._changed.wait()
                encoded, due_s = self._waiting.popleft()
            if not self._clock.sleep_until(due_s, self._interrupt):
                return
            try:
                self._channel.send_encoded(encoded)
            except ChannelError as error:
                with self._changed:
                    self._ended = error
                    self._waiting.clear()
                return
