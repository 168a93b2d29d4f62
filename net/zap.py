"""Who may connect: ZeroMQ's authentication protocol (RFC 27), answered from an allow-list of public keys."""

from __future__ import annotations

from typing import Any

import zmq
from zmq.utils import z85

from bunet.net.iothread import log


class Gatekeeper:
    """Answers, for all CURVE sockets of `context`, whether a client's key is allowed; None allows every key.

    The client has proved by then that it holds the secret to the key. To be polled by the thread that owns the context.
    """

    def __init__(self, context: zmq.Context[Any], allowed: frozenset[str] | None) -> None:
        self._allowed = allowed
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind("inproc://zeromq.zap.01")

    def answer(self) -> None:
        """Read one request and answer it; whatever is not a CURVE request of an allowed key is refused."""
        version, request, _domain, address, _identity, mechanism, *credentials = self.socket.recv_multipart()
        key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" and len(credentials[0]) == 32 else ""
        good = bool(key) and (self._allowed is None or key in self._allowed)
        if not good:
            log.warning("refused a client at %s: its key %s is not on the allow-list", address.decode(), key)
        status, text = (b"200", b"OK") if good else (b"400", b"key not allowed")
        self.socket.send_multipart([version, request, status, text, key.encode() if good else b"", b""])
