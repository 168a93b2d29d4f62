"""Boolean circuits over words, built once and run on many instances.

One program, several interpreters: in the clear (`evaluate_plain`), as a count (`Circuit`'s own figures), and as the two
halves of a garbling (`bunet.protocols.gc.garbling`).

The builder writes every wire as an XOR of *basis bits* (inputs and AND results) and an inversion. Wires with the same
XOR are one wire, so a wire that is the same constant in every instance never reaches an AND gate: garbling many
instances under one tweak relies on that (see `bunet.protocols.kernels.garble`). Inversions live in the wire's name and
cost nothing. An input bit that reaches outputs through XOR only needs no label: its owner XORs it into its own share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np

MAX_AND_GATES = 1 << 15  # the low half of a garbling tweak is tile (48 bits) | AND gate (15) | half (1)
COLUMNS = 6


class Op(IntEnum):
    """Kinds of instruction, and what the columns (kind, a, b, c, index, flags) of `Circuit.ops` hold."""

    GARBLER_INPUT = 0  # wire c := labelled garbler bit `index` = bit b of garbler word a
    EVALUATOR_INPUT = 1  # wire c := labelled evaluator bit `index` = bit b of evaluator word a
    XOR = 2  # wire c := a ^ b
    AND = 3  # wire c := (a ^ flags&1) & (b ^ flags>>1), gate number `index`
    OUTPUT = 4  # bit c of output word b ^= wire a
    CONSTANT_OUTPUT = 5  # bit c of output word b ^= 1
    GARBLER_LOCAL = 6  # bit c of output word b ^= bit `index` of garbler word a; evaluators skip it
    EVALUATOR_LOCAL = 7  # bit c of output word b ^= bit `index` of evaluator word a; garblers skip it


class Wire(NamedTuple):
    """A builder's wire: a node, or its complement. Node 0 is the constant 0."""

    node: int
    inverted: bool = False


ZERO = Wire(0)
ONE = Wire(0, True)


@dataclass(frozen=True, eq=False)
class Circuit:
    """An immutable straight-line program on bits; wires are numbered so that a number is reused when its value is dead.

    ops: int64 (n, 6), read-only, see `Op`. wires: how many wire numbers it needs at once.
    garbler_words, evaluator_words, output_words: widths of the words in order of declaration, each 1..64.
    garbler_labels, evaluator_labels: int64 (count, 2): (word, bit) of every input bit that needs a label.
    and_gates, xor_gates: gates an instance; depth: AND gates on the longest path. digest: sha256 over all of it.
    """

    ops: np.ndarray
    wires: int
    garbler_words: tuple[int, ...]
    evaluator_words: tuple[int, ...]
    output_words: tuple[int, ...]
    garbler_labels: np.ndarray
    evaluator_labels: np.ndarray
    and_gates: int
    xor_gates: int
    depth: int
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        state = hashlib.sha256()
        state.update(repr((self.wires, self.garbler_words, self.evaluator_words, self.output_words)).encode())
        for array in (self.ops, self.garbler_labels, self.evaluator_labels):
            array.setflags(write=False)
            state.update(array.astype("<i8").tobytes())
        object.__setattr__(self, "digest", state.hexdigest())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Circuit) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def and_count(self) -> int:
        return self.and_gates


@dataclass
class _Node:
    """linear: XOR of basis bits, as a bit mask. parents: what an XOR or AND reads. depth: ANDs on the way to it."""

    kind: Op | None
    linear: int
    parents: tuple[Wire, ...] = ()
    source: tuple[int, int] = (0, 0)  # (word, bit) of an input
    depth: int = 0


class CircuitBuilder:
    """Declares input words, combines wires, names output words; `build` makes the circuit.

    Wires are `Wire`s, words are lists of wires, least significant first.
    """

    def __init__(self) -> None:
        self._nodes = [_Node(None, 0)]
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
            node = self._add(_Node(Op.XOR, linear, (Wire(a.node), Wire(b.node)), depth=depth))
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
            known = Wire(self._add(_Node(Op.AND, self._new_basis_bit(), (a, b), depth=depth)))
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
        return _Schedule(self._nodes, self._basis, self._outputs, self._remainder).circuit(
            tuple(self._garbler), tuple(self._evaluator)
        )

    def _input_word(self, kind: Op, words: list[int], width: int) -> list[Wire]:
        if not 1 <= width <= 64:
            raise ValueError(f"an input word has 1..64 bits, not {width}")
        words.append(width)
        return [
            Wire(self._add(_Node(kind, self._new_basis_bit(), source=(len(words) - 1, bit)))) for bit in range(width)
        ]

    def _new_basis_bit(self) -> int:
        self._basis.append(len(self._nodes))
        return 1 << (len(self._basis) - 1)

    def _add(self, node: _Node) -> int:
        self._nodes.append(node)
        self._by_linear[node.linear] = len(self._nodes) - 1
        return len(self._nodes) - 1

    def _remainder(self, wire: Wire, local: int) -> Wire:
        """The wire without its basis bits in the mask `local`."""
        linear = self._nodes[wire.node].linear & ~local
        rest = Wire(self._by_linear[linear]) if linear in self._by_linear else ZERO
        if rest == ZERO:
            for bit in _bits(linear):
                rest = self.xor(rest, Wire(self._basis[bit]))
        return Wire(rest.node, wire.inverted)


