"""Files that are written atomically: all of a file appears, or nothing does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bunet.models.files.disk_space import explaining_full_disk


def write_atomic(path: Path, write: Callable[[IO[bytes]], object], mode: int | None = None) -> None:
    """Let `write` fill a temporary file beside `path`, put it on the disk, then rename it to `path`.

    A reader sees the old file or the whole new one. mode: its permissions, what the umask leaves if None. Raises DiskFull where
    the disk is full, OSError where the folder cannot be written.
    """
    with explaining_full_disk(path.parent):
        _write(path, write, mode)


def _write(path: Path, write: Callable[[IO[bytes]], object], mode: int | None) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        # Opened to read too, numpy writes through it and not past it, where a full disk's error would have no number.
        with os.fdopen(descriptor, "w+b") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        if mode is None:
            umask = os.umask(0)
            os.umask(umask)
            mode = 0o666 & ~umask
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
