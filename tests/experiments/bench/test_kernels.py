"""`bunet bench kernels`: figures from an injected clock, documents, baselines, other libraries, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bunet.experiments.bench import cases as kernel_cases
from bunet.experiments.bench import kernels as bench
from bunet.experiments.bench import libraries
from bunet.experiments.bench.case import UNITS, Case, Throughput, limit
from bunet.experiments.commands.kernels import figure
from bunet.models.errors import UsageError
from bunet.protocols.kernels.machine import clock
from tests.experiments.command_line import Bunet


class Machine:
    """A clock that only the timed calls move, and calls that take given seconds, the first of them longer."""

    def __init__(self, *seconds: float, compile_s: float = 5.0) -> None:
        self.now, self.calls, self._left, self._compile_s = 0.0, 0, list(seconds), compile_s

    def clock(self) -> float:
        return self.now

    def call(self) -> None:
        self.calls += 1
        if self.calls == 1:
            self.now += self._compile_s
        else:
            self.now += self._left[0] if len(self._left) == 1 else self._left.pop(0)

    def prepare(self) -> Callable[[], object]:
        return self.call


def case(name: str = "aes.ctr", unit: str = "M/s", items: float = 1e6, machine: Machine | None = None, **more: Any) -> Case:
    return Case(name, items, unit, (machine or Machine(1.0)).prepare, **more)


def test_the_compiling_call_is_not_timed_and_the_median_counts() -> None:
    machine = Machine(9.0, 1.0, 4.0, 2.0)  # the second call only says how often a run repeats its call
    one = case(machine=machine)
    (figures,) = bench.measure(one, runs=3, clock=machine.clock, run_s=1.0)
    assert figures == [1.0, 0.25, 0.5]
    entry = bench.entry(one, figures)
    assert (entry["median"], entry["low"], entry["high"], entry["limit"]) == (0.5, 0.25, 1.0, None)
    assert entry["quartiles"] == [0.375, 0.75]


def test_short_calls_are_repeated_within_a_run() -> None:
    machine = Machine(0.125)
    (figures,) = bench.measure(case(unit="us", items=10, machine=machine), runs=2, clock=machine.clock, run_s=1.0)
    assert machine.calls == 2 + 2 * 8
    assert figures == [12500.0, 12500.0]


def test_a_clock_that_stands_still_divides_nothing_by_zero() -> None:
    machine = Machine(0.0)
    assert bench.measure(case(machine=machine), runs=1, clock=machine.clock, run_s=1e-9)[0][0] > 0


def test_limits_follow_from_clock_and_throughput() -> None:
    zen4 = Throughput(aes128=2, aes512=1, madd52_512=1)
    clock_hz = 3.64e9
    assert limit(case(aes=1), "vaes", clock_hz, zen4) == pytest.approx(1456)
    assert limit(case(aes=1), "aesni", clock_hz, zen4) == pytest.approx(728)
    assert limit(case(aes=4), "vaes", clock_hz, zen4) == pytest.approx(364)
    assert limit(case(unit="G/s", madd52=2), "vaes", clock_hz, zen4) == pytest.approx(14.56)
    ntt = next(one for one in kernel_cases.ntt_cases() if one.name == "ntt.forward.n4096.q47")
    assert limit(ntt, "vaes", clock_hz, zen4) == pytest.approx(2.53, abs=0.01)
    for tier, throughput, one in (
        ("portable", zen4, case(aes=1)),
        ("vaes", None, case(aes=1)),
        ("vaes", zen4, case()),
        ("aesni", zen4, case(madd52=2)),
    ):
        assert limit(one, tier, clock_hz, throughput) is None


def test_the_clock_is_what_the_timer_says() -> None:
    times = iter([0.0, 0.004, 1.0, 1.002])
    assert clock.clock_hz(lambda: next(times), runs=2) == pytest.approx(clock.CYCLES * 2_000_000 / 0.002)
    assert int(clock.spin(1)) == 0x9E3779B97F4A7C15


def test_names_are_unique_and_units_known() -> None:
    cases = kernel_cases.all_cases()
    assert len({one.name for one in cases}) == len(cases)
    assert all(one.unit in UNITS and one.items > 0 for one in cases)
    assert max(len(one.name) for one in cases) <= 30  # the table has 80 columns
    ours = {one.name: one.unit for one in cases}
    assert all(other.package and other.unit == ours[other.name] for other in libraries.library_cases())


SMALL = (
    "aes.ctr",
    "ot.apply.w32",
    "ot.softspoken4.send",
    "bits.unpack.w18",
    "ntt.inverse.n2048.q47",
    "sample.ternary",
    "bfv.open.n4096-q94",
)


@pytest.mark.parametrize("name", SMALL)
def test_cases_run(name: str) -> None:
    (one,) = (one for one in kernel_cases.all_cases() if one.name == name)
    assert bench.measure(one, runs=1, run_s=0.0)[0][0] > 0


def document(*entries: dict[str, Any]) -> dict[str, Any]:
    place = {"cpu": "x", "tier": "vaes", "numba": "1", "python": "3"}
    return {"format": bench.FORMAT, "version": bench.VERSION, "environment": place, "kernels": list(entries)}


def entry(name: str, median: float, spread: float = 0.0, unit: str = "M/s") -> dict[str, Any]:
    return {"name": name, "unit": unit, "median": median, "quartiles": [median - spread, median + spread]}


@pytest.mark.parametrize(
    ("then", "now", "ratio", "verdict"),
    [
        (entry("k", 100), entry("k", 80), 0.8, "slower"),
        (entry("k", 100), entry("k", 125), 1.25, "faster"),
        (entry("k", 100), entry("k", 96), 0.96, "same"),  # within NOISE
        (entry("k", 100, 15), entry("k", 80, 6), 0.8, "same"),  # the quartiles overlap
        (entry("k", 100, 5), entry("k", 80, 6), 0.8, "slower"),
        (entry("k", 100, 1, "us"), entry("k", 125, 1, "us"), 0.8, "slower"),  # microseconds: more is worse
        (entry("k", 100, 1, "us"), entry("k", 80, 1, "us"), 1.25, "faster"),
    ],
)
def test_a_change_counts_beyond_the_noise(then: Any, now: Any, ratio: float, verdict: str) -> None:
    (change,) = bench.compare(document(now), document(then))
    assert change.ratio == pytest.approx(ratio)
    assert change.verdict == verdict
    assert bool(bench.too_slow([change], 0.9)) == (ratio < 0.9)


def test_only_kernels_of_both_documents_in_the_same_unit_are_compared() -> None:
    now = document(entry("a", 1), entry("b", 1), entry("c", 1, unit="us"))
    then = document(entry("b", 2), entry("c", 1, unit="M/s"), entry("d", 1))
    assert [change.name for change in bench.compare(now, then)] == ["b"]


def test_other_machines_are_pointed_out() -> None:
    now, then = document(), document()
    assert bench.differences(now, then) == []
    then["environment"]["tier"] = "portable"
    assert bench.differences(now, then) == ["the baseline was made with tier portable, this run with vaes"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a document of `bunet bench kernels --json`"),
        ('{"format": "other"}', "is not a document of"),
        ('{"format": "bunet-kernels", "version": 99}', "has version 99, this program reads version 1"),
        ('{"format": "bunet-kernels", "version": 1, "kernels": [{"name": "x"}]}', "`kernels` is damaged"),
        (json.dumps({**document(entry("k", -1))}), "`kernels` is damaged"),
        (json.dumps({**document(), "environment": None}), "`environment` is missing"),
    ],
)
def test_a_bad_baseline_is_refused_before_anything_is_timed(content: str, words: str, tmp_path: Path, bunet: Bunet) -> None:
    path = tmp_path / "before.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"before\.json"):
        bench.load_baseline(path)
    status, _, error = bunet("bench", "kernels", "--baseline", path, COLUMNS="80")
    assert status == 2
    assert words in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--filter", "nothing"), "--filter 'nothing' is part of no kernel's name; they begin with aes, bfv"),
        (("--runs", "0"), "--runs must be a whole number from 1"),
        (("--fail-below", "0.9"), "--fail-below needs a --baseline"),
        (("--baseline", "missing.json"), "--baseline missing.json: No such file"),
        (("--baseline", "missing.json", "--fail-below", "nan"), "--fail-below must be above 0"),
        (("--json", "nowhere/x.json"), "there is no folder nowhere"),
    ],
)
def test_bad_options_are_one_sentence(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, error = bunet("bench", "kernels", *arguments, COLUMNS="80")
    assert status == 2
    assert words in error
    assert len(error.strip().splitlines()) == 1


def test_libraries_are_timed_or_said_to_be_absent() -> None:
    machine = Machine(0.5)
    known = [
        case("k", machine=machine, opponent="Here", package="here"),
        case("k", opponent="Gone", package="gone"),
        case("k", opponent="Gone", package="gone"),
        case("not timed", opponent="Other", package="here"),
    ]
    result = {**document(entry("k", 6)), "compared": [], "absent": []}
    libraries.run(result, known, runs=1, clock=machine.clock, installed=lambda package: package == "here")
    (compared,) = result["compared"]
    assert (compared["library"], compared["median"], compared["ours"], compared["ratio"]) == ("Here", 2.0, 6, 3.0)
    assert result["absent"] == ["Gone (pip install gone)"]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cases in place of all, and a clock for them; no other library."""
    machine = Machine(0.001)
    cases = [case("aes.ctr", machine=machine, aes=1), case("ntt.forward", unit="us", items=1, machine=machine)]
    monkeypatch.setattr(kernel_cases, "all_cases", lambda: cases)
    gone = case("aes.ctr", opponent="Gone", package="no_such_package")
    monkeypatch.setattr(libraries, "library_cases", lambda: iter([gone]))


