"""What the OT extensions have in common: choices, rows, and memory for both."""

from __future__ import annotations

import numpy as np

from bunet.protocols import buffer_pool
from bunet.protocols.context import Context
from bunet.protocols.kernels.ot import extension as kernel
from bunet.protocols.ot.base import GROUP_BITS, OtSeeds
from bunet.protocols.steps import ArraySpec, spec

TILE = kernel.COLUMNS  # OTs extended together; counts are padded to a multiple
_POOLED_BYTES = 1 << 17  # smaller arrays are not worth a buffer of the pool


def tiles_of(count: int) -> int:
    """Tiles of so many OTs. ValueError if there are fewer than none."""
    if count < 0:
        raise ValueError(f"cannot extend to {count} OTs")
    return (count + TILE - 1) // TILE


def message_spec(count: int, extension: str) -> ArraySpec:
    """The receiver's message: 16 / k bytes an OT, padded to whole tiles; k = 1 for IKNP."""
    return spec(np.uint64, tiles_of(count) * 2 * TILE // GROUP_BITS[extension])


def seeds_of(ctx: Context) -> OtSeeds:
    """The session's seeds; ValueError if it has none."""
    if not isinstance(ctx.ot, OtSeeds):
        raise ValueError("this context has no base OTs: run ot.extension's set-up first")
    return ctx.ot


def check_choices(choices: np.ndarray) -> None:
    """ValueError unless choices are uint8 (n,) of 0 and 1."""
    if choices.dtype != np.uint8 or choices.ndim != 1:
        raise ValueError(f"choices must be uint8 (n,), not {choices.dtype} {choices.shape}")
    if choices.size and choices.max() > 1:
        raise ValueError("a choice is 0 or 1")


def packed_choices(choices: np.ndarray) -> np.ndarray:
    """Checked choices as bits: uint64 (2 * tiles,), bit i of OT i, zeros beyond the last."""
    check_choices(choices)
    packed = np.zeros(tiles_of(choices.size) * 2, np.uint64)
    packed.view(np.uint8)[: (choices.size + 7) // 8] = np.packbits(choices, bitorder="little")
    return packed


def new_array(shape: tuple[int, ...]) -> np.ndarray:
    """Uninitialised uint64, from the buffer pool where page faults would cost more than the extension."""
    nbytes = 8 * int(np.prod(shape))
    if _POOLED_BYTES <= nbytes <= buffer_pool.BUFFER_BYTES:
        return buffer_pool.lend(shape)
    return np.empty(shape, np.uint64)


def frozen(array: np.ndarray) -> np.ndarray:
    """A read-only, aligned view (or copy), so that kernels are compiled for one type of array."""
    view = array.view() if array.flags.aligned and array.flags.c_contiguous else array.copy()
    view.setflags(write=False)
    return view
