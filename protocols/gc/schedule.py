"""From a builder's nodes to a circuit: which are live, in which order, and which wire numbers they take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bunet.protocols.gc.circuit import COLUMNS, MAX_AND_GATES, Circuit, Op


class Wire(NamedTuple):
    """A builder's wire: a node, or its complement. Node 0 is the constant 0."""

    node: int
    inverted: bool = False


class OutputBit(NamedTuple):
    """Bit `bit` of output word `word`: the wire to compute, and input nodes that their owner XORs into its share."""

    word: int
    bit: int
    wire: Wire
    local: list[int]


@dataclass
class Node:
    """linear: XOR of basis bits, as a bit mask. parents: what an XOR or AND reads. depth: ANDs on the way to it."""

    kind: Op | None
    linear: int
    parents: tuple[Wire, ...] = ()
    source: tuple[int, int] = (0, 0)  # (word, bit) of an input
    depth: int = 0


def bits(mask: int) -> Iterable[int]:
    """Positions of the set bits, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class Schedule:
    """Orders the live nodes (inputs just before their first use) and numbers wires so that dead ones are reused."""

    def __init__(
        self,
        nodes: list[Node],
        basis: list[int],
        outputs: list[list[Wire]],
        remainder: Callable[[Wire, int], Wire],
    ) -> None:
        self.nodes, self.basis = nodes, basis
        self.outputs = self._split(outputs, remainder)
        self.order = self._live_in_order()
        self.rows: list[tuple[int, ...]] = []
        self.labels: dict[Op, list[tuple[int, int]]] = {Op.GARBLER_INPUT: [], Op.EVALUATOR_INPUT: []}

    def _split(self, outputs: list[list[Wire]], remainder: Callable[[Wire, int], Wire]) -> list[OutputBit]:
        """Input bits that no live AND gate reads leave the outputs' wires and become local."""
        needed: set[int] = set()
        stack = [self.basis[bit] for word in outputs for wire in word for bit in bits(self.nodes[wire.node].linear)]
        gates = 0  # mask of basis bits that some live AND gate reads
        while stack:
            node = stack.pop()
            if node in needed:
                continue
            needed.add(node)
            for parent in self.nodes[node].parents:
                gates |= self.nodes[parent.node].linear
                stack += [self.basis[bit] for bit in bits(self.nodes[parent.node].linear)]
        inputs = sum(1 << i for i, n in enumerate(self.basis) if self.nodes[n].kind is not Op.AND)
        local = inputs & ~gates
        return [
            OutputBit(w, i, remainder(wire, local), [self.basis[b] for b in bits(self.nodes[wire.node].linear & local)])
            for w, word in enumerate(outputs)
            for i, wire in enumerate(word)
        ]

    def _live_in_order(self) -> list[int]:
        """Depth first from the outputs, in the order in which they were declared: a node stands after its parents."""
        order: list[int] = []
        done = {0}
        for output in self.outputs:
            stack = [output.wire.node]
            while stack:
                node = stack[-1]
                missing = [p.node for p in reversed(self.nodes[node].parents) if p.node not in done]
                if node in done or not missing:
                    stack.pop()
                    if node not in done:
                        done.add(node)
                        order.append(node)
                else:
                    stack += missing
        return order

    def circuit(self, garbler_words: tuple[int, ...], evaluator_words: tuple[int, ...]) -> Circuit:
        """Numbers the wires and writes the instructions; ValueError above `MAX_AND_GATES`. To be called once."""
        reads: dict[int, int] = {}
        for node in self.order:
            for parent in self.nodes[node].parents:
                reads[parent.node] = reads.get(parent.node, 0) + 1
        for output in self.outputs:
            reads[output.wire.node] = reads.get(output.wire.node, 0) + 1
        ready: dict[int, list[OutputBit]] = {}
        for output in self.outputs:
            ready.setdefault(output.wire.node, []).append(output)

        slots: dict[int, int] = {}
        free: list[int] = []
        used = gates = xors = depth = 0

        def release(node: int) -> None:
            reads[node] -= 1
            if reads[node] == 0 and node in slots:
                free.append(slots[node])

        for output in ready.get(0, ()):
            self._emit_output(output, -1)
        for node in self.order:
            n = self.nodes[node]
            where = [slots[p.node] for p in n.parents]
            for parent in n.parents:
                release(parent.node)  # first: the result may take a dying operand's place
            if free:
                slot = free.pop()
            else:
                slot, used = used, used + 1
            slots[node] = slot
            if n.kind is Op.XOR:
                self.rows.append((Op.XOR, *where, slot, 0, 0))
                xors += 1
            elif n.kind is Op.AND:
                flags = n.parents[0].inverted | n.parents[1].inverted << 1
                self.rows.append((Op.AND, *where, slot, gates, flags))
                gates, depth = gates + 1, max(depth, n.depth)
            else:
                assert n.kind is not None
                labels = self.labels[n.kind]
                self.rows.append((n.kind, *n.source, slot, len(labels), 0))
                labels.append(n.source)
            for output in ready.get(node, ()):
                self._emit_output(output, slot)
                release(node)
        if gates > MAX_AND_GATES:
            raise ValueError(f"a circuit has at most {MAX_AND_GATES} AND gates, not {gates}")
        widths = [0] * (1 + self.outputs[-1].word)
        for output in self.outputs:
            widths[output.word] += 1
        return Circuit(
            ops=_table(self.rows, COLUMNS),
            wires=used,
            garbler_words=garbler_words,
            evaluator_words=evaluator_words,
            output_words=tuple(widths),
            garbler_labels=_table(self.labels[Op.GARBLER_INPUT], 2),
            evaluator_labels=_table(self.labels[Op.EVALUATOR_INPUT], 2),
            and_gates=gates,
            xor_gates=xors,
            depth=depth,
        )

    def _emit_output(self, output: OutputBit, slot: int) -> None:
        word, bit, wire, local = output
        if slot >= 0:
            self.rows.append((Op.OUTPUT, slot, word, bit, 0, 0))
        if wire.inverted:
            self.rows.append((Op.CONSTANT_OUTPUT, 0, word, bit, 0, 0))
        for node in local:
            owner = Op.GARBLER_LOCAL if self.nodes[node].kind is Op.GARBLER_INPUT else Op.EVALUATOR_LOCAL
            source_word, source_bit = self.nodes[node].source
            self.rows.append((owner, source_word, word, bit, source_bit, 0))


def _table(rows: Sequence[Sequence[int]], columns: int) -> np.ndarray:
    return np.array([[int(x) for x in row] for row in rows], np.int64).reshape(len(rows), columns)
