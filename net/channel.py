"""A channel: ordered, reliable messages between two parties. Its promises, its errors, and its receiving half."""

from __future__ import annotations

import math
import queue
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from bunet.models.errors import PeerError, UsageError
from bunet.net.clock import Clock
from bunet.net.frame import Control, Encoded, Envelope, Frame, Limits, MalformedFrame, Message, encode

Self = TypeVar("Self", bound="Channel")


class ChannelError(PeerError):
    """A channel cannot be made, or cannot go on."""


class ChannelClosed(ChannelError):
    """One of the two sides closed the channel on purpose."""


class PeerGone(ChannelError):
    """The peer disappeared without a word: its process, its machine or the network between."""


class ConnectFailed(ChannelError):
    """Nobody answered, or what answered does not speak this protocol."""


class NotAllowed(ConnectFailed):
    """The server refused this client: its key is not on the allow-list, or there are too many clients."""


class AddressError(UsageError):
    """An address is not understood, or its port is in use."""


class InsecureChannel(UsageError):
    """Binding to or connecting to another machine without encryption and authentication was refused."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Traffic of one channel as its user sees it, exact.

    payload bytes: arrays alone, as protocols state them. wire bytes: all parts of the messages, headers included; not
    included are heartbeats and the framing below (ZMTP, CURVE, TCP, IP). A received message counts once `receive` has
    returned it.
    """

    messages_sent: int = 0
    payload_bytes_sent: int = 0
    wire_bytes_sent: int = 0
    wire_bytes_received: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """How far payload bytes have come by now.

    left: those that have left this side, of all that it sent. arriving: a message of which a part is here; arrived: that part.
    Exact within a message where a link is emulated between parties that share a clock (one machine); elsewhere messages leave
    and arrive whole: where they are handed on, and where `receive` returns them.
    """

    left: int
    arriving: Frame | Control | None = None
    arrived: int = 0


class Channel(ABC):
    """Both ends of a channel look like this. Any thread may send; one thread at a time may receive."""

    #: Who is at the other end, in words for people.
    peer: str

    @abstractmethod
    def send(self, message: Message) -> None:
        """Queue a message and return; arrays are not copied and must not be written to afterwards.

        Raises TypeError or ValueError for a message that may not travel, ChannelClosed or PeerGone once there is no
        one to send to. That it returned does not say that the peer has the message.
        """

    @abstractmethod
    def receive(self, timeout_s: float | None = None) -> Frame | Control | None:
        """The next message; None after `timeout_s` seconds without one (0 polls, None waits for ever).

        What the peer sent before it closed is still received. Then, and on every later call, raises ChannelClosed;
        PeerGone if the peer disappeared; MalformedFrame, from the message on that could not be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Deliver what was sent, tell the peer, and end; a blocked `receive` of this side raises ChannelClosed.

        Waits a bounded time for a peer that does not answer. May be called twice.
        """

    @property
    @abstractmethod
    def counters(self) -> Counters:
        """A consistent snapshot."""

    def moved(self) -> Moved:
        """For the thread that receives: what is on its way, for those who watch."""
        return Moved(self.counters.payload_bytes_sent)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class QueueChannel(Channel):
    """A channel whose messages arrive through a queue. Subclasses post parts; the transport calls `deliver`,
    `deliver_error` and `end`.

    A message that carries a due time is held back in `receive` until that time of `clock`: so a shaper at the sending
    end delays messages exactly, however long they took to arrive. `common_clock` says whether the peer's clock is
    this side's clock, without which a due time means nothing.
    """

    def __init__(self, peer: str, clock: Clock, limits: Limits, *, common_clock: bool) -> None:
        self.peer = peer
        self.clock = clock
        self.limits = limits
        self.common_clock = common_clock
        self._inbox: queue.SimpleQueue[Envelope | Exception] = queue.SimpleQueue()
        self._held: Envelope | None = None
        self._last: Exception | None = None  # what ended receiving; of the receiving thread alone, as _held
        self._lock = threading.Lock()  # guards what follows
        self._ended: ChannelError | None = None
        self._closed = threading.Event()  # by this side
        self._sent = [0, 0, 0]
        self._received = 0  # wire bytes

    @abstractmethod
    def _post(self, parts: list[bytes | memoryview]) -> None:
        """Hand parts to the transport, in order; called with the lock held, must not block."""

    def send(self, message: Message) -> None:
        self.send_encoded(encode(message, self.limits))

    def send_encoded(self, encoded: Encoded, due_s: float = 0.0) -> None:
        """`send` for one who has encoded the message already and may want it held at the peer until `due_s`."""
        with self._lock:
            self.ensure_open()
            self._sent[0] += 1
            self._sent[1] += encoded.payload_bytes
            self._sent[2] += encoded.wire_bytes
            self._post(encoded.parts(due_s))

    def ensure_open(self) -> None:
        """Raises what `send` would raise, if there is no one to send to any more."""
        if self._ended is not None:
            raise _again(self._ended)

    def receive(self, timeout_s: float | None = None) -> Frame | Control | None:
        if self._closed.is_set():
            raise ChannelClosed("this side has closed the channel")
        if self._last is not None:
            raise _again(self._last)
        deadline_s = math.inf if timeout_s is None else self.clock.now() + timeout_s
        if self._held is None:
            try:
                item = self._inbox.get(timeout=None if timeout_s is None else max(0.0, timeout_s))
            except queue.Empty:
                return None
            if isinstance(item, Exception):
                self._last = item
                raise _again(item)
            self._held = item
        return self._release(self._held, deadline_s)

    def _release(self, envelope: Envelope, deadline_s: float) -> Frame | Control | None:
        if envelope.due_s and envelope.due_s > self.clock.now():
            if not self.clock.sleep_until(min(envelope.due_s, deadline_s), self._closed):
                raise ChannelClosed("this side has closed the channel")
            if envelope.due_s > deadline_s:
                return None
        self._held = None
        with self._lock:
            self._received += envelope.wire_bytes
        assert isinstance(envelope.message, Frame | Control)
        return envelope.message

    @property
    def counters(self) -> Counters:
        with self._lock:
            messages, payload, wire = self._sent
            return Counters(messages, payload, wire, self._received)

    @property
    def ended(self) -> ChannelError | None:
        """For the transport: why there are no more messages; None while there may be."""
        return self._ended

    @property
    def held(self) -> Envelope | None:
        """For the thread that receives: the next message, where its time has not come."""
        return self._held

    def deliver(self, envelope: Envelope) -> None:
        """For the transport: a message has arrived."""
        if envelope.due_s and not self.common_clock:
            self._inbox.put(MalformedFrame("a message is due at a time of a clock that the parties do not share"))
        else:
            self._inbox.put(envelope)

    def deliver_error(self, error: MalformedFrame) -> None:
        """For the transport: what arrived is not a message. Sending stays possible, to tell the peer so."""
        self._inbox.put(error)

    def end(self, error: ChannelError) -> bool:
        """For the transport: no more messages either way. False if the channel had ended before."""
        with self._lock:
            if self._ended is not None:
                return False
            self._ended = error
        self._inbox.put(error)
        return True


def _again(error: Exception) -> Exception:
    """A fresh exception of the same kind and words: raising one object twice would grow its traceback."""
    return type(error)(*error.args)
