"""Alice's look at her own slices: the share of values beyond calibration, and what she is told of it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest

from bunet.models.files.disk_space import DiskFull
from bunet.models.program import Program
from bunet.parties import input_range
from bunet.parties.input_slices import InputSlices
from tests.parties.programs import small

PROGRAM = small().program
KIND = PROGRAM.input.type
WITHIN = f"{np.ldexp(PROGRAM.calibrated, -KIND.frac):g}"


def looked_at(
    *slices: np.ndarray, program: Program = PROGRAM, size: tuple[int, int] | None = None
) -> tuple[dict[str, float], list[str]]:
    """(shares, what was said) of slices along z from position 20 on."""
    said: list[Any] = []
    labels = [("z", 20 + k) for k in range(len(slices))]
    return input_range.check(program, InputSlices(labels, lambda given, k: slices[k], size), said.append), [
        note.text for note in said
    ]


def with_beyond(count: int, value: int) -> np.ndarray:
    """A slice whose first `count` pixels are beyond."""
    image = np.full(KIND.shape, PROGRAM.calibrated, np.int64)
    image[2].reshape(-1)[:count] = value
    return image


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_within_the_range_is_not_mentioned(sign: int) -> None:
    assert looked_at(with_beyond(5, sign * PROGRAM.calibrated)) == ({}, [])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_share_of_one_slice(sign: int) -> None:
    shares, said = looked_at(with_beyond(40, sign * (PROGRAM.calibrated + 1)))
    assert shares == {"z20": 40 / (16 * 16)}
    assert said == [
        f"15.6 % of the values of slice z20 lie beyond what the model was calibrated for (-{WITHIN}..{WITHIN}): "
        "the mask may be wrong there"
    ]


def test_many_slices_are_one_sentence() -> None:
    beyond = PROGRAM.calibrated + 1
    shares, said = looked_at(with_beyond(0, 0), with_beyond(1, beyond), with_beyond(64, beyond))
    assert shares == {"z21": 1 / 256, "z22": 0.25}
    (sentence,) = said
    assert sentence.startswith("values of 2 of 3 slices, at most 25.0 % of them (slice z22), lie beyond what the model")


def test_little_is_not_called_nothing() -> None:
    assert input_range.percent(1e-6) == "less than 0.1 %"
    assert input_range.percent(0.0006) == "0.1 %"


def test_a_program_that_does_not_say_is_said_to() -> None:
    nodes = (replace(PROGRAM.input, attributes={}), *PROGRAM.nodes[1:])
    shares, said = looked_at(with_beyond(9, 1 << 10), program=Program(PROGRAM.format, nodes))
    assert shares == {}
    assert said == ["Bob's program does not say for which values it was calibrated, so yours are not compared"]


def test_counted_are_a_slice_s_own_pixels() -> None:
    """Not those of its neighbours, which are slices of their own, and not what it is padded by."""
    beyond = PROGRAM.calibrated + 1
    image = np.full(KIND.shape, beyond, np.int64)
    image[2] = 0
    assert looked_at(image) == ({}, [])
    image[2, 0, :6] = beyond
    image[2, 12:] = image[2, :, 10:] = 0
    assert looked_at(image, size=(12, 10))[0] == {"z20": 6 / 120}
    assert looked_at(image)[0] == {"z20": 6 / 256}


def test_shares_are_kept_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    input_range.save({"z3": 0.25}, tmp_path)
    assert input_range.load(tmp_path) == {"z3": 0.25}

    def full(descriptor: int) -> Never:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="no room in"):
        input_range.save({}, tmp_path)
    assert input_range.load(tmp_path) == {"z3": 0.25}
