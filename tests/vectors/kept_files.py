"""Kept files of every kind that a user has on disk, and messages of every kind as bytes.

Files are named by the kind and its version. A kept one is never written again: that this code loads it is what is tested.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.compiled import FILE, Compiled, load_compiled, save_compiled
from bunet.models.model_card import ModelCard
from bunet.models.network import weights as weight_files
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_slice, seeded_weights
from bunet.models.passes.compile import compile_model
from bunet.net.frame import Control, Frame, Signal, encode
from bunet.parties import outcomes, shares
from bunet.parties.vote import ballots
from tests.vectors.kept import FOLDER, Answers, Producers, digest, fixed

FILES = FOLDER / "files"
SESSION = "0123456789abcdef" * 2
SLICE = ("z", 17)
SHAPE = (2, 5, 11)  # of a ballot; its last two are a slice's
_SHAPES = {
    "relu": (Architecture(features=2, depth=2), "argmax"),
    "hybrid": (Architecture(features=1, depth=2, activation="hybrid", pooling="max"), "label-share"),
}


def compiled_path(name: str) -> Path:
    return FILES / f"{name}.{FILE.name}-{FILE.version}"


def weights_path() -> Path:
    return FILES / f"{weight_files.FILE.name}-{weight_files.FILE.version}"


def compiled(name: str) -> Compiled:
    """A kept compiled model, `relu` or `hybrid`."""
    return load_compiled(compiled_path(name))


def share_bits() -> np.ndarray:
    """The bits of the kept share, ballot and slice: uint8 (2, 5, 11)."""
    return (fixed(*SHAPE) & np.uint64(1)).astype(np.uint8)


def _save_compiled(name: str) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        shape, readout = _SHAPES[name]
        weights = seeded_weights(shape, 0)
        images = [seeded_slice(shape, 16, 16, seed) for seed in range(3)]
        made = compile_model(weights, 16, 16, "8.4", images, readout)
        card = ModelCard("infection", "z", f"known-{name}", size=16)
        save_compiled(replace(made, card=card, salt=bytes(range(32))), path)

    return save


def _save_weights(path: Path) -> None:
    notes = {"source": "seeded", "seed": 0}
    weight_files.save(seeded_weights(_SHAPES["hybrid"][0], 0), path, half=True, notes=notes)


def _wanted() -> dict[Path, Callable[[Path], None]]:
    """Path of each file, and what writes it there."""

    def share(path: Path) -> None:
        shares.write(path.parent, SLICE, SESSION, share_bits()[0])

    def ballot(path: Path) -> None:
        ballots.write(path.parent, "infection-x", share_bits(), "source")

    def labels(path: Path) -> None:
        outcomes.write(path.parent, 3, share_bits()[0])

    def logits(path: Path) -> None:
        outcomes.write(path.parent, 4, share_bits()[0].astype(np.float32) / 4)

    return {
        compiled_path("relu"): _save_compiled("relu"),
        compiled_path("hybrid"): _save_compiled("hybrid"),
        weights_path(): _save_weights,
        shares.path_of(FILES, SLICE, SESSION): share,
        FILES / "infection-x.ballot": ballot,
        outcomes.path_of(FILES, 3): labels,
        outcomes.path_of(FILES, 4): logits,
    }


def wanted() -> list[Path]:
    """The files of this version."""
    return list(_wanted())


def write_missing() -> list[Path]:
    """Write the files that are not there, no others; which ones."""
    missing = {path: save for path, save in _wanted().items() if not path.exists()}
    for path, save in missing.items():
        save(path)
    return list(missing)


def rewritten(path: Path) -> bytes:
    """What this code writes today of what it reads in a kept file: no floats are computed, so it is the same everywhere."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / path.name
        if path == weights_path():
            weight_files.save(weight_files.load(path), target, half=True, notes=weight_files.read_notes(path))
        elif path in map(compiled_path, _SHAPES):
            save_compiled(load_compiled(path), target)
        else:
            _wanted()[path](target)
        return target.read_bytes()


def contents() -> Answers:
    """What the kept files hold, as this code reads them."""
    answers: Answers = {}
    for name in _SHAPES:
        model = compiled(name)
        layers = [array for _, layer in sorted(model.weights.items()) for array in (layer.weight, layer.bias)]
        card = None if model.card is None else model.card.to_document()
        answers[compiled_path(name).name] = {
            "program": model.program.digest(),
            "weights": digest(*layers),
            "card": card,
            "commitment": model.commitment,
        }
    weights = weight_files.load(weights_path())
    answers[weights_path().name] = {
        "architecture": weights.architecture.to_json(),
        "tensors": digest(*(tensor for _, tensor in sorted(weights.tensors.items()))),
        "notes": weight_files.read_notes(weights_path()),
    }
    bits, source = ballots.read(FILES, "infection-x", SHAPE)
    answers["share"] = digest(shares.read(FILES, SLICE, SESSION))
    answers["ballot"] = {"bits": digest(bits), "source": source}
    answers["labels"] = digest(outcomes.read(FILES, 3))
    answers["logits"] = digest(outcomes.read(FILES, 4, np.float32))
    return answers


def messages() -> dict[str, Frame | Control | Signal]:
    """One message of each kind; a frame with an array of each kind that may travel."""
    arrays = (
        np.arange(5, dtype=np.uint8),
        np.arange(6, dtype=np.uint32).reshape(2, 3) * np.uint32(0x01020304),
        fixed(2, 1, 2),
        np.empty((0, 4), np.uint64),
    )
    body: dict[str, Any] = {
        "text": "ü",
        "numbers": [1, -2, 1 << 40, 0.5],
        "none": None,
        "yes": True,
        "bytes": b"\x00\xff",
        "inner": {"a": []},
    }
    return {
        "frame": Frame(1, 2, 3, 4, "tables", arrays),
        "empty frame": Frame(0, 0, (1 << 32) - 1, 0, "", ()),
        "control": Control("hello", body),
        "signal": Signal("ping", {"time": 1.25}),
    }


def frames() -> Answers:
    """Their parts on the wire, due after 2.5 seconds."""
    return {name: [bytes(part).hex() for part in encode(message).parts(2.5)] for name, message in messages().items()}


PRODUCERS: Producers = {"files": contents, "frames": frames}
