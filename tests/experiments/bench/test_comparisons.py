"""`bunet bench kernels --prototypes`: comparisons timed by an injected clock, verdicts, and folders that are not fit."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bunet.experiments.bench import kernels as bench
from bunet.experiments.bench import prototype_cases, prototypes
from bunet.experiments.bench.case import Case, aligned, select
from bunet.experiments.commands.kernels import print_comparisons
from bunet.models.errors import UsageError
from bunet.protocols.kernels.machine import foreign, tier
from tests.experiments.command_line import Bunet

PROTOTYPES = os.environ.get("BUNET_PROTOTYPES")


class Ring:
    """A clock, and two sides whose calls move it by given seconds, the last of which are repeated."""

    def __init__(self, ours: list[float], theirs: list[float]) -> None:
        self.now, self.log = 0.0, ""
        self.sides = self._side("o", ours), self._side("t", theirs)

    def clock(self) -> float:
        return self.now

    def _side(self, letter: str, seconds: list[float]) -> Callable[[], None]:
        left = iter(seconds)
        last = seconds[-1]

        def call() -> None:
            self.log += letter
            self.now += next(left, last)

        return call


def case(ring: Ring, floor: float = 0.9, unit: str = "M/s", alone: bool = False) -> Case:
    ours, theirs = ring.sides
    if alone:
        return Case("k", 1e6, unit, lambda: ours, floor=floor)
    return Case("k", 1e6, unit, lambda: (ours, theirs), opponent="prototype", opponent_items=2e6, floor=floor)


def compared(case: Case, clock: Callable[[], float], runs: int, run_s: float = bench.RUN_S) -> dict[str, Any]:
    return bench.compared(case, *bench.measure(case, runs, clock, run_s))


def test_the_sides_take_turns_and_the_first_two_calls_do_not_count() -> None:
    ring = Ring([9.0, 1.0, 1.0, 2.0, 4.0], [9.0, 1.0, 4.0, 2.0, 1.0])
    entry = compared(case(ring), ring.clock, runs=3, run_s=1.0)
    assert ring.log == "oott" + "ot" * 3
    assert entry["ours"] == {"median": 0.5, "best": 1.0}  # a million items in 1, 2 and 4 seconds
    assert entry["theirs"] == {"median": 1.0, "best": 2.0}  # two million in 4, 2 and 1
    assert entry["ratio"] == {"median": 0.5, "best": 0.5}
    assert entry["verdict"] == "below"


def test_short_calls_of_either_side_are_repeated_within_a_run() -> None:
    ring = Ring([0.25], [0.5])
    bench.measure(case(ring), runs=2, clock=ring.clock, run_s=1.0)
    assert ring.log == "oott" + ("oooo" + "tt") * 2


@pytest.mark.parametrize(
    ("ours", "theirs", "unit", "ratio", "verdict"),
    [
        ([1.0, 2.0, 4.0], [1.0, 2.0, 4.0], "M/s", (1.0, 1.0), "met"),
        ([1.0, 2.0, 4.0], [2.0, 4.0, 8.0], "M/s", (0.5, 0.5), "below"),
        ([4.0, 1.0, 8.0], [4.0, 4.0, 4.0], "M/s", (1.0, 2.0), "met"),
        ([2.0, 2.0, 8.0], [4.0, 4.0, 4.0], "M/s", (0.5, 2.0), "unsure"),
        ([2.0, 4.0, 8.0], [4.0, 4.0, 4.0], "us", (1.0, 2.0), "met"),  # microseconds: less is better
        ([8.0, 8.0, 8.0], [4.0, 4.0, 4.0], "us", (0.5, 0.5), "below"),
    ],
)
def test_a_floor_is_met_where_medians_and_best_runs_agree(
    ours: list[float], theirs: list[float], unit: str, ratio: tuple[float, float], verdict: str
) -> None:
    entry = bench.compared(Case("k", 1, unit, lambda: (print, print), floor=0.9), ours, theirs)
    assert entry["ratio"] == {"median": ratio[0], "best": ratio[1]}
    assert entry["verdict"] == verdict


@pytest.mark.parametrize(("floor", "verdict"), [(3.0, "met"), (5.0, "below")])
def test_without_an_opponent_the_floor_is_in_the_unit(floor: float, verdict: str) -> None:
    ring = Ring([0.25], [1.0])
    entry = compared(case(ring, floor, alone=True), ring.clock, runs=2, run_s=0.25)
    assert ring.log == "oooo"
    assert (entry["ours"]["median"], entry["theirs"], entry["ratio"], entry["verdict"]) == (4.0, None, None, verdict)


def test_a_clock_that_stands_still_divides_nothing_by_zero() -> None:
    ring = Ring([0.0], [0.0])
    assert compared(case(ring), ring.clock, runs=1, run_s=1e-9)["ratio"]["median"] > 0


def test_every_comparison_is_announced_and_kept_in_order() -> None:
    ring, told = Ring([0.5], [0.5]), list[str]()
    entries = bench.run_compared([case(ring), case(ring, alone=True)], runs=1, clock=ring.clock, step=told.append)
    assert told == ["comparison k", "comparison k"]
    assert [entry["rival"] for entry in entries] == ["prototype", None]


def test_different_results_are_refused() -> None:
    prototypes.expect(True, "ntt")
    with pytest.raises(UsageError, match="in the comparison ntt the prototype's results are not ours"):
        prototypes.expect(False, "ntt")


def test_arrays_begin_at_a_cache_line() -> None:
    for words in (1, 3, 100):
        array = aligned(words, 2)
        assert array.shape == (words, 2)
        assert array.ctypes.data % 64 == 0
        assert not array.any()


def test_comparisons_print_in_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ring = Ring([0.25], [1.0])
    long = "rlwe.accumulate.cached192K-of-30"
    entries = [
        {**compared(case(ring, alone=alone), ring.clock, 1), "name": long, "floor": 3.0, "verdict": verdict}
        for alone, verdict in ((False, "below"), (False, "unsure"), (True, "met"))
    ]
    print_comparisons(entries)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[3].split() == [long, "4.000", "2.000", "M/s", "2.00", "2.00", "3.00", "BELOW"]
    assert lines[5].split() == [long, "4.000", "-", "M/s", "-", "-", "3", "M/s", "met"]
    assert lines[-1] == "1 met, 1 below, 1 unsure, of 3 floors"


def test_loops_over_others_kernels_are_compiled() -> None:
    def triangle(n):  # type: ignore[no-untyped-def]
        total = 0
        for i in range(n):
            total += i
        return total

    loop: Any = foreign.compiled(triangle)
    assert loop(5) == 10
    assert loop.signatures


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every file that is needed, with nothing useful in it; and a machine that could run them."""
    monkeypatch.setattr(tier, "available", lambda: tier.TIERS)
    place = tmp_path / "programs"
    place.mkdir()
    for name, functions in prototypes.NEEDED.items():
        (place / f"{name}.py").write_text("".join(f"{function} = None\n" for function in functions))
    return place


