"""Finished slices on disk, each in a file of its own that appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bunet.models.files import sealed
from bunet.models.program import Program
from bunet.models.volumes import ensemble

FILE = sealed.FileFormat("bunet-slice", 1, "a slice of a run", "remove it, and the same command runs that slice again")


def compact(program: Program, result: np.ndarray) -> np.ndarray:
    """What is kept of a read-out: uint8 (H, W) labels, or float32 (H, W), the softmax of logits, its second class."""
    if program.output.attributes["kind"] == "logits":
        return ensemble.probability(np.ldexp(result.astype(np.float64), -program.output.type.frac))
    return result.astype(np.uint8)


def path_of(folder: Path, index: int) -> Path:
    return folder / f"slice-{index:04d}.safetensors"


def write(folder: Path, index: int, array: np.ndarray) -> None:
    sealed.save(path_of(folder, index), FILE, {"slice": array}, {"index": str(index)})


def read(folder: Path, index: int, dtype: type = np.uint8) -> np.ndarray:
    """(H, W) of `dtype`; SealError for anything else."""
    path = path_of(folder, index)
    texts, arrays = sealed.load(path, FILE)
    array = arrays.get("slice")
    if array is None or array.dtype != dtype or array.ndim != 2 or texts.get("index") != str(index):
        raise sealed.SealError(f"{path} is not of a slice of this run", FILE.remedy)
    return array
