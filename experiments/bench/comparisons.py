"""Our kernels against others doing the same work, in turns in one process, so that both meet the same machine.

A shared machine's speed wanders by more than the differences that matter here. Runs of both sides alternate, so that it
wanders for both; a floor is met, or missed, where the ratio of the medians and that of the best runs say so, and unsure
where they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bunet.experiments.bench.cases import UNITS, Call, figure
from bunet.experiments.bench.kernels import CLOCK, RUN_S, RUNS, Clock, Step, repeats, seconds_a_call
from bunet.models.errors import UsageError


@dataclass(frozen=True)
class Duel:
    """One kernel at one size against a rival.

    name: dotted, unique, begins as the kernel's case does. unit: a key of UNITS. floor: the speed that is asked for, as a part
    of the rival's; without a rival, in the unit. prepare: makes the arrays, sees that the results agree where both compute
    the same, and returns our call and the rival's. items, rival_items: in one call. rival: what it is, None for none.
    """

    name: str
    unit: str
    floor: float
    prepare: Callable[[], tuple[Call, Call | None]]
    items: float
    rival_items: float = 1.0
    rival: str | None = "prototype"


def measure(duel: Duel, runs: int = RUNS, clock: Clock = CLOCK, run_s: float = RUN_S) -> dict[str, Any]:
    """Prepare and warm up, then time `runs` runs of each side, in turns; what `document` makes of them."""
    ours, theirs = duel.prepare()
    sides = [(ours, duel.items)] if theirs is None else [(ours, duel.items), (theirs, duel.rival_items)]
    calls = [repeats(call, clock, run_s) for call, _ in sides]
    figures: list[list[float]] = [[] for _ in sides]
    for _ in range(runs):
        for taken, (call, items), count in zip(figures, sides, calls, strict=True):
            taken.append(figure(items, duel.unit, seconds_a_call(call, count, clock)))
    return document(duel, figures[0], figures[1] if len(figures) > 1 else None)


def document(duel: Duel, ours: Sequence[float], theirs: Sequence[float] | None) -> dict[str, Any]:
    """For JSON. ours, theirs: median and best, theirs null without a rival; ratio: speed over speed, of each.

    verdict: met, below or unsure.
    """
    rate = UNITS[duel.unit] is not None
    mine, other = _summary(ours, rate), None if theirs is None else _summary(theirs, rate)
    ratio = None
    if other is not None:
        ratio = {key: mine[key] / other[key] if rate else other[key] / mine[key] for key in mine}
    reached = [value >= duel.floor for value in (mine if ratio is None else ratio).values()]
    verdict = "met" if all(reached) else "unsure" if any(reached) else "below"
    return {
        "name": duel.name,
        "unit": duel.unit,
        "rival": duel.rival,
        "ours": mine,
        "theirs": other,
        "ratio": ratio,
        "floor": duel.floor,
        "verdict": verdict,
    }


def _summary(figures: Sequence[float], rate: bool) -> dict[str, float]:
    return {"median": float(np.median(figures)), "best": max(figures) if rate else min(figures)}


def run(
    duels: Sequence[Duel], *, runs: int = RUNS, clock: Clock = CLOCK, step: Step = lambda name: None
) -> list[dict[str, Any]]:
    """The document of each, in order. step: told each duel's name before it begins."""
    entries = []
    for duel in duels:
        step(f"duel {duel.name}")
        entries.append(measure(duel, runs, clock))
    return entries


def aligned(*shape: int) -> np.ndarray:
    """uint64 zeros, written to, that begin at a cache line: where an array begins must not decide a duel."""
    size = 8 * int(np.prod(shape))
    memory = np.full(size + 64, 0, np.uint8)  # `zeros` would leave the pages to the first timed call
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(np.uint64).reshape(shape)


def expect(equal: bool, name: str) -> None:
    """UsageError where the two sides of a duel do not compute the same: the rival is not what it should be."""
    if not equal:
        raise UsageError(f"--prototypes: in the duel {name} the prototype's results are not ours")
