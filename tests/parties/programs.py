"""Programs with random integer weights for whole-system tests, and what holds a run of them against the oracle."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bunet.models import oracle
from bunet.models.compiled import Compiled
from bunet.models.integers import IntegerWeights, l1_norm
from bunet.models.model_card import ModelCard
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_slice, seeded_weights
from bunet.models.passes.compile import compile_model
from bunet.models.program import LABELS, READOUTS, Format, Node, Program, TensorType
from bunet.parties.planner import choose, pahe_names, plan
from bunet.protocols.ass.share import Share, open_shares
from bunet.protocols.lockstep import lockstep
from tests.parties.whole_program import whole_program
from tests.protocols.contexts import contexts


def small(
    size: int = 16, features: int = 2, format: str = "8.4", seed: int = 0, readout: str = "argmax", **architecture: Any
) -> Compiled:
    """A compiled U-Net of depth 2 with seeded random weights, calibrated on the slices that `slices` makes."""
    shape = Architecture(features=features, depth=2, **architecture)
    weights = seeded_weights(shape, seed)
    return compile_model(weights, size, size, format, calibration(shape, size, seed), readout)


CARD = ModelCard("infection", "z", "small", size=16)


def named(compiled: Compiled, salt: bytes = bytes(32), **card: Any) -> Compiled:
    """As `bunet compile` leaves it: with a card and a salt (a fixed one, for a test's sake)."""
    return replace(compiled, card=replace(CARD, **card), salt=salt)


def calibration(shape: Architecture, size: int, seed: int) -> list[np.ndarray]:
    return [seeded_slice(shape, size, size, 1000 + seed + k) for k in range(3)]


def slices(compiled: Compiled, count: int, seed: int = 0) -> np.ndarray:
    """Quantised inputs, int64 (count, channels, height, width)."""
    from bunet.models.compiled import quantise_input

    channels, height, width = compiled.program.input.type.shape
    shape = Architecture(in_channels=channels)
    images = [seeded_slice(shape, height, width, 1000 + seed + k) for k in range(count)]
    return np.stack([quantise_input(compiled.program, image) for image in images])


def noise(compiled: Compiled, count: int, seed: int = 0) -> np.ndarray:
    """Inputs anywhere within the input's bound, its ends among them: int64 (count, channels, height, width)."""
    kind = compiled.program.input.type
    limit = (1 << kind.bound) - 1
    images = np.random.default_rng(seed).integers(-limit, limit, (count, *kind.shape), np.int64, endpoint=True)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = limit, -limit
    return images


def run(
    compiled: Compiled, image: np.ndarray, overrides: dict[str, str] | None = None, options: dict[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One slice in lockstep; returns ({node: Alice's result}, {node: Bob's result})."""
    program = compiled.program
    chosen = choose(program, overrides)
    hers, his = plan(program, chosen, options), plan(program, chosen, options, compiled.weights)
    alice, bob = contexts(pahe_names(hers), (options or {}).get("ot", "iknp"))
    seen_a: dict[str, Any] = {}
    seen_b: dict[str, Any] = {}
    kind = program.input.type
    lockstep(
        whole_program(alice, hers, Share.of(image.astype(np.uint64), kind), lambda n, v: seen_a.update({n.name: v})),
        whole_program(bob, his, Share.of(np.zeros(kind.shape, np.uint64), kind), lambda n, v: seen_b.update({n.name: v})),
    )
    return seen_a, seen_b


def verify(compiled: Compiled, image: np.ndarray, seen_a: Mapping[str, Any], seen_b: Mapping[str, Any]) -> None:
    """Open every layer of one slice and hold it against the oracle on its opened inputs."""
    opened: dict[str, np.ndarray] = {}
    for node in compiled.program:
        a, b = seen_a[node.name], seen_b[node.name]
        if isinstance(a, Share) and isinstance(b, Share):
            assert a.type == b.type == node.type, node.name
            opened[node.name] = open_shares(a, b)
        elif node.attributes.get("kind") == "label-share":
            opened[node.name] = (a ^ b).astype(np.int64).reshape(node.type.shape)
        else:
            assert b is None
            opened[node.name] = a.astype(np.int64).reshape(node.type.shape)
        if node.operation == "input":
            assert (opened[node.name] == image).all()
        else:
            inputs = tuple(opened[name] for name in node.inputs)
            width = compiled.program.input_types(node)[0].width
            verdict = oracle.agrees(node, compiled.weights.get(node.name), inputs, opened[node.name], width)
            assert verdict, verdict.message


NARROWEST, WIDEST = 8, 44
NORM_BITS = (1, 3, 7, 12)
MOST_ELEMENTS = 1500  # of one tensor: keeps an example far below a second


class _Builder:
    """Grows a program node by node with a bound that holds, so that what needs headroom is only put where there is some."""

    def __init__(self, draw: st.DrawFn, format: str) -> None:
        self.draw = draw
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="weights"))
        self.format = Format.parse(format)
        self.nodes: list[Node] = []
        self.weights: dict[str, IntegerWeights] = {}
        channels = draw(st.integers(1, 5), label="channels")
        height, columns = draw(
            st.tuples(st.integers(1, 12), st.integers(2, 12)).filter(lambda size: size[0] != size[1]), label="size"
        )
        if draw(st.booleans(), label="even"):
            height, columns = 2 * (height // 2 + 1), 4 * (columns // 4 + 2)
        width = draw(st.integers(max(NARROWEST, self.format.bits), WIDEST), label="input width")
        kind = TensorType((channels, height, columns), width, self.format.fraction_bits, self.format.bits - 1)
        self.nodes.append(Node("input", "input", (), kind))

    def add(self, operation: str, inputs: tuple[Node, ...], type: TensorType, /, **attributes: int | str) -> Node:
        node = Node(f"{operation}{len(self.nodes)}", operation, tuple(n.name for n in inputs), type, attributes)
        self.nodes.append(node)
        return node

    def choices(self, node: Node) -> list[str]:
        kind = node.type
        _, height, columns = kind.shape
        possible = ["conv", "relu"]
        possible += ["conv_transpose"] if 4 * kind.elements <= MOST_ELEMENTS else []
        possible += ["square"] if kind.elements <= MOST_ELEMENTS // 2 else []
        possible += ["avgpool", "maxpool"] if height % 2 == columns % 2 == 0 else []
        possible += ["truncate"] if kind.width > NARROWEST else []
        possible += ["extend"] if kind.width < WIDEST and kind.bound <= kind.width - 2 else []
        possible += ["concat"] if self.partners(node) else []
        return possible

    def partners(self, node: Node) -> list[Node]:
        """Tensors that may be joined to `node`, itself among them."""
        kind = node.type

        def fits(other: TensorType) -> bool:
            same = (other.shape[1:], other.width, other.frac) == (kind.shape[1:], kind.width, kind.frac)
            return same and other.elements + kind.elements <= MOST_ELEMENTS

        return [n for n in self.nodes if fits(n.type)]

    def grow(self, operation: str, node: Node) -> Node:
        kind = node.type
        (channels, height, columns), width, frac, bound = kind.shape, kind.width, kind.frac, kind.bound
        if operation in ("conv", "conv_transpose"):
            return self.convolve(operation, node)
        if operation == "relu":
            return self.add("relu", (node,), kind)
        if operation == "square":
            return self.add("square", (node,), TensorType(kind.shape, width, 2 * frac, min(2 * bound, width - 1)))
        if operation in ("avgpool", "maxpool"):
            more = 2 if operation == "avgpool" else 0
            half = (channels, height // 2, columns // 2)
            return self.add(operation, (node,), TensorType(half, width, frac + more, min(bound + more, width - 1)))
        if operation == "truncate":
            shift = self.draw(st.integers(0, min(width - NARROWEST, 14)), label="shift")
            narrow = self.draw(st.integers(NARROWEST, width - shift), label="narrow")
            # Rounding up may reach the bound itself: one bit more than what is left.
            rest = min(max(bound - shift, 0) + (1 if shift else 0), narrow - 1)
            return self.add("truncate", (node,), TensorType(kind.shape, narrow, frac - shift, rest), shift=shift)
        if operation == "extend":
            wide = self.draw(st.integers(width + 1, WIDEST), label="wide")
            return self.add("extend", (node,), TensorType(kind.shape, wide, frac, bound))
        other = self.draw(st.sampled_from(self.partners(node)), label="partner")
        joined = TensorType((channels + other.type.shape[0], height, columns), width, frac, max(bound, other.type.bound))
        return self.add("concat", (node, other), joined)

    def convolve(self, operation: str, node: Node, outputs: int | None = None, norm_bits: int | None = None) -> Node:
        kind = node.type
        channels, height, columns = kind.shape
        outputs = outputs or self.draw(st.integers(1, 5), label="out channels")
        norm_bits = norm_bits or self.draw(st.sampled_from(NORM_BITS), label="norm bits")
        if operation == "conv":
            kernel = self.draw(st.sampled_from((1, 3)), label="kernel")
            shape, size = (outputs, channels, kernel, kernel), (outputs, height, columns)
            more = {}
        else:
            kernel, more = 2, {"stride": 2}
            shape, size = (channels, outputs, 2, 2), (outputs, 2 * height, 2 * columns)
        weight = self.random.integers(-(1 << norm_bits), 1 << norm_bits, shape, np.int64, endpoint=True)
        while l1_norm(weight).bit_length() > norm_bits:  # halve some, until what is left fits
            weight = np.where(self.random.integers(0, 4, shape) == 0, np.sign(weight) * (np.abs(weight) // 2), weight)
        limit = 1 << max(kind.bound - 1, 0)
        bias = self.random.integers(-limit, limit, outputs, np.int64, endpoint=True)
        bound = min(kind.bound + norm_bits + 1, kind.width - 1)
        made = self.add(
            operation,
            (node,),
            TensorType(size, kind.width, kind.frac, bound),
            out_channels=outputs,
            kernel=kernel,
            norm_bits=norm_bits,
            **more,
        )
        self.weights[made.name] = IntegerWeights(weight, bias)
        return made

    def finish(self, node: Node) -> Compiled:
        kind, two = node.type, node.type.shape[0] == 2
        headroom = kind.bound + (0 if two else 2) <= kind.width - 2  # argmax subtracts
        readouts = READOUTS if headroom else ("logits", "share")
        readout = self.draw(st.sampled_from(readouts), label="readout")
        if readout in LABELS:
            if not two:
                node = self.convolve("conv", node, outputs=2, norm_bits=1)
            _, height, columns = node.type.shape
            self.add("readout", (node,), TensorType((1, height, columns), 2, 0, 1), kind=readout)
        else:
            self.add("readout", (node,), node.type, kind=readout)
        return Compiled(Program(self.format, tuple(self.nodes)), self.weights)


FORMATS = ("8.4", "12.4", "8.8", "6.3", "2.1")


@st.composite
def graphs(draw: st.DrawFn, most_layers: int = 8) -> Compiled:
    """Any program that type-checks, not only networks; weights are random integers within the stated norms."""
    builder = _Builder(draw, draw(st.sampled_from(FORMATS), label="format"))
    node = builder.nodes[0]
    for _ in range(draw(st.integers(2, most_layers), label="layers")):
        node = builder.grow(draw(st.sampled_from(builder.choices(node)), label="operation"), node)
    return builder.finish(node)
