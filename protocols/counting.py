"""What both halves of a protocol send in lockstep, counted exactly: what stated costs are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from bunet.protocols.context import Role
from bunet.protocols.lockstep import Message, lockstep
from bunet.protocols.steps import Steps

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

    def add(self, message: Message) -> None:
        """Count one message."""
        if message.sender is Role.ALICE:
            self.alice_bytes += message.nbytes
            self.alice_messages += 1
        else:
            self.bob_bytes += message.nbytes
            self.bob_messages += 1
        self.rounds = max(self.rounds, message.round)


def counted(alice: Steps[A], bob: Steps[B]) -> tuple[A, B, Traffic]:
    """`lockstep` with its exact traffic: (Alice's result, Bob's result, traffic)."""
    traffic = Traffic()
    result_a, result_b = lockstep(alice, bob, traffic.add)
    return result_a, result_b, traffic
