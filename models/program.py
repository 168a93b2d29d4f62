"""The layer program: a small typed graph of what is computed, free of floats, weights and cryptography.

Both parties hold the same program (`Program.digest` is compared in the handshake); only Bob holds weights. A secret
tensor of the program is public in its shape, its ring Z_2^width, its number of fractional bits and a bound on its
magnitude, and secret in everything else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bunet.models.errors import UsageError
from bunet.models.files import json_text

PROGRAM_VERSION = 2
MAX_WIDTH = 64
MAX_TEXT = 64  # characters of a name: the program is Bob's, and Alice's terminal and documents show its names

OPERATIONS = (
    "input",
    "conv",
    "conv_transpose",
    "truncate",
    "extend",
    "relu",
    "square",
    "avgpool",
    "maxpool",
    "concat",
    "readout",
)
# What layers are for, by the operations that do it: how reports add up costs.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "activation": ("relu", "square"),
    "convolution": ("conv", "conv_transpose"),
    "pooling": ("avgpool", "maxpool"),
    "resizing": ("extend", "truncate"),
    "read-out": ("readout",),
    "input and joins": ("input", "concat"),
}
READOUTS = ("argmax", "label-share", "logits", "share")
LABELS = ("argmax", "label-share")  # read-outs that leave one bit a pixel, and not the network's tensor


class ProgramError(UsageError):
    """A program that does not type-check, or that is not a program at all."""


@dataclass(frozen=True)
class Format:
    """Fixed-point operand format, written `integer.fraction`: `8.4` has 12-bit operands, 4 of the bits fractional."""

    integer_bits: int
    fraction_bits: int

    @classmethod
    def parse(cls, text: str) -> Format:
        """Read `8.4`; raises ProgramError with the accepted form otherwise."""
        match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})", text.strip())
        if not match:
            raise ProgramError(f"format {text!r} is not INTEGER.FRACTION bits, such as 8.4, 12.4 or 8.8")
        integer, fraction = int(match[1]), int(match[2])
        if not (2 <= integer + fraction <= 24):
            raise ProgramError(f"format {text!r}: operands must have 2 to 24 bits, this one has {integer + fraction}")
        return cls(integer, fraction)

    @property
    def bits(self) -> int:
        """Operand bits, the sign included."""
        return self.integer_bits + self.fraction_bits

    def __str__(self) -> str:
        return f"{self.integer_bits}.{self.fraction_bits}"


@dataclass(frozen=True)
class TensorType:
    """Public facts of a secret tensor.

    shape: (channels, height, width). width: ring bits, shares live in Z_2^width. frac: the real value is x / 2^frac.
    bound: the signed integer x satisfies |x| < 2^bound; bound <= width - 1.
    """

    shape: tuple[int, int, int]
    width: int
    frac: int
    bound: int

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ProgramError(f"shape {self.shape} is not (channels, height, width) of positive sizes")
        if not 1 <= self.width <= MAX_WIDTH:
            raise ProgramError(f"width {self.width} is outside 1..{MAX_WIDTH}")
        if not 0 <= self.bound <= self.width - 1:
            raise ProgramError(f"bound 2^{self.bound} does not fit a signed {self.width}-bit ring")

    @property
    def elements(self) -> int:
        c, h, w = self.shape
        return c * h * w


@dataclass(frozen=True)
class Node:
    """One operation. `attributes` hold plain integers and strings:

    input           calibrated (optional: the largest |x| that the model was calibrated on, in units of 2^-frac)
    conv            out_channels, kernel (1 or 3, odd; padding kernel//2, stride 1), norm_bits (max over output channels
                    of the integer weights' L1 norm is < 2^norm_bits)
    conv_transpose  out_channels, kernel 2, stride 2, norm_bits (L1 norm over the taps that meet one output)
    truncate        shift (the ring shrinks to type.width <= input width - shift)
    extend          (none; the ring grows, input bound <= input width - 2)
    relu, maxpool, avgpool (2x2, sum of four, frac + 2), concat (channels), square (frac doubles, same width)
    readout         kind: argmax | label-share | logits | share
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    type: TensorType
    attributes: Mapping[str, int | str] = field(default_factory=dict)

    def integer(self, key: str) -> int:
        return int(self.attributes[key])


@dataclass(frozen=True)
class Program:
    """Nodes in execution order; the first is the input, the last the readout."""

    format: Format
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        check(self)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    @property
    def input(self) -> Node:
        return self.nodes[0]

    @property
    def output(self) -> Node:
        return self.nodes[-1]

    @property
    def calibrated(self) -> int | None:
        """The largest |x| of an input that the model was calibrated on, in units of 2^-frac; None where nobody says."""
        return self.input.integer("calibrated") if "calibrated" in self.input.attributes else None

    def input_types(self, node: Node) -> tuple[TensorType, ...]:
        return tuple(self[name].type for name in node.inputs)

    def last_use(self) -> dict[str, str]:
        """Name of the last consumer of each tensor: after it the tensor can be freed."""
        return {name: node.name for node in self.nodes for name in node.inputs}

    def to_json(self) -> str:
        """Canonical text: equal programs give equal texts."""
        document = {
            "version": PROGRAM_VERSION,
            "format": str(self.format),
            "nodes": [
                {
                    "name": n.name,
                    "operation": n.operation,
                    "inputs": list(n.inputs),
                    "shape": list(n.type.shape),
                    "width": n.type.width,
                    "frac": n.type.frac,
                    "bound": n.type.bound,
                    "attributes": dict(sorted(n.attributes.items())),
                }
                for n in self.nodes
            ],
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Program:
        """Read and type-check; raises ProgramError on anything that is not a program of this version."""
        try:
            document = json_text.parse(text)
            if document["version"] != PROGRAM_VERSION:
                raise ProgramError(f"program version {ascii(document['version'])[:MAX_TEXT]} is not {PROGRAM_VERSION}")
            nodes = tuple(_read_node(entry) for entry in document["nodes"])
            return cls(Format.parse(document["format"]), nodes)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError, RecursionError) as error:
            raise ProgramError(f"not a layer program: {type(error).__name__}: {error}") from error

    def digest(self) -> str:
        """SHA-256 of the canonical text, hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _read_node(entry: dict[str, Any]) -> Node:
    shape = tuple(_integer(s) for s in entry["shape"])
    if len(shape) != 3:
        raise ProgramError(f"shape {shape} is not (channels, height, width) of positive sizes")
    tensor = TensorType(shape, _integer(entry["width"]), _integer(entry["frac"]), _integer(entry["bound"]))
    attributes = {str(k): v if isinstance(v, str) else _integer(v) for k, v in entry["attributes"].items()}
    return Node(str(entry["name"]), str(entry["operation"]), tuple(str(i) for i in entry["inputs"]), tensor, attributes)


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ProgramError(f"{value!r} is not an integer")
    return value


def check(program: Program) -> None:
    """Type-check every node against its inputs; raises ProgramError naming the node."""
    if not program.nodes or program.nodes[0].operation != "input" or program.nodes[-1].operation != "readout":
        raise ProgramError("a program starts with its input and ends with its readout")
    known: dict[str, Node] = {}
    for node in program.nodes:
        for text in (node.name, node.operation, *node.attributes, *node.attributes.values()):
            if isinstance(text, str) and not _is_plain(text):
                raise ProgramError(f"{text[:MAX_TEXT]!a} is not 1 to {MAX_TEXT} printable ASCII characters")
        if node.name in known:
            raise ProgramError(f"two nodes are named {node.name!r}")
        missing = [name for name in node.inputs if name not in known]
        if missing:
            raise ProgramError(f"{node.name}: input {missing[0]!r} is not computed before it")
        try:
            _check_node(node, tuple(known[name].type for name in node.inputs))
        except (KeyError, ProgramError) as error:
            raise ProgramError(f"{node.name} ({node.operation}): {error}") from error
        known[node.name] = node


def _is_plain(text: str) -> bool:
    return 1 <= len(text) <= MAX_TEXT and text.isascii() and text.isprintable()


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ProgramError(message)


def _check_node(node: Node, inputs: tuple[TensorType, ...]) -> None:
    _require(node.operation in OPERATIONS, f"unknown operation; known are {', '.join(OPERATIONS)}")
    arity = {"input": 0, "concat": 2}.get(node.operation, 1)
    _require(len(inputs) == arity, f"takes {arity} inputs, has {len(inputs)}")
    _CHECKS[node.operation](node, node.type, *inputs)


def _check_input(node: Node, out: TensorType) -> None:
    if "calibrated" in node.attributes:
        _require(isinstance(node.attributes["calibrated"], int), "calibrated is not an integer")
        _require(1 <= node.integer("calibrated") < 1 << out.bound, f"calibrated is not within the bound 2^{out.bound}")


def _check_conv(node: Node, out: TensorType, source: TensorType) -> None:
    kernel = node.integer("kernel")
    _require(kernel % 2 == 1 and kernel >= 1, f"kernel {kernel} is not odd")
    _check_linear(node, out, source, scale=1)


def _check_conv_transpose(node: Node, out: TensorType, source: TensorType) -> None:
    _require(node.integer("kernel") == 2 and node.integer("stride") == 2, "only kernel 2 with stride 2")
    _check_linear(node, out, source, scale=2)


def _check_linear(node: Node, out: TensorType, source: TensorType, scale: int) -> None:
    """What both convolutions have in common. scale: of height and width."""
    _, height, width = source.shape
    expected = (node.integer("out_channels"), scale * height, scale * width)
    _require(out.shape == expected, f"shape {out.shape} does not follow {source.shape}")
    _require(out.width == source.width, "a convolution stays in its input's ring")
    _require(node.integer("norm_bits") >= 0, "norm_bits is negative")


def _check_truncate(node: Node, out: TensorType, source: TensorType) -> None:
    shift = node.integer("shift")
    _require(shift >= 0, "shift is negative")
    _require(out.shape == source.shape, "truncation keeps the shape")
    _require(out.width <= source.width - shift, f"{source.width} bits less {shift} do not leave {out.width}")
    _require(out.frac == source.frac - shift, "frac does not follow the shift")


def _check_extend(node: Node, out: TensorType, source: TensorType) -> None:
    _require(out.shape == source.shape and out.frac == source.frac, "extension keeps shape and frac")
    _require(out.width > source.width, "extension must widen the ring")
    _require(source.bound <= source.width - 2, "extension needs one bit of headroom: bound <= width - 2")
    _require(out.bound >= source.bound, "the bound shrinks")


def _check_relu(node: Node, out: TensorType, source: TensorType) -> None:
    _require((out.shape, out.width, out.frac) == (source.shape, source.width, source.frac), "relu keeps its input's type")


def _check_square(node: Node, out: TensorType, source: TensorType) -> None:
    _require(out.shape == source.shape and out.width == source.width, "square keeps shape and ring")
    _require(out.frac == 2 * source.frac, "square doubles frac")


def _check_pool(node: Node, out: TensorType, source: TensorType) -> None:
    channels, height, width = source.shape
    _require(height % 2 == 0 and width % 2 == 0, f"2x2 pooling of an odd size {height}x{width}")
    _require(out.shape == (channels, height // 2, width // 2), f"shape {out.shape} does not follow {source.shape}")
    _require(out.width == source.width, "pooling stays in its input's ring")
    frac = source.frac + (2 if node.operation == "avgpool" else 0)
    _require(out.frac == frac, f"frac {out.frac} is not {frac}")


def _check_concat(node: Node, out: TensorType, a: TensorType, b: TensorType) -> None:
    _require(a.shape[1:] == b.shape[1:], f"sizes {a.shape} and {b.shape} differ")
    _require((a.width, a.frac) == (b.width, b.frac) == (out.width, out.frac), "rings or frac differ")
    _require(out.shape == (a.shape[0] + b.shape[0], *a.shape[1:]), f"shape {out.shape} does not follow")
    _require(out.bound >= max(a.bound, b.bound), "the bound shrinks")


def _check_readout(node: Node, out: TensorType, source: TensorType) -> None:
    readout = node.attributes["kind"]
    _require(readout in READOUTS, f"kind {readout!r} is not one of {', '.join(READOUTS)}")
    if readout not in LABELS:
        _require(out == source, "logits and shares leave the tensor as it is")
        return
    channels, height, width = source.shape
    _require(channels == 2, f"{readout} takes 2 channels, not {channels}")
    _require(out.shape == (1, height, width), f"{readout} gives one channel")
    _require(source.bound <= source.width - 2, f"{readout} subtracts: bound <= width - 2")


_CHECKS: dict[str, Callable[..., None]] = {  # (node, its type, the types of its inputs)
    "input": _check_input,
    "conv": _check_conv,
    "conv_transpose": _check_conv_transpose,
    "truncate": _check_truncate,
    "extend": _check_extend,
    "relu": _check_relu,
    "square": _check_square,
    "avgpool": _check_pool,
    "maxpool": _check_pool,
    "concat": _check_concat,
    "readout": _check_readout,
}
