"""The shaper against the ideal link, exactly, on a clock that stands still or jumps."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.net.channel import ChannelClosed
from bunet.net.clock import RealClock
from bunet.net.frame import Control, Frame, encode
from bunet.net.link import PRESETS, Link
from bunet.net.shaper import Pacer, Shaper
from tests.net.manual_clock import ManualClock
from tests.net.memory import memory_pair

SENDS = st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 10**7)), min_size=1, max_size=20)


def frame(nbytes: int) -> Frame:
    return Frame(0, 0, 0, 0, "", (np.zeros(nbytes, np.uint8),))


def ideal(link: Link, sends: list[tuple[float, int]]) -> list[float]:
    """Arrivals over a link, by bookkeeping of when it is busy; written apart from the Pacer."""
    now = busy_until = 0.0
    arrivals = []
    for pause, nbytes in sends:
        now += pause
        start = busy_until if busy_until > now else now
        busy_until = start + 8 * nbytes / link.bandwidth_bps
        arrivals.append(busy_until + link.rtt_s / 2)
    return arrivals


@given(st.sampled_from(sorted(PRESETS)), SENDS)
@settings(max_examples=60, deadline=None)
def test_pacer_is_the_ideal_link(name: str, sends: list[tuple[float, int]]) -> None:
    pacer, now, arrivals = Pacer(PRESETS[name]), 0.0, []
    for pause, nbytes in sends:
        now += pause
        arrivals.append(pacer.arrival_s(now, nbytes))
    assert arrivals == pytest.approx(ideal(PRESETS[name], sends), rel=1e-12, abs=1e-12)


@given(SENDS, st.floats(0, 0.3), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_jitter_delays_but_never_reorders(sends: list[tuple[float, int]], jitter_s: float, seed: int) -> None:
    plain, link = Link(400e6, 40e-3), Link(400e6, 40e-3, jitter_s)
    pacer, again, now, arrivals = Pacer(link, seed), Pacer(link, seed), 0.0, []
    for pause, nbytes in sends:
        now += pause
        arrivals.append(pacer.arrival_s(now, nbytes))
        assert again.arrival_s(now, nbytes) == arrivals[-1]
    assert arrivals == sorted(arrivals)
    latest = 0.0
    for arrival, without in zip(arrivals, ideal(plain, sends), strict=True):
        latest = max(latest, without)
        assert without - 1e-9 <= arrival <= latest + jitter_s + 1e-9


def test_jitter_spreads_over_its_range() -> None:
    pacer = Pacer(Link(math.inf, 0.0, 0.01), seed=3)
    delays = [pacer.arrival_s(i, 100) - i for i in range(1, 2001)]
    assert 0 <= min(delays) < 0.0005
    assert 0.0095 < max(delays) < 0.01
    assert np.mean(delays) == pytest.approx(0.005, rel=0.1)


@pytest.mark.parametrize("common_clock", [True, False])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_messages_arrive_when_the_link_says(name: str, common_clock: bool) -> None:
    """On a jumping clock the receiver sees exactly the ideal times, held at either end."""
    clock, link = ManualClock(1000.0, jump=True), PRESETS[name]
    alice, bob = memory_pair(clock, common_clock=common_clock)
    sender, receiver = Shaper(alice, link), Shaper(bob, link)
    for nbytes in (1 << 10, 1 << 20, 1 << 24):
        start_s, message = clock.now(), frame(nbytes)
        sender.send(message)
        assert receiver.receive(20) is not None
        expected_s = encode(message).wire_bytes * 8 / link.bandwidth_bps + link.rtt_s / 2
        assert clock.now() - start_s == pytest.approx(expected_s, rel=1e-9, abs=1e-9)


def test_a_stream_takes_its_bytes_and_one_latency() -> None:
    clock, link = ManualClock(jump=True), PRESETS["wan"]
    sender, receiver = (Shaper(end, link) for end in memory_pair(clock))
    start_s = clock.now()
    for _ in range(50):
        sender.send(frame(1 << 20))
    for _ in range(50):
        assert receiver.receive(20) is not None
    expected_s = sender.counters.wire_bytes_sent * 8 / 400e6 + 20e-3
    assert clock.now() - start_s == pytest.approx(expected_s, rel=1e-9)


def test_full_duplex_and_round_trip() -> None:
    clock, link = ManualClock(jump=True), Link(8e6, 0.2)
    alice, bob = (Shaper(end, link) for end in memory_pair(clock))
    start_s = clock.now()
    alice.send(frame(1_000_000))
    bob.send(frame(1_000_000))
    assert alice.receive(20) is not None
    assert bob.receive(20) is not None
    assert clock.now() - start_s == pytest.approx(1.1, abs=1e-3)  # and not 2.1
    start_s = clock.now()
    alice.send(Control("ping"))
    bob.receive(20)
    bob.send(Control("pong"))
    alice.receive(20)
    assert clock.now() - start_s == pytest.approx(0.2, abs=1e-3)


def test_nothing_arrives_before_its_time() -> None:
    clock = ManualClock()
    alice, bob = memory_pair(clock)
    sender = Shaper(alice, Link(8e6, 0.2))
    sender.send(frame(1_000_000 - encode(frame(0)).wire_bytes - 4))
    assert bob.receive(0) is None
    clock.advance(1.0999)
    assert bob.receive(0) is None
    clock.advance(0.0002)
    assert bob.receive(0) is not None
    assert bob.receive(0) is None


def test_a_short_wait_ends_before_a_late_message() -> None:
    clock = ManualClock(jump=True)
    alice, bob = memory_pair(clock)
    Shaper(alice, Link(math.inf, 2.0)).send(frame(0))
    start_s = clock.now()
    assert bob.receive(0.25) is None
    assert clock.now() == start_s + 0.25
    assert bob.receive(5.0) is not None
    assert clock.now() == start_s + 1.0


def test_one_side_alone_shapes_what_it_sends() -> None:
    clock = ManualClock(jump=True)
    alice, bob = memory_pair(clock)
    shaped = Shaper(alice, Link(math.inf, 2.0))
    start_s = clock.now()
    bob.send(frame(0))
    assert shaped.receive(1) is not None
    assert clock.now() == start_s
    shaped.send(frame(0))
    assert bob.receive(5) is not None
    assert clock.now() == start_s + 1.0


@pytest.mark.parametrize("common_clock", [True, False])
def test_loopback_passes_through(common_clock: bool) -> None:
    clock = ManualClock()  # would block for ever if anything waited
    sender, receiver = (Shaper(end, PRESETS["loopback"]) for end in memory_pair(clock, common_clock=common_clock))
    threads = threading.active_count()
    sender.send(frame(1 << 20))
    assert receiver.receive(0) is not None
    assert threading.active_count() == threads
    assert sender.counters.wire_bytes_sent == receiver.counters.wire_bytes_received > 1 << 20


def test_closing_wakes_who_waits_for_a_late_message() -> None:
    alice, bob = memory_pair(RealClock())
    Shaper(alice, Link(math.inf, 1000.0)).send(frame(0))
    timer = threading.Timer(0.02, bob.close)
    timer.start()
    with pytest.raises(ChannelClosed):
        bob.receive()
    timer.join()


def test_closing_does_not_wait_for_ever_for_held_messages() -> None:
    alice, bob = memory_pair(ManualClock(), common_clock=False)
    shaper = Shaper(alice, Link(math.inf, 1000.0), linger_s=0.05)
    shaper.send(frame(0))
    shaper.close()
    with pytest.raises(ChannelClosed):
        bob.receive(1)
