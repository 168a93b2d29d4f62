"""A compiled model: the program that both parties hold and Bob's integers for it, its checks and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bunet.models.commitment import SALT_BYTES, commit
from bunet.models.errors import UsageError
from bunet.models.files import json_text, sealed
from bunet.models.files.private import OWNER_ONLY
from bunet.models.integers import IntegerWeights
from bunet.models.model_card import ModelCard, ModelCardError
from bunet.models.program import Node, Program, ProgramError

FILE = sealed.FileFormat("bunet-compiled", 2, "a compiled model", "compile it again (`bunet compile`)")


class CompileError(UsageError):
    """What cannot be compiled, or a compiled file that is not one; the message names the reason."""


@dataclass(frozen=True)
class Compiled:
    """A program (both parties') and its integer weights by node name (Bob's alone). Checked against each other.

    card: what the model is. salt: Bob's secret, SALT_BYTES uniform bytes from a cryptographic generator, under which he
    commits to the weights. Both are None for a run whose parties are one machine, which has nobody to be told.
    """

    program: Program
    weights: Mapping[str, IntegerWeights]
    card: ModelCard | None = None
    salt: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_weights(self.program, self.weights)
        if self.salt is not None and len(self.salt) != SALT_BYTES:
            raise CompileError(f"the salt of its commitment has {len(self.salt)} bytes, not {SALT_BYTES}")

    @property
    def commitment(self) -> str | None:
        """Bob's commitment to the weights (`models.commitment`), None without a salt."""
        return None if self.salt is None else commit(self.salt, self.weights)


def quantise_input(program: Program, image: np.ndarray) -> np.ndarray:
    """The slice as the program's input: float (in_channels, H, W) -> int64, round(x * 2^frac).

    Values beyond the input's bound saturate at it. Raises UsageError for another shape, or values that are not finite.
    """
    expected = program.input.type
    image = np.asarray(image)
    if image.shape != expected.shape:
        raise UsageError(f"slice of shape {image.shape}, the program wants {expected.shape}")
    if image.dtype.kind not in "fiu" or not np.isfinite(image).all():
        raise UsageError("the slice holds values that are not finite numbers")
    limit = (1 << expected.bound) - 1
    return np.clip(np.rint(np.ldexp(image.astype(np.float64), expected.frac)), -limit, limit).astype(np.int64)


def check_weights(program: Program, weights: Mapping[str, IntegerWeights]) -> None:
    """CompileError unless every convolution has integers of its shape within its norm bound, and nothing else."""
    convolutions = {node.name: node for node in program if node.operation in ("conv", "conv_transpose")}
    for name in weights:
        if name not in convolutions:
            raise CompileError(f"weights for {name!r}, which is no convolution of the program")
    for name, node in convolutions.items():
        if name not in weights:
            raise CompileError(f"no weights for {name!r}")
        _check_layer(program, node, weights[name])


def _check_layer(program: Program, node: Node, layer: IntegerWeights) -> None:
    transposed = node.operation == "conv_transpose"
    inputs, outputs, kernel = program.input_types(node)[0].shape[0], node.type.shape[0], node.integer("kernel")
    shape = (inputs, outputs, kernel, kernel) if transposed else (outputs, inputs, kernel, kernel)
    if layer.weight.dtype != np.int64 or layer.bias.dtype != np.int64:
        raise CompileError(f"{node.name}: weights must be int64")
    if layer.weight.shape != shape or layer.bias.shape != (outputs,):
        raise CompileError(f"{node.name}: weights of shape {layer.weight.shape}, the program wants {shape}")
    if np.abs(layer.weight).max() >= 1 << 62:
        raise CompileError(f"{node.name}: a weight is beyond 62 bits")
    if layer.norm.bit_length() > node.integer("norm_bits"):
        raise CompileError(f"{node.name}: the weights' norm {layer.norm} exceeds the program's 2^{node.integer('norm_bits')}")


def save_compiled(compiled: Compiled, path: str | Path) -> None:
    """Write program and integers as one sealed file (`models/files/sealed.py`).

    The program's text, the card and the salt are in its metadata. Only its owner may read it: it holds the weights, and
    the salt that hides them in the commitment.
    """
    tensors = {}
    for name, layer in compiled.weights.items():
        tensors[f"{name}.weight"] = _smallest_dtype(layer.weight)
        tensors[f"{name}.bias"] = layer.bias
    sealed.save(path, FILE, tensors, {"program": compiled.program.to_json(), "identity": _identity_text(compiled)}, OWNER_ONLY)


def load_compiled(path: str | Path) -> Compiled:
    """Read what `save_compiled` wrote and check it; CompileError naming the file."""
    if not Path(path).is_file():
        raise CompileError(f"no compiled model {path}")
    try:
        texts, tensors = sealed.load(path, FILE)
        identity = _read_identity(texts.get("identity", ""))
        return Compiled(Program.from_json(texts.get("program", "")), _layers(tensors), *identity)
    except sealed.SealError as error:
        raise CompileError(*error.args) from error
    except (ProgramError, CompileError, TypeError) as error:
        raise CompileError(f"{path} is not a compiled model of this version: {error}") from error


def _identity_text(compiled: Compiled) -> str:
    card = None if compiled.card is None else compiled.card.to_document()
    return json.dumps({"card": card, "salt": None if compiled.salt is None else compiled.salt.hex()}, sort_keys=True)


def _read_identity(text: str) -> tuple[ModelCard | None, bytes | None]:
    """Card and salt; CompileError for anything that `_identity_text` does not give."""
    try:
        document = json_text.parse(text)
        card, salt = document["card"], document["salt"]
        return (
            None if card is None else ModelCard.from_document(card),
            None if salt is None else bytes.fromhex(salt),
        )
    except ModelCardError as error:
        raise CompileError(*error.args) from error
    except (KeyError, TypeError, ValueError) as error:
        raise CompileError("it does not say which model it is") from error


def _layers(tensors: Mapping[str, np.ndarray]) -> dict[str, IntegerWeights]:
    names = {name.rpartition(".")[0] for name in tensors}
    layers = {}
    for name in sorted(names):
        parts = [tensors.get(f"{name}.{part}") for part in ("weight", "bias")]
        if any(part is None or part.dtype.kind != "i" for part in parts):
            raise CompileError(f"{name!r} needs integer tensors '.weight' and '.bias'")
        layers[name] = IntegerWeights(*(part.astype(np.int64) for part in parts if part is not None))
    return layers


def _smallest_dtype(weight: np.ndarray) -> np.ndarray:
    """The same integers as int16, int32 or int64, whichever is enough."""
    largest = int(np.abs(weight).max())
    for dtype in (np.int16, np.int32):
        if largest <= np.iinfo(dtype).max:
            return weight.astype(dtype)
    return weight
