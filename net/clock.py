"""Time as the network sees it: the machine's monotonic clock, or one that a test moves by hand."""

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


class ManualClock(Clock):
    """A clock that stands still until `advance`, or, with `jump`, leaps to whatever time is waited for.

    A jumping clock makes a link of 200 ms testable at once (the idea of trio's MockClock).
    """

    def __init__(self, start_s: float = 1000.0, *, jump: bool = False) -> None:
        self._now_s = start_s
        self._jump = jump
        self._moved = threading.Condition()

    def now(self) -> float:
        with self._moved:
            return self._now_s

    def advance(self, seconds: float) -> None:
        """Move on by `seconds` >= 0 and wake those whose time has come."""
        if seconds < 0:
            raise ValueError(f"a clock cannot go back by {-seconds} s")
        with self._moved:
            self._now_s += seconds
            self._moved.notify_all()

    def sleep_until(self, deadline_s: float, interrupt: threading.Event) -> bool:
        with self._moved:
            if self._jump:
                self._now_s = max(self._now_s, deadline_s)
            while self._now_s < deadline_s:
                if interrupt.is_set():
                    return False
                self._moved.wait(0.02)  # bounded, since `interrupt` does not wake this condition
        return not interrupt.is_set()


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
