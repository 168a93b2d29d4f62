"""Folders of made-up cases for tests: synthetic chests in the layout of real ones."""

from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.volumes import synthetic


def write_case(path: Path, seed: int, slices: int = 12, rows: int = 32, infected: bool = True) -> None:
    """A chest of 32 columns as 8-bit, windowed."""
    chest = synthetic.generate(32, slices, seed, lesions=4)
    arrays = {"ct": chest.volume * 255, "infection": chest.lesion & infected, "lung_derived": chest.lung}
    kept: dict[str, Any] = {key: np.asarray(array[:, :rows], np.uint8) for key, array in arrays.items()}
    np.savez_compressed(path, **kept)


def write_folder(folder: Path, names: tuple[str, ...] = ("a", "b", "c", "d"), infected: bool = True) -> Path:
    """Cases of different lengths and heights, beside a file that is no case."""
    folder.mkdir()
    for number, name in enumerate(names):
        write_case(folder / f"{name}.npz", number, 12 + 3 * number, 32 if number % 2 else 24, infected)
    (folder / "manifest.json").write_text("[]")
    return folder
