"""A clock that a test moves by hand."""

import threading

from bunet.net.clock import Clock


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