def refusal(bunet: Bunet, folder: Path) -> str:
    """What the command says about a folder, in one line."""
    status, out, error = bunet("bench", "kernels", "--prototypes", folder, COLUMNS="80")
    assert (status, out) == (2, "")
    assert len(error.strip().splitlines()) == 1
    return error.strip()


def test_a_missing_folder_is_one_sentence(folder: Path, bunet: Bunet) -> None:
    assert refusal(bunet, folder / "none") == f"bunet: --prototypes {folder / 'none'} is not a folder"
    assert refusal(bunet, folder / "aes.py").endswith("aes.py is not a folder")


@pytest.mark.parametrize("name", prototypes.NEEDED)
def test_a_missing_file_is_named(name: str, folder: Path, bunet: Bunet) -> None:
    (folder / f"{name}.py").unlink()
    assert refusal(bunet, folder) == f"bunet: --prototypes {folder} has no file {name}.py"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ctr512 = None\n", "aes.py has no mmo512"),
        ("import no_such_module\n", "aes.py: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('first\\nsecond')\n", "aes.py: ValueError: first"),
        ("def\n", "aes.py: SyntaxError: invalid syntax"),
    ],
)
def test_an_unfit_file_is_named_with_the_reason(source: str, words: str, folder: Path, bunet: Bunet) -> None:
    (folder / "aes.py").write_text(source)
    assert refusal(bunet, folder).startswith(f"bunet: --prototypes {folder}: {words}")


