"""Shares of finished slices on a party's disk, so that a run can go on and vote after any interruption.

A label's two shares fit together only if they come from the same run of the slice; of different runs they open to noise.
So every file's name says which session its share is from: a number that Alice draws for each session and Bob takes over
in the handshake. Both parties write on their own, and a crash may come between; a slice is done where both hold a share
of one session, and what only one of them holds is of no use. A file appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.errors import LocalError
from bunet.models.files import private, sealed
from bunet.parties.engine.scheduler import SliceJob

FILE = sealed.FileFormat("bunet-share", 1, "a share of a slice", "remove it, and the same command runs that slice again")
_NAME = re.compile(r"([xyz])(\d{4,})\.([0-9a-f]{32})\.share")

Slice = tuple[str, int]  # (axis, index)


def path_of(folder: Path, at: Slice, session: str) -> Path:
    """The file of a slice's share from a session."""
    axis, index = at
    path = folder / f"{axis}{index:04d}.{session}.share"
    if not _NAME.fullmatch(path.name):
        raise ValueError(f"slice {at} of session {session!r} has no file name")
    return path


def write(folder: Path, at: Slice, session: str, bits: np.ndarray) -> None:
    """Keep this party's share of a label, uint8 (H, W) of 0 and 1; LocalError or DiskFull where that cannot be done.

    A session has one share of a slice: a second one is refused, never written over the first.
    """
    if bits.dtype != np.uint8 or bits.ndim != 2 or (bits.size and bits.max() > 1):
        raise ValueError(f"a share of a label is uint8 (height, width) of 0 and 1, not {bits.dtype} {bits.shape}")
    path = path_of(folder, at, session)
    if path.exists():
        raise LocalError(f"{path} is there already: a session's number was used again")
    packed = np.packbits(bits, axis=1, bitorder="little")
    try:
        sealed.save(path, FILE, {"bits": packed}, {"slice": path.name, "width": str(bits.shape[1])}, private.OWNER_ONLY)
    except OSError as error:
        raise LocalError(f"{path} cannot be written: {error.strerror or error}") from error


def read(folder: Path, at: Slice, session: str) -> np.ndarray:
    """What `write` kept, uint8 (H, W); SealError naming the file where it is damaged or not there."""
    path = path_of(folder, at, session)
    facts, arrays = sealed.load(path, FILE)
    try:
        packed, width = arrays["bits"], int(facts["width"])
        if facts["slice"] != path.name or packed.dtype != np.uint8 or packed.shape[1] != (width + 7) // 8:
            raise ValueError("it is another slice's")
        return np.unpackbits(packed, axis=1, count=width, bitorder="little")
    except (KeyError, ValueError, IndexError) as error:
        raise sealed.SealError(f"{path} is not that slice's share ({error})", FILE.remedy) from error


def held(folder: Path) -> dict[Slice, set[str]]:
    """The sessions of which the folder holds a share, by slice."""
    sessions: dict[Slice, set[str]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := _NAME.fullmatch(path.name):
            sessions.setdefault((match[1], int(match[2])), set()).add(match[3])
    return sessions


def complete(alice: Path, bob: Path) -> dict[Slice, str]:
    """The slices of which both folders hold a share of one session, with that session; the first by name of several."""
    hers, his = held(alice), held(bob)
    both = {at: hers[at] & his[at] for at in hers.keys() & his.keys()}
    return {at: min(sessions) for at, sessions in sorted(both.items()) if sessions}


def discard_unpaired(alice: Path, bob: Path) -> int:
    """Remove every share that `complete` does not name, and what was cut off while it was written; how many files.

    No session may be running.
    """
    kept = complete(alice, bob)
    removed = 0
    for folder in (alice, bob):
        for at, sessions in held(folder).items():
            for session in sessions - {kept.get(at)}:
                path_of(folder, at, session).unlink()
                removed += 1
        for path in folder.glob(".*.share.*.part"):  # `write_atomic`'s, of a process that was killed
            path.unlink()
            removed += 1
    return removed


def source(sessions: Mapping[Slice, str]) -> str:
    """A digest of the slices and sessions that a ballot is made of: equal at both parties if their shares fit together."""
    text = "\n".join(f"{axis}{index} {session}" for (axis, index), session in sorted(sessions.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def keep_shares(folder: Path, session: str, labels: Sequence[Slice]) -> Callable[[SliceJob, Any], None]:
    """What a party hands to its session as on_result: writes its share of each slice as it finishes.

    session: Alice's `Request.session`, Bob's `Terms.session`. labels: (axis, index) of the session's slices, in their order.
    """
    private.make_folder(folder)

    def keep(job: SliceJob, result: Any) -> None:
        if not isinstance(result, np.ndarray):
            raise LocalError(f"slice {job.slice} left no share of its label: its program's read-out is not label-share")
        write(folder, labels[job.slice], session, result)

    return keep
