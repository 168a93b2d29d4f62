"""Files that hold a party's shares: readable by their owner only, whole or not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

from bunet.models.files.atomic import write_atomic

OWNER_ONLY = 0o600


def make_folder(path: Path) -> Path:
    """The folder, made where it is not there, with nobody but its owner let in."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """As `write_atomic`, for the owner only."""
    write_atomic(path, fill, mode=OWNER_ONLY)
