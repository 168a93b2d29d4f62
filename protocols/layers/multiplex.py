"""y * d for a shared number y and a bit d shared by XOR, by one correlated OT in each direction.

y * (d0 ^ d1) of a share y0 is y0 d0 + d1 y0 (1 - 2 d0): the holder of y0 knows the first term and offers
y0 (1 - 2 d0) as the correlation of an OT whose choice is d1 (SIRNN, Rathee et al. 2021, Section 3.1.1;
CrypTFlow2, Protocol 6).
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.context import Context
from bunet.protocols.cost import Cost
from bunet.protocols.kernels import shares
from bunet.protocols.kernels.packing.bits import packed_bytes
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
    mine, theirs = _tweaks(ctx, parts)
    result = np.empty_like(y)
    chosen = []
    for part in parts:
        chosen.append((yield from extension.receive(ctx, d[part])))
    for part, tweak in zip(parts, mine, strict=True):
        rows = yield from extension.send(ctx, part.stop - part.start)
        packed, result[part] = _offer(ctx, rows, y[part], d[part], width, tweak)
        yield Send("mux", (packed,))
    for part, rows, tweak in zip(parts, chosen, theirs, strict=True):
        (packed,) = yield Receive("mux", (packed_spec(part, width),))
        result[part] = shares.add(result[part], correlated.apply(ctx, rows, d[part], packed, width, tweak), width)
    return result


def second(ctx: Context, y: np.ndarray, d: np.ndarray, width: int) -> Steps[np.ndarray]:
    """The party that answers: the mirror image of `first`, message by message."""
    parts = blocks(y.size)
    theirs, mine = _tweaks(ctx, parts)
    result = np.empty_like(y)
    offered = []
    for part in parts:
        offered.append((yield from extension.send(ctx, part.stop - part.start)))
    chosen = []
    for part in parts:
        chosen.append((yield from extension.receive(ctx, d[part])))
    for part, rows, tweak in zip(parts, offered, mine, strict=True):
        packed, result[part] = _offer(ctx, rows, y[part], d[part], width, tweak)
        yield Send("mux", (packed,))
    for part, rows, tweak in zip(parts, chosen, theirs, strict=True):
        (packed,) = yield Receive("mux", (packed_spec(part, width),))
        result[part] = shares.add(result[part], correlated.apply(ctx, rows, d[part], packed, width, tweak), width)
    return result


def cost(count: int, width: int, kind: str = extension.DEFAULT) -> Cost:
    """Exact traffic of both halves; both directions carry the same. rounds counts three flights: choices of `first`,
    choices and corrections of `second`, corrections of `first`. kind: the OT extension's."""
    columns = sum(extension.bytes_for(part.stop - part.start, kind) for part in blocks(count))
    packed = sum(packed_bytes(part.stop - part.start, width) for part in blocks(count))
    return Cost(columns + packed, columns + packed, 3, {"ot": 2 * count})
