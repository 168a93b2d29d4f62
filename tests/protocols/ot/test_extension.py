from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.context import Context, Role
from bunet.protocols.counting import counted
from bunet.protocols.lockstep import lockstep
from bunet.protocols.ot import base, extension, iknp
from bunet.protocols.random import Random
from bunet.protocols.steps import ProtocolError, Receive, Send, Steps, spec
from tests.protocols.contexts import contexts

COUNTS = [0, 1, 127, 128, 129, 1000, 1024, 1025, 9001]


kinds = pytest.mark.parametrize("kind", extension.NAMES)


@kinds
@pytest.mark.parametrize("sender", list(Role))
def test_rows_differ_by_the_chosen_delta(kind: str, sender: Role) -> None:
    for count in COUNTS:
        alice, bob = contexts(ot=kind)
        choices = Random().bits(count)
        if sender is Role.ALICE:
            q, t, traffic = counted(extension.send(alice, count), extension.receive(bob, choices))
            delta = alice.ot.delta
        else:
            t, q, traffic = counted(extension.receive(alice, choices), extension.send(bob, count))
            delta = bob.ot.delta
        assert q.shape == t.shape == (count, 2)
        assert ((q ^ t) == choices[:, None] * delta).all()
        assert np.unique(q[:, 0]).size == np.unique(q[:, 1]).size == count
        cost = extension.cost(count, sender, kind)
        assert (cost.alice_bytes, cost.bob_bytes, cost.rounds) == (traffic.alice_bytes, traffic.bob_bytes, traffic.rounds)


@kinds
def test_stated_cost_of_the_setup_is_counted(kind: str) -> None:
    alice, bob = Context(Role.ALICE, Random()), Context(Role.BOB, Random())
    _, _, traffic = counted(extension.setup(alice, kind), extension.setup(bob, kind))
    cost = extension.setup_cost(kind)
    assert (cost.alice_bytes, cost.bob_bytes, cost.rounds) == (traffic.alice_bytes, traffic.bob_bytes, traffic.rounds)


def transcript(context: Context, choices: np.ndarray) -> np.ndarray:
    """The receiver's message."""
    step = next(extension.receive(context, choices))
    assert isinstance(step, Send)
    return step.arrays[0]


@kinds
def test_the_message_hides_the_choices(kind: str) -> None:
    """All-zero and all-one choices give messages without bias, at significance 1e-6."""
    _, bob = contexts(ot=kind)
    for choices in (np.zeros(1 << 14, np.uint8), np.ones(1 << 14, np.uint8)):
        message = transcript(bob, choices)
        ones, total = int(np.bitwise_count(message).sum()), 64 * message.size
        assert abs(ones - total / 2) < 4.9 * total**0.5 / 2


@kinds
def test_streams_never_repeat(kind: str) -> None:
    """Calls of one chain and of different chains take their columns at different places."""
    _, bob = contexts(ot=kind)
    choices = np.zeros(256, np.uint8)
    messages = [transcript(context, choices) for context in (bob, bob, bob.fork(7, 1), bob.fork(7, 2))]
    words = np.concatenate(messages)
    assert np.unique(words).size == words.size


def result(steps: Generator[Any, Any, Any], message: tuple[np.ndarray] | None = None) -> np.ndarray:
    """What a half returns that ends once it has got the message, or once it has sent its own."""
    with pytest.raises(StopIteration) as stop:
        steps.send(message)
    return stop.value.value


@kinds
def test_chains_do_not_depend_on_their_order(kind: str) -> None:
    alice, bob = contexts(ot=kind)
    choices = Random().bits(300)
    messages, rows = [], []
    for i in (1001, 1002):
        steps = extension.receive(bob.fork(alice.stream.slice, i), choices)
        first = next(steps)
        assert isinstance(first, Send)
        messages.append(first.arrays[0])
        rows.append(result(steps))
    for k, i in ((1, 1002), (0, 1001)):
        steps = extension.send(alice.fork(alice.stream.slice, i), 300)
        assert isinstance(next(steps), Receive)
        assert ((result(steps, (messages[k],)) ^ rows[k]) == choices[:, None] * alice.ot.delta).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 5000))
def test_bytes(count: int) -> None:
    for kind, k in base.GROUP_BITS.items():
        assert extension.bytes_for(count, kind) == (count + 127) // 128 * 2048 // k


def test_the_setting() -> None:
    assert extension.of({}) == "iknp"
    assert extension.of({"ot": "softspoken-8"}) == "softspoken-8"
    with pytest.raises(ValueError, match="'softspoken-3' is not one of iknp, softspoken-2"):
        extension.of({"ot": "softspoken-3"})


def test_bad_arguments() -> None:
    alice, bob = contexts()
    with pytest.raises(ValueError, match="0 or 1"):
        next(extension.receive(bob, np.full(3, 2, np.uint8)))
    with pytest.raises(ValueError, match="choices must be uint8"):
        next(extension.receive(bob, np.zeros((3, 1), np.uint8)))
    with pytest.raises(ValueError, match="choices must be uint8"):
        next(extension.receive(bob, np.zeros(3, np.int64)))
    with pytest.raises(ValueError, match="cannot extend to -1"):
        next(extension.send(alice, -1))
    with pytest.raises(ValueError, match="no base OTs"):
        next(extension.send(Context(Role.ALICE, Random()), 5))
    with pytest.raises(ValueError, match="set up for softspoken-2, not for iknp"):
        next(iknp.send(contexts(ot="softspoken-2")[0], 5))


def test_a_message_of_the_wrong_size_is_refused() -> None:
    alice, bob = contexts()

    def short() -> Steps[None]:
        yield Send("iknp", (np.zeros(256, np.uint64),))
        yield Receive("never", (spec(np.uint8, 1),))

    with pytest.raises(ProtocolError, match="iknp: expected"):
        lockstep(extension.send(alice, 129), short())
    with pytest.raises(ProtocolError, match="iknp: expected"):
        lockstep(extension.send(alice, 128), extension.receive(bob, np.zeros(129, np.uint8)))
