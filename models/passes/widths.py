"""Choose binary points, bounds and rings from calibrated ranges, and round the weights.

A format i.f pays for n = i + f bits. Every operand of a product has at most n bits with its sign, and so has the ring
in which a ReLU is computed; where the binary point stands is calibrated for each tensor (a power of two), since a fixed
point would waste most of the n bits. What the split i.f decides is the margin between the calibrated range and the
wrap: (i - f) / 4 bits, but at least one. So `12.4` and `8.8` pay the same; `12.4` keeps a range four times the
calibrated one, `8.8` and `8.4` twice, and `8.8` has a grid twice as fine as `12.4`. A square has twice its input's
margin, so that it never wraps first, and may keep SQUARE_EXTRA_BITS more bits, since nothing is compared on it. Bits and
margin are both larger by UPCONV_EXTRA_BITS for a transposed convolution's output, for the same reason, and by
DEEP_EXTRA_BITS from level DEEP_LEVEL on, where elements are few and real images stray furthest from calibration.

With x of frac fx, weights of frac fw and an output wanted at frac fy in a ring of w bits, the convolution must be right
modulo 2^(shift + w) only, shift = fx + fw - fy: truncate-reduce drops the low bits, and the wrap drops the high ones
(the true value fits w bits, so nothing is lost). That is the ring of the convolution and of its input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bunet.models.integers import IntegerWeights
from bunet.models.network.fold import Folded
from bunet.models.network.graph import FloatNode
from bunet.models.program import MAX_WIDTH, Format, ProgramError

SQUARE_EXTRA_BITS = 3
UPCONV_EXTRA_BITS = 2
DEEP_LEVEL = 2
DEEP_EXTRA_BITS = 1

# A convolution in Z_2^ring with weights of L1 norm below 2^norm_bits is carried by a ciphertext modulus of 94 or 100
# bits if ring + norm_bits is at most this; beyond, ciphertexts double.
LINEAR_BUDGETS = (46, 52)
SMALLEST_RANGE = 2.0**-12


@dataclass(frozen=True)
class Precision:
    """What a format buys: n operand bits (sign included), `margin` bits between calibrated range and wrap."""

    bits: int
    margin: int

    @classmethod
    def of(cls, format: Format) -> Precision:
        """See the module's text."""
        return cls(format.bits, max(1, (format.integer_bits - format.fraction_bits) // 4))


@dataclass
class Plan:
    """What is known of the float nodes when widths are chosen; all by float node name.

    frac, bound, width: of the stored operand (after truncation), the input's width being that of its convolution.
    ring: in which a linear operation, a square or an average pooling computes. shift, raw_bound: dropped bits after a
    product, and the bound before. weights: of the convolutions.
    """

    precision: Precision
    ranges: dict[str, float]
    consumers: dict[str, list[FloatNode]]
    extra: dict[str, int]
    frac: dict[str, int] = field(default_factory=dict)
    bound: dict[str, int] = field(default_factory=dict)
    width: dict[str, int] = field(default_factory=dict)
    ring: dict[str, int] = field(default_factory=dict)
    shift: dict[str, int] = field(default_factory=dict)
    raw_bound: dict[str, int] = field(default_factory=dict)
    weights: dict[str, IntegerWeights] = field(default_factory=dict)

    def range_bits(self, name: str) -> float:
        """log2 of the tensor's calibrated range with its margin."""
        return math.log2(max(self.ranges[name], SMALLEST_RANGE)) + self.margin(name)

    def calibrated(self, name: str) -> int:
        """The tensor's calibrated range without its margin, in units of its stored operand, rounded up."""
        return math.ceil(math.ldexp(max(self.ranges[name], SMALLEST_RANGE), self.frac[name]))

    def margin(self, name: str) -> int:
        """Bits between the calibrated range and the wrap."""
        return self.precision.margin + self.extra[name]

    def bits(self, name: str) -> int:
        """Bits of the stored operand, its sign included."""
        return self.precision.bits + self.extra[name]

    def activation_after(self, name: str) -> FloatNode | None:
        """The activation that takes this convolution's output, None where there is none."""
        after = self.consumers[name]
        return after[0] if len(after) == 1 and after[0].operation in ("relu", "square") else None

    def wide_ring(self, name: str) -> int:
        """The widest ring in which a consumer wants this tensor; 0 if all take it as it is stored."""
        wide = (c for c in self.consumers[name] if c.operation not in ("relu", "maxpool"))
        return max((self.ring[c.name] for c in wide), default=0)


def choose_widths(
    graph: tuple[FloatNode, ...], folded: Mapping[str, Folded], ranges: Mapping[str, float], format: Format
) -> Plan:
    """Binary points, bounds, rings and integer weights. Raises ProgramError where a ring would exceed 64 bits."""
    consumers: dict[str, list[FloatNode]] = {node.name: [] for node in graph}
    for node in graph:
        for name in node.inputs:
            consumers[name].append(node)
    extra = {node.name: _extra_bits(node) for node in graph}
    plan = Plan(Precision.of(format), dict(ranges), consumers, extra)
    _choose_fracs(plan, graph)
    for node in graph:
        _quantise(plan, node, folded)
    _choose_rings(plan, graph)
    return plan


def _extra_bits(node: FloatNode) -> int:
    """Bits of range that a tensor gets beyond the format's, where they cost little."""
    if node.operation == "conv_transpose":
        return UPCONV_EXTRA_BITS
    deep = node.operation in ("conv", "relu", "square") and node.level >= DEEP_LEVEL
    return DEEP_EXTRA_BITS if deep else 0


def _square_range_bits(plan: Plan, node: FloatNode) -> float:
    """log2 of a square's range: its margin is twice its input's, so that it never wraps first."""
    return plan.range_bits(node.name) + plan.margin(node.inputs[0])


def _choose_fracs(plan: Plan, graph: tuple[FloatNode, ...]) -> None:
    """Fractional bits of each stored operand: as many as its bits allow, equal on both sides of a concatenation.

    A value that is extended needs one bit of headroom beside its sign.
    """
    for node in graph:
        name = node.name
        bits = plan.bits(name)
        if node.operation == "input":
            plan.frac[name] = math.floor(bits - 1 - plan.range_bits(name))
        elif node.operation == "relu":
            before = node.inputs[0]
            plan.frac[name] = math.floor(min(bits - 1 - plan.range_bits(before), bits - 2 - plan.range_bits(name)))
        elif node.operation == "square":
            before = node.inputs[0]
            plan.frac[before] = math.floor(bits - 2 - plan.range_bits(before))
            fits = math.floor(bits + plan.extra[name] + SQUARE_EXTRA_BITS - 2 - _square_range_bits(plan, node))
            plan.frac[name] = min(fits, 2 * plan.frac[before])
        elif node.operation == "conv_transpose":
            plan.frac[name] = math.floor(bits - 2 - plan.range_bits(name))
        elif node.operation == "concat":
            plan.frac[name] = min(plan.frac[source] for source in node.inputs)
    for node in graph:
        if node.operation == "concat":
            for source in node.inputs:
                plan.frac[source] = plan.frac[node.name]
    for node in graph:
        if node.operation == "relu":
            plan.frac[node.inputs[0]] = plan.frac[node.name]


def _quantise(plan: Plan, node: FloatNode, folded: Mapping[str, Folded]) -> None:
    """Integer weights, bounds and widths of one node, its inputs being done."""
    name, n = node.name, plan.precision.bits
    if node.operation == "input":
        plan.bound[name] = n - 1
        plan.width[name] = n
    elif node.operation == "avgpool":
        plan.frac[name] = plan.frac[node.inputs[0]] + 2
        plan.bound[name] = plan.bound[node.inputs[0]] + 2
        plan.width[name] = max(plan.bound[name] + 1, plan.width[node.inputs[0]])
    elif node.operation == "maxpool":
        for table in (plan.frac, plan.bound, plan.width):
            table[name] = table[node.inputs[0]]
    elif node.operation == "concat":
        plan.bound[name] = max(plan.bound[source] for source in node.inputs)
        plan.width[name] = max(plan.width[source] for source in node.inputs)
    elif node.operation == "relu":
        plan.bound[name] = min(plan.bound[node.inputs[0]], math.ceil(plan.range_bits(name) + plan.frac[name]))
        plan.bound[name] = max(plan.bound[name], 0)
    elif node.operation == "square":
        _bound_square(plan, node)
    else:
        _quantise_convolution(plan, node, folded[name])


def _bound_square(plan: Plan, node: FloatNode) -> None:
    name, before = node.name, node.inputs[0]
    plan.shift[name] = 2 * plan.frac[before] - plan.frac[name]
    plan.raw_bound[name] = 2 * plan.bound[before]
    measured = math.ceil(_square_range_bits(plan, node) + plan.frac[name])
    plan.bound[name] = max(0, min(plan.raw_bound[name] - plan.shift[name] + 1, measured))
    plan.width[name] = plan.bound[name] + 2
    plan.ring[name] = max(plan.shift[name] + plan.width[name], plan.width[before])


def _quantise_convolution(plan: Plan, node: FloatNode, folded: Folded) -> None:
    """Integer weights of at most n bits; fewer, by up to an eighth, where that lets smaller ciphertexts carry them."""
    name, source, n = node.name, node.inputs[0], plan.precision.bits
    largest = max(float(np.abs(folded.weight).max()), SMALLEST_RANGE)
    finest = math.floor(math.log2(((1 << (n - 1)) - 1) / largest))
    coarsest = -MAX_WIDTH if name not in plan.frac else plan.frac[name] - plan.frac[source]
    finest = max(finest, coarsest)
    _round_weights(plan, node, folded, finest)
    for budget in LINEAR_BUDGETS:
        excess = plan.ring[name] + plan.weights[name].norm.bit_length() - budget
        spared = -(-excess // 2)
        if spared <= min(n // 8, finest - coarsest):
            if spared > 0:
                _round_weights(plan, node, folded, finest - spared)
            return


def _round_weights(plan: Plan, node: FloatNode, folded: Folded, weight_frac: int) -> None:
    """Weights and bias rounded at this binary point, and the bounds and rings that follow."""
    name, source = node.name, node.inputs[0]
    product_frac = plan.frac[source] + weight_frac
    weight = np.rint(np.ldexp(folded.weight, weight_frac)).astype(np.int64)
    bias = np.rint(np.ldexp(folded.bias, product_frac))
    largest_bias = int(np.abs(bias).max())
    if largest_bias >= 1 << (MAX_WIDTH - 2):
        raise ProgramError(f"{name}: its bias does not fit {MAX_WIDTH}-bit rings in this format")
    plan.weights[name] = IntegerWeights(weight, bias.astype(np.int64))
    exact = (plan.weights[name].norm * ((1 << plan.bound[source]) - 1) + largest_bias).bit_length()
    plan.raw_bound[name] = max(0, min(math.ceil(plan.range_bits(name) + product_frac), exact))
    if plan.activation_after(name) is None and node.operation == "conv":
        plan.frac[name] = product_frac
        plan.bound[name] = plan.raw_bound[name]
        plan.ring[name] = max(plan.bound[name] + 2, plan.width[source])
        return
    shift = plan.shift[name] = product_frac - plan.frac[name]
    bound = max(0, min(math.ceil(plan.range_bits(name) + plan.frac[name]), max(exact - shift, 0) + 1))
    plan.bound[name] = bound
    activation = plan.activation_after(name)
    if activation is not None and activation.operation == "relu":
        after = min(bound, max(0, math.ceil(plan.range_bits(activation.name) + plan.frac[name])))
        plan.width[name] = plan.width[activation.name] = max(bound + 1, after + 2)
    else:
        plan.width[name] = bound + 2
    plan.ring[name] = max(shift + plan.width[name], plan.width[source])


def _choose_rings(plan: Plan, graph: tuple[FloatNode, ...]) -> None:
    """Rings of the operations that compute where their consumer wants it, and the check that all of them exist."""
    for node in reversed(graph):
        if node.operation in ("concat", "avgpool"):
            plan.ring[node.name] = plan.wide_ring(node.name)
        elif node.operation == "input":
            plan.width[node.name] = plan.wide_ring(node.name)
    widest = max(plan.ring, key=lambda name: plan.ring[name])
    if plan.ring[widest] > MAX_WIDTH:
        raise ProgramError(f"{widest} would need a ring of {plan.ring[widest]} bits; at most {MAX_WIDTH} are possible")
