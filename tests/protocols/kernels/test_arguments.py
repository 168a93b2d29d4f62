"""Kernels that touch memory by the lengths they are told: what does not fit raises before they run, in a sentence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bunet.protocols.gc import library
from bunet.protocols.kernels.gc import garble
from bunet.protocols.kernels.machine import arguments
from bunet.protocols.kernels.ot import correlated, extension, softspoken
from bunet.protocols.kernels.ring import ntt, rlwe
from bunet.protocols.pahe.encoding import encode_constants
from bunet.protocols.pahe.parameters import get

U64 = np.uint64
CIRCUIT = library.relu(8)
TILES = 2
TABLES = ntt.tables(4096, get("n4096-q94").primes[:1])
SCHEDULES = np.zeros(extension.SCHEDULES, U64)


def test_a_check_names_what_it_wants_and_what_it_got() -> None:
    arguments.check("rows", np.zeros((3, 2), U64), arguments.U64, None, 2)
    bad: tuple[tuple[Any, str], ...] = (
        (np.zeros((3, 3), U64), r"rows must be C-contiguous uint64 \(any, 2\), not uint64 \(3, 3\)"),
        (np.zeros((3, 2), np.int64), r"not int64 \(3, 2\)"),
        (np.zeros(3, U64), r"not uint64 \(3,\)"),
        (np.zeros((2, 3), U64).T, r"not uint64 \(3, 2\) that is not contiguous"),
        ([[1, 2]], "rows must be an array, .* not list"),
    )
    for array, words in bad:
        with pytest.raises(ValueError, match=words):
            arguments.check("rows", array, arguments.U64, None, 2)


def garbling(side: int) -> dict[str, Any]:
    """Arguments that fit, by name, in the order of `garble` (side 0) or `evaluate` (side 1)."""
    words = CIRCUIT.evaluator_words if side else CIRCUIT.garbler_words
    arguments = {
        "ops": CIRCUIT.ops,
        "wires": CIRCUIT.wires,
        "words": np.zeros((len(words), 64 * TILES), U64),
        "public": np.zeros((len(CIRCUIT.garbler_labels), 64, 2), U64),
        "rows": np.zeros((TILES, len(CIRCUIT.evaluator_labels), 64, 2), U64),
        "delta": np.ones(2, U64),
        "key": np.zeros(2, U64),
        "stream": U64(1),
        "first_tile": U64(0),
        "tables": np.zeros((TILES, CIRCUIT.and_gates, 2, 64, 2), U64),
        "shares": np.zeros((len(CIRCUIT.output_words), 64 * TILES), U64),
    }
    if side:
        del arguments["delta"]
    return arguments


def with_instruction(column: int, value: int) -> np.ndarray:
    ops = CIRCUIT.ops.copy()
    ops[len(ops) // 2, column] = value
    return ops


def swapped_gates(ops: np.ndarray) -> np.ndarray:
    """The same, with the numbers of the first two AND gates exchanged: their keys would be others'."""
    ops = ops.copy()
    first, second = np.flatnonzero(ops[:, 0] == 3)[:2]
    ops[[first, second], 4] = ops[[second, first], 4]
    return ops


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ops", lambda ops: ops.astype(np.int32)),
        ("ops", lambda ops: ops[:, :5]),
        ("ops", lambda _: with_instruction(0, 8)),
        ("ops", lambda _: with_instruction(3, -1)),
        ("ops", lambda _: with_instruction(3, 1 << 40)),
        *[("ops", lambda _, c=c: with_instruction(c, 2**63 - 1)) for c in range(6)],
        ("ops", lambda ops: ops[ops[:, 0] != 3]),  # gates that are not there
        ("ops", lambda ops: swapped_gates(ops)),
        ("tables", lambda tables: np.concatenate([tables, tables], 1)),
        ("wires", lambda wires: wires - 1),
        ("words", lambda words: words[:-1]),
        ("words", lambda words: words[:, :-64]),
        ("words", lambda words: words.astype(np.uint32)),
        ("public", lambda public: public[:-1]),
        ("rows", lambda rows: rows[:, :-1].copy()),
        ("rows", lambda rows: rows[:-1]),
        ("delta", lambda delta: delta[:1]),
        ("key", lambda key: key.astype(np.int64)),
        ("tables", lambda tables: tables[:, :-1].copy()),
        ("tables", lambda tables: tables[:-1]),
        ("shares", lambda shares: shares[:, :-1].copy()),
        ("shares", lambda shares: shares[:0]),
    ],
)
def test_garbling_refuses_what_does_not_fit(side: int, name: str, change: Callable[[Any], Any]) -> None:
    arguments = garbling(side)
    kernel = garble.evaluate if side else garble.garble
    kernel(*arguments.values())
    if name in arguments:
        arguments[name] = change(arguments[name])
        with pytest.raises(ValueError):
            kernel(*arguments.values())


