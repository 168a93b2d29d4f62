"""`python -m tests.fuzz --seconds 600 [TARGET ...]`: every reader under libFuzzer, led by the branches it reaches (atheris).

Targets are functions of bytes (targets.py) and, where structure helps, hypothesis' tests of documents that are changed
(test_structured.py). Inputs that are kept and those that are findings lie in runs/fuzz/TARGET; a finding of bytes, once mended,
goes to tests/fuzz/corpus, one of hypothesis becomes an `example` of its test.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.seeds import CORPUS
from tests.fuzz.targets import NEEDS, TARGETS

STRUCTURED = "-values"  # how names of hypothesis' targets end
RUNS = Path("runs") / "fuzz"
MAX_BYTES, MAX_SECONDS, MAX_MEMORY_MB = 16384, 30, 6000
INSTRUMENTED = ["bunet.models", "bunet.net", "bunet.experiments", "bunet.parties", "zipfile", "yaml", "nibabel", "pydicom"]


def main() -> int:
    """The number of targets with a finding, as the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=600, help="shared by the targets")
    parser.add_argument("--one", action="store_true", help="this process is the fuzzer of the one target")
    parser.add_argument("targets", nargs="*")
    asked = parser.parse_args()
    known = [*TARGETS, *structured_names()]
    unknown = [name for name in asked.targets if name not in known]
    if unknown:
        parser.error(f"no target {unknown[0]}; there are {', '.join(known)}")
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed (pip install '.[fuzz]'), so nothing is fuzzed; the tests still replay the corpus")
        return 0
    if asked.one:
        fuzz(asked.targets[0], asked.seconds)
    names = [name for name in asked.targets or known if importlib.util.find_spec(NEEDS.get(name, "json")) is not None]
    return sum(not run(name, max(1, asked.seconds // len(names))) for name in names)


def structured_names() -> list[str]:
    if importlib.util.find_spec("hypothesis") is None:
        return []
    from tests.fuzz.test_structured import structured

    return list(structured())


def run(name: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own, and say what came of it; whether nothing was found."""
    RUNS.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz", "--one", "--seconds", str(seconds), name]
    shared = Path("/dev/shm")
    # Removed here: libFuzzer ends its process without leaving anything in Python.
    memory = shared if shared.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="bunet-fuzz-", dir=memory, ignore_cleanup_errors=True) as room:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            env={**os.environ, "TMPDIR": room},
        )
    (RUNS / f"{name}.log").write_text(done.stdout)
    count = re.search(r"stat::number_of_executed_units: *(\d+)", done.stdout)
    reached = re.findall(r" cov: (\d+)", done.stdout)
    found = re.findall(r"Test unit written to (\S+)", done.stdout)
    outcome = f"FOUND {', '.join(found)}" if found else "nothing found" if done.returncode == 0 else "FAILED"
    executed, branches = count[1] if count else "?", reached[-1] if reached else "?"
    print(f"{name:18}{executed:>9} executions{branches:>7} branches  {outcome}", flush=True)
    return outcome == "nothing found"


def fuzz(name: str, seconds: int) -> None:
    """Does not come back: libFuzzer ends the process."""
    import atheris

    kept = RUNS / name
    kept.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=INSTRUMENTED, exclude=["bunet.protocols"]):
        # All of ours, so that there are no two of any class; but this module, which is what runs.
        again = ("bunet.", "tests.fuzz.", *INSTRUMENTED)
        for module in [m for m in sys.modules if m.startswith(again) and m != "tests.fuzz.__main__"]:
            del sys.modules[module]
        from tests.fuzz.targets import TARGETS as INSTRUMENTED_TARGETS
        for module in ("nibabel", "pydicom"):  # else imported where they are needed, which is too late
            if importlib.util.find_spec(module) is not None:
                importlib.import_module(module)
        if name.endswith(STRUCTURED):
            from tests.fuzz.test_structured import structured
    folder = Path(tempfile.mkdtemp(prefix="bunet-fuzz-"))
    if name.endswith(STRUCTURED):
        test, seeds = structured()[name], []
    else:
        test, seeds = functools.partial(_call, INSTRUMENTED_TARGETS[name], folder), [str(CORPUS / name)]
    limits = [f"-max_len={MAX_BYTES}", f"-timeout={MAX_SECONDS}", f"-rss_limit_mb={MAX_MEMORY_MB}"]
    options = [f"-max_total_time={seconds}", "-print_final_stats=1", f"-artifact_prefix={kept}/finding-", *limits]
    atheris.Setup([sys.argv[0], *options, str(kept), *seeds], test)
    atheris.Fuzz()


def _call(target: Callable[[bytes, Path], object], folder: Path, data: bytes) -> None:
    target(data, folder)


if __name__ == "__main__":
    sys.exit(main())
