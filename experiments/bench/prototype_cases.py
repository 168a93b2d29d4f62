"""What `bunet bench kernels --prototypes` compares: what is asked of our kernels, at the sizes where it is asked.

`p` holds the modules of the prototypes' folder, see `prototypes`. Arrays of both sides begin at a cache line.
Where both compute the same values, they are compared before anything is timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import numpy as np

from bunet.experiments.bench import cases as kernel_cases
from bunet.experiments.bench.case import Call, Case, Words, aligned, frozen, words
from bunet.experiments.bench.cases import CACHED, LARGE, half_gates
from bunet.experiments.bench.prototype_lattices import lattice_cases
from bunet.experiments.bench.prototypes import expect, with_prototype
from bunet.protocols.gc import library
from bunet.protocols.gc.circuit import Circuit, Op
from bunet.protocols.kernels.gc import garble
from bunet.protocols.kernels.gc.layout import TILE
from bunet.protocols.kernels.machine import foreign
from bunet.protocols.kernels.ot import extension
from bunet.protocols.kernels.symmetric import aes

SOFTSPOKEN_FLOOR = 0.5  # SoftSpoken-4, of IKNP
PACKING_FLOOR = 3.0  # GB/s


def prototype_cases(p: SimpleNamespace) -> list[Case]:
    """All of them, in the order of the table; listing costs nothing."""
    return [*_aes(p), *_gates(p), *_iknp(p), *_softspoken(), *lattice_cases(p), *_packing()]


# --- AES -------------------------------------------------------------------------------------------------------------


def _aes(p: SimpleNamespace) -> Iterator[Case]:
    """As protocols' kernels call them: from compiled code, over blocks in the second-level cache or in memory."""
    for size, blocks, calls in (("16k", CACHED, 16), ("1M", 1 << 20, 1)):
        items = blocks * calls
        prepare = partial(_ctr, p, f"aes.ctr.{size}", blocks, calls)
        yield with_prototype(f"aes.ctr.{size}", items, "M/s", prepare, opponent_items=items)
        yield with_prototype(f"aes.hash.{size}", items, "M/s", partial(_hash, p, blocks, calls), opponent_items=items)


def _ctr(p: SimpleNamespace, name: str, blocks: int, calls: int) -> tuple[Call, Call]:
    expand, expand_theirs = aes.ctr_words, p.aes.ctr512

    def ours_again(schedule, zero, out, calls):  # type: ignore[no-untyped-def]
        for _ in range(calls):
            expand(schedule, zero, zero, out)

    def theirs_again(schedule, out, blocks, calls):  # type: ignore[no-untyped-def]
        for _ in range(calls):
            expand_theirs(out, schedule, 0, blocks)

    key, zero = bytes(range(16)), np.uint64(0)
    schedule, their_schedule = aes.expand_key(key), p.simd.expand_key(key)
    out, their_out = aligned(2 * blocks), aligned(2 * blocks)
    our_calls, their_calls = foreign.compiled(ours_again), foreign.compiled(theirs_again)

    def ours() -> None:
        our_calls(schedule, zero, out, calls)

    def theirs() -> None:
        their_calls(their_schedule, their_out, blocks, calls)

    ours()
    theirs()
    expect(np.array_equal(out, their_out), name)
    return ours, theirs


def _hash(p: SimpleNamespace, blocks: int, calls: int) -> tuple[Call, Call]:
    """Ours has a tweak and its own key for every tile; theirs, one fixed key: other values, the same cipher calls."""
    hash_ours, hash_theirs = aes.hash_words, p.aes.mmo512

    def ours_again(key, tweak, rows, out, calls):  # type: ignore[no-untyped-def]
        for _ in range(calls):
            hash_ours(key, tweak, tweak, rows, out)

    def theirs_again(rows, out, schedule, blocks, calls):  # type: ignore[no-untyped-def]
        for _ in range(calls):
            hash_theirs(rows, out, schedule, blocks)

    rows, key, schedule = aligned(blocks, 2), words(2), p.simd.expand_key(bytes(16))
    rows[:] = words(blocks, 2)
    out, their_out, flat = aligned(blocks, 2), aligned(2 * blocks), rows.reshape(-1)
    our_calls, their_calls, tweak = foreign.compiled(ours_again), foreign.compiled(theirs_again), np.uint64(7)
    return lambda: our_calls(key, tweak, rows, out, calls), lambda: their_calls(flat, their_out, schedule, blocks, calls)


# --- half gates ------------------------------------------------------------------------------------------------------


def _gates(p: SimpleNamespace) -> Iterator[Case]:
    """A 32-bit ReLU, tables streamed to memory, by the AND gate: our circuit against theirs, then theirs on both sides."""
    theirs = TheirCircuit(*p.half_gates.relu_circuit(32))
    for operation, evaluate in (("garble", False), ("evaluate", True)):
        for label, ours in (("relu", library.relu(32)), ("same-gates", theirs.ours(labels=0))):
            name = f"gc.{operation}.{label}"
            prepare = partial(_gates_of, p, name, theirs, ours, evaluate)
            gates, their_gates = (tiles_of(ands) * ands * TILE for ands in (ours.and_gates, theirs.and_gates))
            yield with_prototype(name, gates, "M/s", prepare, opponent_items=their_gates)


