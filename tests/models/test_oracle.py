"""The integer oracle: each operation against its definition, and the verdict on outputs that are right or wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bunet.models import oracle
from bunet.models.integers import IntegerWeights
from bunet.models.program import Format, Node, Program, TensorType


def node(
    operation: str,
    shape: tuple[int, int, int],
    width: int = 12,
    frac: int = 0,
    attributes: dict[str, Any] | None = None,
    inputs: int = 1,
) -> Node:
    kind = TensorType(shape, width, frac, 0)
    return Node("n", operation, tuple(f"x{i}" for i in range(inputs)), kind, attributes or {})


def values(rng: np.random.Generator, shape: tuple[int, int, int], bits: int = 9) -> np.ndarray:
    return rng.integers(-(1 << bits), 1 << bits, shape, dtype=np.int64)


def test_elementwise_operations_and_pools() -> None:
    rng = np.random.default_rng(2)
    x, y = values(rng, (2, 4, 6)), values(rng, (3, 4, 6))
    np.testing.assert_array_equal(oracle.apply(node("relu", x.shape), None, x), np.where(x > 0, x, 0))
    np.testing.assert_array_equal(oracle.apply(node("extend", x.shape, 30), None, x), x)
    both = oracle.apply(node("concat", (5, 4, 6), inputs=2), None, x, y)
    np.testing.assert_array_equal(both[:2], x)
    np.testing.assert_array_equal(both[2:], y)
    total = x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
    np.testing.assert_array_equal(oracle.apply(node("avgpool", (2, 2, 3)), None, x), total)
    largest = np.max([x[:, ::2, ::2], x[:, 1::2, ::2], x[:, ::2, 1::2], x[:, 1::2, 1::2]], axis=0)
    np.testing.assert_array_equal(oracle.apply(node("maxpool", (2, 2, 3)), None, x), largest)


@pytest.mark.parametrize("width", [8, 17, 32, 63, 64])
def test_square_and_sums_wrap_in_their_ring(width: int) -> None:
    half = 1 << (width - 1)
    x = np.array([[[half - 1, -half], [3, -3]]], dtype=np.int64)
    reduced = [((int(v) ** 2 + half) % (2 * half)) - half for v in x.flat]
    np.testing.assert_array_equal(oracle.apply(node("square", x.shape, width), None, x).ravel(), reduced)
    total = (int(x.astype(object).sum()) + half) % (2 * half) - half
    assert oracle.apply(node("avgpool", (1, 1, 1), width), None, x).item() == total


def test_truncation_drops_low_and_high_bits() -> None:
    x = np.arange(-2048, 2048, dtype=np.int64).reshape(1, 64, 64)
    cut = node("truncate", x.shape, 5, attributes={"shift": 4})
    floor = oracle.apply(cut, None, x, rounding="floor")
    np.testing.assert_array_equal(floor, ((x >> 4) + 16) % 32 - 16)
    assert oracle.agrees(cut, None, (x,), floor)
    one_more = (floor + 1 + 16) % 32 - 16
    assert oracle.agrees(cut, None, (x,), one_more)
    for wrong in (floor - 1, floor + 2):
        assert not oracle.agrees(cut, None, (x,), wrong)
    exact = node("truncate", x.shape, 5, attributes={"shift": 0})
    kept = oracle.apply(exact, None, x)
    assert oracle.agrees(exact, None, (x,), kept)
    assert not oracle.agrees(exact, None, (x,), (kept + 1 + 16) % 32 - 16)


def test_verdicts_name_the_place() -> None:
    x = np.arange(-4, 4, dtype=np.int64).reshape(2, 2, 2)
    relu = node("relu", x.shape)
    right = np.maximum(x, 0)
    verdict = oracle.agrees(relu, None, (x,), right)
    assert verdict
    assert (verdict.wrong, verdict.elements, verdict.message) == (0, 8, "")
    wrong = right.copy()
    wrong[1, 0, 1] += 1
    verdict = oracle.agrees(relu, None, (x,), wrong)
    assert not verdict
    assert "1 of 8" in verdict.message
    assert "(1, 0, 1): 2, the oracle has 1" in verdict.message
    assert not oracle.agrees(relu, None, (x,), right[:1])


@pytest.mark.parametrize("kind", ["argmax", "label-share"])
def test_readouts(kind: str) -> None:
    logits = np.array([[[0, 1, 5, -7]], [[0, 2, 4, -6]]], dtype=np.int64)
    label = node("readout", (1, 1, 4), 2, attributes={"kind": kind})
    np.testing.assert_array_equal(oracle.apply(label, None, logits), [[[0, 1, 0, 1]]])
    assert oracle.agrees(label, None, (logits,), np.array([[0, 1, 0, 1]], dtype=np.uint8))
    assert not oracle.agrees(label, None, (logits,), np.array([[1, 1, 0, 1]], dtype=np.uint8))
    whole = node("readout", (2, 1, 4), 12, attributes={"kind": "logits"})
    np.testing.assert_array_equal(oracle.apply(whole, None, logits), logits)


def test_bounds_are_watched() -> None:
    kind = Node("n", "relu", ("x",), TensorType((1, 1, 3), 8, 0, 3))
    for x, beyond in (([7, -9, 0], 0), ([8, -8, 9], 2)):
        array = np.array([[x]])
        assert oracle.agrees(kind, None, (array,), np.maximum(array, 0)).beyond == beyond


def test_wrong_arguments_are_refused() -> None:
    x = np.zeros((1, 2, 2), dtype=np.int64)
    with pytest.raises(ValueError, match="int64"):
        oracle.apply(node("relu", x.shape), None, x.astype(np.int32))
    with pytest.raises(ValueError, match="takes 2 inputs"):
        oracle.apply(node("concat", (2, 2, 2), inputs=2), None, x)
    with pytest.raises(ValueError, match="needs weights"):
        oracle.apply(node("conv", x.shape), None, x)


def test_a_program_runs_and_frees_what_is_used_up() -> None:
    kind = TensorType((2, 2, 2), 10, 0, 4)
    program = Program(
        Format(8, 4),
        (
            Node("in", "input", (), kind),
            Node("c", "conv", ("in",), kind, {"out_channels": 2, "kernel": 1, "norm_bits": 2}),
            Node("r", "relu", ("c",), kind),
            Node("both", "concat", ("r", "in"), TensorType((4, 2, 2), 10, 0, 4)),
            Node("out", "readout", ("both",), TensorType((4, 2, 2), 10, 0, 4), {"kind": "logits"}),
        ),
    )
    weights = {"c": IntegerWeights(np.array([[1, 0], [0, -1]]).reshape(2, 2, 1, 1), np.array([0, 1]))}
    x = np.arange(-4, 4, dtype=np.int64).reshape(2, 2, 2)
    outputs = oracle.run(program, weights, x, keep=["c", "out"])
    assert list(outputs) == ["c", "out"]
    np.testing.assert_array_equal(outputs["c"], np.stack([x[0], 1 - x[1]]))
    np.testing.assert_array_equal(outputs["out"], np.concatenate([np.maximum(outputs["c"], 0), x]))
    assert list(oracle.run(program, weights, x)) == ["out"]
    with pytest.raises(ValueError, match="wants int64"):
        oracle.run(program, weights, x.astype(float))
    with pytest.raises(KeyError):
        oracle.run(program, weights, x, keep=["nobody"])


def layer(
    operation: str, x: np.ndarray, weights: IntegerWeights | None, kind: TensorType, source: TensorType, **attributes: int
) -> oracle.Verdict:
    """The verdict of one layer that did what its ring makes of it."""
    made = Node("n", operation, ("x",), kind, attributes)
    output = oracle.apply(made, weights, x, rounding="floor")
    return oracle.agrees(made, weights, (x,), output, source.width)


def test_true_values_beyond_the_bound_are_counted_though_the_ring_wraps_them_into_it() -> None:
    """A convolution by 3 in a ring of 8 bits: 43 * 3 = 129 wraps to -127, which looks as if it were within 2^7."""
    x = np.array([[[42, 43, -42, -43]]], dtype=np.int64)
    source, ring = TensorType((1, 1, 4), 8, 0, 6), TensorType((1, 1, 4), 8, 0, 7)
    times_three = IntegerWeights(np.array([[[[3]]]], dtype=np.int64), np.zeros(1, np.int64))
    verdict = layer("conv", x, times_three, ring, source, out_channels=1, kernel=1, norm_bits=2)
    assert (verdict.wrong, verdict.beyond) == (0, 2)


def test_a_square_and_a_sum_beyond_64_bits_are_counted() -> None:
    wide = TensorType((1, 2, 2), 64, 0, 63)
    x = np.array([[[1 << 31, 1 << 32], [3, -(1 << 32)]]], dtype=np.int64)
    assert layer("square", x, None, wide, wide).beyond == 2
    x = np.full((1, 2, 2), 1 << 62, dtype=np.int64)
    assert layer("avgpool", x, None, TensorType((1, 1, 1), 64, 2, 63), wide).beyond == 1


def test_a_rounding_that_leaves_the_bound_is_counted() -> None:
    cut = Node("n", "truncate", ("x",), TensorType((1, 1, 2), 3, 0, 2), {"shift": 2})
    x = np.array([[[15, 14]]], dtype=np.int64)  # floor 3, one more is 4 = 2^2, and wraps to -4
    assert oracle.agrees(cut, None, (x,), np.array([[[3, 3]]])).beyond == 0
    verdict = oracle.agrees(cut, None, (x,), np.array([[[3, -4]]]))
    assert (verdict.wrong, verdict.beyond) == (0, 1)


def test_an_extension_is_exact_within_its_range_and_agrees_modulo_its_ring_beyond_it() -> None:
    """What it gives beyond depends on the shares, but never by anything else than multiples of the ring (SECURITY.md)."""
    x = np.array([[[15, -16, 16, -17, 20]]], dtype=np.int64)  # of 6 bits: exact for -16 <= x < 16
    extend = Node("n", "extend", ("x",), TensorType((1, 1, 5), 12, 0, 4))
    assert oracle.agrees(extend, None, (x,), x, 6)
    assert oracle.agrees(extend, None, (x,), np.add(x, [[[0, 0, 64, -64, 128]]]), 6)
    for k, off in ((0, 64), (1, -64), (0, 1), (2, 1), (4, 63)):
        other = x.copy()
        other[0, 0, k] += off
        verdict = oracle.agrees(extend, None, (x,), other, 6)
        assert verdict.wrong == 1, (k, off)


def test_a_label_is_the_sign_of_the_difference_in_the_ring() -> None:
    logits = np.array([[[1, 100, -100]], [[2, -100, 100]]], dtype=np.int64)  # of 8 bits: 200 wraps to -56
    label = Node("n", "readout", ("x",), TensorType((1, 1, 3), 2, 0, 1), {"kind": "argmax"})
    np.testing.assert_array_equal(oracle.apply(label, None, logits, width=8), [[[1, 1, 0]]])
    assert oracle.agrees(label, None, (logits,), np.array([[1, 1, 0]]), 8)
    assert oracle.agrees(label, None, (logits,), np.array([[1, 0, 0]]), 8).wrong == 1
    np.testing.assert_array_equal(oracle.apply(label, None, logits, width=9), [[[1, 0, 1]]])
