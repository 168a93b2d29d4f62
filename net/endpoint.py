"""The two ends of a ZeroMQ connection, each an I/O thread: Bob's with many channels, Alice's with one.

Below the user's messages the two ends exchange signals: hello and welcome (or refused) at the start, a ping whenever
one side has sent nothing for a heartbeat, bye at the end, answered by bye so that the last messages are known to have
arrived. Identities of clients are ZeroMQ's own, one for each connection: a connection that breaks is never resumed.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from bunet.net.channel import ChannelClosed, ChannelError, ConnectFailed, NotAllowed, PeerGone, QueueChannel
from bunet.net.clock import RealClock, host_token
from bunet.net.frame import VERSION, Limits, MalformedFrame, Signal, decode, encode
from bunet.net.iothread import IoThread, Parts, log

_STALL_S = 1.0  # a thread that was kept from running for longer does not hold its peers' silence against them
_SKEW_S = 60.0  # two machines' monotonic clocks may agree this closely by chance only


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A peer is gone after `silence_s` without a sign of life; it gives one every `heartbeat_s`.

    One message, all its parts, must pass the network within `silence_s`: at 100 Mbit/s, up to 75 MB.
    linger_s: how long closing waits for the peer's confirmation.
    """

    heartbeat_s: float = 1.0
    silence_s: float = 6.0
    linger_s: float = 3.0


class ZmqChannel(QueueChannel):
    """One end of a connection; made by `connect` and by `Listener.accept`."""

    def __init__(
        self, owner: Endpoint, identity: bytes, peer: str, limits: Limits, timing: Timing, *, common_clock: bool = False
    ) -> None:
        super().__init__(peer, RealClock(), limits, common_clock=common_clock)
        self.identity = identity
        self._owner = owner
        self._timing = timing
        self._farewell = threading.Event()  # the peer said bye, or will not
        self.last_seen_s = self.last_sent_s = time.monotonic()  # last_seen_s belongs to the I/O thread
        self.said_bye = False

    def _post(self, parts: list[bytes | memoryview]) -> None:
        self.last_sent_s = time.monotonic()
        self._owner.post([self.identity, *parts] if self._owner.routed else parts)

    def signal(self, message_type: str, **body: Any) -> None:
        self._post(encode(Signal(message_type, body)).parts())

    def close(self) -> None:
        self._closed.set()
        if self.end(ChannelClosed("this side has closed the channel")):
            self.said_bye = True
            self.signal("bye")
            self._farewell.wait(self._timing.linger_s)
        self._owner.release(self)

    def finish(self, error: ChannelError) -> None:
        """For the I/O thread: the peer is not there any more."""
        self._farewell.set()
        self.end(error)