def tiles_of(and_gates: int) -> int:
    """Tiles whose tables are about LARGE bytes."""
    return max(1, LARGE // (32 * and_gates * TILE))


@dataclass(frozen=True)
class TheirCircuit:
    """A circuit of the prototype: ops int64 (n, 5) of (operation, a, b, c, AND gate), each wire with a number of its own."""

    ops: np.ndarray
    wires: int
    and_gates: int
    outputs: list[int]

    INPUTS: ClassVar[int] = 96  # three words of 32 bits
    XOR: ClassVar[int] = 0
    AND: ClassVar[int] = 1
    NOT: ClassVar[int] = 2

    def ours(self, labels: int) -> Circuit:
        """The same gates in the same order in our instructions; NOT becomes a flag of the AND gates that read it.

        labels: how many input wires are copied from `rows` first. With 0 and no outputs nothing but gates is left.
        """
        inputs = [(Op.EVALUATOR_INPUT, i // 32, i % 32, i, i, 0) for i in range(labels)]
        gates, complement = [], {}
        for operation, a, b, c, index in self.ops.tolist():
            if operation == self.NOT:
                complement[c] = a
            elif operation == self.XOR:
                gates.append((Op.XOR, a, b, c, 0, 0))
            else:
                flags = (a in complement) | (b in complement) << 1
                gates.append((Op.AND, complement.get(a, a), complement.get(b, b), c, index, flags))
        outputs = [(Op.OUTPUT, wire, 0, bit, 0, 0) for bit, wire in enumerate(self.outputs) if labels]
        bits = np.array([divmod(i, 32) for i in range(labels)], np.int64).reshape(-1, 2)
        none = np.zeros((0, 2), np.int64)
        words_of = (32,) * (labels // 32)
        return Circuit(
            np.array(inputs + gates + outputs, np.int64),
            self.wires,
            (),
            words_of,
            (32,),
            none,
            bits,
            self.and_gates,
            depth=0,
        )


class _TheirGates:
    """The prototype on `tiles` tiles of its circuit; input labels are those of `wires`, the same for every tile."""

    def __init__(self, p: SimpleNamespace, circuit: TheirCircuit, tiles: int) -> None:
        garble, evaluate = p.half_gates.garble, p.half_gates.evaluate

        def garble_tiles(ops, wires, tables, delta, schedule, key):  # type: ignore[no-untyped-def]
            for tile in range(tables.shape[0]):  # mode 1: a key for each half gate and tile, with our numbering
                garble(ops, wires, tables[tile], delta, schedule, key, 1, TILE, tile, tile << 15)

        def evaluate_tiles(ops, wires, tables, schedule, key):  # type: ignore[no-untyped-def]
            for tile in range(tables.shape[0]):
                evaluate(ops, wires, tables[tile], schedule, key, 1, TILE, tile, tile << 15)

        self.circuit, self.delta, self.key = circuit, words(2) | np.array([1, 0], np.uint64), words(2)
        self.wires, self.tables = aligned(circuit.wires, 2 * TILE), aligned(tiles, circuit.and_gates, 2, 2 * TILE)
        self.labels = words(circuit.INPUTS, 2 * TILE)
        self.wires[: circuit.INPUTS] = self.labels
        self._schedule = p.simd.expand_key(bytes(16))
        self._garble, self._evaluate = foreign.compiled(garble_tiles), foreign.compiled(evaluate_tiles)

    def garble(self) -> None:
        self._garble(self.circuit.ops, self.wires, self.tables, self.delta, self._schedule, self.key)

    def evaluate(self) -> None:
        self._evaluate(self.circuit.ops, self.wires, self.tables, self._schedule, self.key)

    def shares(self) -> Words:
        """Point-and-permute bits of the outputs of the last tile, as 32-bit words."""
        bits = self.wires[self.circuit.outputs, ::2] & np.uint64(1)
        joined: Words = np.bitwise_or.reduce(bits << np.arange(32, dtype=np.uint64)[:, None], axis=0)
        return joined


def _gates_of(p: SimpleNamespace, name: str, circuit: TheirCircuit, ours: Circuit, evaluate: bool) -> tuple[Call, Call]:
    expect(_same_tables(_TheirGates(p, circuit, 2)), name)
    theirs = _TheirGates(p, circuit, tiles_of(circuit.and_gates))
    theirs.garble()
    tables = aligned(tiles_of(ours.and_gates), ours.and_gates, 2, TILE, 2)
    half_gates(ours, tables, evaluate=False)()
    return half_gates(ours, tables, evaluate), theirs.evaluate if evaluate else theirs.garble


def _same_tables(theirs: _TheirGates) -> bool:
    """Whether both sides garble and evaluate the prototype's circuit to the same bits."""
    circuit, zero = theirs.circuit.ours(labels=theirs.circuit.INPUTS), np.uint64(0)
    tiles = theirs.tables.shape[0]
    none, public = frozen(words(0, tiles * TILE)), frozen(words(0, TILE, 2))
    inputs = frozen(words(len(circuit.evaluator_words), tiles * TILE))
    rows = frozen(np.tile(theirs.labels.reshape(-1, TILE, 2), (tiles, 1, 1, 1)))
    delta, key = frozen(theirs.delta.copy()), frozen(theirs.key.copy())
    tables = aligned(tiles, circuit.and_gates, 2, TILE, 2)
    shares, their_shares = (np.zeros((1, tiles * TILE), np.uint64) for _ in range(2))
    agree = []
    theirs.garble()
    garble.garble(circuit.ops, circuit.wires, none, public, rows, delta, key, zero, zero, tables, shares)
    agree.append(np.array_equal(tables.reshape(theirs.tables.shape), theirs.tables))
    agree.append(np.array_equal(shares[0, -TILE:], theirs.shares()))
    theirs.evaluate()
    received = frozen(tables.view())
    garble.evaluate(circuit.ops, circuit.wires, inputs, public, rows, key, zero, zero, received, their_shares)
    agree.append(np.array_equal(their_shares[0, -TILE:], theirs.shares()))
    return all(agree)


# --- oblivious transfer ----------------------------------------------------------------------------------------------


def _iknp(p: SimpleNamespace) -> Iterator[Case]:
    for size, count in (("8k", 1 << 13), ("131k", 1 << 17), ("1M", 1 << 20)):
        for side, sender in (("send", True), ("receive", False)):
            name = f"ot.iknp.{side}.{size}"
            yield with_prototype(name, count, "M/s", partial(_iknp_of, p, name, count, sender), opponent_items=count)


def _iknp_of(p: SimpleNamespace, name: str, count: int, sender: bool) -> tuple[Call, Call]:
    random, tiles, stream = np.random.default_rng(1), count // 128, np.uint64(0)
    keys = [(random.bytes(16), random.bytes(16)) for _ in range(128)]
    bits = random.integers(0, 2, 128)
    interleave = p.ot_extension.rk_interleave
    zeros, ones, chosen = (
        frozen(interleave([pair[which] for pair, which in zip(keys, side, strict=True)]))
        for side in ([0] * 128, [1] * 128, bits)
    )
    delta = frozen(np.packbits(bits.astype(np.uint8), bitorder="little").view(np.uint64))
    masks = np.repeat(np.uint64(0) - bits.astype(np.uint64), 2)  # of each column
    choices = words(2 * tiles)
    message, rows, sent = aligned(256 * tiles), aligned(count, 2), aligned(count, 2)
    their_message, their_rows, their_sent = aligned(256 * tiles), aligned(256 * tiles), aligned(256 * tiles)
    columns = aligned(256 * p.ot_extension.NT)
    received = frozen(message.view())

    def receive() -> None:
        extension.extend_receiver(zeros, ones, stream, choices, message, rows)

    def send() -> None:
        extension.extend_sender(chosen, delta, stream, received, sent)

    def their_receive() -> None:
        p.ot_extension.iknp_recv(zeros, ones, choices, their_message, their_rows, 0, tiles, columns)

    def their_send() -> None:
        p.ot_extension.iknp_send(chosen, masks, their_message, their_sent, 0, tiles, columns)

    for step in (receive, their_receive, send, their_send):
        step()
    for our_array, their_array in ((message, their_message), (rows, their_rows), (sent, their_sent)):
        expect(np.array_equal(our_array.reshape(-1), their_array), name)
    return (send, their_send) if sender else (receive, their_receive)


def _softspoken() -> Iterator[Case]:
    """Against our own IKNP, which sends four times as much: each side, and both in turn as one core would do them."""
    cases = {case.name: case for case in kernel_cases.ot_cases()}
    for name, sides in (("send", ["send"]), ("receive", ["receive"]), ("both", ["send", "receive"])):
        ours, iknp = ([cases[f"ot.{extension}.{side}"] for side in sides] for extension in ("softspoken4", "iknp"))
        yield Case(
            f"ot.softspoken4.{name}",
            ours[0].items,
            ours[0].unit,
            partial(_both, ours, iknp),
            opponent="our IKNP",
            opponent_items=iknp[0].items,
            floor=SOFTSPOKEN_FLOOR,
        )


def _both(ours: list[Case], theirs: list[Case]) -> tuple[Call, Call]:
    return _in_turn(ours), _in_turn(theirs)


def _in_turn(cases: list[Case]) -> Call:
    calls = [call for case in cases for call in case.calls()]
    if len(calls) == 1:
        return calls[0]

    def call() -> None:
        for step in calls:
            step()

    return call


# --- bits ------------------------------------------------------------------------------------------------------------


def _packing() -> Iterator[Case]:
    """Alone: the floor is in the unit."""
    for case in kernel_cases.bits_cases():
        if case.unit == "GB/s":
            yield replace(case, floor=PACKING_FLOOR)
