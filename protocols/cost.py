"""What a protocol states about itself, beside its code, and what a test over the registry holds it to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bunet.protocols.context import Role


@dataclass(frozen=True)
class Cost:
    """Exact traffic of one run of a protocol, and its work in primitive counts.

    alice_bytes, bob_bytes: payload bytes that Alice, Bob send (frame headers excluded).
    rounds: one-way message flights on the critical path: the longest chain of messages in which each was sent after
    its sender received the one before. Two parties that send at the same time make one round; so do many messages
    in a row in one direction. The wire time of latency is rounds * RTT / 2.
    work: primitive counts of both parties together, such as {"aes_blocks": ..., "ntt": ..., "multiply_add": ...,
    "ot": ..., "and_gates": ...}.

    Costs are put together as protocols are: `flight`, `then`, `beside`. `Cost()` is that of doing nothing.
    """

    alice_bytes: int = 0
    bob_bytes: int = 0
    rounds: int = 0
    work: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def flight(cls, sender: Role, nbytes: int, work: Mapping[str, int] | None = None) -> Cost:
        """One flight from `sender`, in one message or in many that wait for nothing in between."""
        alice, bob = (nbytes, 0) if sender is Role.ALICE else (0, nbytes)
        return cls(alice, bob, 1, work or {})

    def then(self, *others: Cost) -> Cost:
        """One after the other, each when the one before has ended at both parties: bytes, rounds and work add up."""
        return self._with(others, sum(each.rounds for each in (self, *others)))

    def beside(self, *others: Cost) -> Cost:
        """At the same time, in the same flights: bytes and work add up, rounds are those of the longest."""
        return self._with(others, max(each.rounds for each in (self, *others)))

    def _with(self, others: tuple[Cost, ...], rounds: int) -> Cost:
        work = dict(self.work)
        for each in others:
            for primitive, count in each.work.items():
                work[primitive] = work.get(primitive, 0) + count
        alice = self.alice_bytes + sum(each.alice_bytes for each in others)
        bob = self.bob_bytes + sum(each.bob_bytes for each in others)
        return Cost(alice, bob, rounds, work)
