"""The integer program in the clear: every secure layer is held against it.

All values are int64, the signed representative in [-2^(width-1), 2^(width-1)) of a residue modulo 2^width.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bunet.models.convolve import conv_integer, conv_transpose_integer, wrap
from bunet.models.program import LABELS, Node, Program

Rounding = Literal["nearest", "floor"] | np.random.Generator


@dataclass(frozen=True)
class IntegerWeights:
    """Integers of one convolution.

    weight: int64, conv (out, in, k, k), conv_transpose (in, out, 2, 2). bias: int64 (out,), at the output's frac.
    """

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """Whether one layer's output agrees with the oracle; true in a condition if it does.

    wrong: elements that differ beyond what is allowed. message: one sentence that says where and how, empty if none is.
    """

    wrong: int
    elements: int
    message: str = ""

    def __bool__(self) -> bool:
        return self.wrong == 0


def apply(
    node: Node, weights: IntegerWeights | None, *inputs: np.ndarray, rounding: Rounding = "nearest"
) -> np.ndarray:
    """What `node` makes of its opened inputs, int64 of the node's shape.

    Deterministic but for truncate, which rounds as asked: `nearest` (halves up), `floor`, or stochastically with a
    numpy Generator, distributed as the shared truncation rounds. A readout gives labels (1, H, W) for `argmax` and
    `label-share`, else its input. Raises ValueError where inputs have the wrong kind or number.
    """
    if any(x.dtype != np.int64 for x in inputs):
        raise ValueError(f"{node.name}: the oracle works on int64, not {[str(x.dtype) for x in inputs]}")
    if len(inputs) != len(node.inputs):
        raise ValueError(f"{node.name} takes {len(node.inputs)} inputs, not {len(inputs)}")
    width = node.type.width
    x = inputs[0]
    if node.operation in ("conv", "conv_transpose"):
        if weights is None:
            raise ValueError(f"{node.name} needs weights")
        linear = conv_integer if node.operation == "conv" else conv_transpose_integer
        return linear(x, weights.weight, weights.bias, width)
    if node.operation == "truncate":
        return wrap(shifted(x, node.integer("shift"), rounding), width)
    if node.operation == "extend":
        return x.copy()
    if node.operation == "relu":
        return np.maximum(x, 0)
    if node.operation == "square":
        residue = x.view(np.uint64)
        return wrap(residue * residue, width)
    if node.operation == "concat":
        return np.concatenate(inputs)
    if node.operation in ("avgpool", "maxpool"):
        channels, height, columns = x.shape
        windows = x.reshape(channels, height // 2, 2, columns // 2, 2)
        return wrap(windows.sum(axis=(2, 4)), width) if node.operation == "avgpool" else windows.max(axis=(2, 4))
    if node.operation == "readout":
        return (x[1:] > x[:1]).astype(np.int64) if node.attributes["kind"] in LABELS else x.copy()
    raise ValueError(f"{node.name}: the oracle has no operation {node.operation!r}")


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

    keep: names to return; by default the readout alone. Raises ValueError for an input of another shape or kind, and
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
            inputs = (alive[name] for name in node.inputs)
            alive[node.name] = apply(node, weights.get(node.name), *inputs, rounding=rounding)
        if node.name in wanted:
            kept[node.name] = alive[node.name]
        for name in set(node.inputs):
            if last_use[name] == node.name:
                del alive[name]
    return kept


def agrees(
    node: Node, weights: IntegerWeights | None, inputs: tuple[np.ndarray, ...], output: np.ndarray
) -> Verdict:
    """Hold the opened output of one layer against the oracle on its opened inputs.

    Equality where the layer is deterministic; a truncation by shift > 0 may give floor or floor + 1 (modulo the ring).
    `output` may leave out axes of length 1, and have any integer kind.
    """
    expected = apply(node, weights, *inputs, rounding="floor")
    if output.size != expected.size or [s for s in output.shape if s != 1] != [s for s in expected.shape if s != 1]:
        return Verdict(expected.size, expected.size, f"{node.name}: shape {output.shape} is not {expected.shape}")
    actual = output.reshape(expected.shape).astype(np.int64)
    wrong = actual != expected
    if node.operation == "truncate" and node.integer("shift") > 0:
        wrong &= actual != wrap(expected + 1, node.type.width)
    count = int(wrong.sum())
    if not count:
        return Verdict(0, expected.size)
    where = tuple(int(i) for i in np.argwhere(wrong)[0])
    message = (
        f"{node.name} ({node.operation}): {count} of {expected.size} differ, first at {where}: "
        f"{int(actual[where])}, the oracle has {int(expected[where])}"
    )
    if node.operation == "extend":
        message += "; an extension is exact only within its input's bound"
    return Verdict(count, expected.size, message)


def beyond_bound(node: Node, output: np.ndarray) -> int:
    """How many elements of an opened output are outside the node's promise |x| < 2^bound (0 for labels)."""
    if node.operation == "readout" and node.attributes["kind"] in LABELS:
        return 0
    limit = 1 << node.type.bound
    return int(((output <= -limit) | (output >= limit)).sum())
