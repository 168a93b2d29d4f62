"""The layer program: a small typed graph of what is computed, free of floats, weights and cryptography.

Both parties hold the same program (`Program.digest` is compared in the handshake); only Bob holds weights. A secret
tensor of the program is public in its shape, its ring Z_2^width, its number of fractional bits and a bound on its
magnitude, and secret in everything else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
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
    kind = TensorType(shape, _integer(entry["width"]), _integer(entry["frac"]), _integer(entry["bound"]))  # type: ignore[arg-type]
    attributes = {str(k): v if isinstance(v, str) else _integer(v) for k, v in entry["attributes"].items()}
    return Node(str(entry["name"]), str(entry["operation"]), tuple(str(i) for i in entry["inputs"]), kind, attributes)


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
    out = node.type
    if node.operation == "input":
        if "calibrated" in node.attributes:
            _require(isinstance(node.attributes["calibrated"], int), "calibrated is not an integer")
            _require(1 <= node.integer("calibrated") < 1 << out.bound, f"calibrated is not within the bound 2^{out.bound}")
        return
    first = inputs[0]
    c, h, w = first.shape
    if node.operation == "conv":
        kernel = node.integer("kernel")
        _require(kernel % 2 == 1 and kernel >= 1, f"kernel {kernel} is not odd")
        _require(out.shape == (node.integer("out_channels"), h, w), f"shape {out.shape} does not follow {first.shape}")
        _require(out.width == first.width, "a convolution stays in its input's ring")
        _require(node.integer("norm_bits") >= 0, "norm_bits is negative")
    elif node.operation == "conv_transpose":
        _require(node.integer("kernel") == 2 and node.integer("stride") == 2, "only kernel 2 with stride 2")
        expected = (node.integer("out_channels"), 2 * h, 2 * w)
        _require(out.shape == expected, f"shape {out.shape} does not follow {first.shape}")
        _require(out.width == first.width, "a convolution stays in its input's ring")
        _require(node.integer("norm_bits") >= 0, "norm_bits is negative")
    elif node.operation == "truncate":
        shift = node.integer("shift")
        _require(shift >= 0, "shift is negative")
        _require(out.shape == first.shape, "truncation keeps the shape")
        _require(out.width <= first.width - shift, f"{first.width} bits less {shift} do not leave {out.width}")
        _require(out.frac == first.frac - shift, "frac does not follow the shift")
    elif node.operation == "extend":
        _require(out.shape == first.shape and out.frac == first.frac, "extension keeps shape and frac")
        _require(out.width > first.width, "extension must widen the ring")
        _require(first.bound <= first.width - 2, "extension needs one bit of headroom: bound <= width - 2")
        _require(out.bound >= first.bound, "the bound shrinks")
    elif node.operation == "relu":
        _require((out.shape, out.width, out.frac) == (first.shape, first.width, first.frac), "relu keeps its input's type")
    elif node.operation == "square":
        _require(out.shape == first.shape and out.width == first.width, "square keeps shape and ring")
        _require(out.frac == 2 * first.frac, "square doubles frac")
    elif node.operation in ("avgpool", "maxpool"):
        _require(h % 2 == 0 and w % 2 == 0, f"2x2 pooling of an odd size {h}x{w}")
        _require(out.shape == (c, h // 2, w // 2), f"shape {out.shape} does not follow {first.shape}")
        _require(out.width == first.width, "pooling stays in its input's ring")
        expected_frac = first.frac + (2 if node.operation == "avgpool" else 0)
        _require(out.frac == expected_frac, f"frac {out.frac} is not {expected_frac}")
    elif node.operation == "concat":
        a, b = inputs
        _require(a.shape[1:] == b.shape[1:], f"sizes {a.shape} and {b.shape} differ")
        _require((a.width, a.frac) == (b.width, b.frac) == (out.width, out.frac), "rings or frac differ")
        _require(out.shape == (a.shape[0] + b.shape[0], h, w), f"shape {out.shape} does not follow")
        _require(out.bound >= max(a.bound, b.bound), "the bound shrinks")
    elif node.operation == "readout":
        kind = node.attributes["kind"]
        _require(kind in READOUTS, f"kind {kind!r} is not one of {', '.join(READOUTS)}")
        if kind in LABELS:
            _require(c == 2, f"{kind} takes 2 channels, not {c}")
            _require(out.shape == (1, h, w), f"{kind} gives one channel")
            _require(first.bound <= first.width - 2, f"{kind} subtracts: bound <= width - 2")
        else:
            _require(out == first, "logits and shares leave the tensor as it is")
