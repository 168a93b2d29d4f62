"""Channels over ZeroMQ: Bob listens (ROUTER), Alices connect (DEALER). One service serves many.

CURVE encrypts and authenticates both sides, and is required wherever another machine could listen or connect.
High-water marks are off: how much is in flight is for the protocols to bound. A message is limited by `Limits`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any

import zmq

from bunet.net import address as addresses
from bunet.net.channel import AddressError, ChannelClosed, ConnectFailed, InsecureChannel
from bunet.net.endpoint import ClientEndpoint, ServerEndpoint, Timing, ZmqChannel
from bunet.net.frame import Limits
from bunet.net.keys import KeyPair, check
from bunet.net.zap import Gatekeeper

__all__ = ["Listener", "Timing", "ZmqChannel", "connect"]


class Listener:
    """Binds at once; `accept` returns a channel for each client. Close it when done, best by `with`.

    address: see `bunet.net.address.parse`. server_keys, allowed_clients (public keys, with names if it is a mapping):
    CURVE; both are required unless the address is of this machine alone; there, without a list, any key will do.
    Raises AddressError where the address is wrong or in use, InsecureChannel, and keys.BadKey.
    """

    def __init__(
        self,
        address: str,
        server_keys: KeyPair | None = None,
        allowed_clients: Collection[str] | None = None,
        *,
        max_clients: int = 64,
        limits: Limits = Limits(),
        timing: Timing = Timing(),
    ) -> None:
        where = addresses.parse(address)
        if server_keys is None and allowed_clients is not None:
            raise InsecureChannel("an allow-list of clients means nothing without the server's own keys: give both")
        if not where.local and (server_keys is None or allowed_clients is None):
            raise InsecureChannel(
                f"refusing to listen at {address} without CURVE keys and an allow-list of clients, "
                "since other machines can reach it: make keys with `bunet keygen`"
            )
        allowed = None if allowed_clients is None else frozenset(check(key) for key in allowed_clients)
        context: zmq.Context[Any] = zmq.Context()
        socket = _socket(context, zmq.ROUTER, where, limits)
        socket.router_mandatory = 1
        names = allowed_clients if isinstance(allowed_clients, Mapping) else {}
        self._thread = ServerEndpoint(context, socket, limits, timing, max_clients, names)
        if server_keys is not None:
            gatekeeper = Gatekeeper(context, allowed)
            self._thread.watch(gatekeeper.socket, gatekeeper.answer)
            socket.curve_server = 1
            socket.curve_publickey = server_keys.public.encode()
            socket.curve_secretkey = server_keys.secret.encode()
            socket.zap_domain = b"bunet"
        try:
            socket.bind(where.endpoint)
        except zmq.ZMQError as error:
            self._thread.dispose()
            raise AddressError(_bind_problem(address, error)) from None
        #: where clients connect, with the real port
        self.address: str = str(socket.getsockopt_string(zmq.LAST_ENDPOINT))
        self._closed = False
        self._thread.start()

    def accept(self, timeout_s: float | None = None) -> ZmqChannel | None:
        """The next client's channel; None after `timeout_s` without one. ChannelClosed once the listener is closed."""
        if self._closed:
            raise ChannelClosed("the listener is closed")
        try:
            channel = self._thread.arrivals.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if channel is None:
            raise ChannelClosed("the listener is closed")
        return channel

    def close(self) -> None:
        """Close all its channels, then the address. A blocked `accept` raises ChannelClosed."""
        if self._closed:
            return
        self._closed = True
        self._thread.arrivals.put(None)
        closing = [threading.Thread(target=channel.close) for channel in list(self._thread.channels.values())]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
        self._thread.stop(linger_s=1.0)

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(
    address: str,
    client_keys: KeyPair | None = None,
    server_public: str | None = None,
    *,
    timeout_s: float = 10.0,
    limits: Limits = Limits(),
    timing: Timing = Timing(),
) -> ZmqChannel:
    """A channel to the listener at `address`, once it has answered; retries until `timeout_s` if nobody is there yet.

    client_keys, server_public: CURVE; both or none, and both unless the address is of this machine. Raises
    AddressError, InsecureChannel, NotAllowed (the server does not take this client), ConnectFailed, keys.BadKey.
    """
    where = addresses.parse(address)
    if (client_keys is None) != (server_public is None):
        raise InsecureChannel("CURVE needs the client's own key pair and the server's public key: give both or none")
    if not where.local and client_keys is None:
        raise InsecureChannel(
            f"refusing to connect to {address} without CURVE keys, since it is another machine: "
            "make keys with `bunet keygen` and get the server's public key"
        )
    server = "" if server_public is None else check(server_public, "the server's public key")
    context: zmq.Context[Any] = zmq.Context()
    socket = _socket(context, zmq.DEALER, where, limits)
    if client_keys is not None:
        socket.curve_publickey = client_keys.public.encode()
        socket.curve_secretkey = client_keys.secret.encode()
        socket.curve_serverkey = server.encode()
    thread = ClientEndpoint(context, socket, limits, timing, address, where.endpoint)
    try:
        socket.connect(where.endpoint)
    except zmq.ZMQError as error:
        thread.dispose()
        raise AddressError(f"cannot connect to {address}: {error.strerror}") from None
    thread.start()
    try:
        if not thread.decided.wait(timeout_s):
            thread.fail(ConnectFailed(f"nobody answered at {address} within {timeout_s:g} s: is the service running?"))
    except BaseException:
        thread.stop(linger_s=0.0)
        raise
    if thread.failure is not None:
        thread.stop(linger_s=0.0)
        raise thread.failure
    return thread.channel


def _socket(context: zmq.Context[Any], socket_type: int, where: addresses.Address, limits: Limits) -> zmq.Socket[Any]:
    socket: zmq.Socket[Any] = context.socket(socket_type)
    socket.sndhwm = socket.rcvhwm = 0
    socket.maxmsgsize = max(limits.nbytes, limits.header)  # of one part; libzmq hangs up on larger ones unread
    socket.linger = 0
    socket.ipv6 = where.ipv6
    return socket


def _bind_problem(address: str, error: zmq.ZMQError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"{address} is in use by another process: choose another port, or 0 for any free one"
    return f"cannot listen at {address}: {error.strerror}"
