"""What a half of a protocol may use: its role, its own randomness, its keys and correlations. No globals."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass, field, replace
from typing import Any

from bunet.protocols.random import Random
from bunet.protocols.security import DECLARED, Security

_NUMBERS = 1 << 24  # stream numbers of one chain


class Role(enum.Enum):
    ALICE = "alice"  # holds the volume, the PAHE secret key; garbles by default
    BOB = "bob"  # holds the weights

    @property
    def peer(self) -> Role:
        return Role.BOB if self is Role.ALICE else Role.ALICE


@dataclass(frozen=True)
class StreamId:
    """Position of a chain of messages within a session: both parties name the same work by the same id."""

    slice: int = 0
    layer: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.slice < 1 << 24 and 0 <= self.layer < 1 << 16):
            raise ValueError(f"{self} is out of range: slice < 2^24, layer < 2^16")


class Issued:
    """The chains of a session that have been handed out, each once: a repeated one would repeat its correlations."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._lock = threading.Lock()

    def claim(self, slice: int, layer: int) -> None:
        """RuntimeError if this session has run the chain before."""
        with self._lock:
            if (slice, layer) in self._seen:
                raise RuntimeError(f"slice {slice}, layer {layer} was run before: its correlations must not be used again")
            self._seen.add((slice, layer))


@dataclass
class Context:
    """One party's context of one chain (slice, layer) of a session.

    random: this chain's CSPRNG. ot: the session's base-OT seeds in both directions (`protocols.ot.base.OtSeeds`).
    pahe: the session's keys by parameter-set name. Both are shared by all chains and never written after set-up.
    """

    role: Role
    random: Random
    security: Security = DECLARED
    ot: Any = None
    pahe: Any = None
    stream: StreamId = field(default_factory=StreamId)
    issued: Issued = field(default_factory=Issued)
    _used: int = 0
    _end: int = _NUMBERS

    def fork(self, slice: int, layer: int) -> Context:
        """Context of another chain: same keys, independent randomness, its own number space; each chain only once."""
        self.issued.claim(slice, layer)
        stream = StreamId(slice, layer)
        return Context(self.role, self.random.fork(), self.security, self.ot, self.pahe, stream, self.issued)

    def next_stream(self) -> int:
        """A session-unique 64-bit number, the same at both parties if they run the same protocol.

        Every OT extension, garbling and hash takes its tweaks or counters below a number of its own:
        slice (24 bits) | layer (16) | use within the layer (24). Nothing is ever used twice within a session, and
        every session has its own base OTs and keys.
        """
        number = self.stream.slice << 40 | self.stream.layer << 24 | self._used
        self._take(1)
        return number

    def reserve(self, count: int) -> Context:
        """The same chain with the next `count` numbers, and no others, for its own.

        For protocols in which both parties speak at once: each draws for what it offers and for what it receives in its
        own order, and from two reserves they draw alike all the same.
        """
        start = self._used
        self._take(count)
        return replace(self, _used=start, _end=start + count)

    def _take(self, count: int) -> None:
        self._used += count
        if self._used > self._end or self._used >= _NUMBERS:
            raise OverflowError(f"a layer used more correlation streams than its {min(self._end, _NUMBERS - 1)}")
