"""What a protocol states about itself, beside its code, and what a test over the registry holds it to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cost:
    """Exact traffic of one run of a protocol, and its work in primitive counts.

    alice_bytes, bob_bytes: payload bytes that Alice, Bob send (frame headers excluded).
    rounds: one-way message flights on the critical path: the longest chain of messages in which each was sent after
    its sender received the one before. Two parties that send at the same time make one round; so do many messages
    in a row in one direction. The wire time of latency is rounds * RTT / 2.
    work: primitive counts of both parties together, such as {"aes_blocks": ..., "ntt": ..., "multiply_add": ...,
    "ot": ..., "and_gates": ...}.
    """

    alice_bytes: int = 0
    bob_bytes: int = 0
    rounds: int = 0
    work: Mapping[str, int] = field(default_factory=dict)

    def swapped(self) -> Cost:
        """The same protocol with the roles exchanged."""
        return Cost(self.bob_bytes, self.alice_bytes, self.rounds, self.work)


def add_work(*parts: Mapping[str, int]) -> dict[str, int]:
    """Sum of primitive counts."""
    total: dict[str, int] = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total.get(key, 0) + value
    return total
