"""Garbled equals plain, and costs are what they say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.context import Role
from bunet.protocols.counting import Traffic, counted
from bunet.protocols.gc import garbling, library
from bunet.protocols.gc.builder import CircuitBuilder
from bunet.protocols.gc.circuit import Circuit
from bunet.protocols.kernels.gc.layout import TILE
from bunet.protocols.kernels.packing.bits import packed_bytes
from bunet.protocols.steps import Send, Steps
from tests.protocols.contexts import contexts
from tests.protocols.gc.plain import evaluate_plain
from tests.protocols.gc.random_circuits import circuits

ROLES = [Role.ALICE, Role.BOB]


def run(
    circuit: Circuit,
    garbler_words: list[np.ndarray],
    evaluator_words: list[np.ndarray],
    garbler: Role = Role.ALICE,
    instances: int | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray], Traffic]:
    """(garbler's shares, evaluator's shares, traffic), through real OT."""
    alice, bob = contexts()
    first, second = (alice, bob) if garbler is Role.ALICE else (bob, alice)
    halves = (
        garbling.garbler(first, circuit, garbler_words, instances),
        garbling.evaluator(second, circuit, evaluator_words, instances),
    )
    if garbler is Role.ALICE:
        g, e, traffic = counted(*halves)
    else:
        e, g, traffic = counted(*reversed(halves))
    return g, e, traffic


def inputs(circuit: Circuit, instances: int, seed: int = 3) -> tuple[list[np.ndarray], list[np.ndarray]]:
    generator = np.random.default_rng(seed)
    garbler, evaluator = (
        [generator.integers(0, (1 << w) - 1, instances, np.uint64, endpoint=True) for w in widths]
        for widths in (circuit.garbler_words, circuit.evaluator_words)
    )
    return garbler, evaluator


def check(
    circuit: Circuit, garbler_words: list[np.ndarray], evaluator_words: list[np.ndarray], garbler: Role = Role.ALICE
) -> None:
    want = evaluate_plain(circuit, garbler_words, evaluator_words)
    g, e, traffic = run(circuit, garbler_words, evaluator_words, garbler, len(want[0]))
    assert len(g) == len(e) == len(want)
    for mine, theirs, plain, width in zip(g, e, want, circuit.output_words, strict=True):
        assert mine.dtype == theirs.dtype == np.uint64
        assert ((mine ^ theirs) == plain).all()
        assert ((mine | theirs) >> np.uint64(width - 1) <= 1).all()
    cost = garbling.cost(circuit, len(want[0]), garbler)
    assert (cost.alice_bytes, cost.bob_bytes, cost.rounds) == (traffic.alice_bytes, traffic.bob_bytes, traffic.rounds)


LIBRARY = [
    library.sign(13),
    library.sign(40),
    library.relu(20),
    library.maximum(9, 4),
    library.argmax_mod(2039, 2),
    library.sign_mod(65537),
    library.relu_mod(8191),
    library.maximum_mod(257, 4),
    library.argmax_mod(31, 3),
]


@pytest.mark.parametrize("garbler", ROLES)
@pytest.mark.parametrize("circuit", LIBRARY, ids=lambda c: c.digest[:6])
def test_library_garbled_equals_plain(circuit: Circuit, garbler: Role) -> None:
    check(circuit, *inputs(circuit, 150), garbler)


@pytest.mark.parametrize("name", ["sign", "relu"])
def test_small_widths_exhaustively(name: str) -> None:
    circuit = getattr(library, name)(3)
    words = len(circuit.garbler_words) + len(circuit.evaluator_words)
    grids = [g.reshape(-1) for g in np.meshgrid(*[np.arange(8, dtype=np.uint64)] * words, indexing="ij")]
    check(circuit, grids[: len(circuit.garbler_words)], grids[len(circuit.garbler_words) :])


@settings(max_examples=40, deadline=None)
@given(circuits(), st.integers(1, 200), st.sampled_from(ROLES), st.integers(0, 99))
def test_random_circuits_garbled_equal_plain(circuit: Circuit, instances: int, garbler: Role, seed: int) -> None:
    check(circuit, *inputs(circuit, instances, seed), garbler)


@pytest.mark.parametrize("instances", [1, 63, 64, 65, 127, 128, 129, 500])
def test_any_number_of_instances(instances: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks and a small window, so that chunk and window borders are met."""
    circuit = library.sign(8)
    monkeypatch.setattr(garbling, "CHUNK_BYTES", 2 * circuit.and_gates * TILE * garbling.TABLE_BYTES)
    monkeypatch.setattr(garbling, "WINDOW", 2)
    check(circuit, *inputs(circuit, instances))


