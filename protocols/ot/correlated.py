"""Additive correlated OT over Z_2^width: a share of choice * correlation, for one message of `width` bits an OT.

Extension gives the sender rows q, the receiver t = q ^ choice * delta (`extension`). With H the tweaked hash of
`kernels.symmetric.aes.hash_rows`, cut to width bits, the sender takes r = H(q) and sends c = H(q) + correlation - H(q ^ delta);
the receiver takes H(t) + choice * c = r + choice * correlation (correlated OT of Asharov, Lindell, Schneider and
Zohner, CCS 2013, here additively).

The receiver never learns the sender's delta, so the other hash masks the correlation: H is tweakable circular
correlation robust, to the bound in `hash_rows` (GKWWY20, eprint 2019/1168; on hashing in OT extension, GKWY20,
eprint 2019/074). Each call hashes under tweaks of its own, (stream number, tile of 64 rows): no two rows of a session
share a key but those of a tile.

These are the local steps of both parties; `streamed` puts messages between them.
"""

from __future__ import annotations

import numpy as np

from bunet.protocols.ass.share import dtype_of
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.ot import correlated as kernel
from bunet.protocols.kernels.packing.bits import packed_bytes
from bunet.protocols.ot import extension
from bunet.protocols.ot.rows import check_choices


def correction(
    ctx: Context, rows: np.ndarray, correlation: np.ndarray, width: int, tweak: int
) -> tuple[np.ndarray, np.ndarray]:
    """The sender's local step: (message uint8 (packed_bytes(n, width),), r (n,)).

    rows: uint64 (n, 2) of `extension.send`. tweak: a number of `ctx.next_stream` that names this call at both parties.
    """
    dtype = dtype_of(width)
    if correlation.shape != (rows.shape[0],) or correlation.dtype not in (np.uint32, np.uint64):
        raise ValueError(
            f"correlations must be uint32 or uint64 ({rows.shape[0]},), not {correlation.dtype} {correlation.shape}"
        )
    rows = _checked(rows)
    offset = np.ascontiguousarray(correlation, dtype)  # the high bits of a wider dtype are multiples of 2^width
    masks = np.empty(offset.size, dtype)
    words = np.empty((offset.size * width + 63) // 64 + 1, np.uint64)
    kernel.correct(ctx.ot.hash_key, np.uint64(tweak), ctx.ot.delta, rows, offset, width, masks, words)
    return words.view(np.uint8)[: packed_bytes(offset.size, width)], masks


def apply(ctx: Context, rows: np.ndarray, choices: np.ndarray, packed: np.ndarray, width: int, tweak: int) -> np.ndarray:
    """The receiver's local step: r + choice * correlation, (n,).

    rows: uint64 (n, 2) of `extension.receive` with these choices. packed: the sender's message. tweak: as in `correction`.
    """
    rows = _checked(rows)
    check_choices(choices)
    if choices.size != rows.shape[0]:
        raise ValueError(f"{choices.size} choices do not fit {rows.shape[0]} rows")
    if packed.dtype != np.uint8 or packed.shape != (packed_bytes(choices.size, width),):
        raise ValueError(f"{choices.size} corrections of {width} bits do not have {packed.nbytes} bytes")
    result = np.empty(choices.size, dtype_of(width))
    kernel.apply_correction(
        ctx.ot.hash_key,
        np.uint64(tweak),
        rows,
        np.ascontiguousarray(choices),
        np.ascontiguousarray(packed),
        width,
        result,
    )
    return result


def _checked(rows: np.ndarray) -> np.ndarray:
    if rows.dtype != np.uint64 or rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(f"rows must be uint64 (n, 2), not {rows.dtype} {rows.shape}")
    return np.ascontiguousarray(rows)


def cost(count: int, width: int, sender: Role, ot: str = extension.DEFAULT) -> Cost:
    """Exact cost of one block of OTs: the receiver's columns, then the sender's corrections. ot: the extension."""
    return extension.cost(count, sender, ot).then(correction_cost(count, width, sender))


def correction_cost(count: int, width: int, sender: Role) -> Cost:
    """Exact cost of the sender's corrections of one block; work: the hashes of both parties, three an OT."""
    return Cost.flight(sender, packed_bytes(count, width), {"aes_blocks": 3 * count})
