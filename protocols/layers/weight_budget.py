"""What may be kept of transformed weights between slices: one budget for all layers of a process.

The transformed weights of a whole network would take gigabytes at large images; what does not fit is transformed again
for every slice, a block of output channels at a time.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Budget:
    """Bytes that may be kept; claims are returned when their owner is collected. Thread-safe."""

    limit: int
    used: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def claim(self, nbytes: int, owner: object) -> bool:
        """Reserve nbytes for the lifetime of `owner`; False, reserving nothing, where they do not fit."""
        with self._lock:
            if self.used + nbytes > self.limit:
                return False
            self.used += nbytes
        weakref.finalize(owner, self._release, nbytes).atexit = False
        return True

    def _release(self, nbytes: int) -> None:
        with self._lock:
            self.used -= nbytes


class KeptBlocks:
    """Blocks of transformed weights of one layer, by index: read-only arrays, kept while the budget allows."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._claimed: set[int] = set()
        self._blocks: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def get(self, index: int) -> np.ndarray | None:
        """The kept block, or None where it must be made."""
        return self._blocks.get(index)

    def claim(self, index: int, nbytes: int) -> bool:
        """True if the caller shall make this block to be kept: it fits and nobody else is making it."""
        with self._lock:
            if index in self._claimed or not self._budget.claim(nbytes, self):
                return False
            self._claimed.add(index)
            return True

    def keep(self, index: int, block: np.ndarray) -> None:
        """Keep a claimed block; it must not be written to afterwards."""
        block.flags.writeable = False
        self._blocks[index] = block


# 384 MiB: with two slices in flight at 256x256 a process stays well under 3 GiB.
PROCESS = Budget(384 << 20)
