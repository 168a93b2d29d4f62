from __future__ import annotations

import threading

import pytest

from bunet.net.clock import RealClock, host_token
from tests.net.manual_clock import ManualClock


def test_real_clock_never_wakes_early() -> None:
    clock, never = RealClock(), threading.Event()
    for delay_s in (-1.0, 0.0, 30e-6, 400e-6, 3e-3):
        deadline_s = clock.now() + delay_s
        assert clock.sleep_until(deadline_s, never)
        assert clock.now() >= deadline_s


@pytest.mark.parametrize("clock", [RealClock(), ManualClock()])
def test_an_interrupt_ends_the_wait(clock: RealClock | ManualClock) -> None:
    interrupt = threading.Event()
    timer = threading.Timer(0.02, interrupt.set)
    timer.start()
    assert not clock.sleep_until(clock.now() + 60, interrupt)
    timer.join()


def test_manual_clock_stands_still_until_moved() -> None:
    clock, never = ManualClock(5.0), threading.Event()
    assert clock.now() == clock.now() == 5.0
    woken: list[float] = []

    def work() -> None:
        assert clock.sleep_until(7.0, never)
        woken.append(clock.now())

    thread = threading.Thread(target=work)
    thread.start()
    clock.advance(1.5)
    thread.join(0.05)
    assert thread.is_alive()
    clock.advance(0.5)
    thread.join(20)
    assert woken == [7.0]
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


def test_a_jumping_clock_waits_for_nothing() -> None:
    clock, never = ManualClock(5.0, jump=True), threading.Event()
    assert clock.sleep_until(1e6, never)
    assert clock.now() == 1e6
    assert clock.sleep_until(3.0, never)
    assert clock.now() == 1e6


def test_host_token_is_stable() -> None:
    assert host_token() == host_token()
    assert len(host_token()) == 32
