"""What every channel promises, held against every channel (the idea of trio's check_two_way_stream)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.net.channel import ChannelClosed
from bunet.net.frame import Control, Frame, MalformedFrame, encode
from tests.net.channels import CHANNELS, LIMITS, Pair

WAIT_S = 20.0


@pytest.fixture(params=CHANNELS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    with CHANNELS[request.param](tmp_path) as (alice, bob):
        yield alice, bob
        alice.close()
        bob.close()


def frame(number: int = 0, *arrays: np.ndarray) -> Frame:
    return Frame(1, 2, 3, number, "test", arrays)


def random_words(nbytes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 64, nbytes // 8, dtype=np.uint64)


def test_frames_arrive_as_sent_and_read_only(pair: Pair) -> None:
    arrays: tuple[np.ndarray, ...] = (
        np.arange(7, dtype=np.uint8),
        random_words(4096).reshape(2, 4, 64),
        np.zeros((3, 0), np.uint32),
        np.array(5, np.uint32),
        random_words(1 << 20),
    )
    for sender, receiver in (pair, pair[::-1]):
        sender.send(Frame(7, 65535, 3, 2**32 - 1, "tag/ä", arrays))
        got = receiver.receive(WAIT_S)
        assert isinstance(got, Frame)
        assert (got.slice, got.layer, got.step, got.round, got.tag) == (7, 65535, 3, 2**32 - 1, "tag/ä")
        assert len(got.arrays) == len(arrays)
        for ours, theirs in zip(arrays, got.arrays, strict=True):
            assert theirs.dtype == ours.dtype
            assert theirs.shape == ours.shape
            assert np.array_equal(theirs, ours)
            assert theirs.flags.aligned
            assert theirs.flags.c_contiguous
            assert not theirs.flags.writeable


def test_received_arrays_can_be_sent_on(pair: Pair) -> None:
    alice, bob = pair
    words = random_words(1 << 20)
    alice.send(frame(0, words, words[:1]))
    got = bob.receive(WAIT_S)
    assert isinstance(got, Frame)
    bob.send(got)
    del got
    back = alice.receive(WAIT_S)
    assert isinstance(back, Frame)
    assert np.array_equal(back.arrays[0], words)


def test_control_messages_arrive_as_sent(pair: Pair) -> None:
    alice, bob = pair
    message = Control("error", {"message": "nö", "n": [1, -2, 2.5, None, True, b"\0\1"], "deep": {"a": {"b": []}}})
    alice.send(message)
    assert bob.receive(WAIT_S) == message
    bob.send(Control("bye"))  # a user's own kinds never mean anything to the channel
    bob.send(Control("hello"))
    assert alice.receive(WAIT_S) == Control("bye")
    assert alice.receive(WAIT_S) == Control("hello")


def test_order_and_counters(pair: Pair) -> None:
    alice, bob = pair
    sizes = [int(size) for size in np.random.default_rng(1).integers(0, 5000, 200)]
    messages = [frame(i, np.full(size, i % 256, np.uint8)) for i, size in enumerate(sizes)]
    for message in messages:
        alice.send(message)
        bob.send(Control("n", {"n": message.round}))
    for i, size in enumerate(sizes):
        got = bob.receive(WAIT_S)
        assert isinstance(got, Frame)
        assert got.round == i
        assert got.nbytes == size
        assert alice.receive(WAIT_S) == Control("n", {"n": i})
    wire = sum(encode(message).wire_bytes for message in messages)
    controls = sum(encode(Control("n", {"n": i})).wire_bytes for i in range(200))
    ours, theirs = alice.counters, bob.counters
    assert (ours.messages_sent, ours.payload_bytes_sent, ours.wire_bytes_sent) == (200, sum(sizes), wire)
    assert (ours.wire_bytes_received, theirs.wire_bytes_received) == (controls, wire)
    assert (theirs.messages_sent, theirs.payload_bytes_sent, theirs.wire_bytes_sent) == (200, 0, controls)


def test_receive_times_out_with_none(pair: Pair) -> None:
    alice, bob = pair
    assert bob.receive(0) is None
    assert bob.receive(0.02) is None
    alice.send(frame(1))
    assert bob.receive(WAIT_S) is not None
    assert bob.receive(0) is None


def test_any_thread_may_send(pair: Pair) -> None:
    alice, bob = pair

    def work(sender: int) -> None:
        for i in range(50):
            alice.send(Frame(sender, 0, 0, i, "", (np.full(100, sender, np.uint32),)))

    threads = [threading.Thread(target=work, args=(sender,)) for sender in range(4)]
    for thread in threads:
        thread.start()
    seen = [0] * 4
    for _ in range(200):
        got = bob.receive(WAIT_S)
        assert isinstance(got, Frame)
        assert got.round == seen[got.slice]
        assert (got.arrays[0] == got.slice).all()
        seen[got.slice] += 1
    for thread in threads:
        thread.join()
    assert seen == [50] * 4


def test_both_may_send_much_at_once(pair: Pair) -> None:
    """Neither waits for the other to receive: a protocol in which both speak first does not lock up."""
    words = random_words(4 << 20)
    for channel in pair:
        for i in range(4):
            channel.send(frame(i, words))
    for channel in pair:
        for i in range(4):
            got = channel.receive(WAIT_S)
            assert isinstance(got, Frame)
            assert got.round == i
            assert np.array_equal(got.arrays[0], words)


@pytest.mark.parametrize("closer", [0, 1])
def test_close_delivers_what_was_sent(pair: Pair, closer: int) -> None:
    one, other = pair[closer], pair[1 - closer]
    words = random_words(1 << 20)
    other.send(frame())  # never read by the one who closes
    for i in range(8):
        one.send(frame(i, words))
    one.close()
    for i in range(8):
        got = other.receive(WAIT_S)
        assert isinstance(got, Frame)
        assert got.round == i
        assert np.array_equal(got.arrays[0], words)
    for _ in range(2):  # the end stays the end
        with pytest.raises(ChannelClosed, match="peer"):
            other.receive(WAIT_S)
    with pytest.raises(ChannelClosed):
        other.send(frame())
    other.close()


def test_after_close(pair: Pair) -> None:
    for channel in pair:
        channel.close()
        channel.close()
        with pytest.raises(ChannelClosed):
            channel.send(frame())
        with pytest.raises(ChannelClosed):
            channel.receive(0)
        assert channel.counters.messages_sent == 0


@pytest.mark.parametrize("closer", [0, 1])
def test_close_wakes_who_receives(pair: Pair, closer: int) -> None:
    ended: list[BaseException] = []

    def work() -> None:
        try:
            pair[0].receive()
        except ChannelClosed as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.02)
    pair[closer].close()
    thread.join(WAIT_S)
    assert len(ended) == 1


def test_what_may_not_travel_is_refused_at_once(pair: Pair) -> None:
    alice, bob = pair
    bad: list[tuple[type[Exception], Any]] = [
        (TypeError, frame(0, np.zeros(3))),
        (TypeError, frame(0, np.zeros(3, np.int64))),
        (TypeError, frame(0, np.zeros(3, ">u4"))),
        (TypeError, frame(0, [1, 2])),  # type: ignore[arg-type]
        (TypeError, frame(0, np.array([None]))),
        (TypeError, "text"),
        (TypeError, Control("x", {"a": object()})),
        (TypeError, Control("x", {1: 2})),  # type: ignore[dict-item]
        (ValueError, frame(0, np.zeros((4, 4), np.uint8).T[:2])),
        (ValueError, frame(-1)),
        (ValueError, frame(2**32)),
        (ValueError, Frame(0, 0, 0, 0, "t" * 201)),
        (ValueError, frame(0, *[np.zeros(1, np.uint8)] * (LIMITS.arrays + 1))),
        (ValueError, frame(0, np.zeros(LIMITS.nbytes + 1, np.uint8))),
        (ValueError, Control("x", {"a": "b" * LIMITS.header})),
        (ValueError, Control("x", {"a": 2**64})),
    ]
    for kind, message in bad:
        with pytest.raises(kind):
            alice.send(message)
    assert alice.counters.messages_sent == 0
    alice.send(frame(5))
    got = bob.receive(WAIT_S)
    assert isinstance(got, Frame)
    assert got.round == 5


def test_a_malformed_frame_is_the_receivers_error_and_can_be_answered(pair: Pair) -> None:
    alice, bob = pair
    inner: Any = getattr(alice, "_inner", alice)
    alice.send(frame(1))
    if getattr(alice, "_holder", None) is not None:
        assert bob.receive(WAIT_S) is not None  # held at the sender: let it pass before what goes by it
        alice.send(frame(1))
        while inner.counters.messages_sent < 2:
            time.sleep(0.001)
    inner._post([b"\0" * 8 + b"nonsense"])
    alice.send(frame(2))
    assert bob.receive(WAIT_S) is not None
    for _ in range(2):
        with pytest.raises(MalformedFrame):
            bob.receive(WAIT_S)
    bob.send(Control("error", {"message": "malformed"}))
    assert alice.receive(WAIT_S) == Control("error", {"message": "malformed"})
