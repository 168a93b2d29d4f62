"""Half gates in every tier against a plain statement of the scheme, and whole tiles against the circuit in the clear."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.gc.circuit import Circuit, Op
from bunet.protocols.kernels.gc import garble, garble_vaes
from bunet.protocols.kernels.gc import garble_gates as gates
from bunet.protocols.kernels.gc.layout import SCRATCH_WORDS, TILE, WORDS
from bunet.protocols.kernels.machine.tier import available
from bunet.protocols.kernels.symmetric import aes
from bunet.protocols.random import Random
from tests.protocols.gc.plain import evaluate_plain
from tests.protocols.gc.random_circuits import circuits

DRAW = Random(b"garbling kernels")
KEY = DRAW.words(2)
DELTA: np.ndarray = DRAW.words(2) | np.array([1, 0], np.uint64)
STREAM = 0xFEDCBA9876543210

Gates = tuple[Callable[..., Any], ...]  # XOR, both halves of AND, first keys
TIERS: dict[str, Gates] = {
    "vaes": (garble_vaes.xor_vaes, garble_vaes.garble_and_vaes, garble_vaes.evaluate_and_vaes, garble_vaes.first_keys_vaes),
    "aesni": (gates.xor_aesni, gates.garble_and_aesni, gates.evaluate_and_aesni, gates.first_keys_none),
    "portable": (gates.xor_portable, gates.garble_and_portable, gates.evaluate_and_portable, gates.first_keys_none),
}


def random_rows(*shape: int) -> np.ndarray:
    return DRAW.words(2 * int(np.prod(shape))).reshape(*shape, 2)


def lsb(rows: np.ndarray) -> np.ndarray:
    """All ones where bit 0 of a label is set: uint64 (n, 1)."""
    return (np.uint64(0) - (rows[:, :1] & np.uint64(1))).astype(np.uint64)


def hashed(rows: np.ndarray, low: int) -> np.ndarray:
    """H under key ^ (STREAM << 64 | low), by the tested hash of rows."""
    out = np.empty_like(rows)
    aes.hash_rows(KEY ^ np.array([low, 0], np.uint64), STREAM, np.ascontiguousarray(rows), out)
    return out


def reference_garble(a: np.ndarray, b: np.ndarray, low: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ZRE15 figure 2 on 64 pairs of zero labels: (garbler's half, evaluator's half, zero labels of the result)."""
    ha, hb = hashed(a, low), hashed(b, low | 1)
    left = ha ^ hashed(a ^ DELTA, low) ^ (lsb(b) & DELTA)
    right = hb ^ hashed(b ^ DELTA, low | 1) ^ a
    return left, right, ha ^ (lsb(a) & left) ^ hb ^ (lsb(b) & (right ^ a))


def reference_evaluate(a: np.ndarray, b: np.ndarray, left: np.ndarray, right: np.ndarray, low: int) -> np.ndarray:
    return hashed(a, low) ^ (lsb(a) & left) ^ hashed(b, low | 1) ^ (lsb(b) & (right ^ a))


def bits_to_rows(bits: np.ndarray) -> np.ndarray:
    return bits.astype(np.uint64)[:, None] * DELTA


@pytest.fixture(params=available())
def tier(request: pytest.FixtureRequest) -> Gates:
    return TIERS[request.param]


@pytest.mark.parametrize("target", [0, 1, 2])
@pytest.mark.parametrize("complements", range(4))
def test_and_gate(tier: Gates, complements: int, target: int) -> None:
    """A run of gates as in one tile, results in a new wire or in an operand's place, tables at an odd place."""
    _, garble_and, evaluate_and, first_keys = tier
    not_a, not_b = complements & 1, complements >> 1
    flip = [n * DELTA for n in (np.uint64(not_a), np.uint64(not_b))]
    scratch = [np.zeros(SCRATCH_WORDS, np.uint64) for _ in range(2)]
    tile = 5 << 16
    for half in scratch:
        first_keys(KEY, np.uint64(STREAM), np.uint64(tile), half)
    for gate in range(5):
        low = tile | gate << 1
        zeros, values = random_rows(3, TILE), DRAW.bits(2 * TILE).reshape(2, TILE)
        active = zeros.copy()
        for wire in range(2):
            active[wire] ^= bits_to_rows(values[wire])
        left, right, want = reference_garble(zeros[0] ^ flip[0], zeros[1] ^ flip[1], low)
        result = want ^ bits_to_rows((values[0] ^ not_a) & (values[1] ^ not_b))
        assert (reference_evaluate(active[0], active[1], left, right, low) == result).all()

        wires, tables = zeros.reshape(-1).copy(), np.zeros(3 + 2 * WORDS, np.uint64)
        u = np.uint64
        garble_and(wires, 0, 1, target, u(not_a), u(not_b), tables, 3, DELTA, KEY, u(STREAM), u(low), scratch[0])
        assert (tables[3:] == np.concatenate((left, right)).reshape(-1)).all()
        assert (wires.reshape(3, TILE, 2)[target] == want).all()

        wires = active.reshape(-1).copy()
        evaluate_and(wires, 0, 1, target, tables, 3, KEY, u(STREAM), u(low), scratch[1])
        assert (wires.reshape(3, TILE, 2)[target] == result).all()


