"""Scratch memory of the kernels."""

from __future__ import annotations

from bunet.protocols.kernels.machine.tier import TIER  # noqa: F401  (names the compilation cache)

# isort: split
import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def aligned(words):  # pragma: no cover - compiled
    """Uninitialised uint64 (words,) that starts at a cache line, so that no register crosses one."""
    memory = np.empty(words + 8, np.uint64)
    skip = (-(memory.ctypes.data >> 3)) & 7
    return memory[skip : skip + words]
