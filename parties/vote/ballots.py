"""A party's shares of the ballots of a vote, as files: one `<name>.ballot` each, with what it was made of.

A ballot is named by its group and axis, such as `infection-x`; the names and their order are public. Its source is a text
(`shares.source`) that the parties compare before they vote: shares of different runs would open to noise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bunet.models.errors import UsageError
from bunet.models.files import private, sealed
from bunet.protocols.vote.election import Election

FILE = sealed.FileFormat("bunet-ballot", 1, "a ballot", "it is made again by the command that votes")
_NAME = re.compile(r"([a-z][a-z0-9]{0,30})-([xyz])")


def election_of(shape: Sequence[int], names: Sequence[str], filtered: bool = True) -> Election:
    """The vote on these ballots, groups in the order in which they come; UsageError in one sentence where there is none."""
    groups: dict[str, int] = {}
    last = ""
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            raise UsageError(f"ballot {name!r} is not named GROUP-AXIS, such as infection-x")
        if match[1] != last and match[1] in groups:
            raise UsageError(f"the ballots of {match[1]} do not stand together: {', '.join(names)}")
        last = match[1]
        groups[last] = groups.get(last, 0) + 1
    if len(set(names)) != len(names):
        raise UsageError(f"a ballot is named twice: {', '.join(names)}")
    try:
        return Election(tuple(int(size) for size in shape), tuple(groups.values()), filtered)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(str(error)) from None


def write(folder: Path, name: str, bits: np.ndarray, source: str = "") -> None:
    """Keep this party's share of a ballot, uint8 (Z, H, W) of 0 and 1, for its owner only. source: see above."""
    private.make_folder(folder)
    sealed.save(_path(folder, name), FILE, {"bits": bits}, {"name": name, "source": source}, private.OWNER_ONLY)


def read(folder: Path, name: str, shape: tuple[int, int, int]) -> tuple[np.ndarray, str]:
    """(shares uint8 `shape`, mapped, not read; source, empty where there is none); UsageError naming what is no ballot."""
    path = _path(folder, name)
    try:
        texts, arrays = sealed.load(path, FILE, mapped=True)
    except sealed.SealError as error:
        raise UsageError(f"ballot {error}") from error
    bits = arrays.get("bits")
    if bits is None or bits.dtype != np.uint8 or bits.shape != tuple(shape) or texts.get("name") != name:
        raise UsageError(f"ballot {path} is not uint8 {tuple(shape)} of {name}")
    if any(part.max() > 1 for part in bits):
        raise UsageError(f"ballot {path} holds other values than 0 and 1")
    return bits, texts.get("source", "")


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.ballot"
