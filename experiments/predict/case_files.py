"""The volumes of a `bunet predict`, and the files of their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bunet.models.errors import UsageError

LABEL = "_label"
SUFFIXES = (".npz", ".npy", ".nii.gz", ".nii")


@dataclass(frozen=True)
class CaseFiles:
    """name: what results are called by. volume: a file, or a folder with a DICOM series. label: None where there is none."""

    name: str
    volume: Path
    label: Path | None = None


def find_cases(folder: Path) -> list[CaseFiles]:
    """The published layout: `ID/ID.npz` (or .npy, .nii.gz, .nii, or a DICOM series in `ID/`), `ID/ID_label.*` beside it.

    Raises UsageError for a folder that is not there or holds no case, and for one of a case that would be passed over because
    its files are called otherwise.
    """
    if not folder.is_dir():
        raise UsageError(f"--test-data-dir {folder} is not a folder")
    cases = []
    for each in sorted(path for path in folder.iterdir() if path.is_dir()):
        volume, there = _one(each, each.name), sorted(path.name for path in each.iterdir())
        if volume is None and there:
            others = [name for name in there if name.lower().endswith(SUFFIXES) and not name.startswith(each.name + LABEL)]
            if others:
                raise UsageError(f"{each} holds {others[0]}, but no volume {each.name}.npz (or {', '.join(SUFFIXES[1:])})")
            volume = each  # a series; reading it says what is wrong with it
        if volume is not None:
            cases.append(CaseFiles(each.name, volume, _one(each, each.name + LABEL)))
    if not cases:
        raise UsageError(f"--test-data-dir {folder} holds no case: ID/ID.npz with the key `array` is looked for")
    return cases


def one_case(volume: Path, label: Path | None) -> CaseFiles:
    """A volume given by itself; its name is the file's without the ending, or the folder's as it is."""
    name = volume.resolve().name
    ending = "" if volume.is_dir() else next((suffix for suffix in (*SUFFIXES, ".dcm") if name.lower().endswith(suffix)), "")
    name = name[: len(name) - len(ending)]
    return CaseFiles(name.strip(".") or "volume", volume, label)  # such as `..`, which would lead out of --out


def _one(folder: Path, stem: str) -> Path | None:
    there = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name.startswith(stem) and path.name[len(stem) :].lower() in SUFFIXES
    )
    if len(there) > 1:
        raise UsageError(f"{folder} has both {there[0].name} and {there[1].name}; remove one")
    return there[0] if there else None