def test_what_is_read_only_is_not_written() -> None:
    arguments = garbling(0)
    arguments["tables"].setflags(write=False)
    with pytest.raises(ValueError, match="tables is read-only"):
        garble.garble(*arguments.values())
    polynomials = np.zeros((1, 1, 4096), U64)
    polynomials.setflags(write=False)
    for transform in (ntt.forward, ntt.inverse):
        with pytest.raises(ValueError, match="read-only"):
            transform(polynomials, TABLES)


def test_lattice_arithmetic_refuses_what_does_not_fit() -> None:
    two, factor = np.zeros((2, 1, 4096), U64), rlwe.fixed(np.zeros((1, 4096), U64), TABLES)
    rlwe.multiply_add(two, two, factor, TABLES, np.empty_like(two))
    calls: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        lambda f: rlwe.multiply_add(two, two, f, TABLES),
        lambda f: rlwe.multiply_subtract(two, two, f, TABLES),
        lambda f: rlwe.multiply_fixed(two, f, TABLES),
        lambda f: rlwe.add_products(np.zeros((2, 2, 1, 4096), U64), two, factor, f, TABLES),
    )
    for bad in (factor[:2], factor[..., :8].copy(), factor.astype(np.int64), factor[:, :, ::-1]):
        for call in calls:
            with pytest.raises(ValueError):
                call(bad)
    for out in (two[:1], two.astype(np.int64), np.zeros((2, 2, 4096), U64)[:, :1]):
        with pytest.raises(ValueError):
            rlwe.multiply_add(two, two, factor, TABLES, out)
    params = get("n4096-q94")
    constants, messages = encode_constants(params, 1 << 20), np.zeros((1, 4096), U64)
    for errors in (np.zeros((1, 8), np.int64), np.zeros((1, 4096), U64), np.zeros((2, 4096), np.int64)):
        with pytest.raises(ValueError):
            rlwe.encode(messages, errors, constants, params.tables)


@pytest.mark.parametrize(
    ("words", "positions", "choices"),
    [
        (np.zeros((2, 64), U64), np.array([[2, 0]]), np.zeros((1, 1, 64), np.uint8)),
        (np.zeros((2, 64), U64), np.array([[0, 64]]), np.zeros((1, 1, 64), np.uint8)),
        (np.zeros((2, 64), U64), np.array([[0, -1]]), np.zeros((1, 1, 64), np.uint8)),
        (np.zeros((2, 64), U64), np.array([[0, 1]]), np.zeros((2, 1, 64), np.uint8)),
        (np.zeros((2, 64), U64), np.array([[0, 1]]), np.zeros((1, 2, 64), np.uint8)),
        (np.zeros((2, 64), np.uint32), np.array([[0, 1]]), np.zeros((1, 1, 64), np.uint8)),
    ],
)
def test_choice_bits_refuse_what_does_not_fit(words: np.ndarray, positions: np.ndarray, choices: np.ndarray) -> None:
    with pytest.raises(ValueError):
        garble.choice_bits(words, positions, choices)


