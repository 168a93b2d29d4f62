"""The processor's clock, measured: what limits of kernels are derived from."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from bunet.protocols.kernels.machine.compiled import kernel
from bunet.protocols.kernels.machine.types import Word

CYCLES = 4  # of a step of `spin`: an exclusive or and a 64-bit multiplication, one and three cycles on any x86-64 since 2011
_STEPS = 2_000_000


@kernel
def spin(steps: int) -> Word:
    """A chain of `steps` dependent steps that no compiler shortens; returns its last value."""
    x = np.uint64(1)
    for i in range(steps):
        x = (x ^ np.uint64(i)) * np.uint64(0x9E3779B97F4A7C15)
    return x


def clock_hz(timer: Callable[[], float] = time.perf_counter, runs: int = 7) -> float:
    """Cycles a second of this core under load: the best of several runs of some milliseconds, as nothing makes one faster.

    timer: seconds. Right on x86-64 only: other processors multiply in another number of cycles.
    """
    spin(1)
    best = float("inf")
    for _ in range(runs):
        started = timer()
        spin(_STEPS)
        best = min(best, timer() - started)
    return CYCLES * _STEPS / best
