"""Results do not go among a patient's own files: whatever would is refused before anything is run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bunet.experiments.options import possible_folder, possible_name
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
