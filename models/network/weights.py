"""Float weights: a checked set of named tensors with their architecture, as a safetensors file, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.errors import UsageError
from bunet.models.files import json_text, sealed
from bunet.models.network.architecture import Architecture, ArchitectureError

FILE = sealed.FileFormat(
    "bunet-float-weights", 2, "a weight file", "make it again, or get it from where it came from", "`bunet seal` converts it"
)
EARLIER_FORMAT = "bunet-float-weights-1"  # of files without a checksum, which `seal` converts


class WeightsError(UsageError):
    """A weight file or state dictionary that does not fit its architecture; the message names the tensor."""


@dataclass(frozen=True)
class FloatWeights:
    """All parameters of one U-Net, float32 arrays under their published names. Checked when made (WeightsError)."""

    architecture: Architecture
    tensors: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        expected = self.architecture.parameters()
        missing = [name for name in expected if name not in self.tensors]
        unknown = [name for name in self.tensors if name not in expected]
        if missing:
            raise WeightsError(f"the weights lack tensor {missing[0]!r} ({len(missing)} missing in all)")
        if unknown:
            raise WeightsError(f"the weights hold tensor {unknown[0]!r}, which this architecture does not have")
        clean = {}
        for name, shape in expected.items():
            tensor = np.asarray(self.tensors[name])
            if tensor.dtype.kind != "f":
                raise WeightsError(f"tensor {name!r} holds {tensor.dtype}, not floats")
            if tensor.shape != shape:
                raise WeightsError(f"tensor {name!r} has shape {tensor.shape}, the architecture wants {shape}")
            clean[name] = np.ascontiguousarray(tensor, dtype=np.float32)
            if not np.isfinite(clean[name]).all():
                raise WeightsError(f"tensor {name!r} holds values that are not finite")
            if name.endswith("running_var") and (clean[name] < 0).any():
                raise WeightsError(f"tensor {name!r} holds a negative variance")
        object.__setattr__(self, "tensors", clean)


def save(weights: FloatWeights, path: str | Path, half: bool = False, notes: Mapping[str, Any] | None = None) -> None:
    """Write a safetensors file; `half` stores float16 (WeightsError where a value does not fit).

    notes: plain values (JSON) that say where the weights come from; `read_notes` returns them. `ranges` in them is what
    `calibrate` finds on slices of the training (`models/training/ranges.py`).
    """
    tensors = dict(weights.tensors)
    if half:
        for name, tensor in tensors.items():
            if np.abs(tensor).max() > np.finfo(np.float16).max:
                raise WeightsError(f"tensor {name!r} holds values beyond half precision")
            tensors[name] = tensor.astype(np.float16)
    texts = {"architecture": weights.architecture.to_json()}
    if notes is not None:
        texts["notes"] = json.dumps(notes, sort_keys=True)
    sealed.save(path, FILE, tensors, texts)


def load(path: str | Path) -> FloatWeights:
    """Read what `save` wrote; WeightsError with the file's name on anything else, and where it is not."""
    texts, tensors = _read(path)
    try:
        return FloatWeights(Architecture.from_json(texts.get("architecture", "")), tensors)
    except (ArchitectureError, WeightsError) as error:
        raise WeightsError(f"{path} is not a weight file of this version: {error}") from error


def read_notes(path: str | Path) -> dict[str, Any]:
    """What `save` was told of the weights' origin, empty where it was told nothing; raises as `load` does."""
    return _notes(path, _read(path)[0])


def add_notes(path: str | Path, notes: Mapping[str, Any]) -> None:
    """Add to a file's notes, in one move; its tensors stay as they are. Raises as `load` does."""
    texts, tensors = _read(path)
    together = {**_notes(path, texts), **notes}
    sealed.save(path, FILE, tensors, texts | {"notes": json.dumps(together, sort_keys=True)})


def seal(path: str | Path) -> bool:
    """Give a weight file of the version before this one its checksum, in one move; False where it has one already.

    Whether it is whole cannot be known. Raises as `load` does.
    """
    try:
        texts, tensors = sealed.read_earlier(path, FILE)
    except sealed.SealError as error:
        raise WeightsError(*error.args) from error
    if texts.get(sealed.KIND) != EARLIER_FORMAT:
        load(path)
        return False
    try:
        FloatWeights(Architecture.from_json(texts.get("architecture", "")), tensors)
    except (ArchitectureError, WeightsError) as error:
        raise WeightsError(f"{path} is not a weight file: {error}") from error
    sealed.save(path, FILE, tensors, {name: text for name, text in texts.items() if name != sealed.KIND})
    return True


def _read(path: str | Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    if not Path(path).is_file():
        raise WeightsError(f"no weight file {path}")
    try:
        return sealed.load(path, FILE)
    except sealed.SealError as error:
        raise WeightsError(*error.args) from error


def _notes(path: str | Path, texts: Mapping[str, str]) -> dict[str, Any]:
    try:
        notes = json_text.parse(texts.get("notes", "{}"))
    except ValueError as error:
        raise WeightsError(f"{path}: its notes cannot be read: {error}") from error
    if not isinstance(notes, dict):
        raise WeightsError(f"{path}: its notes are not a table of names and values")
    return notes
