"""`bunet bench kernels`: every kernel's rate with its spread, as a table and as a document that later runs compare with.

Times are CPU seconds of this thread where the system counts them finely, so that other processes' turns do not count;
what they do to caches and clock does, and shows in the spread. Only warm calls are timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bunet.experiments.bench.case import UNITS, Call, Case, Throughput, limit
from bunet.models.errors import UsageError
from bunet.models.files import json_text

FORMAT, VERSION = "bunet-kernels", 1
RUNS = 9
RUN_S = 0.02  # a run repeats its call for about this long
NOISE = 0.05  # relative differences below this are noise whatever the quartiles say
CLOCK = time.thread_time if time.get_clock_info("thread_time").resolution <= 1e-6 else time.perf_counter

Clock = Callable[[], float]
Step = Callable[[str], None]


def measure(case: Case, runs: int = RUNS, clock: Clock = CLOCK, run_s: float = RUN_S) -> list[list[float]]:
    """Prepare and warm up (which compiles), then time `runs` runs of about run_s seconds; figures of each call, in the unit.

    Where there are two, their runs take turns: a shared machine's speed wanders by more than the differences that matter, and
    so it wanders for both.
    """
    sides = [(call, repeats(call, clock, run_s)) for call in case.calls()]
    figures: list[list[float]] = [[] for _ in sides]
    for _ in range(runs):
        for side, (call, calls) in enumerate(sides):
            figures[side].append(case.figure(side, seconds_a_call(call, calls, clock)))
    return figures


def entry(case: Case, figures: Sequence[float], limit: float | None = None) -> dict[str, Any]:
    """One case for JSON: unit, median, low and high (extremes), quartiles (first, third), limit or null."""
    return {
        "name": case.name,
        "unit": case.unit,
        "median": float(np.median(figures)),
        "low": min(figures),
        "high": max(figures),
        "quartiles": np.percentile(figures, [25, 75]).tolist(),
        "limit": limit,
    }


def repeats(call: Call, clock: Clock, run_s: float) -> int:
    """Warm up (which compiles); how often a run of about run_s seconds repeats the call."""
    call()
    return max(1, int(run_s / seconds_a_call(call, 1, clock)))


def seconds_a_call(call: Call, calls: int, clock: Clock) -> float:
    """The mean of one run of so many calls."""
    started = clock()
    for _ in range(calls):
        call()
    return max(clock() - started, 1e-9) / calls


def run(
    cases: Sequence[Case],
    *,
    runs: int = RUNS,
    clock: Clock = CLOCK,
    clock_hz: float | None = None,
    throughput: Throughput | None = None,
    step: Step = lambda name: None,
) -> dict[str, Any]:
    """The document of a run. clock_hz: the processor's, measured. step: told each case's name before it is run."""
    from bunet.experiments.machine import environment

    known = environment(1)
    kernels = []
    for case in cases:
        step(case.name)
        best = None if clock_hz is None else limit(case, known["tier"], clock_hz, throughput)
        (figures,) = measure(case, runs, clock)
        kernels.append(entry(case, figures, best))
    return {
        "format": FORMAT,
        "version": VERSION,
        "environment": known,
        "clock_hz": clock_hz,
        "runs": runs,
        "kernels": kernels,
        "compared": [],
        "absent": [],
        "duels": [],
    }


# --- an opponent in turns ---------------------------------------------------------------------------------------------


def run_compared(
    cases: Sequence[Case], *, runs: int = RUNS, clock: Clock = CLOCK, step: Step = lambda name: None
) -> list[dict[str, Any]]:
    """What `compared` makes of each, in order. step: told each name before it begins."""
    entries = []
    for case in cases:
        step(f"comparison {case.name}")
        entries.append(compared(case, *measure(case, runs, clock)))
    return entries


def compared(case: Case, ours: Sequence[float], theirs: Sequence[float] | None = None) -> dict[str, Any]:
    """For JSON. ours, theirs: median and best, theirs null without an opponent; ratio: speed over speed, of each.

    verdict: the floor is met, or missed (below), where the medians and the best runs say so, and unsure where they differ.
    """
    our_figures, their_figures = _summary(case, ours), None if theirs is None else _summary(case, theirs)
    ratio = None if their_figures is None else {key: case.speed(our_figures[key], their_figures[key]) for key in our_figures}
    reached = [value >= (case.floor or 0) for value in (our_figures if ratio is None else ratio).values()]
    return {
        "name": case.name,
        "unit": case.unit,
        "rival": case.opponent,
        "ours": our_figures,
        "theirs": their_figures,
        "ratio": ratio,
        "floor": case.floor,
        "verdict": "met" if all(reached) else "unsure" if any(reached) else "below",
    }


def _summary(case: Case, figures: Sequence[float]) -> dict[str, float]:
    return {"median": float(np.median(figures)), "best": max(figures) if case.rate else min(figures)}


# --- an earlier run --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A kernel now and before. ratio: its speed now over its speed then, of medians. verdict: slower, faster or same."""

    name: str
    unit: str
    then: float
    now: float
    ratio: float
    verdict: str


def load_baseline(path: Path) -> dict[str, Any]:
    """A document of `run`, checked; UsageError in one sentence otherwise."""
    try:
        document = json_text.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--baseline {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--baseline {path} is not JSON") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageError(f"--baseline {path} is not a document of `bunet bench kernels --json`")
    if document.get("version") != VERSION:
        raise UsageError(f"--baseline {path} has version {document.get('version')}, this program reads version {VERSION}")
    kernels = document.get("kernels")
    if not isinstance(kernels, list) or not all(map(_is_kernel, kernels)):
        raise UsageError(f"--baseline {path}: `kernels` is damaged")
    if not isinstance(document.get("environment"), dict):
        raise UsageError(f"--baseline {path}: `environment` is missing")
    return document


def _is_kernel(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and entry.get("unit") in list(UNITS)
        and _positive(entry.get("median"))
        and isinstance(entry.get("quartiles"), list)
        and len(entry["quartiles"]) == 2
        and all(map(_positive, entry["quartiles"]))
    )


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def compare(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[Change]:
    """Kernels that both documents have in the same unit, in this one's order.

    A change counts if the medians differ by over NOISE and the middle halves of the runs do not overlap.
    """
    before = {(entry["name"], entry["unit"]): entry for entry in then["kernels"]}
    changes = []
    for entry in now["kernels"]:
        old = before.get((entry["name"], entry["unit"]))
        if old is None:
            continue
        rate = UNITS[entry["unit"]] is not None
        ratio = entry["median"] / old["median"] if rate else old["median"] / entry["median"]
        (low, high), (old_low, old_high) = entry["quartiles"], old["quartiles"]
        apart = high < old_low or low > old_high
        verdict = "same"
        if apart and abs(ratio - 1) > NOISE:
            verdict = "slower" if ratio < 1 else "faster"
        changes.append(Change(entry["name"], entry["unit"], old["median"], entry["median"], ratio, verdict))
    return changes


def differences(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """What makes two documents hard to compare: other processors, tiers, versions; as sentences."""
    here, there = now["environment"], then["environment"]
    return [
        f"the baseline was made with {name} {there.get(name)}, this run with {here[name]}"
        for name in ("cpu", "tier", "numba", "python")
        if there.get(name) != here[name]
    ]


def too_slow(changes: Iterable[Change], floor: float) -> list[Change]:
    """Kernels whose speed is below `floor` times the baseline's."""
    return [change for change in changes if change.ratio < floor]
