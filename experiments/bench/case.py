"""The record of everything that `bunet bench kernels` times, and how fast a processor could do it at best.

A limit is a measured clock times known instruction throughputs. It is known for a kernel that one kind of instruction bounds:
rounds of AES (ten a block) or 52-bit multiply-adds. Loads, stores, shuffles and key schedules are not counted, so it is an
upper bound that no program reaches altogether. A processor that is not in the table has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bunet.models.errors import UsageError

Call = Callable[[], object]
Words = NDArray[np.uint64]

# unit -> items a second that make one unit; `us` is microseconds an item
UNITS = {"M/s": 1e6, "G/s": 1e9, "GB/s": 1e9, "us": None}


@dataclass(frozen=True)
class Case:
    """A timed call at one size; an optional opponent that does the same work; an optional floor.

    name: dotted, unique among ours, begins with the kernel's group. items: in one call. unit: a key of UNITS. prepare: makes
    the arrays and returns the call to time; where an opponent is timed in turns with it, sees that both compute the same, as
    far as they do, and returns its call too.
    aes: AES blocks an item, madd52: 52-bit multiply-adds an item (one of their two halves each), where one of these alone
    bounds the kernel; see `limit`.
    opponent: what it is called. opponent_items: in one of its calls. package: what is installed for an opponent that is a
    library. `prepare` then returns the library's call alone, to be held against our case of that name.
    floor: the speed that is asked for, as a part of the opponent's; without an opponent, in the unit.
    """

    name: str
    items: float
    unit: str
    prepare: Callable[[], Call | tuple[Call, Call]]
    aes: float = 0.0
    madd52: float = 0.0
    opponent: str | None = None
    opponent_items: float = 1.0
    package: str | None = None
    floor: float | None = None

    def calls(self) -> tuple[Call, ...]:
        """What is timed, prepared: our call, and behind it the opponent's where there is one."""
        made = self.prepare()
        return made if isinstance(made, tuple) else (made,)

    def figure(self, side: int, seconds: float) -> float:
        """The case's unit for a call of that many seconds; side: the call's place in `calls`."""
        items, scale = (self.items, self.opponent_items)[side], UNITS[self.unit]
        return seconds * 1e6 / items if scale is None else items / seconds / scale

    @property
    def rate(self) -> bool:
        """Whether more is better."""
        return UNITS[self.unit] is not None

    def speed(self, ours: float, other: float) -> float:
        """Our speed over another's, of figures in the case's unit."""
        return ours / other if self.rate else other / ours


def select(cases: Sequence[Case], wanted: str | None) -> list[Case]:
    """The cases whose name contains `wanted`, all if it is None; maybe none."""
    return [case for case in cases if wanted is None or wanted in case.name]


def check_filter(wanted: str | None, chosen: Iterable[Case], cases: Iterable[Case]) -> None:
    """UsageError where nothing was chosen; `cases`: what there is."""
    if not any(True for _ in chosen):
        groups = ", ".join(sorted({case.name.partition(".")[0] for case in cases}))
        raise UsageError(f"--filter {wanted!r} is part of no kernel's name; they begin with {groups}")


# --- arrays of cases -------------------------------------------------------------------------------------------------


def words(*shape: int) -> Words:
    """Random uint64, the same every time."""
    return np.random.default_rng(1).integers(0, 1 << 64, shape, np.uint64)


def frozen(array: Words) -> Words:
    """The same array, read-only: kernels are compiled for one kind of array, and the protocols pass these."""
    array.flags.writeable = False
    return array


def aligned(*shape: int) -> Words:
    """uint64 zeros, written to, that begin at a cache line: where an array begins must not decide a comparison."""
    size = 8 * int(np.prod(shape))
    memory = np.full(size + 64, 0, np.uint8)  # `zeros` would leave the pages to the first timed call
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(np.uint64).reshape(shape)


# --- limits ----------------------------------------------------------------------------------------------------------

ROUNDS = 10


@dataclass(frozen=True)
class Throughput:
    """Instructions a cycle, by register width. Sources: the vendors' optimisation guides and uops.info."""

    aes128: float
    aes512: float
    madd52_512: float


# by LLVM's name of the processor
THROUGHPUTS = {
    "znver4": Throughput(aes128=2, aes512=1, madd52_512=1),  # 256-bit pipes: 512-bit instructions at half the rate
}


def host() -> Throughput | None:
    """This processor's throughputs, or None where they are not known."""
    from bunet.protocols.kernels.machine.tier import processor  # loads numba

    return THROUGHPUTS.get(processor())


def limit(case: Case, tier: str, clock_hz: float, throughput: Throughput | None) -> float | None:
    """The case's unit at the limit of a tier of this processor; None where it is not known."""
    if throughput is None:
        return None
    aes_blocks = {"vaes": 4 * throughput.aes512 / ROUNDS, "aesni": throughput.aes128 / ROUNDS}.get(tier)
    if case.aes and aes_blocks:
        cycles = case.aes / aes_blocks
    elif case.madd52 and tier == "vaes":
        cycles = case.madd52 / (8 * throughput.madd52_512)
    else:
        return None
    return case.figure(0, case.items * cycles / clock_hz)
