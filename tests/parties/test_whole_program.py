"""Whole programs in lockstep: every layer of both parties' shares, opened, is what the oracle promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.models.program import READOUTS
from tests.parties.programs import run, slices, small, verify


@given(
    size=st.sampled_from([16, 24, 32]),
    features=st.integers(1, 4),
    format=st.sampled_from(["8.4", "12.4", "8.8", "6.3"]),
    activation=st.sampled_from(["relu", "square", "hybrid"]),
    pooling=st.sampled_from(["avg", "max"]),
    relu=st.sampled_from(["gc", "gc-sign"]),
    readout=st.sampled_from(READOUTS),
    garbler=st.sampled_from(["alice", "bob"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=12, deadline=None)
def test_random_programs_equal_the_oracle_layer_by_layer(
    size: int, features: int, format: str, activation: str, pooling: str, relu: str, readout: str, garbler: str, seed: int
) -> None:
    compiled = small(size, features, format, seed, readout, activation=activation, pooling=pooling)
    (image,) = slices(compiled, 1, seed)
    verify(compiled, image, *run(compiled, image, {"relu": relu}, {"garbler": garbler}))


def test_shares_of_two_runs_on_the_same_slice_are_uniform_and_independent() -> None:
    """Chi-square over the top byte of every share of a middle layer, and of the difference between two runs.

    Significance 1e-6 a test: the 99.9999th percentile of chi-square with 255 degrees of freedom is below 375.
    """
    compiled = small(32, 4)
    (image,) = slices(compiled, 1)
    first, second = run(compiled, image), run(compiled, image)
    checked = 0
    for party in (0, 1):
        for node in compiled.program:
            if node.operation not in ("relu", "conv", "extend") or node.type.elements < 2048:
                continue
            a, b = first[party][node.name].values, second[party][node.name].values
            shift = a.dtype.type(node.type.width - 8)
            for sample in (a, b, a - b):
                counts = np.bincount(((sample >> shift) & a.dtype.type(255)).ravel().astype(int), minlength=256)
                expected = sample.size / 256
                assert ((counts - expected) ** 2 / expected).sum() < 375, (node.name, party)
                checked += 1
    assert checked > 20


@pytest.mark.parametrize("garbler", ["alice", "bob"])
def test_shares_of_a_label_are_unbiased_and_independent_between_runs(garbler: str) -> None:
    """Of two runs on one slice: the bits of each party, also where the label is 0 and where it is 1, and between the runs.

    A fair count of n bits is within 5 sqrt(n) / 2 of n / 2 but once in 1.7 million."""
    compiled = small(64, 2, readout="label-share")
    (image,) = slices(compiled, 1)
    first, second = ([seen["readout"] for seen in run(compiled, image, None, {"garbler": garbler})] for _ in range(2))
    labels = first[0] ^ first[1]
    for party in (0, 1):
        a, b = first[party], second[party]
        assert a.dtype == np.uint8
        assert a.shape == (64, 64)
        for sample in (a, b, a ^ b, a[1:] ^ a[:-1], a ^ labels, a[labels == 0], a[labels == 1]):
            assert sample.size > 100
            assert abs(int(sample.sum()) - sample.size / 2) < 5 * sample.size**0.5 / 2


@pytest.mark.parametrize("overrides", [{"square": "mt-ot"}])
def test_squares_from_ot_pairs(overrides: dict[str, str]) -> None:
    compiled = small(16, 1, activation="square")
    (image,) = slices(compiled, 1)
    verify(compiled, image, *run(compiled, image, overrides))