class Endpoint(IoThread):
    """What both sides' I/O threads have in common: signals, heartbeats."""

    routed: bool

    def __init__(self, name: str, context: zmq.Context[Any], socket: zmq.Socket[Any], limits: Limits, timing: Timing) -> None:
        super().__init__(name, context, socket, min(1.0, timing.heartbeat_s / 2))
        self.limits = limits
        self.timing = timing
        self.channels: dict[bytes, ZmqChannel] = {}

    def release(self, channel: ZmqChannel) -> None:
        """From the user's thread: the channel is closed, nobody will use it again."""
        raise NotImplementedError

    def on_signal(self, identity: bytes, signal: Signal, header: zmq.Frame) -> None:
        raise NotImplementedError

    def on_stranger(self, identity: bytes) -> None:
        raise NotImplementedError

    def on_message(self, parts: Parts) -> None:
        identity = parts.pop(0).bytes if self.routed else b""
        channel = self.channels.get(identity)
        if channel is not None:
            channel.last_seen_s = time.monotonic()
        try:
            envelope = decode([part.buffer for part in parts], self.limits)
        except MalformedFrame as error:
            if channel is not None:
                log.warning("%s sent a malformed frame: %s", channel.peer, error)
                channel.deliver_error(error)
            else:
                self.on_stranger(identity)
            return
        if isinstance(envelope.message, Signal):
            self.on_signal(identity, envelope.message, parts[0])
        elif channel is None:
            self.on_stranger(identity)
        else:
            channel.deliver(envelope)

    def on_bye(self, channel: ZmqChannel) -> None:
        if not channel.said_bye:
            channel.said_bye = True
            channel.signal("bye")
        channel.finish(ChannelClosed("the peer has closed the channel"))
        self.channels.pop(channel.identity, None)

    def on_tick(self, now_s: float, stalled_s: float, drained: bool) -> None:
        for channel in list(self.channels.values()):
            if stalled_s > _STALL_S:  # suspended, or starved: the peer may have spoken meanwhile
                channel.last_seen_s = now_s
            silent_s = now_s - channel.last_seen_s
            if drained and silent_s > self.timing.silence_s:
                self.lose(channel, f"{channel.peer} has been silent for {silent_s:.1f} s")
            elif now_s - channel.last_sent_s >= self.timing.heartbeat_s * 0.9 and not channel.said_bye:
                channel.signal("ping")

    def lose(self, channel: ZmqChannel, reason: str) -> None:
        self.channels.pop(channel.identity, None)
        channel.finish(PeerGone(reason))

    def on_unroutable(self, parts: Parts) -> None:
        channel = self.channels.get(bytes(parts[0])) if self.routed else None
        if channel is not None:
            self.lose(channel, f"{channel.peer} has disconnected")

    def on_crash(self, error: Exception) -> None:
        for channel in self.channels.values():
            channel.finish(ChannelError(f"the network thread failed: {error}"))


class ServerEndpoint(Endpoint):
    routed = True

    def __init__(
        self,
        context: zmq.Context[Any],
        socket: zmq.Socket[Any],
        limits: Limits,
        timing: Timing,
        max_clients: int,
        names: Mapping[str, str],
    ) -> None:
        super().__init__("bunet-listener", context, socket, limits, timing)
        self.arrivals: queue.SimpleQueue[ZmqChannel | None] = queue.SimpleQueue()
        self._max_clients = max_clients
        self._names = names

    def release(self, channel: ZmqChannel) -> None:
        self.post(lambda: self._forget(channel))

    def _forget(self, channel: ZmqChannel) -> None:
        if self.channels.get(channel.identity) is channel:
            del self.channels[channel.identity]

    def on_signal(self, identity: bytes, signal: Signal, header: zmq.Frame) -> None:
        channel = self.channels.get(identity)
        if signal.type == "hello":
            self._on_hello(identity, signal.body, header)
        elif channel is None:
            if signal.type != "bye":
                self.on_stranger(identity)
        elif signal.type == "bye":
            self.on_bye(channel)

    def _on_hello(self, identity: bytes, body: dict[str, Any], header: zmq.Frame) -> None:
        channel = self.channels.get(identity)
        if channel is None:
            if body.get("version") != VERSION:
                self._refuse(identity, f"the server speaks wire version {VERSION}, this client {body.get('version')!r:.40}")
                return
            if len(self.channels) >= self._max_clients:
                self._refuse(identity, f"the server has its {self._max_clients} clients already")
                return
            sent_s = body.get("now")
            common = body.get("host") == host_token() and isinstance(sent_s, float) and 0 <= time.monotonic() - sent_s < _SKEW_S
            channel = ZmqChannel(self, identity, _describe(header, self._names), self.limits, self.timing, common_clock=common)
            self.channels[identity] = channel
            self.arrivals.put(channel)
        channel.signal("welcome", version=VERSION, common_clock=channel.common_clock)

    def on_stranger(self, identity: bytes) -> None:
        self._refuse(identity, "the server does not know this session (it may have been restarted)")

    def _refuse(self, identity: bytes, reason: str) -> None:
        self.post([identity, *encode(Signal("refused", {"reason": reason})).parts()])

    def on_crash(self, error: Exception) -> None:
        super().on_crash(error)
        self.arrivals.put(None)


