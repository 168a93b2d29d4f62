"""From float weights to what the parties run: a program, and Bob's integers. numpy only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bunet.models.commitment import SALT_BYTES, commit
from bunet.models.errors import UsageError
from bunet.models.files import json_text, sealed
from bunet.models.integers import conv_norm, conv_transpose_norm
from bunet.models.model_card import ModelCard, ModelCardError
from bunet.models.network.graph import lower
from bunet.models.network.weights import FloatWeights
from bunet.models.oracle import IntegerWeights
from bunet.models.passes.calibrate import calibrate, checked_ranges
from bunet.models.passes.emit import emit
from bunet.models.passes.fold import fold
from bunet.models.passes.widths import choose_widths
from bunet.models.program import LABELS, READOUTS, Format, Node, Program, ProgramError

FILE = sealed.Kind("bunet-compiled", 2, "a compiled model", "compile it again (`bunet compile`)")
MAX_SIDE = 4096
OWNER_ONLY = 0o600


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


def compile_model(
    weights: FloatWeights,
    height: int,
    width: int,
    format: Format | str,
    calibration: Sequence[np.ndarray] | Mapping[str, float],
    readout: str = "argmax",
) -> Compiled:
    """Fold, calibrate, choose widths, round: the program for slices of (height, width).

    calibration: float slices (in_channels, H, W) like those that will come, of any size the network takes, or what
    `calibrate` found on such (the `ranges` in a weight file's notes). Beyond twice (`8.4`, `8.8`) or four times (`12.4`)
    their largest values tensors may wrap (see passes/widths.py).
    Raises CompileError (size, readout), ProgramError (format), UsageError (calibration).
    """
    format = Format.parse(format) if isinstance(format, str) else format
    if readout not in READOUTS:
        raise CompileError(f"readout {readout!r} is not one of {', '.join(READOUTS)}")
    if readout in LABELS and weights.architecture.out_channels != 2:
        raise CompileError(f"readout {readout} takes 2 classes, the network has {weights.architecture.out_channels}")
    if max(height, width) > MAX_SIDE:
        raise CompileError(f"a slice of {height}x{width} is larger than {MAX_SIDE} on a side")
    weights.architecture.check_size(height, width)
    graph = lower(weights.architecture)
    folded = fold(graph, weights.tensors)
    if isinstance(calibration, Mapping):
        ranges = checked_ranges(graph, calibration)
    else:
        ranges = calibrate(graph, folded, calibration)
    plan = choose_widths(graph, folded, ranges, format)
    return Compiled(emit(graph, plan, format, height, width, readout), plan.weights)


def quantise_input(program: Program, image: np.ndarray) -> np.ndarray:
    """The slice as the program's input: float (in_channels, H, W) -> int64, round(x * 2^frac).

    Values beyond the input's bound saturate at it. Raises UsageError for another shape, or values that are not finite.
    """
    kind = program.input.type
    image = np.asarray(image)
    if image.shape != kind.shape:
        raise UsageError(f"slice of shape {image.shape}, the program wants {kind.shape}")
    if image.dtype.kind not in "fiu" or not np.isfinite(image).all():
        raise UsageError("the slice holds values that are not finite numbers")
    limit = (1 << kind.bound) - 1
    return np.clip(np.rint(np.ldexp(image.astype(np.float64), kind.frac)), -limit, limit).astype(np.int64)


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
    norm = conv_transpose_norm(layer.weight) if transposed else conv_norm(layer.weight)
    if norm.bit_length() > node.integer("norm_bits"):
        raise CompileError(f"{node.name}: the weights' norm {norm} exceeds the program's 2^{node.integer('norm_bits')}")


def save(compiled: Compiled, path: str | Path) -> None:
    """Write program and integers as one sealed file (`models/files/sealed.py`).

    The program's text, the card and the salt are in its metadata. Only its owner may read it: it holds the weights, and
    the salt that hides them in the commitment.
    """
    tensors = {}
    for name, layer in compiled.weights.items():
        tensors[f"{name}.weight"] = _smallest_kind(layer.weight)
        tensors[f"{name}.bias"] = layer.bias
    sealed.save(path, FILE, tensors, {"program": compiled.program.to_json(), "identity": _identity_text(compiled)}, OWNER_ONLY)


def load(path: str | Path) -> Compiled:
    """Read what `save` wrote and check it; CompileError naming the file."""
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


def _smallest_kind(weight: np.ndarray) -> np.ndarray:
    """The same integers as int16, int32 or int64, whichever is enough."""
    largest = int(np.abs(weight).max())
    for kind in (np.int16, np.int32):
        if largest <= np.iinfo(kind).max:
            return weight.astype(kind)
    return weight
