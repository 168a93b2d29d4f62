"""Time as the network sees it: the machine's monotonic clock, or one that stands for it in a test."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import threading
import time
from abc import ABC, abstractmethod

# The kernel wakes a sleeper 50-200 us late. So the coarse, interruptible part of a wait ends early; the rest is slept
# in shrinking steps, and the very last part, shorter than the kernel's slack, is spun.
_COARSE_MARGIN_S = 250e-6
_SPIN_S = 70e-6


class Clock(ABC):
    """`now()` in seconds from an arbitrary origin, and waiting for such a time."""

    @abstractmethod
    def now(self) -> float:
        """Seconds; never goes back."""

    @abstractmethod
    def sleep_until(self, deadline_s: float, interrupt: threading.Event) -> bool:
        """Return True at `deadline_s` and never before it, or False as soon as `interrupt` is set."""


class RealClock(Clock):
    """`time.monotonic`, which all processes of one machine share."""

    def now(self) -> float:
        return time.monotonic()

    def sleep_until(self, deadline_s: float, interrupt: threading.Event) -> bool:
        coarse_s = deadline_s - time.monotonic() - _COARSE_MARGIN_S
        if coarse_s > 0:
            interrupt.wait(coarse_s)
        while not interrupt.is_set():
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                return True
            if remaining_s > _SPIN_S:
                time.sleep(max((remaining_s - _SPIN_S) / 2, 1e-6))
        return False


def host_token() -> str:
    """Names the machine (and its current start), so that two processes can tell that they share a clock."""
    text = platform.node()
    for path, read in (("/proc/sys/kernel/random/boot_id", _read), ("/proc/self/ns/time", os.readlink)):
        with contextlib.suppress(OSError):  # not Linux, or an old one
            text += read(path)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
