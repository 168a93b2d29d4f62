"""Builds circuits from words of wires.

Every wire is an XOR of *basis bits* (inputs and AND results) and an inversion. Wires with the same XOR are one wire, so a
wire that is the same constant in every instance never reaches an AND gate: garbling many instances under one tweak
relies on that (see `bunet.protocols.kernels.gc.garble`). Inversions live in the wire's name and cost nothing. An input bit
that reaches outputs through XOR only needs no label: its owner XORs it into its own share.
"""

from __future__ import annotations

from collections.abc import Sequence

from bunet.protocols.gc.circuit import Circuit, Op
from bunet.protocols.gc.schedule import Node, Schedule, Wire, bits

ZERO = Wire(0)
ONE = Wire(0, True)


class CircuitBuilder:
    """Declares input words, combines wires, names output words; `build` makes the circuit.

    Wires are `Wire`s, words are lists of wires, least significant first.
    """

    def __init__(self) -> None:
        self._nodes = [Node(None, 0)]
        self._by_linear = {0: 0}
        self._basis: list[int] = []  # node of each basis bit
        self._ands: dict[frozenset[Wire], Wire] = {}
        self._garbler: list[int] = []
        self._evaluator: list[int] = []
        self._outputs: list[list[Wire]] = []

    def garbler_word(self, width: int) -> list[Wire]:
        """The garbler's next input word; its bits above `width` are ignored."""
        return self._input_word(Op.GARBLER_INPUT, self._garbler, width)

    def evaluator_word(self, width: int) -> list[Wire]:
        """The evaluator's next input word; its bits above `width` are ignored."""
        return self._input_word(Op.EVALUATOR_INPUT, self._evaluator, width)

    def constant(self, bit: int) -> Wire:
        return ONE if bit else ZERO

    def constant_word(self, value: int, width: int) -> list[Wire]:
        return [self.constant(value >> i & 1) for i in range(width)]

    def not_(self, a: Wire) -> Wire:
        return Wire(a.node, not a.inverted)

    def xor(self, a: Wire, b: Wire) -> Wire:
        linear = self._nodes[a.node].linear ^ self._nodes[b.node].linear
        node = self._by_linear.get(linear)
        if node is None:
            depth = max(self._nodes[a.node].depth, self._nodes[b.node].depth)
            node = self._add(Node(Op.XOR, linear, (Wire(a.node), Wire(b.node)), depth=depth))
        return Wire(node, a.inverted != b.inverted)

    def and_(self, a: Wire, b: Wire) -> Wire:
        if a.node == 0 or b.node == 0:
            if a == ZERO or b == ZERO:
                return ZERO
            return b if a == ONE else a
        if a.node == b.node:
            return a if a == b else ZERO
        known = self._ands.get(frozenset((a, b)))
        if known is None:
            depth = 1 + max(self._nodes[a.node].depth, self._nodes[b.node].depth)
            known = Wire(self._add(Node(Op.AND, self._new_basis_bit(), (a, b), depth=depth)))
            self._ands[frozenset((a, b))] = known
        return known

    def or_(self, a: Wire, b: Wire) -> Wire:
        return self.not_(self.and_(self.not_(a), self.not_(b)))

    def select(self, condition: Wire, yes: Wire, no: Wire) -> Wire:
        """condition ? yes : no, one AND."""
        return self.xor(no, self.and_(condition, self.xor(yes, no)))

    def output_word(self, wires: Sequence[Wire]) -> None:
        """Declares the next output word, least significant wire first."""
        if not 1 <= len(wires) <= 64:
            raise ValueError(f"an output word has 1..64 bits, not {len(wires)}")
        self._outputs.append(list(wires))

    def build(self) -> Circuit:
        """The circuit of the declared outputs; gates that reach no output are left out.

        ValueError without outputs, or above `MAX_AND_GATES`.
        """
        if not self._outputs:
            raise ValueError("a circuit needs at least one output word")
        return Schedule(self._nodes, self._basis, self._outputs, self._remainder).circuit(
            tuple(self._garbler), tuple(self._evaluator)
        )

    def _input_word(self, op: Op, words: list[int], width: int) -> list[Wire]:
        if not 1 <= width <= 64:
            raise ValueError(f"an input word has 1..64 bits, not {width}")
        words.append(width)
        return [Wire(self._add(Node(op, self._new_basis_bit(), source=(len(words) - 1, bit)))) for bit in range(width)]

    def _new_basis_bit(self) -> int:
        self._basis.append(len(self._nodes))
        return 1 << (len(self._basis) - 1)

    def _add(self, node: Node) -> int:
        self._nodes.append(node)
        self._by_linear[node.linear] = len(self._nodes) - 1
        return len(self._nodes) - 1

    def _remainder(self, wire: Wire, local: int) -> Wire:
        """The wire without its basis bits in the mask `local`."""
        linear = self._nodes[wire.node].linear & ~local
        rest = Wire(self._by_linear[linear]) if linear in self._by_linear else ZERO
        if rest == ZERO:
            for bit in bits(linear):
                rest = self.xor(rest, Wire(self._basis[bit]))
        return Wire(rest.node, wire.inverted)
