"""A Boolean circuit over words: immutable, run on many instances at once.

One program, two interpreters: a count (`Circuit`'s own figures), and the two halves of a garbling
(`bunet.protocols.gc.garbling`); a third, in the clear, is with the tests. Circuits are made by `bunet.protocols.gc.builder`.
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
    """Instructions, and what the columns (op, a, b, c, index, flags) of `Circuit.ops` hold."""

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
    and_gates: of an instance; depth: AND gates on the longest path. digest: sha256 over all of it.
    """

    ops: np.ndarray
    wires: int
    garbler_words: tuple[int, ...]
    evaluator_words: tuple[int, ...]
    output_words: tuple[int, ...]
    garbler_labels: np.ndarray
    evaluator_labels: np.ndarray
    and_gates: int
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