@pytest.mark.parametrize("target", [0, 1, 2])
def test_xor_gate(tier: Gates, target: int) -> None:
    wires = random_rows(3, TILE)
    flat = wires.reshape(-1).copy()
    tier[0](flat, 0, 1, target)
    assert (flat.reshape(3, TILE, 2)[target] == wires[0] ^ wires[1]).all()


@pytest.mark.skipif("vaes" not in available(), reason="the plain kernels are tested through whole tiles")
def test_input_labels_agree() -> None:
    labels, words = DRAW.words(3 + WORDS), DRAW.words(5 + TILE)
    for bit in (0, 31, 63):
        plain, wide = np.zeros(2 * WORDS, np.uint64), np.zeros(2 * WORDS, np.uint64)
        gates.input_portable(plain, 1, labels, 3, words, 5, np.uint64(bit), DELTA)
        garble_vaes.input_vaes(wide, 1, labels, 3, words, 5, np.uint64(bit), DELTA)
        assert (plain == wide).all()
        gates.copy_portable(plain, 0, labels, 3)
        garble_vaes.copy_vaes(wide, 0, labels, 3)
        assert (plain == wide).all()
        assert (plain[:WORDS] == labels[3:]).all()


@pytest.mark.skipif("vaes" not in available(), reason="the plain kernels are tested through whole tiles")
@pytest.mark.parametrize(("source", "bit"), [(0, 0), (63, 5), (7, 63)])
def test_output_bits_agree(source: int, bit: int) -> None:
    wires, words, start = DRAW.words(2 * WORDS), DRAW.words(5 + TILE), DRAW.words(3 + TILE)
    u, plain, wide = np.uint64, start.copy(), start.copy()
    gates.output_portable(wires, 1, plain, 3, u(bit))
    garble_vaes.output_vaes(wires, 1, wide, 3, u(bit))
    assert (plain == wide).all()
    assert (plain[3:] == start[3:] ^ (wires[WORDS::2] & u(1)) << u(bit)).all()
    assert (plain[:3] == start[:3]).all()
    gates.local_portable(words, 5, u(source), plain, 3, u(bit))
    garble_vaes.local_vaes(words, 5, u(source), wide, 3, u(bit))
    assert (plain == wide).all()


def reference_tables(
    circuit: Circuit, words: np.ndarray, public: np.ndarray, rows: np.ndarray, first_tile: int
) -> tuple[np.ndarray, np.ndarray]:
    """The garbler's tables and shares, gate by gate with the functions above."""
    tiles = rows.shape[0]
    tables = np.zeros((tiles, circuit.and_gates, 2, TILE, 2), np.uint64)
    shares = np.zeros((len(circuit.output_words), tiles * TILE), np.uint64)
    one = np.uint64(1)
    for t in range(tiles):
        wires, here = np.zeros((circuit.wires, TILE, 2), np.uint64), slice(t * TILE, (t + 1) * TILE)
        for operation, a, b, c, index, flags in circuit.ops.tolist():
            if operation == Op.GARBLER_INPUT:
                wires[c] = public[index] ^ bits_to_rows(words[a, here] >> np.uint64(b) & one)
            elif operation == Op.EVALUATOR_INPUT:
                wires[c] = rows[t, index]
            elif operation == Op.XOR:
                wires[c] = wires[a] ^ wires[b]
            elif operation == Op.AND:
                flip = [np.uint64(f) * DELTA for f in (flags & 1, flags >> 1)]
                low = (first_tile + t) << 16 | index << 1
                left, right, wires[c] = reference_garble(wires[a] ^ flip[0], wires[b] ^ flip[1], low)
                tables[t, index] = left, right
            elif operation == Op.OUTPUT:
                shares[b, here] ^= (wires[a, :, 0] & one) << np.uint64(c)
            elif operation == Op.CONSTANT_OUTPUT:
                shares[b, here] ^= one << np.uint64(c)
            elif operation == Op.GARBLER_LOCAL:
                shares[b, here] ^= (words[a, here] >> np.uint64(index) & one) << np.uint64(c)
    return tables, shares


def frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@settings(max_examples=25, deadline=None)
@given(circuits(), st.integers(1, 3), st.integers(0, (1 << 47) - 3))
def test_tiles_equal_the_reference_and_the_circuit_in_the_clear(circuit: Circuit, tiles: int, first_tile: int) -> None:
    n = tiles * TILE
    mine, theirs = (frozen(DRAW.words(len(w) * n).reshape(-1, n)) for w in (circuit.garbler_words, circuit.evaluator_words))
    public = frozen(random_rows(len(circuit.garbler_labels), TILE))
    rows = frozen(random_rows(tiles, len(circuit.evaluator_labels), TILE))
    delta, key = frozen(DELTA.copy()), frozen(KEY.copy())
    tables, shares = np.zeros((tiles, circuit.and_gates, 2, TILE, 2), np.uint64), []
    for _ in range(2):
        shares.append(np.zeros((len(circuit.output_words), n), np.uint64))
    place = np.uint64(STREAM), np.uint64(first_tile)
    garble.garble(circuit.ops, circuit.wires, mine, public, rows, delta, key, *place, tables, shares[0])
    want_tables, want_shares = reference_tables(circuit, mine, public, rows, first_tile)
    assert (tables == want_tables).all()
    assert (shares[0] == want_shares).all()

    choices = np.zeros((tiles, len(circuit.evaluator_labels), TILE), np.uint8)
    garble.choice_bits(theirs, circuit.evaluator_labels, choices)
    active = frozen(rows ^ choices[..., None].astype(np.uint64) * DELTA)
    garble.evaluate(circuit.ops, circuit.wires, theirs, public, active, key, *place, frozen(tables), shares[1])
    plain = evaluate_plain(circuit, list(mine), list(theirs))
    assert ((shares[0] ^ shares[1]) == np.array(plain)).all()


def test_choice_bits_are_in_the_order_of_rows() -> None:
    words = DRAW.words(2 * 128).reshape(2, 128)
    positions = np.array([[1, 63], [0, 5], [1, 0]], np.int64)
    choices = np.zeros((2, 3, TILE), np.uint8)
    garble.choice_bits(frozen(words), frozen(positions), choices)
    for tile in range(2):
        for label, (word, bit) in enumerate(positions.tolist()):
            want = words[word, tile * TILE : (tile + 1) * TILE] >> np.uint64(bit) & np.uint64(1)
            assert (choices[tile, label] == want).all()


def test_keys_of_tiles_gates_and_streams_differ() -> None:
    """The same labels under another tile, gate, half or stream give other tables."""
    a, b = random_rows(TILE), random_rows(TILE)
    seen = set()
    for stream, low in ((1, 0), (2, 0), (1, 1 << 16), (1, 2), (3, 2)):
        tables, scratch = np.zeros(2 * WORDS, np.uint64), np.zeros(SCRATCH_WORDS, np.uint64)
        wires = np.concatenate((a, b, a)).reshape(-1)
        u = np.uint64
        gates.first_keys(KEY, u(stream), u(low & ~2), scratch)
        if low & 2:  # the walk over a tile starts at its gate 0
            gates.garble_and(wires, 0, 1, 2, u(0), u(0), tables, 0, DELTA, KEY, u(stream), u(low - 2), scratch)
        gates.garble_and(wires, 0, 1, 2, u(0), u(0), tables, 0, DELTA, KEY, u(stream), u(low), scratch)
        seen |= {tuple(row) for row in tables.reshape(-1, 2).tolist()}
    assert len(seen) == 5 * 2 * TILE
