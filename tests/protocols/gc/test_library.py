"""Every library circuit, in the clear, against integers: exhaustively where it is small, at random where it is large."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from bunet.protocols.gc import library
from bunet.protocols.gc.circuit import Circuit
from tests.protocols.gc.plain import evaluate_plain

LARGE = 500


class PowerOfTwo:
    def __init__(self, width: int) -> None:
        self.width, self.modulus = width, 1 << width

    def __call__(self, name: str, *arguments: int) -> Circuit:
        return getattr(library, name)(self.width, *arguments)

    def __repr__(self) -> str:
        return f"2^{self.width}"


class Prime:
    def __init__(self, modulus: int) -> None:
        self.modulus = modulus

    def __call__(self, name: str, *arguments: int) -> Circuit:
        return getattr(library, name + "_mod")(self.modulus, *arguments)

    def __repr__(self) -> str:
        return str(self.modulus)


SMALL = [PowerOfTwo(2), PowerOfTwo(3), PowerOfTwo(4), Prime(3), Prime(7), Prime(13), Prime(17)]
TINY = [PowerOfTwo(2), Prime(3)]
WIDE = [PowerOfTwo(w) for w in (13, 32, 37, 63, 64)] + [Prime(65537), Prime((1 << 31) - 1), Prime((1 << 61) - 1)]


def signed(x: int, modulus: int) -> int:
    x %= modulus
    return x - modulus if 2 * x >= modulus else x


def every(modulus: int, words: int) -> list[np.ndarray]:
    """All combinations of that many residues."""
    grids = np.meshgrid(*[np.arange(modulus, dtype=np.uint64)] * words, indexing="ij")
    return [g.reshape(-1) for g in grids]


def some(modulus: int, words: int) -> list[np.ndarray]:
    """Random residues, and those around the ring's edges."""
    generator = np.random.default_rng(7)
    edge = np.array([0, 1, modulus // 2 - 1, modulus // 2, modulus // 2 + 1, modulus - 1], np.uint64)
    return [
        np.concatenate((generator.integers(0, modulus - 1, LARGE, np.uint64, endpoint=True), generator.choice(edge, LARGE)))
        for _ in range(words)
    ]


def run(circuit: Circuit, garbler: list[np.ndarray], evaluator: list[np.ndarray]) -> list[int]:
    (out,) = evaluate_plain(circuit, garbler, evaluator)
    return [int(v) for v in out]


def columns(*words: np.ndarray) -> Iterator[Any]:
    return zip(*(w.tolist() for w in words), strict=True)


CASES = [pytest.param(r, every, id=repr(r)) for r in SMALL] + [pytest.param(r, some, id=repr(r)) for r in WIDE]
TINY_CASES = [pytest.param(r, every, id=repr(r)) for r in TINY] + [pytest.param(r, some, id=repr(r)) for r in WIDE]


@pytest.mark.parametrize(("ring", "inputs"), CASES)
def test_sign(ring: PowerOfTwo | Prime, inputs: Callable[..., Any]) -> None:
    a, b = inputs(ring.modulus, 2)
    assert run(ring("sign"), [a], [b]) == [signed(x + y, ring.modulus) < 0 for x, y in columns(a, b)]


@pytest.mark.parametrize(("ring", "inputs"), CASES)
def test_relu(ring: PowerOfTwo | Prime, inputs: Callable[..., Any]) -> None:
    a, b, r = inputs(ring.modulus, 3)
    want = [(max(signed(x + y, ring.modulus), 0) - s) % ring.modulus for x, y, s in columns(a, b, r)]
    assert run(ring("relu"), [a, r], [b]) == want


@pytest.mark.parametrize(("ring", "inputs"), CASES)
def test_maximum_of_two(ring: PowerOfTwo | Prime, inputs: Callable[..., Any]) -> None:
    if inputs is every and ring.modulus > 7:
        inputs = some
    a, c, b, d, r = inputs(ring.modulus, 5)
    m = ring.modulus
    want = [(max(signed(x + y, m), signed(v + w, m)) - s) % m for x, y, v, w, s in columns(a, b, c, d, r)]
    assert run(ring("maximum", 2), [a, c, r], [b, d]) == want


@pytest.mark.parametrize(("ring", "inputs"), TINY_CASES)
def test_maximum_of_four(ring: PowerOfTwo | Prime, inputs: Callable[..., Any]) -> None:
    *shares, r = inputs(ring.modulus, 9)
    a, b = shares[:4], shares[4:]
    want = [
        (max(signed(x + y, ring.modulus) for x, y in zip(row[:4], row[4:8], strict=True)) - row[8]) % ring.modulus
        for row in columns(*a, *b, r)
    ]
    assert run(ring("maximum", 4), [*a, r], b) == want


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize(("ring", "inputs"), [case for case in TINY_CASES if isinstance(case.values[0], Prime)])
def test_argmax_is_the_first_of_the_largest(ring: PowerOfTwo | Prime, inputs: Callable[..., Any], count: int) -> None:
    if count > 3:
        inputs = some
    shares = inputs(ring.modulus, 2 * count)
    a, b = shares[:count], shares[count:]
    want = []
    for row in columns(*a, *b):
        values = [signed(x + y, ring.modulus) for x, y in zip(row[:count], row[count:], strict=True)]
        want.append(values.index(max(values)))
    assert run(ring("argmax", count), a, b) == want


@pytest.mark.parametrize("width", [2, 8, 20, 32, 64])
def test_and_gates_are_as_stated(width: int) -> None:
    assert library.sign(width).and_gates == width - 1
    assert len(library.sign(width).evaluator_labels) == width - 1
    assert library.relu(width).and_gates == 3 * (width - 1)
    assert library.maximum(width, 4).and_gates == 11 * width - 5
    assert library.argmax_mod((1 << min(width, 63)) - 1, 2).output_words == (1,)


def test_bad_rings_are_refused() -> None:
    for width in (1, 65):
        with pytest.raises(ValueError, match=r"2\.\.64 bits"):
            library.sign(width)
    for modulus in (1, 10, (1 << 64) - 59):
        with pytest.raises(ValueError, match="odd number"):
            library.relu_mod(modulus)
    for count in (1, 17):
        with pytest.raises(ValueError, match=r"2\.\.16"):
            library.maximum(8, count)
        with pytest.raises(ValueError, match=r"2\.\.16"):
            library.argmax_mod(17, count)
