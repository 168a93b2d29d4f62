"""Both halves of a protocol run in one thread, message by message; `counting` counts what they send.

Over a network each half is run by `bunet.parties.engine.scheduler`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from bunet.protocols.context import Role
from bunet.protocols.steps import ProtocolError, Receive, Send, Steps, check_arrays

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Message:
    """What one half has sent. round: the length of the chain of messages that ends with it; see `cost.Cost`."""

    sender: Role
    tag: str
    arrays: tuple[np.ndarray, ...]
    nbytes: int
    round: int


Observer = Callable[[Message], None]


@dataclass
class _Half:
    """One running generator, its mailbox and the round of the last message it has read."""

    role: Role
    steps: Steps[Any]
    mailbox: deque[Message] = field(default_factory=deque)
    round: int = 0
    waiting: Receive | None = None
    started: bool = False
    finished: bool = False
    result: Any = None

    def run(self, deliver: Observer) -> bool:
        """Advance by what the mailbox allows; True if the half moved."""
        if self.finished:
            return False
        if not self.started:
            self.started = True
            self._advance(None, deliver)
            return True
        moved = False
        while self.waiting is not None and self.mailbox and not self.finished:
            message = self.mailbox.popleft()
            wanted, self.waiting = self.waiting, None
            check_arrays(wanted.tag, wanted.expect, message.tag, message.arrays)
            self.round = max(self.round, message.round)
            self._advance(message.arrays, deliver)
            moved = True
        return moved

    def _advance(self, value: Any, deliver: Observer) -> None:
        """Run until the generator waits for a message or ends."""
        try:
            step = self.steps.send(value)
            while isinstance(step, Send):
                arrays = tuple(_frozen(array) for array in step.arrays)
                deliver(Message(self.role, step.tag, arrays, step.nbytes, self.round + 1))
                step = self.steps.send(None)
            self.waiting = step
        except StopIteration as stop:
            self.finished, self.result = True, stop.value

    @property
    def wants(self) -> str:
        return repr(self.waiting.tag) if self.waiting else "nothing (it has ended)"


def _frozen(array: np.ndarray) -> np.ndarray:
    """A read-only view, as the network would deliver it."""
    if not array.flags.c_contiguous:
        raise ValueError("a sent array must be C-contiguous")
    view = array.view()
    view.flags.writeable = False
    return view


def lockstep(alice: Steps[A], bob: Steps[B], observer: Observer | None = None) -> tuple[A, B]:
    """Run both halves to the end in this thread; returns (Alice's result, Bob's result). observer: told of each message.

    RuntimeError if a message is not what its receiver waits for or allows, if both wait, or if messages are left over: both
    halves are of this program, so that is a defect of it, and no peer's fault.
    """
    halves = {Role.ALICE: _Half(Role.ALICE, alice), Role.BOB: _Half(Role.BOB, bob)}

    def deliver(message: Message) -> None:
        if observer is not None:
            observer(message)
        halves[message.sender.peer].mailbox.append(message)

    a, b = halves.values()
    while not (a.finished and b.finished):
        try:
            progress = a.run(deliver)
            progress |= b.run(deliver)
        except ProtocolError as error:
            raise RuntimeError(str(error)) from error
        if not progress:
            raise RuntimeError(f"both halves wait: Alice for {a.wants}, Bob for {b.wants}")
    for half in (a, b):
        if half.mailbox:
            raise RuntimeError(f"{half.role.value.title()} ended without reading {half.mailbox[0].tag!r}")
    return a.result, b.result
