"""`python -m tests.fuzz --seconds 600 [TARGET ...]`: every reader under libFuzzer, led by the branches it reaches (atheris).

Targets are functions of bytes (targets.py) and, where structure helps, hypothesis' tests of documents that are changed
(test_structured.py). Inputs that are kept and those that are findings lie in runs/fuzz/TARGET; a finding of bytes, once mended,
goes to tests/fuzz/corpus, one of hypothesis becomes an `example` of its test.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
RUNS = Path("runs") / "fuzz"
MAX_BYTES, MAX_SECONDS, MAX_MEMORY_MB = 16384, 30, 6000
INSTRUMENTED = ["bunet", "zipfile", "yaml", "nibabel", "pydicom"]  # atheris takes whole packages only
# (what it needs, module) of those that are imported where they are needed, which is too late here.
ASKED_FOR_LATER = (
    ("nibabel", "nibabel"),
    ("pydicom", "pydicom"),
    ("pydicom", "bunet.models.volumes.dicom.segmentation"),
    ("torch", "bunet.models.network.unet"),
    ("torch", "bunet.models.training.files"),
)

Test = tuple[Callable[[bytes], object], list[str]]  # what is called with each input, the folders of its seeds


def main() -> int:
    """The number of targets with a finding, as the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=600, help="shared by the targets")
    parser.add_argument("targets", nargs="*")
    asked = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed (pip install '.[fuzz]'), so nothing is fuzzed; the tests still replay the corpus")
        return 0
    shared = Path("/dev/shm")
    memory = shared if shared.is_dir() else None
    room, process = Path(tempfile.mkdtemp(prefix="bunet-fuzz-", dir=memory)), os.getpid()
    try:
        tests = instrumented(room)
        unknown = [name for name in asked.targets if name not in tests]
        if unknown:
            parser.error(f"no target {unknown[0]}; there are {', '.join(tests)}")
        names = asked.targets or list(tests)
        return sum(not run(name, *tests[name], max(1, asked.seconds // len(names))) for name in names)
    finally:
        if os.getpid() == process:  # and not a fork, which ends here too
            shutil.rmtree(room, ignore_errors=True)


def instrumented(room: Path) -> dict[str, Test]:
    """The targets that this machine can run, imported so that libFuzzer sees their branches. room: for their files."""
    import atheris

    RUNS.mkdir(parents=True, exist_ok=True)
    with (
        (RUNS / "instrumented.log").open("w") as log,
        contextlib.redirect_stderr(log),  # a line for every module
        atheris.instrument_imports(include=INSTRUMENTED),
    ):
        for module in [m for m in sys.modules if m.startswith(tuple(INSTRUMENTED))]:
            del sys.modules[module]
        for library, module in ASKED_FOR_LATER:
            if importlib.util.find_spec(library) is not None:
                importlib.import_module(module)
        from tests.fuzz.targets import NEEDS, TARGETS
        from tests.fuzz.test_structured import structured
    found: dict[str, Test] = {}
    for name, target in TARGETS.items():
        if importlib.util.find_spec(NEEDS.get(name, "json")) is not None:
            (room / name).mkdir()
            found[name] = functools.partial(_call, target, room / name), [str(CORPUS / name)]
    return found | {name: (test, []) for name, test in structured().items()}


def _call(target: Callable[[bytes, Path], object], folder: Path, data: bytes) -> None:
    target(data, folder)


def run(name: str, test: Callable[[bytes], object], seeds: list[str], seconds: int) -> bool:
    """Fuzz one target in a process of its own, and say what came of it; whether nothing was found."""
    kept, log = RUNS / name, RUNS / f"{name}.log"
    kept.mkdir(parents=True, exist_ok=True)
    child = os.fork()  # with all modules as they are: to instrument them takes longer than many a target's share
    if not child:
        with log.open("wb") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        fuzz(test, [str(kept), *seeds], kept, seconds)  # ends by SystemExit: libFuzzer writes a finding down as Python exits
    _, status = os.waitpid(child, 0)
    said = log.read_text(errors="replace")
    count = re.search(r"stat::number_of_executed_units: *(\d+)", said)
    reached = re.findall(r" cov: (\d+)", said)
    found = re.findall(r"Test unit written to (\S+)", said)
    outcome = f"FOUND {', '.join(found)}" if found else "nothing found" if status == 0 else f"FAILED, see {log}"
    executed, branches = count[1] if count else "?", reached[-1] if reached else "?"
    print(f"{name:18}{executed:>9} executions{branches:>7} branches  {outcome}", flush=True)
    return outcome == "nothing found"


def fuzz(test: Callable[[bytes], object], folders: list[str], kept: Path, seconds: int) -> None:
    """Does not come back: libFuzzer ends the process."""
    import atheris

    limits = [f"-max_len={MAX_BYTES}", f"-timeout={MAX_SECONDS}", f"-rss_limit_mb={MAX_MEMORY_MB}"]
    options = [f"-max_total_time={seconds}", "-print_final_stats=1", f"-artifact_prefix={kept}/finding-", *limits]
    atheris.Setup([sys.argv[0], *options, *folders], test)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
