"""The thread that owns a ZeroMQ socket: nobody else touches it. It sends, receives, watches, and asks for ticks."""

from __future__ import annotations

import contextlib
import logging
import socket as sockets
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

import zmq

log = logging.getLogger("bunet.net")
_BATCH = 64  # messages received before others of the thread's duties get their turn

Parts = list[Any]


class IoThread(threading.Thread, ABC):
    """Idle until a message comes in, something is posted or a tick is due. Subclasses say what these mean."""

    def __init__(self, name: str, context: zmq.Context[Any], socket: zmq.Socket[Any], tick_s: float) -> None:
        super().__init__(name=name, daemon=True)
        self.socket = socket
        self._context = context
        self._tick_s = tick_s
        self._outbox: deque[Parts | Callable[[], None]] = deque()
        self._asleep = False
        self._stopping = False
        self._linger_ms = 0
        self._watched: dict[Any, Callable[[], None]] = {}
        self._wake_in, self._wake_out = sockets.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)

    @abstractmethod
    def on_message(self, parts: Parts) -> None:
        """Parts (zmq.Frame) of one message have arrived."""

    @abstractmethod
    def on_tick(self, now_s: float, stalled_s: float, drained: bool) -> None:
        """About every `tick_s`. stalled_s: by how much this thread was kept from running in time, if it was.
        drained: nothing waits to be received, so that a peer's silence is not of this side's making."""

    @abstractmethod
    def on_unroutable(self, parts: Parts) -> None:
        """Sending `parts` failed, since their receiver is not connected any more."""

    @abstractmethod
    def on_crash(self, error: Exception) -> None:
        """The thread ends because of an error of its own."""

    def watch(self, socket: zmq.Socket[Any], callback: Callable[[], None]) -> None:
        """Before the start: run `callback` whenever `socket` can be read; the thread closes it at the end."""
        self._watched[socket] = callback

    def post(self, item: Parts | Callable[[], None]) -> None:
        """From any thread: send these parts, or run this function in the thread; in the order of posting."""
        self._outbox.append(item)
        if self._asleep:
            self._asleep = False  # one wake-up is enough for all who post meanwhile
            self._wake()

    def stop(self, linger_s: float) -> None:
        """From any thread: send what is posted, wait for it to leave for at most `linger_s`, close the sockets."""
        if self._stopping:
            return
        self._linger_ms = int(linger_s * 1000)
        self._stopping = True
        self._wake()
        self.join(linger_s + 5.0)

    def run(self) -> None:
        try:
            self._loop()
        except Exception as error:
            log.exception("the network thread failed")
            self.on_crash(error)
        finally:
            self.dispose()

    def dispose(self) -> None:
        """Close everything; for users only of a thread that was never started."""
        self.socket.disable_monitor()  # first, since it still tells the monitoring socket so
        for socket in self._watched:
            socket.close(linger=0)
        self.socket.close(linger=self._linger_ms)
        self._wake_in.close()
        self._wake_out.close()
        self._context.term()  # waits for the linger time at most

    def _loop(self) -> None:
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(self._wake_out, zmq.POLLIN)
        for socket in self._watched:
            poller.register(socket, zmq.POLLIN)
        wake_fd = self._wake_out.fileno()
        next_tick_s = time.monotonic() + self._tick_s
        while True:
            self._asleep = True  # from here on posting wakes; what was posted before is seen by the next test
            if self._outbox or self._stopping:
                timeout_ms = 0
            else:
                timeout_ms = max(0, int((next_tick_s - time.monotonic()) * 1000) + 1)
            ready = dict(poller.poll(timeout_ms))
            self._asleep = False
            if wake_fd in ready:
                self._drain_wake()
            stopping = self._stopping  # read before flushing: what was posted before `stop` is sent
            self.flush()
            more = self.socket in ready and self.receive_batch(_BATCH)
            for socket, callback in self._watched.items():
                if socket in ready:
                    callback()
            if stopping:
                return
            now_s = time.monotonic()
            if now_s >= next_tick_s:
                self.on_tick(now_s, max(0.0, now_s - next_tick_s - self._tick_s), not more)
                next_tick_s = now_s + self._tick_s
                self.flush()

    def flush(self) -> None:
        while self._outbox:
            item = self._outbox.popleft()
            if callable(item):
                item()
                continue
            try:
                self.socket.send_multipart(item, flags=zmq.NOBLOCK, copy=False)
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                    raise
                self.on_unroutable(item)

    def receive_batch(self, count: int) -> bool:
        """Hand on up to `count` messages; False if there were fewer."""
        for _ in range(count):
            try:
                parts = self.socket.recv_multipart(flags=zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return False
            self.on_message(parts)
        return True

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is being woken already, or has ended
            self._wake_in.send(b"\0")

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while len(self._wake_out.recv(4096)) == 4096:
                pass
