"""Where results may go: where they can be written, apart from a patient's own files; checked before anything is run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bunet.models.errors import UsageError
from bunet.models.volumes import formats
from bunet.models.volumes.volume import DICOM


def check_apart(inputs: Iterable[Path | None], folder: Path, files: Iterable[Path | None] = (), option: str = "--out") -> None:
    """Raise UsageError where a run would write into its input, through whatever links, or where it could not write.

    inputs: files, and folders that are input as a whole, such as that of a DICOM series. folder: what the run fills; it may not
    be, hold or lie in such a folder. files: what it writes elsewhere, files or folders of its own; none may be an input, or lie
    in its folder. Beside an input file there is room for results, unless it is a DICOM file, whose folder is a series': results
    may lie below it, not among its files. None stands for what was not given.
    """
    known = [file for file in files if file is not None]
    possible_folder(option, folder)
    for file in known:
        possible_name(option, file)
    for given in inputs:
        if given is None or not given.exists():
            continue
        if given.is_dir() and _overlap(folder, given):
            raise UsageError(
                f"{option}: results would go to {folder}, which is, holds or lies in the input {given}; choose another {option}"
            )
        beside = None if given.is_dir() or formats.format_of(given) != DICOM else given.resolve().parent  # a series' folder
        for file in known:
            if _overlap(file, given) or (beside is not None and file.resolve().parent == beside):
                raise UsageError(f"{option}: {file} would be written into or over the input {given}; choose another {option}")


def _overlap(one: Path, other: Path) -> bool:
    """Whether one path is the other or lies in it."""
    return _within(one, other) or _within(other, one)


def _within(inner: Path, outer: Path) -> bool:
    """Whether `inner`, which need not be there, is `outer` or lies in it; by what the file system holds, not by names alone."""
    inner, outer = inner.resolve(), outer.resolve()
    if inner.is_relative_to(outer):
        return True
    return outer.exists() and any(step.exists() and step.samefile(outer) for step in (inner, *inner.parents))


def writable_parent(option: str, path: Path) -> Path:
    """The path, if a file could be written there; found out before a long run, not after it. UsageError otherwise."""
    parent = path.parent
    possible_folder(option, parent)
    possible_name(option, path)
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder, not a file")
    if not parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {parent}")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"{option} {path}: the folder {parent} cannot be written to")
    return path


def possible_folder(option: str, folder: Path) -> None:
    """UsageError where there cannot be such a folder, because it or one above it is a file, or a name is too long."""
    for step in (folder, *folder.parents):
        if os.path.isdir(step):
            return
        if os.path.lexists(step):
            raise UsageError(f"{option} {step} is {'a file, ' if step.is_file() else ''}not a folder")
        possible_name(option, step)


def possible_name(option: str, path: Path) -> None:
    """UsageError where a path's name is too long for the file that it has until it is whole (`atomic.write_atomic`)."""
    size, most = len(os.fsencode(path.name)), _longest_name(path.parent) - len("..12345678.part")
    if size > most:
        shown = f"{path.name[:20]}...{path.name[-20:]}"
        raise UsageError(f"{option}: the name {shown} has {size} bytes, and {most} are possible: choose a shorter one")


def _longest_name(folder: Path) -> int:
    """Bytes of a name, by the file system of what is there of the folder."""
    there = next((step for step in (folder, *folder.parents) if os.path.isdir(step)), Path())
    try:
        known = os.pathconf(there, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # not POSIX
        known = -1
    return known if known > 0 else 255
