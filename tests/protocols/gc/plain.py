"""A circuit in the clear: what garbling is held against."""

from collections.abc import Sequence

import numpy as np

from bunet.protocols.gc.circuit import Circuit, Op, check_words


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

    def bit_of(op: int, word: int, bit: int) -> np.ndarray:
        column = words[Op(op)][word]
        bits: np.ndarray = (column >> column.dtype.type(bit) & column.dtype.type(1)).astype(bool)
        return bits

    for op, a, b, c, index, flags in circuit.ops.tolist():
        if op in (Op.GARBLER_INPUT, Op.EVALUATOR_INPUT):
            wires[c] = bit_of(op, a, b)
        elif op == Op.XOR:
            wires[c] = wires[a] ^ wires[b]
        elif op == Op.AND:
            wires[c] = (wires[a] ^ bool(flags & 1)) & (wires[b] ^ bool(flags >> 1))
        else:
            value = wires[a] if op == Op.OUTPUT else True if op == Op.CONSTANT_OUTPUT else bit_of(op, a, index)
            outputs[b] ^= np.asarray(value).astype(np.uint64) << np.uint64(c)
    return outputs
