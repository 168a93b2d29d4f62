"""A disk without room: one sentence that names the folder, whatever was being written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bunet.models.errors import LocalError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # the disk, the user's quota, the largest size of a file
SCRATCH = "bunet-"  # what our own folders and files among the temporary ones begin with


class NoRoom(LocalError):
    """What is written does not fit on the disk; the message names the folder. No OSError: it is never a damaged file's."""


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Turn the errors of a full disk into NoRoom. folder: what is written to within the context."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise no_room(folder, error) from error
        raise


@contextmanager
def room_for_scratch() -> Iterator[None]:
    """`room_in` the folder of temporary files; NoRoom too where there is none that can be written to."""
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise NoRoom("there is no folder for temporary files with room in it", "TMPDIR can name one") from error
    with room_in(folder):
        yield


def is_full(error: OSError) -> bool:
    """Whether it says that there is no room."""
    return error.errno in FULL


def no_room(folder: Path | None, error: OSError) -> NoRoom:
    """What people are told. folder: None where it is not known."""
    why = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up"}.get(
        error.errno or 0, "files may not become that large"
    )
    if folder is None:
        return NoRoom(f"no room to write: {why}")
    # A process that starts while TMPDIR is full takes another folder by default, but still uses what lies in TMPDIR.
    for name in (tempfile.gettempdir(), os.environ.get("TMPDIR", "")):
        temporary = Path(name)
        if name and folder.is_relative_to(temporary):
            inside = folder.relative_to(temporary).parts
            if not inside or inside[0].startswith(SCRATCH):
                sentence = f"no room in {temporary}, where temporary files are: {why}"
                return NoRoom(sentence, "TMPDIR can name another folder")
    return NoRoom(f"no room in {folder}: {why}")
