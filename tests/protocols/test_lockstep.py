"""Lockstep: order, checks and counts on little made-up protocols."""

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from bunet.protocols.counting import counted
from bunet.protocols.lockstep import lockstep
from bunet.protocols.steps import Receive, Send, Steps, spec

one = np.zeros(3, np.uint32)


def sender(count: int, tag: str = "m", array: np.ndarray = one) -> Steps[str]:
    for _ in range(count):
        yield Send(tag, (array,))
    return "sent"


def receiver(count: int, tag: str = "m", shape: tuple[int] = (3,)) -> Steps[np.ndarray]:
    for _ in range(count):
        (array,) = yield Receive(tag, (spec(np.uint32, *shape),))
    return array


def ping(times: int) -> Steps[None]:
    for _ in range(times):
        yield Send("ping", (one,))
        yield Receive("pong", (spec(np.uint32, 3),))


def pong(times: int) -> Steps[None]:
    for _ in range(times):
        yield Receive("ping", (spec(np.uint32, 3),))
        yield Send("pong", (one,))


def swap() -> Steps[None]:
    yield Send("swap", (one,))
    yield Receive("swap", (spec(np.uint32, 3),))


def test_many_messages_in_a_row_are_one_round() -> None:
    a, b, traffic = counted(sender(5), receiver(5))
    assert a == "sent"
    assert (b == one).all()
    assert (traffic.alice_bytes, traffic.bob_bytes, traffic.rounds, traffic.messages) == (60, 0, 1, 5)


def test_ping_pong_takes_two_rounds_each_time() -> None:
    _, _, traffic = counted(ping(4), pong(4))
    assert traffic.rounds == 8


def test_a_simultaneous_exchange_is_one_round() -> None:
    _, _, traffic = counted(swap(), swap())
    assert (traffic.rounds, traffic.alice_bytes, traffic.bob_bytes) == (1, 12, 12)


def test_delivered_arrays_are_read_only() -> None:
    _, received = lockstep(sender(1, array=np.ones(3, np.uint32)), receiver(1))
    with pytest.raises(ValueError, match="read-only"):
        received[0] = 1


@pytest.mark.parametrize(
    ("alice", "bob", "message"),
    [
        (sender(1, tag="x"), receiver(1), "expected message 'm', the peer sent 'x'"),
        (sender(1), receiver(1, shape=(4,)), r"expected uint32\[4\], the peer sent uint32\[3\]"),
        (sender(1, array=np.zeros(3, np.uint64)), receiver(1), r"the peer sent uint64\[3\]"),
        (sender(1), receiver(2), "both halves wait"),
        (receiver(1), receiver(1), "both halves wait: Alice for 'm', Bob for 'm'"),
        (sender(2), receiver(1), "Bob ended without reading 'm'"),
    ],
)
def test_a_message_that_nobody_waits_for_is_a_defect_and_no_peers_fault(
    alice: Generator[Any, Any, Any], bob: Generator[Any, Any, Any], message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        counted(alice, bob)


def test_a_strided_array_may_not_be_sent() -> None:
    with pytest.raises(ValueError, match="C-contiguous"):
        lockstep(sender(1, array=np.zeros(6, np.uint32)[::2]), receiver(1))
