"""The integer program in the clear: every secure layer is held against it.

All values are int64, the signed representative in [-2^(width-1), 2^(width-1)) of a residue modulo 2^width.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bunet.models.integers import IntegerWeights, conv, conv_integer, conv_transpose, conv_transpose_integer, wrap
from bunet.models.program import LABELS, Node, Program

Rounding = Literal["nearest", "floor"] | np.random.Generator


@dataclass(frozen=True)
class Verdict:
    """Whether one layer's output agrees with the oracle; true in a condition if it does.

    wrong: elements that differ beyond what is allowed. message: one sentence that says where and how, empty if none is.
    beyond: elements whose true value, before the ring wraps it, is outside the bound that the program states for them. Their
    result is what the program defines, and not what the network means.
    """

    wrong: int
    elements: int
    message: str = ""
    beyond: int = 0

    def __bool__(self) -> bool:
        return self.wrong == 0


def apply(
    node: Node, weights: IntegerWeights | None, *inputs: np.ndarray, rounding: Rounding = "nearest", width: int = 64
) -> np.ndarray:
    """What `node` makes of its opened inputs, int64 of the node's shape.

    Deterministic but for truncate, which rounds as asked: `nearest` (halves up), `floor`, or stochastically with a
    numpy Generator, distributed as the shared truncation rounds. A readout gives labels (1, H, W) for `argmax` and
    `label-share`, the sign of the logits' difference in their ring of `width` bits; else its input. Raises ValueError where
    inputs have the wrong dtype or number.
    """
    if any(x.dtype != np.int64 for x in inputs):
        raise ValueError(f"{node.name}: the oracle works on int64, not {[str(x.dtype) for x in inputs]}")
    if len(inputs) != len(node.inputs):
        raise ValueError(f"{node.name} takes {len(node.inputs)} inputs, not {len(inputs)}")
    return _in_ring(node, _unwrapped(node, weights, inputs, rounding, width))


def _unwrapped(
    node: Node, weights: IntegerWeights | None, inputs: tuple[np.ndarray, ...], rounding: Rounding, width: int
) -> np.ndarray:
    """What `node` would give in a ring of 64 bits: its true values, as long as they fit that."""
    x = inputs[0]
    if node.operation in ("conv", "conv_transpose"):
        if weights is None:
            raise ValueError(f"{node.name} needs weights")
        linear = conv_integer if node.operation == "conv" else conv_transpose_integer
        return linear(x, weights.weight, weights.bias, 64)
    if node.operation == "truncate":
        return shifted(x, node.integer("shift"), rounding)
    if node.operation == "extend":
        return x.copy()
    if node.operation == "relu":
        return np.asarray(np.maximum(x, 0))
    if node.operation == "square":
        residue = x.view(np.uint64)
        return (residue * residue).view(np.int64)
    if node.operation == "concat":
        return np.concatenate(inputs)
    if node.operation in ("avgpool", "maxpool"):
        return np.asarray(_windows(x).sum(axis=(2, 4)) if node.operation == "avgpool" else _windows(x).max(axis=(2, 4)))
    if node.operation == "readout":
        return (wrap(x[:1] - x[1:], width) < 0).astype(np.int64) if node.attributes["kind"] in LABELS else x.copy()
    raise ValueError(f"{node.name}: the oracle has no operation {node.operation!r}")


def _in_ring(node: Node, true: np.ndarray) -> np.ndarray:
    return true if _is_label(node) else wrap(true, node.type.width)


def _windows(x: np.ndarray) -> np.ndarray:
    """(channels, height / 2, 2, width / 2, 2): the 2x2 windows of an image."""
    channels, height, columns = x.shape
    return x.reshape(channels, height // 2, 2, columns // 2, 2)


def shifted(x: np.ndarray, shift: int, rounding: Rounding) -> np.ndarray:
    """x / 2^shift in integers. With a Generator: floor + 1 with probability (x mod 2^shift + 1) / 2^shift, else floor.

    That is how local truncation of uniform shares rounds, with one unit added to one of the two; shift 0 is exact.
    """
    floor = x >> shift
    if shift == 0 or (isinstance(rounding, str) and rounding == "floor"):
        return floor
    if isinstance(rounding, str):
        return floor + ((x >> (shift - 1)) & 1)
    rest = x & ((1 << shift) - 1)
    return floor + (rounding.integers(0, 1 << shift, x.shape) <= rest)


def run(
    program: Program,
    weights: Mapping[str, IntegerWeights],
    image: np.ndarray,
    rounding: Rounding = "nearest",
    keep: Collection[str] | None = None,
) -> dict[str, np.ndarray]:
    """Outputs by node name of the program on one quantised input (int64, the input's shape).

    keep: names to return; by default the readout alone. Raises ValueError for an input of another shape or dtype, and
    KeyError for a name that is not in the program.
    """
    wanted = {program.output.name} if keep is None else {program[name].name for name in keep}
    if image.shape != program.input.type.shape or image.dtype != np.int64:
        expected = program.input.type.shape
        raise ValueError(f"input is {image.dtype} of shape {image.shape}, the program wants int64 of {expected}")
    last_use = program.last_use()
    alive: dict[str, np.ndarray] = {program.input.name: image}
    kept: dict[str, np.ndarray] = {}
    for node in program:
        if node.operation != "input":
            inputs, width = (alive[name] for name in node.inputs), program.input_types(node)[0].width
            alive[node.name] = apply(node, weights.get(node.name), *inputs, rounding=rounding, width=width)
        if node.name in wanted:
            kept[node.name] = alive[node.name]
        for name in set(node.inputs):
            if last_use[name] == node.name:
                del alive[name]
    return kept


def agrees(
    node: Node,
    weights: IntegerWeights | None,
    inputs: tuple[np.ndarray, ...],
    output: np.ndarray,
    width: int = 64,
) -> Verdict:
    """Hold the opened output of one layer against the oracle on its opened inputs.

    Equality where the layer is deterministic; a truncation by shift > 0 may give floor or floor + 1 (modulo the ring). width:
    of the inputs' ring. An extension is exact for -2^(width - 2) <= x < 2^(width - 2); beyond, what is added to x modulo
    2^width depends on how x is shared, so there it must agree modulo that. `output` may leave out axes of length 1, and have
    any integer dtype.
    """
    true = _unwrapped(node, weights, inputs, "floor", width)
    expected = _in_ring(node, true)
    if output.size != expected.size or [s for s in output.shape if s != 1] != [s for s in expected.shape if s != 1]:
        return Verdict(expected.size, expected.size, f"{node.name}: shape {output.shape} is not {expected.shape}")
    actual = output.reshape(expected.shape).astype(np.int64)
    wrong = actual != expected
    if node.operation == "truncate" and node.integer("shift") > 0:
        up = wrong & (actual == wrap(expected + 1, node.type.width))
        wrong, true = wrong & ~up, true + up
    if node.operation == "extend":
        quarter = 1 << (width - 2)
        inside = (inputs[0] >= -quarter) & (inputs[0] < quarter)
        wrong = np.where(inside, wrong, wrap(actual - inputs[0], width) != 0)
    count, beyond = int(wrong.sum()), _beyond(node, weights, inputs, true)
    if not count:
        return Verdict(0, expected.size, beyond=beyond)
    where = tuple(int(i) for i in np.argwhere(wrong)[0])
    message = (
        f"{node.name} ({node.operation}): {count} of {expected.size} differ, first at {where}: "
        f"{int(actual[where])}, the oracle has {int(expected[where])}"
    )
    return Verdict(count, expected.size, message, beyond)


def _beyond(node: Node, weights: IntegerWeights | None, inputs: tuple[np.ndarray, ...], true: np.ndarray) -> int:
    """How many true values are outside the node's bound; 0 for layers that only hand on what others have computed.

    true: modulo 2^64. Where more may be needed, floats of 53 bits say which values do not fit.
    """
    if node.operation in ("extend", "concat", "readout"):
        return 0
    outside = _outside(true, node.type.bound)
    x = inputs[0]
    largest = max(abs(int(x.min())), abs(int(x.max())))
    if weights is not None:
        if largest * weights.norm + int(np.abs(weights.bias).max()) >= 1 << 63:
            linear = conv if node.operation == "conv" else conv_transpose
            floats = linear(x.astype(np.float64), weights.weight.astype(np.float64))
            outside |= np.abs(floats + weights.bias[:, None, None]) >= 2.0**63
    elif node.operation == "square" and largest >= 1 << 31:
        outside |= np.abs(x.astype(np.float64)) >= 2.0**31.5
    elif node.operation == "avgpool" and 4 * largest >= 1 << 63:
        outside |= np.abs(_windows(x.astype(np.float64)).sum(axis=(2, 4))) >= 2.0**63
    return int(outside.sum())


def _outside(values: np.ndarray, bound: int) -> np.ndarray:
    limit = 1 << bound
    return (values <= -limit) | (values >= limit)


def _is_label(node: Node) -> bool:
    return node.operation == "readout" and node.attributes["kind"] in LABELS
