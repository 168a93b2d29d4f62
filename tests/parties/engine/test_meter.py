"""Bytes on the move: what a channel says of them, and the layers that they are booked to."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bunet.net.channel import Moved
from bunet.net.frame import Control, Frame
from bunet.net.link import Link
from bunet.net.shaper import Shaper
from bunet.parties.engine.meter import EVERY_S, TrafficMeter
from bunet.parties.events import Traffic, from_document, to_document
from tests.net.manual_clock import ManualClock
from tests.net.memory import MemoryChannel, memory_pair

LINK = Link(8e6, 0.2)  # a byte takes a microsecond, and 0.1 s to get there


def frame(nbytes: int, layer: int = 1, step: int = 0) -> Frame:
    return Frame(0, layer, step, 1, "t", (np.zeros(nbytes, np.uint8),))


def at(clock: ManualClock, seconds: float) -> None:
    """Seconds after the clock's start."""
    clock.advance(1000.0 + seconds - clock.now())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ends(clock: ManualClock) -> tuple[Shaper, Shaper]:
    alice, bob = memory_pair(clock)
    return Shaper(alice, LINK, clock), Shaper(bob, LINK, clock)


def test_what_was_sent_leaves_at_the_links_pace(ends: tuple[Shaper, Shaper], clock: ManualClock) -> None:
    alice, _ = ends
    alice.send(frame(1_000_000))
    alice.send(frame(500_000, step=1))
    assert alice.counters.payload_bytes_sent == 1_500_000, "to the channel's user all is sent"
    for seconds, left in ((0.0, 0), (0.25, 250_000), (1.0, 1_000_000), (1.25, 1_250_000), (2.0, 1_500_000)):
        at(clock, seconds)
        assert alice.moved().left == pytest.approx(left, abs=100)  # headers have their share
    alice.send(frame(100_000, step=2))
    at(clock, 2.05)
    assert alice.moved().left == pytest.approx(1_550_000, abs=100)


def test_a_message_arrives_byte_by_byte(ends: tuple[Shaper, Shaper], clock: ManualClock) -> None:
    alice, bob = ends
    sent = frame(1_000_000)
    alice.send(sent)
    assert bob.moved() == Moved(0)
    assert bob.receive(0.0) is None, "it is not whole before its time"
    for seconds, arrived in ((0.05, 0), (0.1, 0), (0.35, 250_000), (1.05, 950_000)):
        at(clock, seconds)
        moved = bob.moved()
        assert isinstance(moved.arriving, Frame)
        assert moved.arrived == pytest.approx(arrived, abs=100)
    at(clock, 1.2)
    assert isinstance(bob.receive(0.0), Frame)
    assert bob.moved() == Moved(0)


def test_without_a_link_what_is_sent_has_left() -> None:
    alice, bob = memory_pair()
    alice.send(frame(1000))
    alice.send(Control("bye", {}))
    assert alice.moved() == Moved(1000)
    assert bob.moved() == Moved(0)


class Told:
    """A channel that says what it is told to."""

    def __init__(self) -> None:
        self.now = Moved(0)

    def moved(self) -> Moved:
        return self.now


def test_bytes_are_booked_to_their_layers() -> None:
    channel, seconds = Told(), [0.0]
    meter = TrafficMeter("alice", channel, lambda: seconds[0])  # type: ignore[arg-type]

    def report(left: int, arriving: Frame | None = None, arrived: int = 0) -> Traffic:
        channel.now = Moved(left, arriving, arrived)
        seconds[0] += EVERY_S
        found = meter.report()
        assert found is not None
        return found

    meter.sent((0, 1), 100)
    meter.sent((1, 1), 50)
    meter.sent((0, 1), 30)
    assert meter.report() is None, "not before its time"
    assert report(0).layers == ((0, 1, 0, 0), (1, 1, 0, 0))
    assert report(40).layers == ((0, 1, 40, 0), (1, 1, 0, 0))
    assert report(120).layers == ((0, 1, 100, 0), (1, 1, 20, 0))
    meter.received(frame(7))
    assert report(165, frame(9, layer=2), 4) == Traffic("alice", 165, 11, ((0, 1, 115, 7), (1, 1, 50, 0), (0, 2, 0, 4)))
    meter.ended((0, 1))
    assert report(180) == Traffic("alice", 180, 7, ((1, 1, 50, 0),)), "the rest of a layer that has ended is the session's"


def test_a_report_travels_as_an_event() -> None:
    event = Traffic("bob", 5, 6, ((0, 1, 2, 3),))
    assert from_document(json.loads(json.dumps(to_document(event)))) == event
    for layers in ([[1, 2, 3]], 5, [7]):
        with pytest.raises(ValueError, match="not an event"):
            from_document({**to_document(event), "layers": layers})


def test_a_memory_channel_needs_no_link(clock: ManualClock) -> None:
    alice, _ = memory_pair(clock)
    assert isinstance(alice, MemoryChannel)
    shaped = Shaper(alice, Link(), clock)
    shaped.send(frame(10))
    assert shaped.moved().left == 10