def test_a_processor_without_the_instructions_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet) -> None:
    monkeypatch.setattr(tier, "available", lambda: ("aesni", "portable"))
    assert "needs a processor with AVX-512, VAES and IFMA" in refusal(bunet, folder)


def test_modules_come_and_go_and_leave_nothing_in_the_folder(folder: Path) -> None:
    from numba import config

    (folder / "aes.py").write_text(
        "from numba import config\nfrom simd import expand_key\nctr512, mmo512 = config.CACHE_DIR, expand_key\n"
    )
    mine = sys.modules["aes"] = type(sys)("aes")  # someone else's module of that name
    before, path, bytecode = config.CACHE_DIR, list(sys.path), sys.dont_write_bytecode
    try:
        with prototypes.loaded(folder) as modules:
            cache = Path(modules.aes.ctr512)
            assert cache.is_dir()
            assert folder not in cache.parents
            assert before == config.CACHE_DIR
            assert sys.modules["aes"] is modules.aes
        assert not cache.exists()
        assert sys.modules["aes"] is mine
        assert "half_gates" not in sys.modules
        assert (config.CACHE_DIR, sys.path, sys.dont_write_bytecode) == (before, path, bytecode)
    finally:
        del sys.modules["aes"]
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(f"{name}.py" for name in prototypes.NEEDED)


# --- the folder that BUNET_PROTOTYPES names --------------------------------------------------------------------------


@pytest.mark.skipif(not PROTOTYPES, reason="BUNET_PROTOTYPES names no folder of reference programs")
@pytest.mark.skipif("vaes" not in tier.available(), reason="the reference programs need AVX-512, VAES and IFMA")
def test_the_real_programs_compute_what_ours_do(tmp_path: Path, bunet: Bunet) -> None:
    path = tmp_path / "compared.json"
    status, out, error = bunet("bench", "kernels", "--prototypes", str(PROTOTYPES), "--runs", "1", "--json", path, COLUMNS="80")
    assert status == 0, error
    assert max(map(len, out.splitlines()[1:])) <= 80
    entries = json.loads(path.read_text())["duels"]
    names = [entry["name"] for entry in entries]
    assert len(set(names)) == len(names)
    for group in ("aes.ctr", "aes.hash", "gc.garble", "gc.evaluate", "ot.iknp", "ot.softspoken4", "ntt.forward",
                  "ntt.inverse", "bfv.encrypt", "bfv.decrypt", "rlwe.accumulate", "bits.pack", "bits.unpack"):  # fmt: skip
        assert any(name.startswith(f"{group}.") for name in names), group
    assert all(entry["ours"]["median"] > 0 and entry["verdict"] in ("met", "below", "unsure") for entry in entries)


def test_a_filter_chooses_among_comparisons() -> None:
    cases = [Case(name, 1, "us", lambda: print) for name in ("aes.ctr.16k", "ntt.forward.n4096.q47")]
    assert select(cases, "ntt") == cases[1:]
    assert select(cases, None) == cases
    assert select(cases, "none") == []


def test_both_sides_of_softspoken_meet_both_of_iknp() -> None:
    (case,) = select(list(prototype_cases._softspoken()), "both")
    assert (case.opponent, case.floor, case.items) == ("our IKNP", 0.5, case.opponent_items)
    for call in case.calls():
        call()
