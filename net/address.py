"""Where a party listens or connects: reading addresses, and telling this machine from others."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from bunet.net.channel import AddressError

_TCP = re.compile(r"(?:tcp://)?(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^:/\[\]]+)):(?P<port>[0-9]{1,5}|\*)")


@dataclass(frozen=True, slots=True)
class Address:
    """endpoint: as ZeroMQ wants it, with a numeric host. local: reachable from this machine alone."""

    endpoint: str
    local: bool
    ipv6: bool = False


def parse(text: str) -> Address:
    """Read `tcp://HOST:PORT`, `HOST:PORT` (port 0: any free one; host `*`: every interface) or `ipc://PATH`.

    A host name is resolved here, once, so that what was judged local is what is used. Raises AddressError.
    """
    if text.startswith("ipc://") and len(text) > len("ipc://"):
        return Address(text, local=True)
    match = _TCP.fullmatch(text)
    if match is None:
        raise AddressError(f"address {text!r} is not understood: write tcp://HOST:PORT or ipc://PATH")
    port = 0 if match["port"] == "*" else int(match["port"])
    if port > 65535:
        raise AddressError(f"address {text!r} has a port above 65535")
    host = match["six"] or match["host"]
    if host == "*":
        return Address(f"tcp://0.0.0.0:{port}", local=False)
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise AddressError(f"address {text!r}: there is no host of the name {host!r}") from None
    numeric = ipaddress.ip_address(str(entries[0][4][0]).partition("%")[0])
    shown = f"[{numeric}]" if numeric.version == 6 else str(numeric)
    return Address(f"tcp://{shown}:{port}", numeric.is_loopback, numeric.version == 6)
