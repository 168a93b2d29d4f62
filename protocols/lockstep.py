"""Both halves of a protocol run in one thread, message by message, with every byte and round counted.

Over a network each half is run by `bunet.parties.engine.scheduler`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from bunet.protocols.steps import ArraySpec, ProtocolError, Receive, Send, Steps

A = TypeVar("A")
B = TypeVar("B")


@dataclass
class Traffic:
    """Counted traffic of one run; the meanings are those of `protocols.cost.Cost`."""

    alice_bytes: int = 0
    bob_bytes: int = 0
    rounds: int = 0
    alice_messages: int = 0
    bob_messages: int = 0

    @property
    def messages(self) -> int:
        return self.alice_messages + self.bob_messages


@dataclass
class _Message:
    tag: str
    arrays: tuple[np.ndarray, ...]
    round: int


@dataclass
class _Half:
    """One running generator, its mailbox and the round of the last message it has read."""

    steps: Steps[Any]
    mailbox: deque[_Message] = field(default_factory=deque)
    round: int = 0
    waiting: Receive | None = None
    started: bool = False
    finished: bool = False
    result: Any = None

    def advance(self, value: Any, deliver: Callable[[_Message, int], None]) -> None:
        """Run until the generator waits for a message or ends."""
        try:
            step = self.steps.send(value)
            while isinstance(step, Send):
                message = _Message(step.tag, tuple(_frozen(a) for a in step.arrays), self.round + 1)
                deliver(message, step.nbytes)
                step = self.steps.send(None)
            self.waiting = step
        except StopIteration as stop:
            self.finished, self.result = True, stop.value


def check_arrays(tag: str, expect: tuple[ArraySpec, ...], got_tag: str, arrays: tuple[np.ndarray, ...]) -> None:
    """Raise ProtocolError unless the message is the one that is waited for, in kinds and shapes."""
    if tag != got_tag:
        raise ProtocolError(f"expected message {tag!r}, the peer sent {got_tag!r}")
    if len(arrays) != len(expect):
        raise ProtocolError(f"{tag}: expected {len(expect)} arrays, the peer sent {len(arrays)}")
    for wanted, array in zip(expect, arrays, strict=True):
        if not wanted.matches(array):
            raise ProtocolError(
                f"{tag}: expected {wanted.dtype}{list(wanted.shape)}, the peer sent {array.dtype}{list(array.shape)}"
            )


def _frozen(array: np.ndarray) -> np.ndarray:
    """A read-only view, as the network would deliver it."""
    if not array.flags.c_contiguous:
        raise ValueError("a sent array must be C-contiguous")
    view = array.view()
    view.flags.writeable = False
    return view


def counted(alice: Steps[A], bob: Steps[B]) -> tuple[A, B, Traffic]:
    """Run both halves to the end in this thread; returns (Alice's result, Bob's result, exact traffic).

    Raises ProtocolError if a message is not what its receiver waits for, if both wait, or if messages are left over.
    """
    traffic = Traffic()
    a, b = _Half(alice), _Half(bob)

    def to_bob(message: _Message, nbytes: int) -> None:
        traffic.alice_bytes += nbytes
        traffic.alice_messages += 1
        traffic.rounds = max(traffic.rounds, message.round)
        b.mailbox.append(message)

    def to_alice(message: _Message, nbytes: int) -> None:
        traffic.bob_bytes += nbytes
        traffic.bob_messages += 1
        traffic.rounds = max(traffic.rounds, message.round)
        a.mailbox.append(message)

    while not (a.finished and b.finished):
        progress = _run(a, to_bob)
        progress |= _run(b, to_alice)
        if not progress:
            raise ProtocolError(f"both halves wait: Alice for {_wants(a)}, Bob for {_wants(b)}")
    for half, name in ((a, "Alice"), (b, "Bob")):
        if half.mailbox:
            raise ProtocolError(f"{name} ended without reading {half.mailbox[0].tag!r}")
    return a.result, b.result, traffic


def lockstep(alice: Steps[A], bob: Steps[B]) -> tuple[A, B]:
    """`counted` without the counts."""
    result_a, result_b, _ = counted(alice, bob)
    return result_a, result_b


def _wants(half: _Half) -> str:
    return repr(half.waiting.tag) if half.waiting else "nothing (it has ended)"


def _run(half: _Half, deliver: Callable[[_Message, int], None]) -> bool:
    """Advance one half by what its mailbox allows; True if it moved."""
    if half.finished:
        return False
    if not half.started:
        half.started = True
        half.advance(None, deliver)
        return True
    moved = False
    while half.waiting is not None and half.mailbox and not half.finished:
        message = half.mailbox.popleft()
        wanted, half.waiting = half.waiting, None
        check_arrays(wanted.tag, wanted.expect, message.tag, message.arrays)
        half.round = max(half.round, message.round)
        half.advance(message.arrays, deliver)
        moved = True
    return moved
