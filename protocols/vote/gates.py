"""AND and OR of bits shared by XOR, by one correlated OT in each direction.

Goldreich, Micali and Wigderson (STOC 1987) share every wire of a circuit by XOR: XOR gates are local, and for an AND of
x = x_A ^ x_B and y = y_A ^ y_B only x_A y_B and x_B y_A need the other party. Each is one OT on correlations of one bit
(correlated OT of Asharov, Lindell, Schneider and Zohner, CCS 2013, made for this): the holder of x_A offers it
as the correlation, the holder of y_B chooses by it, and they end with r and r ^ x_A y_B for a bit r that is a hash of a row.

Security, semi-honest: what a party receives in an AND are the peer's choices under the columns of the OT extension
(`ot.iknp`, `ot.softspoken`), and corrections masked by the hash of a row that it does not have (`ot.correlated`). Its share
of the result is masked by the bit r that the peer drew in its own offer, so shares of every wire are uniform, and any
circuit of these gates composes. Nothing is opened here.

Both parties do the same at the same time: choices of a window of blocks, then corrections, and with the corrections the
choices of the next window. So the memory for rows is that of two windows, whatever the count.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.blocks import length
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.ot import correlated, extension
from bunet.protocols.ot.streamed import blocks, packed_spec
from bunet.protocols.steps import Receive, Send, Steps

WINDOW = 16  # blocks of choices that are under way at once, beside as many that wait for corrections: 128 MiB of rows
_NUMBERS = 2  # stream numbers a block takes in each direction: the extension's and the hash's

_Choices = list[tuple[slice, np.ndarray, int]]  # blocks with their rows and the tweak of their hash


def and_bits(ctx: Context, x: np.ndarray, y: np.ndarray) -> Steps[np.ndarray]:
    """This party's share of x & y. x, y: its shares, uint8 of one shape, each 0 or 1; the result is alike and contiguous.

    Symmetric: the peer runs the same with its own. ValueError where the arrays do not fit.
    """
    for bits in (x, y):
        if bits.dtype != np.uint8 or bits.shape != x.shape:
            raise ValueError(f"shared bits are uint8 of one shape, not {x.dtype} {x.shape} and {y.dtype} {y.shape}")
    offered, choices = np.ascontiguousarray(x).reshape(-1), np.ascontiguousarray(y).reshape(-1)
    result: np.ndarray = offered & choices
    windows = _windows(result.size)
    numbers = _NUMBERS * sum(map(len, windows))
    of_alice, of_bob = ctx.reserve(numbers), ctx.reserve(numbers)  # by who offers
    offers, chooses = (of_alice, of_bob) if ctx.role is Role.ALICE else (of_bob, of_alice)
    coming: _Choices = (yield from _choose(chooses, choices, windows[0])) if windows else []
    for number, window in enumerate(windows):
        pending, coming = coming, []
        for part in window:
            rows = yield from extension.send(offers, length(part))
            correlation = offered[part].astype(np.uint32)
            packed, masks = correlated.correction(offers, rows, correlation, 1, offers.next_stream())
            result[part] ^= masks.astype(np.uint8)
            yield Send("and", (packed,))
        if number + 1 < len(windows):
            coming = yield from _choose(chooses, choices, windows[number + 1])
        for part, rows, tweak in pending:
            (packed,) = yield Receive("and", (packed_spec(part, 1),))
            result[part] ^= correlated.apply(chooses, rows, choices[part], packed, 1, tweak).astype(np.uint8)
    return result.reshape(x.shape)


def or_bits(ctx: Context, x: np.ndarray, y: np.ndarray) -> Steps[np.ndarray]:
    """This party's share of x | y = x ^ y ^ (x & y); as `and_bits`."""
    both = yield from and_bits(ctx, x, y)
    both ^= x
    both ^= y
    return both


def _windows(count: int) -> list[list[slice]]:
    parts = blocks(count)
    return [parts[start : start + WINDOW] for start in range(0, len(parts), WINDOW)]


def _choose(ctx: Context, choices: np.ndarray, window: list[slice]) -> Steps[_Choices]:
    """Send a window's choices; what is needed when their corrections come."""
    choices_sent: _Choices = []
    for part in window:
        rows = yield from extension.receive(ctx, choices[part])
        choices_sent.append((part, rows, ctx.next_stream()))
    return choices_sent


def cost(count: int, ot: str = extension.DEFAULT) -> Cost:
    """Exact traffic of `and_bits` or `or_bits` on `count` bits; both parties send the same. ot: the OT extension."""
    windows = [[length(part) for part in window] for window in _windows(count)]
    if not windows:
        return Cost()
    choices = [Cost().beside(*(extension.cost(size, role, ot) for size in window for role in Role)) for window in windows]
    corrections = [
        Cost().beside(*(correlated.correction_cost(size, 1, role) for size in window for role in Role)) for window in windows
    ]
    answers = [correction.beside(coming) for correction, coming in zip(corrections, [*choices[1:], Cost()], strict=True)]
    return choices[0].then(*answers)
