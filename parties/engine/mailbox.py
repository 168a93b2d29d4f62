"""What arrives in a session: messages by chain, kept until the layer that waits for them runs."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from bunet.models.errors import PeerError
from bunet.models.printable import plain
from bunet.net.channel import Channel
from bunet.net.frame import Control, Frame
from bunet.parties.engine.meter import Chain, TrafficMeter
from bunet.parties.events import Traffic

# Unread frames that a peer may have outstanding before it is cut off; protocols window their streams far below this.
MAX_UNREAD_FRAMES = 100_000
MAX_UNREAD_BYTES = 2 << 30
# Nothing arrives and nothing computes for so long: the peer's process lives, but its protocol does not.
IDLE_LIMIT_S = 600.0

Report = TypeVar("Report")


class Mailbox(Generic[Report]):
    """Reads a channel in a thread of its own, from `start` to `stop`; everything else is for the session's thread.

    Reports that workers `post` come in the same line as messages, so that one wait is for both. tell: gets what has moved,
    in the reading thread.
    """

    def __init__(self, channel: Channel, traffic: TrafficMeter, tell: Callable[[Traffic], None]) -> None:
        self._channel, self._traffic, self._tell = channel, traffic, tell
        self._inbox: queue.SimpleQueue[Frame | Control | BaseException | tuple[Report]] = queue.SimpleQueue()
        self._mail: dict[Chain, deque[Frame]] = {}
        self._unread = self._unread_bytes = 0
        self._closing = False
        self._pump = threading.Thread(target=self._read, name="inbox", daemon=True)
        #: the peer has said bye: its last result is there, ours may still be on its way
        self.said_bye = False
        #: and has closed since: only what still computes here may go on
        self.left: PeerError | None = None

    def start(self) -> None:
        self._pump.start()

    def close(self) -> None:
        """From now on nothing is read."""
        self._closing = True

    def join(self) -> None:
        """After `close`: wait for the reading thread to end."""
        self._pump.join()

    def _read(self) -> None:
        try:
            while not self._closing:
                message = self._channel.receive(0.2)
                if isinstance(message, Frame):
                    self._traffic.received(message)
                if message is not None:
                    self._inbox.put(message)
                if (traffic := self._traffic.report()) is not None:
                    self._tell(traffic)
        except Exception as error:  # of the channel or of a subscriber: a run must not wait for a pump that has ended
            self._inbox.put(error)

    def post(self, report: Report) -> None:
        """From any thread: for `wait` to return."""
        self._inbox.put((report,))

    def fail(self, error: BaseException) -> None:
        """From any thread: for `wait` to raise."""
        self._inbox.put(error)

    def wait(self, busy: bool = False) -> Report | None:
        """Take in the next message (None), or the next report.

        busy: something computes here, so that silence is no fault. Raises what was handed to `fail`, and PeerError for a peer
        that is gone, has been silent for long, or sends what it may not.
        """
        while True:
            try:
                item = self._inbox.get(timeout=IDLE_LIMIT_S)
                break
            except queue.Empty:
                if not busy:
                    raise PeerError(f"the peer has sent nothing for {IDLE_LIMIT_S:.0f} s where its message is due") from None
        if isinstance(item, tuple):
            return item[0]
        if isinstance(item, BaseException):
            if not (self.said_bye and isinstance(item, PeerError)):
                raise item
            self.left = item
        else:
            self._file(item)
        return None

    def _file(self, message: Frame | Control) -> None:
        if isinstance(message, Control):
            if message.type == "error":
                raise PeerError(f"the peer ended the run: {plain(message.body.get('message', 'no reason given'))}")
            if message.type == "bye":
                self.said_bye = True
                return
            raise PeerError(f"the peer sent {plain(message.type)!r} in the middle of the run")
        self._unread += 1
        self._unread_bytes += message.nbytes
        if self._unread > MAX_UNREAD_FRAMES or self._unread_bytes > MAX_UNREAD_BYTES:
            raise PeerError(f"the peer sent {self._unread} messages, {self._unread_bytes >> 20} MiB, before their time")
        self._mail.setdefault((message.slice, message.layer), deque()).append(message)

    def has(self, chain: Chain) -> bool:
        """Whether a message of a chain is there."""
        return chain in self._mail

    def take(self, chain: Chain) -> Frame:
        """The oldest message of a chain that has one."""
        frame = self._mail[chain].popleft()
        if not self._mail[chain]:
            del self._mail[chain]
        self._unread -= 1
        self._unread_bytes -= frame.nbytes
        return frame
