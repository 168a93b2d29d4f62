"""Opening a masked number: both parties send their share and add what they receive."""

from __future__ import annotations

import numpy as np

from bunet.protocols.ass.share import reduce_to
from bunet.protocols.blocks import length, slices
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.packing.bits import pack, packed_bytes, unpack
from bunet.protocols.steps import Receive, Send, Steps, spec

# Numbers of one message: at most 4 MiB of 64-bit shares.
BLOCK = 1 << 19


def send(values: np.ndarray, width: int) -> Steps[None]:
    """Send this party's share of masked numbers. values: (n,), width bits each."""
    for part in slices(values.size, BLOCK):
        yield Send("open", (pack(values[part], width),))


def receive(values: np.ndarray, width: int) -> Steps[np.ndarray]:
    """Receive the peer's share of the same numbers and return their sum modulo 2^width, shaped like `values`."""
    opened = np.empty_like(values)
    for part in slices(values.size, BLOCK):
        count = length(part)
        (packed,) = yield Receive("open", (spec(np.uint8, packed_bytes(count, width)),))
        opened[part] = values[part] + unpack(packed, count, width)
    return reduce_to(opened, width)


def exchange(ctx: Context, values: np.ndarray, width: int) -> Steps[np.ndarray]:
    """Both parties' shares (n,) become the number modulo 2^width; one round."""
    yield from send(values, width)
    return (yield from receive(values, width))


def send_cost(count: int, width: int, sender: Role) -> Cost:
    """Exact cost of `send` with the peer's `receive`."""
    parts = slices(count, BLOCK)
    return Cost().beside(*(Cost.flight(sender, packed_bytes(length(part), width)) for part in parts))


def cost(count: int, width: int) -> Cost:
    """Exact cost of `exchange`."""
    return send_cost(count, width, Role.ALICE).beside(send_cost(count, width, Role.BOB))