@pytest.mark.usefixtures("tiny")
def test_the_command_prints_80_columns_and_writes_what_it_reads_again(tmp_path: Path, bunet: Bunet) -> None:
    path = tmp_path / "now.json"
    status, out, error = bunet("bench", "kernels", "--json", path, "--compare", "--runs", "2", COLUMNS="80")
    assert status == 0, error
    assert "aes.ctr" in out
    assert "absent: Gone (pip install no_such_package)" in out
    assert max(map(len, out.splitlines()[1:])) <= 80
    written = bench.load_baseline(path)
    assert [kernel["name"] for kernel in written["kernels"]] == ["aes.ctr", "ntt.forward"]
    assert set(written) == {
        "format",
        "version",
        "environment",
        "clock_hz",
        "runs",
        "kernels",
        "compared",
        "absent",
        "duels",
    }
    for kernel in written["kernels"]:
        assert kernel["low"] <= kernel["quartiles"][0] <= kernel["median"] <= kernel["quartiles"][1] <= kernel["high"]


@pytest.mark.usefixtures("tiny")
def test_regressions_are_marked_and_fail_only_when_asked(tmp_path: Path, bunet: Bunet) -> None:
    path = tmp_path / "before.json"
    assert bunet("bench", "kernels", "--json", path, "--runs", "1", COLUMNS="80")[0] == 0
    before = json.loads(path.read_text())
    for kernel in before["kernels"]:
        factor = 1e6 if kernel["unit"] == "M/s" else 1.0
        kernel["median"] *= factor
        kernel["quartiles"] = [value * factor for value in kernel["quartiles"]]
    path.write_text(json.dumps(before))
    status, out, _ = bunet("bench", "kernels", "--baseline", path, "--runs", "1", "--filter", "aes", COLUMNS="80")
    assert status == 0
    assert "SLOWER" in out
    assert "beyond the noise: 1 slower" in out
    status, _, error = bunet(
        "bench", "kernels", "--baseline", path, "--runs", "1", "--filter", "aes", "--fail-below", "0.5", COLUMNS="80"
    )
    assert status == 1
    assert "bunet: below 0.5 of the baseline's speed: aes.ctr" in error


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.01234"), (1.5, "1.500"), (999.94, "999.9"), (1437.2, "1437"), (7169430, "7169430"), (2.94e8, "2.94e+08")],
)
def test_figures_have_four_digits(value: float, text: str) -> None:
    assert figure(value) == text
