"""Whole programs in lockstep: every layer of both parties' shares, opened, is what the oracle promises (DESIGN 3)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.models import oracle
from bunet.models.compile import Compiled
from bunet.parties.driver import lockstep, whole_program
from bunet.parties.planner import choose, pahe_names, plan
from bunet.protocols.ass.share import Share, open_shares
from bunet.protocols.registry import LayerWeights
from tests.parties.programs import slices, small
from tests.protocols.contexts import contexts


def run(compiled: Compiled, image: np.ndarray, overrides=None, options=None):
    """Returns ({node: Alice's result}, {node: Bob's result})."""
    program = compiled.program
    chosen = choose(program, overrides)
    weights = {name: LayerWeights(w.weight, w.bias) for name, w in compiled.weights.items()}
    hers, his = plan(program, chosen, options), plan(program, chosen, options, weights)
    alice, bob = contexts(pahe_names(hers))
    seen_a, seen_b = {}, {}
    kind = program.input.type
    lockstep(
        whole_program(alice, hers, Share.of(image.astype(np.uint64), kind), lambda n, v: seen_a.update({n.name: v})),
        whole_program(bob, his, Share.of(np.zeros(kind.shape, np.uint64), kind), lambda n, v: seen_b.update({n.name: v})),
    )
    return seen_a, seen_b


def verify(compiled: Compiled, seen_a, seen_b) -> None:
    opened = {}
    for node in compiled.program:
        a, b = seen_a[node.name], seen_b[node.name]
        if isinstance(a, Share) and isinstance(b, Share):
            assert a.type == b.type == node.type, node.name
            opened[node.name] = open_shares(a, b)
        else:
            assert b is None
            opened[node.name] = a.astype(np.int64).reshape(node.type.shape)
        if node.operation != "input":
            inputs = tuple(opened[name] for name in node.inputs)
            verdict = oracle.agrees(node, compiled.weights.get(node.name), inputs, opened[node.name])
            assert verdict, verdict.message


@given(
    size=st.sampled_from([16, 24, 32]),
    features=st.integers(1, 4),
    format=st.sampled_from(["8.4", "12.4", "8.8", "6.3"]),
    activation=st.sampled_from(["relu", "square", "hybrid"]),
    pooling=st.sampled_from(["avg", "max"]),
    relu=st.sampled_from(["gc", "gc-sign"]),
    readout=st.sampled_from(["argmax", "logits", "share"]),
    garbler=st.sampled_from(["alice", "bob"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=12, deadline=None)
def test_random_programs_equal_the_oracle_layer_by_layer(
    size, features, format, activation, pooling, relu, readout, garbler, seed
):
    compiled = small(size, features, format, seed, readout, activation=activation, pooling=pooling)
    (image,) = slices(compiled, 1, seed)
    verify(compiled, *run(compiled, image, {"relu": relu}, {"garbler": garbler}))


def test_shares_of_two_runs_on_the_same_slice_are_uniform_and_independent():
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


@pytest.mark.parametrize("overrides", [{"square": "mt-ot"}])
def test_squares_from_ot_pairs(overrides):
    compiled = small(16, 1, activation="square")
    (image,) = slices(compiled, 1)
    verify(compiled, *run(compiled, image, overrides))
