"""The builder: what it merges, what it leaves out, what it costs; and the interpreter in the clear."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.gc.builder import ONE, ZERO, CircuitBuilder
from bunet.protocols.gc.circuit import Circuit, Op
from bunet.protocols.gc.schedule import Wire
from tests.protocols.gc.plain import evaluate_plain
from tests.protocols.gc.random_circuits import circuits


def u64(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def two_bits() -> tuple[CircuitBuilder, Wire, Wire]:
    builder = CircuitBuilder()
    (a,), (b,) = builder.garbler_word(1), builder.evaluator_word(1)
    return builder, a, b


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("xor", lambda a, b: a ^ b),
        ("and_", lambda a, b: a & b),
        ("or_", lambda a, b: a | b),
    ],
)
@pytest.mark.parametrize("flips", range(8))
def test_gates_equal_integers_under_any_complements(name: str, function: Callable[..., Any], flips: int) -> None:
    builder, a, b = two_bits()
    x = builder.not_(a) if flips & 1 else a
    y = builder.not_(b) if flips & 2 else b
    z = getattr(builder, name)(x, y)
    builder.output_word([builder.not_(z) if flips & 4 else z])
    inputs = list(itertools.product((0, 1), repeat=2))
    got = evaluate_plain(builder.build(), [u64(*(a for a, _ in inputs))], [u64(*(b for _, b in inputs))])
    want = [function(a ^ flips & 1, b ^ flips >> 1 & 1) ^ flips >> 2 for a, b in inputs]
    assert got[0].tolist() == want


def test_select() -> None:
    builder = CircuitBuilder()
    condition, yes, no = builder.evaluator_word(3)
    builder.output_word([builder.select(condition, yes, no)])
    circuit = builder.build()
    assert circuit.and_gates == 1
    got = evaluate_plain(circuit, [], [np.arange(8, dtype=np.uint64)])
    assert got[0].tolist() == [(v >> 1 if v & 1 else v >> 2) & 1 for v in range(8)]


def test_constants_and_equal_operands_cost_nothing() -> None:
    builder, a, b = two_bits()
    not_a = builder.not_(a)
    assert builder.and_(a, ZERO) == ZERO
    assert builder.and_(ONE, a) == a
    assert builder.and_(a, a) == a
    assert builder.and_(a, not_a) == ZERO
    assert builder.or_(a, not_a) == ONE
    assert builder.xor(a, a) == ZERO
    assert builder.xor(a, ONE) == not_a
    assert builder.and_(a, b) == builder.and_(b, a)


def test_wires_equal_as_xors_are_one_wire() -> None:
    """Otherwise a wire could be constant in every instance, and garbling a tile under one key would betray delta."""
    builder, a, b = two_bits()
    c = builder.and_(a, b)
    left = builder.xor(builder.xor(a, b), c)
    right = builder.xor(a, builder.xor(c, b))
    assert left == right
    assert builder.xor(left, right) == ZERO
    assert builder.xor(left, builder.not_(right)) == ONE


def test_bits_that_reach_outputs_by_xor_only_need_no_label() -> None:
    builder = CircuitBuilder()
    a, b = builder.garbler_word(2), builder.evaluator_word(2)
    carry = builder.and_(a[0], b[0])
    builder.output_word([builder.xor(builder.xor(a[1], b[1]), carry), b[1]])
    circuit = builder.build()
    assert circuit.garbler_labels.tolist() == [[0, 0]]
    assert circuit.evaluator_labels.tolist() == [[0, 0]]
    assert not (circuit.ops[:, 0] == Op.XOR).any()
    x, y = (np.array(v, np.uint64) for v in zip(*itertools.product(range(4), repeat=2), strict=True))
    got = evaluate_plain(circuit, [x], [y])[0]
    top = (x + y) >> np.uint64(1) & np.uint64(1)
    assert (got == top | (y >> np.uint64(1)) << np.uint64(1)).all()


def test_dead_gates_are_left_out_and_wires_reused() -> None:
    builder, a, b = two_bits()
    builder.and_(a, builder.not_(b))
    wire = a
    for _ in range(50):
        wire = builder.and_(builder.xor(wire, b), builder.not_(wire))
    builder.output_word([wire])
    circuit = builder.build()
    assert circuit.and_gates == 50
    assert circuit.depth == 50
    assert circuit.wires <= 4


def test_digest_tells_circuits_apart() -> None:
    def build(gate: str) -> Circuit:
        builder, a, b = two_bits()
        builder.output_word([getattr(builder, gate)(a, b)])
        return builder.build()

    assert build("and_") == build("and_")
    assert hash(build("and_")) == hash(build("and_"))
    assert build("and_").digest != build("or_").digest
    with pytest.raises(ValueError, match="read-only"):
        build("and_").ops[0, 0] = Op.XOR


@settings(max_examples=50, deadline=None)
@given(circuits(), st.integers(0, 2**32))
def test_instances_are_independent(circuit: Circuit, seed: int) -> None:
    """One instance alone gives what it gives among others."""
    generator = np.random.default_rng(seed)
    garbler = [generator.integers(0, 1 << w, 5, np.uint64) for w in circuit.garbler_words]
    evaluator = [generator.integers(0, 1 << w, 5, np.uint64) for w in circuit.evaluator_words]
    whole = evaluate_plain(circuit, garbler, evaluator)
    alone = evaluate_plain(circuit, [w[3:4] for w in garbler], [w[3:4] for w in evaluator])
    assert [w[3] for w in whole] == [w[0] for w in alone]
    for word, width in zip(whole, circuit.output_words, strict=True):
        assert (word >> np.uint64(width) == 0).all()


@pytest.mark.parametrize("width", [0, 65])
def test_word_widths_are_checked(width: int) -> None:
    builder = CircuitBuilder()
    with pytest.raises(ValueError, match="64 bits"):
        builder.garbler_word(width)
    with pytest.raises(ValueError, match="64 bits"):
        builder.output_word([ONE] * width)
    with pytest.raises(ValueError, match="output"):
        builder.build()


def test_words_that_do_not_fit_are_refused() -> None:
    builder = CircuitBuilder()
    a, b = builder.garbler_word(40), builder.evaluator_word(3)
    builder.output_word([builder.and_(a[0], b[0])])
    circuit = builder.build()
    with pytest.raises(ValueError, match="1 garbler words, not 0"):
        evaluate_plain(circuit, [], [u64(1)])
    with pytest.raises(ValueError, match="evaluator word 0 has 2 instances, expected 1"):
        evaluate_plain(circuit, [u64(1)], [u64(1, 2)])
    with pytest.raises(ValueError, match="40 bits"):
        evaluate_plain(circuit, [np.zeros(1, np.uint32)], [u64(1)])
    with pytest.raises(ValueError, match="uint32 or uint64"):
        evaluate_plain(circuit, [np.zeros(1, np.int64)], [u64(1)])
    with pytest.raises(ValueError, match="one-dimensional"):
        evaluate_plain(circuit, [np.zeros((1, 1), np.uint64)], [u64(1)])
