"""Pointers that Git leaves in place of large files where its extension LFS did not fetch them.

Source: github.com/git-lfs/git-lfs, docs/spec.md: a pointer is text whose first line is `version` and the address of the format.
"""

from __future__ import annotations

from pathlib import Path

POINTER = b"version https://git-lfs.github.com/spec/"
ADVICE = "is a Git LFS pointer, not the file itself: run `git lfs pull` where it came from"


def is_pointer(path: Path) -> bool:
    """False also for what cannot be read, which whoever reads it says better."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(POINTER)) == POINTER
    except OSError:
        return False
