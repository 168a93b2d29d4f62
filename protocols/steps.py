"""What a protocol asks of the outside world.

A party's half of a protocol is a generator: it yields `Send` and `Receive`, is resumed with None or with the received
arrays, and returns its result. It never touches a socket, a clock or a global; composition is `yield from`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np

from bunet.models.errors import PeerError

T = TypeVar("T")


class ProtocolError(PeerError):
    """The peer sent something that this protocol does not allow here."""


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """Kind and shape that a received array must have, exactly; a frame is checked against it before it is read."""

    dtype: str  # numpy name: uint8, uint32, uint64
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return np.dtype(self.dtype).itemsize * prod(self.shape)

    def matches(self, array: np.ndarray) -> bool:
        return array.dtype == np.dtype(self.dtype) and array.shape == self.shape


def spec(dtype: Any, *shape: int) -> ArraySpec:
    """`spec(np.uint64, n, 2)`."""
    return ArraySpec(np.dtype(dtype).name, tuple(int(s) for s in shape))


@dataclass(frozen=True, slots=True)
class Send:
    """Send C-contiguous arrays to the peer. The sender must not write to them afterwards (they travel without copy)."""

    tag: str
    arrays: tuple[np.ndarray, ...]

    @property
    def nbytes(self) -> int:
        """Payload bytes; frame headers are the network's and are counted there."""
        return sum(array.nbytes for array in self.arrays)


@dataclass(frozen=True, slots=True)
class Receive:
    """Receive the peer's next message of this chain; the generator is resumed with a tuple of (read-only) arrays."""

    tag: str
    expect: tuple[ArraySpec, ...]


# A half of a protocol: yields Send and Receive, returns a T.
Steps = Generator[Send | Receive, Any, T]
