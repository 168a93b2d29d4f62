"""The fuzzer's corpus, with every input that was once a finding, and some mutations of it, through every reader."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Never

import pytest

from bunet.models.network.weights import WeightsError
from tests.fuzz.__main__ import CORPUS
from tests.fuzz.targets import NEEDS, TARGETS, _taken

MUTATIONS = 12  # of each input


def mutated(data: bytes, generator: random.Random) -> bytes:
    """A few bytes exchanged, cut out or doubled."""
    changed = bytearray(data)
    for _ in range(generator.randrange(1, 4)):
        at, length = generator.randrange(len(changed) + 1), generator.randrange(1, 9)
        piece = generator.choice([b"", generator.randbytes(length), bytes(changed[at : at + length]) * 2])
        changed[at : at + generator.choice([0, length])] = piece
    return bytes(changed)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_read_or_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    if importlib.util.find_spec(NEEDS.get(name, "json")) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    paths = sorted((CORPUS / name).iterdir())
    assert paths, "a target without a corpus"
    generator = random.Random(0)
    for path in paths:
        data = path.read_bytes()
        for number, given in enumerate([data, *(mutated(data, generator) for _ in range(MUTATIONS))]):
            folder = tmp_path / f"{path.name}-{number}"
            folder.mkdir()
            TARGETS[name](given, folder)


@pytest.mark.parametrize("name", TARGETS)
def test_every_reader_takes_a_seed(tmp_path: Path, name: str) -> None:
    """A corpus that is refused at once, such as one of an earlier version, leads the fuzzer nowhere: see seeds.py."""
    if importlib.util.find_spec(NEEDS.get(name, "json")) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    taken: dict[str, bool] = {}
    for path in sorted((CORPUS / name).iterdir()):
        folder = tmp_path / path.name
        folder.mkdir()
        for reader, took in TARGETS[name](path.read_bytes(), folder).items():
            taken[reader] = taken.get(reader, False) or took
    assert taken
    assert {reader for reader, took in taken.items() if not took} == set()


def test_an_internal_error_and_a_sentence_of_several_lines_are_findings() -> None:
    def raising(error: Exception) -> Callable[[], Never]:
        def read() -> Never:
            raise error

        return read

    assert not _taken(raising(WeightsError("it is damaged")), WeightsError)
    for error in (WeightsError("it is\ndamaged"), WeightsError("")):
        with pytest.raises(AssertionError):
            _taken(raising(error), WeightsError)
    with pytest.raises(KeyError):
        _taken(raising(KeyError("x")), WeightsError)


def in_a_process(script: str, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_a_fuzzer_that_dies_before_it_begins_has_failed(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys; import tests.fuzz.__main__ as m\n"
        "m.fuzz, m.RUNS = lambda *_: 1 / 0, pathlib.Path(sys.argv[1], 'runs')\n"
        "sys.exit(m.run('x', None, [], 1))"
    )
    status, said, errors = in_a_process(script, str(tmp_path))
    assert (status, errors) == (0, "")  # of `run`: whether nothing was found
    assert said.endswith(f"FAILED, see {tmp_path}/runs/x.log\n")
    assert "ZeroDivisionError" in (tmp_path / "runs" / "x.log").read_text()


def test_without_atheris_nothing_is_fuzzed_and_that_is_said() -> None:
    script = "import sys; sys.modules['atheris'] = None; sys.argv = ['x']; import tests.fuzz.__main__ as m; sys.exit(m.main())"
    status, said, errors = in_a_process(script)
    assert (status, errors) == (0, "")
    assert said.startswith("atheris is not installed (pip install '.[fuzz]'), so nothing is fuzzed")


def test_the_corpus_is_small_and_of_known_targets() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} <= set(TARGETS)
    assert sum(path.stat().st_size for path in files) < 600_000
