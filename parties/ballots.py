"""A party's shares of the ballots of a vote, as files: one `<name>.npy` a ballot, and beside it what it was made of.

A ballot is named by its group and axis, such as `infection-x`; the names and their order are public. Its source is a text
(`shares_on_disk.source`) that the parties compare before they vote: shares of different runs would open to noise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from bunet.parties import private_files
from bunet.parties.errors import RunError
from bunet.protocols.vote.election import Election

_NAME = re.compile(r"([a-z][a-z0-9]{0,30})-([xyz])")


def election_of(shape: Sequence[int], names: Sequence[str], filtered: bool = True) -> Election:
    """The vote on these ballots, groups in the order in which they come; RunError in one sentence where there is none."""
    groups: dict[str, int] = {}
    last = ""
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            raise RunError(f"ballot {name!r} is not named GROUP-AXIS, such as infection-x")
        if match[1] != last and match[1] in groups:
            raise RunError(f"the ballots of {match[1]} do not stand together: {', '.join(names)}")
        last = match[1]
        groups[last] = groups.get(last, 0) + 1
    if len(set(names)) != len(names):
        raise RunError(f"a ballot is named twice: {', '.join(names)}")
    try:
        return Election(tuple(int(size) for size in shape), tuple(groups.values()), filtered)  # type: ignore[arg-type]
    except ValueError as error:
        raise RunError(str(error)) from None


def write(folder: Path, name: str, bits: np.ndarray, source: str = "") -> None:
    """Keep this party's share of a ballot, uint8 (Z, H, W) of 0 and 1, for its owner only. source: see above."""
    path, beside = _paths(folder, name)
    private_files.make_folder(folder)
    beside.unlink(missing_ok=True)  # it must never stand beside another ballot than its own
    private_files.write(path, lambda stream: np.save(stream, bits))
    private_files.write(beside, lambda stream: stream.write(source.encode()))


def read(folder: Path, name: str, shape: tuple[int, int, int]) -> tuple[np.ndarray, str]:
    """(shares uint8 `shape`, mapped, not read; source, empty where there is none); RunError naming a file that is no ballot."""
    path, beside = _paths(folder, name)
    try:
        bits = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RunError(f"ballot {path} cannot be read: {error}") from error
    if not isinstance(bits, np.ndarray) or bits.dtype != np.uint8 or bits.shape != tuple(shape):
        raise RunError(f"ballot {path} is not uint8 {tuple(shape)}")
    if any(part.max() > 1 for part in bits):
        raise RunError(f"ballot {path} holds other values than 0 and 1")
    source = ""
    with suppress(FileNotFoundError):
        source = beside.read_text(errors="replace")
    return bits, source


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.npy", folder / f"{name}.source"
