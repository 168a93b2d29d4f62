"""A Boolean circuit over words: immutable, run on many instances at once.

One program, several interpreters: in the clear (`evaluate_plain`), as a count (`Circuit`'s own figures), and as the two
halves of a garbling (`bunet.protocols.gc.garbling`). Circuits are made by `bunet.protocols.gc.builder`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

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
