"""Opening a masked number: both parties send their share and add what they receive."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bunet.protocols.ass.share import reduce_to
from bunet.protocols.context import Context
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.packing.bits import pack, packed_bytes, unpack
from bunet.protocols.steps import Receive, Send, Steps, spec

# Numbers of one message: at most 4 MiB of 64-bit shares.
BLOCK = 1 << 19


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def send(values: np.ndarray, width: int) -> Steps[None]:
    """Send this party's share of masked numbers. values: (n,), width bits each."""
    for part in _blocks(values.size):
        yield Send("open", (pack(values[part], width),))


def receive(values: np.ndarray, width: int) -> Steps[np.ndarray]:
    """Receive the peer's share of the same numbers and return their sum modulo 2^width, shaped like `values`."""
    opened = np.empty_like(values)
    for part in _blocks(values.size):
        count = part.stop - part.start
        (packed,) = yield Receive("open", (spec(np.uint8, packed_bytes(count, width)),))
        opened[part] = values[part] + unpack(packed, count, width)
    return reduce_to(opened, width)


def exchange(ctx: Context, values: np.ndarray, width: int) -> Steps[np.ndarray]:
    """Both parties' shares (n,) become the number modulo 2^width; one round."""
    yield from send(values, width)
    return (yield from receive(values, width))


def cost(count: int, width: int) -> Cost:
    """Exact cost of `exchange`."""
    bytes_each_way = sum(packed_bytes(part.stop - part.start, width) for part in _blocks(count))
    return Cost(bytes_each_way, bytes_each_way, 1 if count else 0)