@pytest.mark.parametrize(("chunks", "rounds"), [(1, 2), (3, 2), (4, 4), (7, 6)])
def test_the_evaluator_is_at_most_a_window_ahead(chunks: int, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = library.sign(5)
    monkeypatch.setattr(garbling, "CHUNK_BYTES", 1)
    monkeypatch.setattr(garbling, "WINDOW", 3)
    assert garbling.cost(circuit, chunks * 64, Role.BOB).rounds == rounds
    check(circuit, *inputs(circuit, chunks * 64), Role.BOB)


def test_narrow_words_may_be_uint32() -> None:
    circuit = library.relu(17)
    garbler, evaluator = inputs(circuit, 70)
    g, e, _ = run(circuit, [w.astype(np.uint32) for w in garbler], [w.astype(np.uint32) for w in evaluator])
    assert ((g[0] ^ e[0]) == evaluate_plain(circuit, garbler, evaluator)[0]).all()


def test_bits_above_the_width_are_ignored() -> None:
    circuit = library.sign(6)
    garbler, evaluator = inputs(circuit, 70)
    dirty = [[w | np.uint64(0xF << 40) for w in words] for words in (garbler, evaluator)]
    g, e, _ = run(circuit, dirty[0], dirty[1])
    assert ((g[0] ^ e[0]) == evaluate_plain(circuit, garbler, evaluator)[0]).all()


def test_no_instances_no_messages() -> None:
    circuit = library.sign(6)
    g, e, traffic = run(circuit, [np.empty(0, np.uint64)], [np.empty(0, np.uint64)])
    assert len(g[0]) == len(e[0]) == traffic.messages == 0
    assert garbling.cost(circuit, 0, Role.ALICE).rounds == 0


def test_a_party_without_words_says_how_many_instances() -> None:
    builder = CircuitBuilder()
    x = builder.evaluator_word(2)
    builder.output_word([builder.and_(*x)])
    circuit = builder.build()
    word = np.arange(4, dtype=np.uint64)
    g, e, _ = run(circuit, [], [word], instances=4)
    assert (g[0] ^ e[0]).tolist() == [0, 0, 0, 1]
    alice, _ = contexts()
    with pytest.raises(ValueError, match="how many instances"):
        next(garbling.garbler(alice, circuit, []))


def test_a_circuit_of_xors_sends_nothing() -> None:
    builder = CircuitBuilder()
    a, b = builder.garbler_word(3), builder.evaluator_word(3)
    builder.output_word([builder.not_(builder.xor(x, y)) for x, y in zip(a, b, strict=True)])
    circuit = builder.build()
    words = [np.arange(8, dtype=np.uint64)]
    check(circuit, words, [w[::-1].copy() for w in words])
    assert garbling.cost(circuit, 8, Role.ALICE).rounds == 0


def test_shares_betray_nothing_by_their_mean() -> None:
    """Either share of a constant sign is unbiased: |mean - 1/2| beyond 6 sigma would fail (chance 2e-9)."""
    n = 1 << 14
    zeros = [np.zeros(n, np.uint64)]
    g, e, _ = run(library.sign(12), zeros, zeros)
    assert (g[0] == e[0]).all()
    assert abs(g[0].mean() - 0.5) < 6 * 0.5 / n**0.5


def test_two_runs_have_different_tables() -> None:
    """Neither the tables nor the columns of two runs on the same inputs share a 128-bit block."""
    circuit = library.sign(6)
    words = [np.zeros(64, np.uint64)]

    def transcript() -> list[tuple[int, int]]:
        alice, bob = contexts()
        halves = [garbling.garbler(alice, circuit, words), garbling.evaluator(bob, circuit, words)]
        sent: list[np.ndarray] = []
        columns = next(halves[1])
        assert isinstance(columns, Send)
        next(halves[0])
        tables = halves[0].send(columns.arrays)
        assert isinstance(tables, Send)
        sent += [*columns.arrays, *tables.arrays]
        return [tuple(row) for array in sent for row in array.reshape(-1, 2).tolist()]

    first, second = transcript(), transcript()
    assert len(set(first)) == len(first)
    assert not set(first) & set(second)


@pytest.mark.parametrize("receiver", ROLES)
@pytest.mark.parametrize(("count", "width"), [(1, 1), (1000, 1), (300, 33), (257, 64), (0, 5)])
def test_an_output_is_opened_to_one_party(receiver: Role, count: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbling, "OUTPUT_BLOCK", 256)
    generator = np.random.default_rng(1)
    shares = [generator.integers(0, (1 << width) - 1, count, np.uint64, endpoint=True) for _ in range(2)]
    alice, bob = contexts()
    halves: tuple[Steps[Any], Steps[Any]]
    if receiver is Role.ALICE:
        halves = garbling.receive_output(alice, shares[0], width), garbling.send_output(bob, shares[1], width)
    else:
        halves = garbling.send_output(alice, shares[0], width), garbling.receive_output(bob, shares[1], width)
    *results, traffic = counted(*halves)
    opened = results[receiver is Role.BOB]
    assert (opened == shares[0] ^ shares[1]).all()
    cost = garbling.output_cost(count, width, receiver.peer)
    assert (cost.alice_bytes, cost.bob_bytes, cost.rounds) == (traffic.alice_bytes, traffic.bob_bytes, traffic.rounds)
    assert cost.alice_bytes + cost.bob_bytes == packed_bytes(count, width)


def test_words_that_do_not_fit_are_refused() -> None:
    circuit = library.relu(8)
    alice, _ = contexts()
    word = np.zeros(4, np.uint64)
    cases: tuple[tuple[list[Any], str], ...] = (
        ([word], "2 garbler words, not 1"),
        ([word, word[:3]], "has 3 instances, expected 4"),
        ([word, word.astype(np.int64)], "uint32 or uint64"),
        ([word, word.reshape(2, 2)], "one-dimensional"),
        ([word, word.tolist()], "one-dimensional"),
    )
    for bad, reason in cases:
        with pytest.raises(ValueError, match=reason):
            next(garbling.garbler(alice, circuit, bad))
    with pytest.raises(ValueError, match="1 evaluator words, not 0"):
        next(garbling.evaluator(alice, circuit, []))
