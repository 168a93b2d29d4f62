"""Whose fault it was follows from the class of the error, in a party's events and in what its peer is told."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest

from bunet.models.errors import LocalError, PeerError, UsageError
from bunet.models.files.disk_space import DiskFull
from bunet.models.integers import IntegerWeights
from bunet.models.model_card import ModelWish
from bunet.models.program import Program
from bunet.net.channel import AddressError, ChannelError, PeerGone, QueueChannel
from bunet.net.frame import Control, MalformedFrame
from bunet.net.link import Link
from bunet.parties import alice, bob
from bunet.parties.events import Event, Failed, from_document, to_document
from bunet.parties.input_slices import InputSlices
from bunet.parties.run_options import RunOptions
from bunet.parties.session import handshake
from bunet.parties.session.handshake import Request
from bunet.parties.session.run import Hooks
from bunet.parties.store import CompiledStore, Offer
from bunet.protocols import registry
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context
from bunet.protocols.cost import Cost
from bunet.protocols.registry import Layer, Protocol
from bunet.protocols.steps import Send, Steps
from tests.net.memory import memory_pair
from tests.parties.programs import small

FILE = "/home/ward/ct.npz"


@pytest.mark.parametrize(
    ("error", "fault", "raised"),
    [
        (UsageError(f"{FILE}: is no volume", "give another"), "here", LocalError),
        (DiskFull("no room in /a: the disk is full"), "here", LocalError),
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
        (DiskFull(f"no room in {Path(FILE).parent}: the disk is full"), "the disk of alice is full"),
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


# --- a session at Bob: what its client is told, what the event says, what is logged ----------------------------------


class Spoiled:
    """A store of which every question fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def offer(self, shape: tuple[int, int, int], format: str | None, readout: str | None, wish: ModelWish) -> Offer:
        raise self.error

    def weights(self, program: Program) -> Mapping[str, IntegerWeights]:
        raise self.error


def served(store: bob.Store, *sent: Control) -> tuple[list[tuple[str, Any]], Failed]:
    """(what a client is told who has sent these, Bob's last event)."""
    hers, his = memory_pair()
    for mine in sent:
        hers.send(mine)
    events: list[Event] = []
    places = threading.BoundedSemaphore()
    assert places.acquire()
    bob._guarded(bob.Service(store, RunOptions(), Hooks(events.append)), his, places)
    heard = []
    with suppress(ChannelError):  # he has closed the channel
        while True:
            message = hers.receive(10)
            assert isinstance(message, Control)
            heard.append((message.type, message.body.get("message")))
    assert isinstance(events[-1], Failed)
    return heard, events[-1]


def opened(request: Request) -> Control:
    return Control("open", handshake.opening(request.document()))


@pytest.mark.parametrize(
    ("error", "told", "fault"),
    [
        (UsageError(f"{FILE}: is no model"), "bob cannot go on, and ends the session", "here"),
        (LocalError(f"{FILE} cannot be read"), "bob cannot go on, and ends the session", "here"),
        (DiskFull(f"no room in {FILE}: the disk is full"), "the disk of bob is full", "here"),
        (PeerError("Bob does not serve that"), "Bob does not serve that", "peer"),
    ],
)
def test_a_client_is_told_nothing_of_bobs_files(
    error: Exception, told: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        heard, event = served(Spoiled(error), opened(Request((5, 16, 16), 1)))
    assert {*heard} == {("error", told)}
    assert event == Failed("bob", f"session of memory pair ended: {error}", fault)
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert logged == ([] if fault == "peer" else [error]), "with its traceback, unless it is the peer's fault"


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ({"protocols": {"relu": "magic"}}, "no protocol 'magic' for relu"),
        ({"protocols": {"nonsense": "gc"}}, "neither an operation nor a layer"),
        ({"settings": {"ot": "ferret"}}, "setting ot=ferret is not one of iknp"),
    ],
)
def test_a_plan_that_cannot_be_is_the_fault_of_who_asks(run: dict[str, Any], sentence: str) -> None:
    compiled = small()
    request = Request(compiled.program.input.type.shape, 1, RunOptions().model_copy(update=run))
    heard, event = served(CompiledStore([compiled]), opened(request))
    assert event.fault == "peer"
    assert {kind for kind, _ in heard} == {"error"}
    assert all(sentence in message and event.message.endswith(message) for _, message in heard)


def test_a_half_of_ours_that_is_broken_is_not_the_peers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is met in the warm-up, which runs both of our own halves."""

    def talks(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
        yield Send("nobody reads this", (np.zeros(1, np.uint8),))
        return share

    def is_deaf(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
        return share
        yield

    registry.load()
    monkeypatch.setattr(registry, "_PROTOCOLS", dict(registry._PROTOCOLS))
    registry.register(Protocol("relu", "deaf", talks, is_deaf, lambda layer: Cost()))
    program = small().program
    request = Request(program.input.type.shape, 1, RunOptions(protocols={"relu": "deaf"}))
    heard, event = served(CompiledStore([small()]), opened(request), Control("ready", {"digest": program.digest()}))
    assert heard == [("accept", None)], "nothing of the defect"
    assert event.fault == "here"
    assert event.message.endswith("internal error: RuntimeError: Bob ended without reading 'nobody reads this'")


def test_a_package_that_cannot_be_loaded_is_met_before_the_peer_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    why = UsageError(f"the protocol package toy (toy) cannot be loaded: no module in {FILE}")

    def broken() -> Never:
        raise why

    hers, his = memory_pair()
    events: list[Event] = []
    monkeypatch.setattr(registry, "load", broken)
    with pytest.raises(UsageError, match="package toy"):
        bob.Service(Spoiled(why), RunOptions(), Hooks(events.append))
    with pytest.raises(UsageError, match="package toy"):
        alice.run(
            lambda: hers,
            Request((5, 16, 16), 1),
            InputSlices([("z", 0)], lambda program, k: np.zeros((5, 16, 16), np.int64)),
            lambda job, result: None,
            Hooks(events.append),
        )
    assert events == [Failed("alice", str(why), "here")]
    with pytest.raises(ChannelError):
        his.receive(10)
