"""Products of what Alice knows with what Bob knows, from correlated OT (Gilboa, CRYPTO 1999, section 4.1).

u*v = sum_i u_i 2^i v: bit i of Alice's u chooses between a random mask and the mask plus v. The term is needed modulo
2^width after its shift by i, so that OT carries width - i bits only: widths fall from width to 1.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from bunet.protocols.ass.share import dtype_of, reduce_to
from bunet.protocols.blocks import length, slices
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.packing.bits import packed_bytes
from bunet.protocols.ot import correlated, extension
from bunet.protocols.ot.rows import TILE
from bunet.protocols.steps import ArraySpec, Receive, Send, Steps, spec

# OTs of one message: rows of 2 MiB, as in `streamed`.
_OTS = 1 << 17


def _blocks(terms: int, count: int, width: int) -> list[slice]:
    """Products of one message; full blocks are multiples of a tile of OTs, so that the extension pads nothing."""
    return slices(count, max(TILE, _OTS // (terms * width) // TILE * TILE))


def _tweaks(ctx: Context, terms: int, count: int, width: int) -> list[list[int]]:
    """Hash tweaks of every (block, term, bit), drawn before the extensions so that both parties agree on them."""
    return [[ctx.next_stream() for _ in range(terms * width)] for _ in _blocks(terms, count, width)]


def alice(ctx: Context, u: np.ndarray, width: int) -> Steps[np.ndarray]:
    """Alice's share (n,) of sum_k u[k] v[k] modulo 2^width.

    u: (terms, n) uint32 or uint64, below 2^width.
    """
    terms, count = u.shape
    tweaks = _tweaks(ctx, terms, count, width)
    coming: deque[tuple[np.ndarray, np.ndarray]] = deque()  # choice bits of each block with their rows
    for part in _blocks(terms, count, width):
        bits = _bits(u[:, part], width)
        coming.append((bits, (yield from extension.receive(ctx, bits.reshape(-1)))))
    result = np.zeros(count, dtype_of(width))
    for part, names in zip(_blocks(terms, count, width), tweaks, strict=True):
        bits, rows = coming.popleft()
        size = length(part)
        messages = yield Receive("gilboa", _expected(terms, size, width))
        for k, message in enumerate(messages):
            bit = k % width
            own = rows[k * size : (k + 1) * size]
            share = correlated.apply(ctx, own, bits[k], message, width - bit, names[k])
            result[part] += share.astype(result.dtype) << result.dtype.type(bit)
    return reduce_to(result, width)


def bob(ctx: Context, v: np.ndarray, width: int) -> Steps[np.ndarray]:
    """Bob's share (n,) of sum_k u[k] v[k] modulo 2^width. v: (terms, n), below 2^width."""
    terms, count = v.shape
    tweaks = _tweaks(ctx, terms, count, width)
    result = np.zeros(count, dtype_of(width))
    for part, names in zip(_blocks(terms, count, width), tweaks, strict=True):
        size = length(part)
        rows = yield from extension.send(ctx, size * terms * width)
        messages = []
        for k, tweak in enumerate(names):
            term, bit = divmod(k, width)
            correlation = reduce_to(v[term, part], width - bit)
            own = rows[k * size : (k + 1) * size]
            message, mask = correlated.correction(ctx, own, correlation, width - bit, tweak)
            messages.append(message)
            result[part] -= mask.astype(result.dtype) << result.dtype.type(bit)
        yield Send("gilboa", tuple(messages))
    return reduce_to(result, width)


def _bits(u: np.ndarray, width: int) -> np.ndarray:
    """(terms, n) -> uint8 (terms * width, n): bit i of term k in row k*width + i."""
    shifts = np.arange(width, dtype=u.dtype)[None, :, None]
    bits: np.ndarray = (u[:, None] >> shifts) & u.dtype.type(1)
    return bits.astype(np.uint8).reshape(-1, u.shape[1])


def _expected(terms: int, size: int, width: int) -> tuple[ArraySpec, ...]:
    return tuple(spec(np.uint8, packed_bytes(size, width - bit)) for _ in range(terms) for bit in range(width))


def cost(terms: int, count: int, width: int, ot: str = extension.DEFAULT) -> Cost:
    """Exact cost of both halves: Alice's choices of all blocks, then Bob's corrections. ot: the OT extension."""
    sizes = [length(part) for part in _blocks(terms, count, width)]
    return Cost().beside(*(_block_cost(terms, size, width, ot) for size in sizes))


def _block_cost(terms: int, size: int, width: int, ot: str) -> Cost:
    ots = size * terms * width
    corrections = sum(array.nbytes for array in _expected(terms, size, width))
    hashes = {"aes_blocks": 3 * ots}  # three an OT
    return extension.cost(ots, Role.BOB, ot).then(Cost.flight(Role.BOB, corrections, hashes))
