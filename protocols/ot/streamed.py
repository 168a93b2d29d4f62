"""Additive correlated OT for any count, in messages of a few MiB: all choices first, then all corrections, so two flights."""

from __future__ import annotations

from collections import deque

import numpy as np

from bunet.protocols.ass.share import dtype_of
from bunet.protocols.blocks import length, slices
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.packing.bits import packed_bytes
from bunet.protocols.ot import correlated, extension
from bunet.protocols.steps import ArraySpec, Receive, Send, Steps, spec

# OTs of one message: rows of 2 MiB, and columns of as much with IKNP; both fit the buffers of `buffer_pool`.
BLOCK = 1 << 17


def blocks(count: int) -> list[slice]:
    """0..count in message-sized slices."""
    return slices(count, BLOCK)


def packed_spec(part: slice, width: int) -> ArraySpec:
    """The corrections of one block."""
    return spec(np.uint8, packed_bytes(length(part), width))


def send(ctx: Context, correlation: np.ndarray, width: int) -> Steps[np.ndarray]:
    """The sender's random r, (n,) below 2^width; the receiver gets r + choice * correlation modulo 2^width.

    correlation: (n,) uint32 or uint64, taken modulo 2^width (1..64). Results are uint32 for width <= 32, else uint64.
    """
    parts = blocks(correlation.size)
    tweaks = [ctx.next_stream() for _ in parts]
    masks = np.empty(correlation.size, dtype_of(width))
    for part, tweak in zip(parts, tweaks, strict=True):
        rows = yield from extension.send(ctx, length(part))
        packed, masks[part] = correlated.correction(ctx, rows, correlation[part], width, tweak)
        yield Send("cot", (packed,))
    return masks


def receive(ctx: Context, choices: np.ndarray, width: int) -> Steps[np.ndarray]:
    """r + choice * correlation modulo 2^width, (n,). choices: uint8 (n,) of 0 and 1."""
    parts = blocks(choices.size)
    tweaks = [ctx.next_stream() for _ in parts]
    rows: deque[np.ndarray] = deque()
    for part in parts:
        rows.append((yield from extension.receive(ctx, choices[part])))
    result = np.empty(choices.size, dtype_of(width))
    for part, tweak in zip(parts, tweaks, strict=True):
        (packed,) = yield Receive("cot", (packed_spec(part, width),))
        result[part] = correlated.apply(ctx, rows.popleft(), choices[part], packed, width, tweak)
    return result


def cost(count: int, width: int, sender: Role, ot: str = extension.DEFAULT) -> Cost:
    """Exact cost of `send` and `receive`. ot: the OT extension."""
    return Cost().beside(*(correlated.cost(length(part), width, sender, ot) for part in blocks(count)))
