"""y * d for a shared number y and a bit d shared by XOR, by one correlated OT in each direction.

y * (d0 ^ d1) of a share y0 is y0 d0 + d1 y0 (1 - 2 d0): the holder of y0 knows the first term and offers
y0 (1 - 2 d0) as the correlation of an OT whose choice is d1 (SIRNN, Rathee et al. 2021, Section 3.1.1;
CrypTFlow2, Protocol 6).
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.blocks import length
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels import shares
from bunet.protocols.ot import correlated, extension
from bunet.protocols.ot.streamed import blocks, packed_spec
from bunet.protocols.steps import Receive, Send, Steps


def _tweaks(ctx: Context, parts: list[slice]) -> tuple[list[int], list[int]]:
    """Hash tweaks of both directions, drawn at the same place by both parties: (first's offers, second's offers)."""
    return [ctx.next_stream() for _ in parts], [ctx.next_stream() for _ in parts]


def _offer(
    ctx: Context, rows: np.ndarray, y: np.ndarray, d: np.ndarray, width: int, tweak: int
) -> tuple[np.ndarray, np.ndarray]:
    """(packed correction, this party's share of its own number's product) for one block of OTs."""
    packed, mask = correlated.correction(ctx, rows, shares.times_sign(y, d, width), width, tweak)
    return packed, shares.times_bit_less(y, d, mask, width)


def first(ctx: Context, y: np.ndarray, d: np.ndarray, width: int) -> Steps[np.ndarray]:
    """The party that speaks first; its peer runs `second`.

    y: (n,) share, width bits. d: (n,) uint8 share of the bit by XOR. Returns this party's (n,) share of y * d.
    """
    parts = blocks(y.size)
    offering, choosing = _tweaks(ctx, parts)
    result = np.empty_like(y)
    received = []
    for part in parts:
        received.append((yield from extension.receive(ctx, d[part])))
    for part, tweak in zip(parts, offering, strict=True):
        rows = yield from extension.send(ctx, length(part))
        packed, result[part] = _offer(ctx, rows, y[part], d[part], width, tweak)
        yield Send("mux", (packed,))
    for part, rows, tweak in zip(parts, received, choosing, strict=True):
        (packed,) = yield Receive("mux", (packed_spec(part, width),))
        result[part] = shares.add(result[part], correlated.apply(ctx, rows, d[part], packed, width, tweak), width)
    return result


def second(ctx: Context, y: np.ndarray, d: np.ndarray, width: int) -> Steps[np.ndarray]:
    """The party that answers: the mirror image of `first`, message by message."""
    parts = blocks(y.size)
    choosing, offering = _tweaks(ctx, parts)
    result = np.empty_like(y)
    offered = []
    for part in parts:
        offered.append((yield from extension.send(ctx, length(part))))
    received = []
    for part in parts:
        received.append((yield from extension.receive(ctx, d[part])))
    for part, rows, tweak in zip(parts, offered, offering, strict=True):
        packed, result[part] = _offer(ctx, rows, y[part], d[part], width, tweak)
        yield Send("mux", (packed,))
    for part, rows, tweak in zip(parts, received, choosing, strict=True):
        (packed,) = yield Receive("mux", (packed_spec(part, width),))
        result[part] = shares.add(result[part], correlated.apply(ctx, rows, d[part], packed, width, tweak), width)
    return result


def flights(count: int, width: int, first: Role, ot: str = extension.DEFAULT) -> tuple[Cost, Cost, Cost]:
    """Exact cost of the three flights, `first` the role that speaks first: its choices; choices and corrections of the
    other; its corrections. Both directions carry the same. ot: the OT extension."""
    sizes = [length(part) for part in blocks(count)]

    def choices(role: Role) -> Cost:
        return Cost().beside(*(extension.cost(size, role.peer, ot) for size in sizes))

    def corrections(role: Role) -> Cost:
        return Cost().beside(*(correlated.correction_cost(size, width, role) for size in sizes))

    return choices(first), choices(first.peer).beside(corrections(first.peer)), corrections(first)