def receiving(count: int = 200) -> dict[str, Any]:
    tiles = -(-count // 128)
    return {
        "schedules0": SCHEDULES,
        "schedules1": SCHEDULES,
        "stream": U64(1),
        "choices": np.zeros(2 * tiles, U64),
        "message": np.zeros(256 * tiles, U64),
        "rows": np.zeros((count, 2), U64),
    }


def sending(count: int = 200) -> dict[str, Any]:
    tiles = -(-count // 128)
    message = np.zeros(256 * tiles, U64)
    message.setflags(write=False)
    return {
        "schedules": SCHEDULES,
        "delta": np.ones(2, U64),
        "stream": U64(1),
        "message": message,
        "rows": np.zeros((count, 2), U64),
    }


def correcting(width: int = 20, count: int = 200) -> dict[str, Any]:
    return {
        "key": np.zeros(2, U64),
        "tweak": U64(1),
        "delta": np.ones(2, U64),
        "rows": np.zeros((count, 2), U64),
        "correlation": np.zeros(count, np.uint32),
        "width": width,
        "result": np.zeros(count, np.uint32),
        "packed": np.zeros((count * width + 63) // 64 + 1, U64),
    }


def applying(width: int = 20, count: int = 200) -> dict[str, Any]:
    return {
        "key": np.zeros(2, U64),
        "tweak": U64(1),
        "rows": np.zeros((count, 2), U64),
        "choices": np.zeros(count, np.uint8),
        "packed": np.zeros((count * width + 7) // 8, np.uint8),
        "width": width,
        "result": np.zeros(count, np.uint32),
    }


@pytest.mark.parametrize(
    ("kernel", "fitting", "name", "change"),
    [
        (extension.extend_receiver, receiving, "schedules0", lambda a: a[:-1]),
        (extension.extend_receiver, receiving, "schedules1", lambda a: a.astype(np.int64)),
        (extension.extend_receiver, receiving, "choices", lambda a: a[:-1]),
        (extension.extend_receiver, receiving, "message", lambda a: a[:-256]),
        (extension.extend_receiver, receiving, "rows", lambda a: np.zeros((257, 2), U64)),
        (extension.extend_receiver, receiving, "rows", lambda a: a.reshape(-1)),
        (extension.extend_sender, sending, "schedules", lambda a: a[:, :10]),
        (extension.extend_sender, sending, "delta", lambda a: a[:1]),
        (extension.extend_sender, sending, "message", lambda a: a[:-1]),
        (extension.extend_sender, sending, "rows", lambda a: np.zeros((257, 2), U64)),
        (correlated.correct, correcting, "key", lambda a: a[:1]),
        (correlated.correct, correcting, "delta", lambda a: a[:1]),
        (correlated.correct, correcting, "rows", lambda a: a[:-1]),
        (correlated.correct, correcting, "correlation", lambda a: a.astype(np.uint64)),
        (correlated.correct, correcting, "width", lambda _: 33),
        (correlated.correct, correcting, "width", lambda _: 0),
        (correlated.correct, correcting, "result", lambda a: a[:-1]),
        (correlated.correct, correcting, "packed", lambda a: a[:-1]),
        (correlated.apply_correction, applying, "rows", lambda a: a[:, :1]),
        (correlated.apply_correction, applying, "choices", lambda a: a[:-1]),
        (correlated.apply_correction, applying, "packed", lambda a: a[:-1]),
        (correlated.apply_correction, applying, "width", lambda _: 65),
        (correlated.apply_correction, applying, "result", lambda a: a.astype(np.int32)),
    ],
)
def test_extension_refuses_what_does_not_fit(
    kernel: Callable[..., Any], fitting: Callable[[], dict[str, Any]], name: str, change: Callable[[Any], Any]
) -> None:
    arguments = fitting()
    kernel(*arguments.values())
    arguments[name] = change(arguments[name])
    with pytest.raises(ValueError):
        kernel(*arguments.values())


LEAVES = np.zeros((8, 16, 11, 8), U64)  # SoftSpoken with blocks of 4


def softly(side: int, count: int = 200) -> dict[str, Any]:
    tiles = -(-count // 128)
    message = np.zeros(64 * tiles, U64)
    if side:
        message.setflags(write=False)
        return {
            "schedules": LEAVES,
            "delta": np.ones(2, U64),
            "stream": U64(1),
            "message": message,
            "rows": np.zeros((count, 2), U64),
        }
    return {
        "schedules": LEAVES,
        "stream": U64(1),
        "choices": np.zeros(2 * tiles, U64),
        "message": message,
        "rows": np.zeros((count, 2), U64),
    }


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("schedules", lambda a: a[:-1]),
        ("schedules", lambda a: a[:, :8].copy()),
        ("schedules", lambda a: a.reshape(16, 8, 11, 8)),
        ("schedules", lambda a: a.astype(np.int64)),
        ("choices", lambda a: a[:-1]),
        ("delta", lambda a: a[:1]),
        ("message", lambda a: a[:-64]),
        ("rows", lambda a: np.zeros((257, 2), U64)),
        ("rows", lambda a: a[:, :1]),
    ],
)
def test_softspoken_refuses_what_does_not_fit(side: int, name: str, change: Callable[[Any], Any]) -> None:
    arguments = softly(side)
    kernel = softspoken.extend_sender if side else softspoken.extend_receiver
    kernel(*arguments.values())
    if name in arguments:
        arguments[name] = change(arguments[name])
        with pytest.raises(ValueError):
            kernel(*arguments.values())
