"""Products of what Alice knows with what Bob knows, from correlated OT (Gilboa, CRYPTO 1999, section 4.1).

u*v = sum_i u_i 2^i v: bit i of Alice's u chooses between a random mask and the mask plus v. The term is needed modulo
2^width after its shift by i, so that OT carries width - i bits only: widths fall from width to 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bunet.protocols.ass.share import dtype_of, reduce_to
from bunet.protocols.context import Context
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.packing.bits import packed_bytes
from bunet.protocols.ot import correlated, extension
from bunet.protocols.steps import ArraySpec, Receive, Send, Steps, spec

# OTs of one message: rows of 2 MiB, as in `streamed`.
_OTS = 1 << 17


def _blocks(terms: int, count: int, width: int) -> Iterator[slice]:
    """Products of one message; full blocks are multiples of 128, so that the extension pads nothing."""
    size = max(128, _OTS // (terms * width) // 128 * 128)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _tweaks(ctx: Context, terms: int, count: int, width: int) -> list[list[int]]:
    """Hash tweaks of every (block, term, bit), drawn before the extensions so that both parties agree on them."""
    return [[ctx.next_stream() for _ in range(terms * width)] for _ in _blocks(terms, count, width)]


def alice(ctx: Context, u: np.ndarray, width: int) -> Steps[np.ndarray]:
    """Alice's share (n,) of sum_k u[k] v[k] modulo 2^width.

    u: (terms, n) uint32 or uint64, below 2^width.
    """
    terms, count = u.shape
    tweaks = _tweaks(ctx, terms, count, width)
    chosen = []
    for part in _blocks(terms, count, width):
        bits = _bits(u[:, part], width)
        chosen.append((bits, (yield from extension.receive(ctx, bits.reshape(-1)))))
    result = np.zeros(count, dtype_of(width))
    for part, names in zip(_blocks(terms, count, width), tweaks, strict=True):
        bits, rows = chosen.pop(0)
        size = part.stop - part.start
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
        size = part.stop - part.start
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
    return ((u[:, None] >> shifts) & u.dtype.type(1)).astype(np.uint8).reshape(-1, u.shape[1])


def _expected(terms: int, size: int, width: int) -> tuple[ArraySpec, ...]:
    return tuple(spec(np.uint8, packed_bytes(size, width - bit)) for _ in range(terms) for bit in range(width))


def cost(terms: int, count: int, width: int, kind: str = extension.DEFAULT) -> Cost:
    """Exact cost of both halves: Alice's choices, then Bob's corrections. kind: the OT extension's."""
    sizes = [part.stop - part.start for part in _blocks(terms, count, width)]
    columns = sum(extension.bytes_for(size * terms * width, kind) for size in sizes)
    corrections = sum(array.nbytes for size in sizes for array in _expected(terms, size, width))
    ots = terms * count * width
    blocks = sum(extension.aes_blocks(size * terms * width, kind) for size in sizes) + 3 * ots  # three hashes an OT
    return Cost(columns, corrections, 2 if count else 0, {"ot": ots, "aes_blocks": blocks})
