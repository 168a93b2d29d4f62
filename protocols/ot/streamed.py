"""Correlated OTs of a whole layer, in messages of a few MiB: all choices first, then all corrections, so two flights."""

from __future__ import annotations

from collections import deque

import numpy as np

from bunet.protocols.ass.share import dtype_of
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.packing.bits import packed_bytes
from bunet.protocols.ot import correlated, extension
from bunet.protocols.steps import ArraySpec, Receive, Send, Steps, spec

# OTs of one message: rows of 2 MiB, and columns of as much with IKNP; both fit the buffers of `message_memory`.
BLOCK = 1 << 17


def blocks(count: int) -> list[slice]:
    """0..count in message-sized slices."""
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def packed_spec(part: slice, width: int) -> ArraySpec:
    """The corrections of one block."""
    return spec(np.uint8, packed_bytes(part.stop - part.start, width))


def send(ctx: Context, correlation: np.ndarray, width: int) -> Steps[np.ndarray]:
    """As `correlated.send`, for any count."""
    parts = blocks(correlation.size)
    tweaks = [ctx.next_stream() for _ in parts]
    mine = np.empty(correlation.size, dtype_of(width))
    for part, tweak in zip(parts, tweaks, strict=True):
        rows = yield from extension.send(ctx, part.stop - part.start)
        packed, mine[part] = correlated.correction(ctx, rows, correlation[part], width, tweak)
        yield Send("cot", (packed,))
    return mine


def receive(ctx: Context, choices: np.ndarray, width: int) -> Steps[np.ndarray]:
    """As `correlated.receive`, for any count."""
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


def cost(count: int, width: int, sender: Role, kind: str = extension.DEFAULT) -> Cost:
    """Exact cost of `send` and `receive`. kind: the OT extension's."""
    costs = [correlated.cost(part.stop - part.start, width, Role.ALICE, kind) for part in blocks(count)]
    work = {key: sum(c.work[key] for c in costs) for key in ("ot", "aes_blocks")}
    stated = Cost(sum(c.alice_bytes for c in costs), sum(c.bob_bytes for c in costs), 2, work)
    return stated if sender is Role.ALICE else stated.swapped()
