"""Whose fault it was follows from the class of the error, in a party's events and in what its peer is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bunet.models.errors import LocalError, PeerError, UsageError
from bunet.models.files.disk_space import NoRoom
from bunet.net.channel import AddressError, PeerGone, QueueChannel
from bunet.net.frame import MalformedFrame
from bunet.net.link import Link
from bunet.parties import alice
from bunet.parties.events import Event, Failed, from_document, to_document
from bunet.parties.session import handshake

FILE = "/home/ward/ct.npz"


@pytest.mark.parametrize(
    ("error", "fault", "raised"),
    [
        (UsageError(f"{FILE}: is no volume", "give another"), "here", LocalError),
        (NoRoom("no room in /a: the disk is full"), "here", LocalError),
        (PeerGone("Bob is gone"), "peer", PeerError),
        (MalformedFrame("a message has no parts"), "peer", PeerError),
        (ZeroDivisionError(), "here", LocalError),
    ],
)
def test_an_event_says_whose_fault_it_was(error: Exception, fault: str, raised: type[Exception]) -> None:
    event = Failed.of("bob", error, "session of x ended: ")
    assert event == Failed("bob", f"session of x ended: {error}" + "ZeroDivisionError" * (not str(error)), fault)
    again = from_document(json.loads(json.dumps(to_document(event))))
    assert isinstance(again, Failed)
    assert type(again.error()) is raised
    assert str(again.error()) == f"Bob: {event.message}"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PeerError("the peer sent data where 'ready' was due"), "the peer sent data where 'ready' was due"),
        (NoRoom(f"no room in {Path(FILE).parent}: the disk is full"), "the disk of alice is full"),
        (UsageError(f"{FILE}: is no volume"), "alice cannot go on, and ends the session"),
        (LocalError(f"{FILE} cannot be written"), "alice cannot go on, and ends the session"),
        (ValueError(FILE), "alice ended with an internal error"),
    ],
)
def test_a_peer_is_told_what_concerns_it_and_nothing_of_our_files(error: Exception, told: str) -> None:
    assert handshake.told(error, "alice") == told


def test_an_address_that_cannot_be_is_the_users_fault_and_stays_it() -> None:
    """Not the peer's, whom nobody has reached; the command ends with the status of wrong usage."""
    wrong = AddressError("address 'x' is not understood")
    events: list[Event] = []

    def connect() -> QueueChannel:
        raise wrong

    with pytest.raises(AddressError) as caught, alice.connected(connect, Link(), events.append):
        pass
    assert caught.value is wrong
    assert events == [Failed("alice", str(wrong), "here")]
