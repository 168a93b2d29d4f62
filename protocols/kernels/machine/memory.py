"""Scratch memory of the kernels."""

from __future__ import annotations

import numpy as np

from bunet.protocols.kernels.machine.compiled import kernel
from bunet.protocols.kernels.machine.types import Words


@kernel
def aligned(words: int) -> Words:  # pragma: no cover - compiled
    """Uninitialised uint64 (words,) that starts at a cache line, so that no register crosses one."""
    memory = np.empty(words + 8, np.uint64)
    skip = (-(memory.ctypes.data >> 3)) & 7
    return memory[skip : skip + words]