def _bits(mask: int) -> Iterable[int]:
    """Positions of the set bits, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class _Schedule:
    """Orders the live nodes (inputs just before their first use) and numbers wires so that dead ones are reused."""

    def __init__(self, nodes, basis, outputs, remainder) -> None:
        self.nodes: list[_Node] = nodes
        self.basis: list[int] = basis
        self.outputs = self._split(outputs, remainder)
        self.order = self._live_in_order()
        self.rows: list[tuple[int, ...]] = []
        self.labels: dict[Op, list[tuple[int, int]]] = {Op.GARBLER_INPUT: [], Op.EVALUATOR_INPUT: []}

    def _split(self, outputs, remainder) -> list[tuple[int, int, Wire, list[int]]]:
        """Per output bit (word, bit): the wire that must be computed, and the input nodes XORed in by their owner."""
        needed, stack = set(), [wire.node for word in outputs for wire in word]
        stack = [self.basis[bit] for node in stack for bit in _bits(self.nodes[node].linear)]
        gates = 0  # mask of basis bits that some live AND gate reads
        while stack:
            node = stack.pop()
            if node in needed:
                continue
            needed.add(node)
            for parent in self.nodes[node].parents:
                gates |= self.nodes[parent.node].linear
                stack += [self.basis[bit] for bit in _bits(self.nodes[parent.node].linear)]
        inputs = sum(1 << i for i, n in enumerate(self.basis) if self.nodes[n].kind is not Op.AND)
        local = inputs & ~gates
        return [
            (w, i, remainder(wire, local), [self.basis[b] for b in _bits(self.nodes[wire.node].linear & local)])
            for w, word in enumerate(outputs)
            for i, wire in enumerate(word)
        ]

    def _live_in_order(self) -> list[int]:
        """Depth first from the outputs, in the order in which they were declared: a node stands after its parents."""
        order: list[int] = []
        done = {0}
        for _, _, wire, _ in self.outputs:
            stack = [wire.node]
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
        reads: dict[int, int] = {}
        for node in self.order:
            for parent in self.nodes[node].parents:
                reads[parent.node] = reads.get(parent.node, 0) + 1
        for _, _, wire, _ in self.outputs:
            reads[wire.node] = reads.get(wire.node, 0) + 1
        ready: dict[int, list[tuple[int, int, Wire, list[int]]]] = {}
        for output in self.outputs:
            ready.setdefault(output[2].node, []).append(output)

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
        widths = [0] * (1 + self.outputs[-1][0])
        for word, _, _, _ in self.outputs:
            widths[word] += 1
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

    def _emit_output(self, output: tuple[int, int, Wire, list[int]], slot: int) -> None:
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


def check_words(words: Sequence[np.ndarray], widths: Sequence[int], whose: str, instances: int | None = None) -> int:
    """The number of instances, if `words` are as many uint32 or uint64 arrays (I,) as there are `widths`.

    instances: what it must be, or None to take it from the words. ValueError names what does not fit.
    """
    if len(words) != len(widths):
        raise ValueError(f"the circuit has {len(widths)} {whose} words, not {len(words)}")
    for number, (word, width) in enumerate(zip(words, widths, strict=True)):
        if not isinstance(word, np.ndarray) or word.ndim != 1 or word.dtype not in (np.uint32, np.uint64):
            raise ValueError(f"{whose} word {number} must be a one-dimensional uint32 or uint64 array")
        if word.dtype.itemsize * 8 < width:
            raise ValueError(f"{whose} word {number} has {width} bits, too many for {word.dtype}")
        if instances is not None and len(word) != instances:
            raise ValueError(f"{whose} word {number} has {len(word)} instances, expected {instances}")
        instances = len(word)
    if instances is None:
        raise ValueError(f"the circuit has no {whose} words: say how many instances")
    return instances


def evaluate_plain(
    circuit: Circuit, garbler_words: Sequence[np.ndarray], evaluator_words: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The circuit in the clear on I instances: words uint32 or uint64 (I,) in, uint64 (I,) out."""
    instances: int | None = None
    if garbler_words or circuit.garbler_words:
        instances = check_words(garbler_words, circuit.garbler_words, "garbler")
    if evaluator_words or circuit.evaluator_words:
        instances = check_words(evaluator_words, circuit.evaluator_words, "evaluator", instances)
    if instances is None:
        raise ValueError("a circuit without inputs has no instances")
    words = {Op.GARBLER_INPUT: garbler_words, Op.EVALUATOR_INPUT: evaluator_words}
    words |= {Op.GARBLER_LOCAL: garbler_words, Op.EVALUATOR_LOCAL: evaluator_words}
    wires = np.zeros((circuit.wires, instances), bool)
    outputs = [np.zeros(instances, np.uint64) for _ in circuit.output_words]

    def bit_of(kind: int, word: int, bit: int) -> np.ndarray:
        return (words[Op(kind)][word] >> words[Op(kind)][word].dtype.type(bit) & 1).astype(bool)

    for kind, a, b, c, index, flags in circuit.ops.tolist():
        if kind in (Op.GARBLER_INPUT, Op.EVALUATOR_INPUT):
            wires[c] = bit_of(kind, a, b)
        elif kind == Op.XOR:
            wires[c] = wires[a] ^ wires[b]
        elif kind == Op.AND:
            wires[c] = (wires[a] ^ bool(flags & 1)) & (wires[b] ^ bool(flags >> 1))
        else:
            value = wires[a] if kind == Op.OUTPUT else True if kind == Op.CONSTANT_OUTPUT else bit_of(kind, a, index)
            outputs[b] ^= np.asarray(value).astype(np.uint64) << np.uint64(c)
    return outputs
