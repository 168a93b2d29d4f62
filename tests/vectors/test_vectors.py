"""This code gives the kept answers: on the tier that it runs on, and small kernels on every other tier of this machine.

A red test here means that a value which others rely on has changed: a message, a file, a derivation. Where that was meant,
`python -m tests.vectors` says what to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bunet.net.frame import Frame, decode
from bunet.protocols import registry
from bunet.protocols.kernels.machine import tier
from bunet.protocols.kernels.symmetric import aes
from tests.vectors import kept, kept_files, transcripts
from tests.vectors import kernels as kernel_vectors

REPOSITORY = Path(__file__).parents[2]
PRODUCERS = {**kernel_vectors.PRODUCERS, **transcripts.PRODUCERS, **kept_files.PRODUCERS}

# In a process of its own: names whose answers are not the kept ones, one a line.
OTHER_TIER = """
from tests.vectors import kept, kernels, transcripts
for name, produce in {**kernels.PRODUCERS, **transcripts.PRODUCERS}.items():
    if produce() != kept.read(name):
        print(name)
"""


@pytest.mark.parametrize("name", PRODUCERS)
def test_answers_are_the_kept_ones(name: str) -> None:
    expected, found = kept.read(name), PRODUCERS[name]()
    assert found.keys() == expected.keys()
    for key in expected:
        assert found[key] == expected[key], key


@pytest.mark.slow
@pytest.mark.parametrize("other", [name for name in tier.available() if name != tier.TIER])
def test_answers_are_the_same_on_every_tier(other: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", OTHER_TIER],
        env=os.environ | {"BUNET_TIER": other},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, ""), run.stderr


def test_every_protocol_of_the_answers_is_registered() -> None:
    """A protocol that is new has none yet: `python -m tests.vectors layers` keeps its transcript from then on."""
    names = {name.partition(",")[0] for name in kept.read("layers")}
    assert names <= {f"{protocol.operation} {protocol.name}" for protocol in registry.everything()}


def test_every_file_of_answers_is_tested() -> None:
    assert {path.stem for path in kept.FOLDER.glob("*.json")} == {*PRODUCERS, "aes_nist"}
    size = sum(path.stat().st_size for path in kept.FOLDER.rglob("*") if path.suffix not in (".py", ".pyc"))
    assert size < 1 << 20


# --- standards -------------------------------------------------------------------------------------------------------


def _encrypted(key: str, block: str) -> str:
    """One block, as the counter block that it is."""
    data, out = bytes.fromhex(block), np.empty(2, np.uint64)
    schedule = aes.expand_key(bytes.fromhex(key))
    aes.ctr(schedule, int.from_bytes(data[8:], "little"), int.from_bytes(data[:8], "little"), out)
    return out.tobytes().hex()


def test_aes_is_that_of_the_standard() -> None:
    known = kept.read("aes_nist")
    for case in known["blocks"]:
        assert _encrypted(case["key"], case["in"]) == case["out"], case["where"]
    expansion = known["key_expansion"]
    schedule = aes.expand_key(bytes.fromhex(expansion["key"])).reshape(11, 2)
    assert schedule[1].tobytes().hex() == expansion["first_round"]
    assert schedule[10].tobytes().hex() == expansion["last_round"]
    mode = known["counter_mode"]
    for counter, plain, cipher in zip(mode["counters"], mode["plain"], mode["cipher"], strict=True):
        stream = int(_encrypted(mode["key"], counter), 16)
        assert f"{stream ^ int(plain, 16):032x}" == cipher


# --- a file of one version loads in the next -------------------------------------------------------------------------


def test_the_kept_files_are_those_of_this_version() -> None:
    """A format with a new version needs a new file beside the old one: `python -m tests.vectors`."""
    for path in kept_files.wanted():
        assert path.is_file(), path


@pytest.mark.parametrize("path", kept_files.wanted(), ids=lambda path: path.name)
def test_a_kept_file_is_written_again_byte_by_byte(path: Path) -> None:
    assert kept_files.rewritten(path) == path.read_bytes()


# --- frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", kept_files.messages())
def test_kept_messages_are_read(name: str) -> None:
    sent = kept_files.messages()[name]
    envelope = decode([bytes.fromhex(part) for part in kept.read("frames")[name]])
    assert envelope.due_s == 2.5
    if not isinstance(sent, Frame):
        assert envelope.message == sent
        return
    got = envelope.message
    assert isinstance(got, Frame)
    assert (got.slice, got.layer, got.step, got.round, got.tag) == (sent.slice, sent.layer, sent.step, sent.round, sent.tag)
    for mine, theirs in zip(sent.arrays, got.arrays, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
