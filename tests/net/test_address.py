from __future__ import annotations

import pytest

from bunet.net.address import Address, parse
from bunet.net.channel import AddressError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:5555", Address("tcp://127.0.0.1:5555", True)),
        ("127.0.0.1:0", Address("tcp://127.0.0.1:0", True)),
        ("127.8.9.1:*", Address("tcp://127.8.9.1:0", True)),
        ("tcp://*:5555", Address("tcp://0.0.0.0:5555", False)),
        ("0.0.0.0:5555", Address("tcp://0.0.0.0:5555", False)),
        ("192.0.2.7:80", Address("tcp://192.0.2.7:80", False)),
        ("[::1]:80", Address("tcp://[::1]:80", True, True)),
        ("tcp://[2001:db8::1]:80", Address("tcp://[2001:db8::1]:80", False, True)),
        ("ipc:///tmp/bunet", Address("ipc:///tmp/bunet", True)),
    ],
)
def test_parse(text: str, address: Address) -> None:
    assert parse(text) == address


def test_localhost_is_local() -> None:
    assert parse("localhost:1").local


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp://",
        "5555",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:70000",
        "udp://1.2.3.4:5",
        "127.0.0.1:-1",
        "a:b:c",
        "ipc://",
        "::1:80",
        "no.such.host.invalid:80",
    ],
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(AddressError, match=r"^address "):
        parse(text)