class ClientEndpoint(Endpoint):
    routed = False

    def __init__(
        self, context: zmq.Context[Any], socket: zmq.Socket[Any], limits: Limits, timing: Timing, peer: str, endpoint: str
    ) -> None:
        super().__init__("bunet-client", context, socket, limits, timing)
        self._endpoint = endpoint
        self._monitor = socket.get_monitor_socket()
        self.watch(self._monitor, self._on_event)
        self.channel = ZmqChannel(self, b"", peer, limits, timing)
        self.decided = threading.Event()  # welcomed, or not to be
        self.failure: ConnectFailed | None = None
        self._connected = False
        self._cut_off = 0

    def start(self) -> None:
        self._hello()
        super().start()

    def _hello(self) -> None:
        self.channel.signal("hello", version=VERSION, host=host_token(), now=time.monotonic())

    def release(self, channel: ZmqChannel) -> None:
        alive = channel.ended is None or type(channel.ended) is ChannelClosed
        self.stop(linger_s=1.0 if alive else 0.0)

    def fail(self, failure: ConnectFailed) -> None:
        if not self.decided.is_set():
            self.failure = failure
            self.decided.set()

    def on_signal(self, identity: bytes, signal: Signal, header: zmq.Frame) -> None:
        welcomed = self.decided.is_set() and self.failure is None
        if signal.type == "welcome" and not self.decided.is_set():
            self.channel.common_clock = signal.body.get("common_clock") is True
            self.channel.last_seen_s = time.monotonic()
            self.channels[b""] = self.channel
            self.decided.set()
        elif signal.type == "refused" and not welcomed:
            self.fail(NotAllowed(f"refused: {signal.body.get('reason')!s:.300}"))
        elif signal.type == "refused" and self.channels:
            self.lose(self.channel, f"{signal.body.get('reason')!s:.300}")
        elif signal.type == "bye" and self.channels:
            self.on_bye(self.channel)

    def on_stranger(self, identity: bytes) -> None:
        self.fail(ConnectFailed(f"{self.channel.peer} answers, but does not speak this protocol"))

    def on_tick(self, now_s: float, stalled_s: float, drained: bool) -> None:
        super().on_tick(now_s, stalled_s, drained)
        if not self.decided.is_set() and self._connected:  # the first hello went down with a connection
            self._hello()

    def _on_event(self) -> None:
        event = recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"]
        peer = self.channel.peer
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._connected = True
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self.fail(NotAllowed(f"{peer} does not allow this client's key: ask for it to be put on the allow-list"))
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            self.fail(
                ConnectFailed(
                    f"{peer} answers, but not with the same security: one side uses CURVE keys and the "
                    "other does not, or it is no BUNET service"
                )
            )
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self._cut_off += 1  # a server that is being restarted may do so once or twice
            if self._cut_off >= 3:
                self.fail(ConnectFailed(f"{peer} breaks off the handshake: is the server's public key the right one?"))
        elif event == zmq.EVENT_DISCONNECTED and self._connected:
            while self.receive_batch(1000):  # all that came before the end is here already
                pass
            if self.channels:
                self.lose(self.channel, f"the connection to {peer} broke")
            if self.decided.is_set():  # no session is ever resumed, so there is no use in connecting again
                with contextlib.suppress(zmq.ZMQError):
                    self.socket.disconnect(self._endpoint)


def _describe(header: zmq.Frame, names: Mapping[str, str]) -> str:
    """Who sent this, as well as ZeroMQ knows: network address, and name or key where there is one."""
    properties = {}
    for name in ("Peer-Address", "User-Id"):
        with contextlib.suppress(zmq.ZMQError):  # there is no such property
            properties[name] = str(header.get(name))
    address = f"client at {properties.get('Peer-Address') or 'this machine'}"
    key = properties.get("User-Id")
    return f"{names.get(key, key)} ({address})" if key else address
