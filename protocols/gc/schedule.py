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

    op: Op | None
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
        self.gates = self.depth = 0
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
        inputs = sum(1 << i for i, n in enumerate(self.basis) if self.nodes[n].op is not Op.AND)
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
        numbers = _WireNumbers(self._reads())
        ready: dict[int, list[OutputBit]] = {}
        for output in self.outputs:
            ready.setdefault(output.wire.node, []).append(output)
        for output in ready.get(0, ()):
            self._emit_output(output, -1)
        for node in self.order:
            parents = [parent.node for parent in self.nodes[node].parents]
            operands = [numbers.of(parent) for parent in parents]
            for parent in parents:
                numbers.release(parent)  # first: the result may take a dying operand's place
            number = numbers.take(node)
            self._emit(self.nodes[node], operands, number)
            for output in ready.get(node, ()):
                self._emit_output(output, number)
                numbers.release(node)
        if self.gates > MAX_AND_GATES:
            raise ValueError(f"a circuit has at most {MAX_AND_GATES} AND gates, not {self.gates}")
        widths = [0] * (1 + self.outputs[-1].word)
        for output in self.outputs:
            widths[output.word] += 1
        return Circuit(
            ops=_table(self.rows, COLUMNS),
            wires=numbers.used,
            garbler_words=garbler_words,
            evaluator_words=evaluator_words,
            output_words=tuple(widths),
            garbler_labels=_table(self.labels[Op.GARBLER_INPUT], 2),
            evaluator_labels=_table(self.labels[Op.EVALUATOR_INPUT], 2),
            and_gates=self.gates,
            depth=self.depth,
        )

    def _reads(self) -> dict[int, int]:
        """How often each node is read, by gates and by outputs."""
        reads: dict[int, int] = {}
        parents = (parent.node for node in self.order for parent in self.nodes[node].parents)
        for node in (*parents, *(output.wire.node for output in self.outputs)):
            reads[node] = reads.get(node, 0) + 1
        return reads

    def _emit(self, node: Node, operands: list[int], number: int) -> None:
        """The instruction that gives wire `number` its value."""
        if node.op is Op.XOR:
            self.rows.append((Op.XOR, *operands, number, 0, 0))
        elif node.op is Op.AND:
            flags = node.parents[0].inverted | node.parents[1].inverted << 1
            self.rows.append((Op.AND, *operands, number, self.gates, flags))
            self.gates, self.depth = self.gates + 1, max(self.depth, node.depth)
        else:
            assert node.op is not None
            labels = self.labels[node.op]
            self.rows.append((node.op, *node.source, number, len(labels), 0))
            labels.append(node.source)

    def _emit_output(self, output: OutputBit, number: int) -> None:
        word, bit, wire, local = output
        if number >= 0:
            self.rows.append((Op.OUTPUT, number, word, bit, 0, 0))
        if wire.inverted:
            self.rows.append((Op.CONSTANT_OUTPUT, 0, word, bit, 0, 0))
        for node in local:
            owner = Op.GARBLER_LOCAL if self.nodes[node].op is Op.GARBLER_INPUT else Op.EVALUATOR_LOCAL
            source_word, source_bit = self.nodes[node].source
            self.rows.append((owner, source_word, word, bit, source_bit, 0))


class _WireNumbers:
    """Gives nodes wire numbers; that of a node which nobody will read any more is given again, the latest first."""

    def __init__(self, reads: dict[int, int]) -> None:
        self.used = 0  # numbers in use at once, at most
        self._reads = reads  # still to come, by node
        self._numbers: dict[int, int] = {}
        self._free: list[int] = []

    def of(self, node: int) -> int:
        return self._numbers[node]

    def take(self, node: int) -> int:
        """A number for the node."""
        if self._free:
            self._numbers[node] = self._free.pop()
        else:
            self._numbers[node], self.used = self.used, self.used + 1
        return self._numbers[node]

    def release(self, node: int) -> None:
        """The node was read once."""
        self._reads[node] -= 1
        if self._reads[node] == 0 and node in self._numbers:
            self._free.append(self._numbers[node])


def _table(rows: Sequence[Sequence[int]], columns: int) -> np.ndarray:
    return np.array([[int(x) for x in row] for row in rows], np.int64).reshape(len(rows), columns)
