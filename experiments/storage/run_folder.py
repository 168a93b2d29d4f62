"""A folder of results and what they belong to: a run that was cut off goes on there, and no other run touches it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from bunet.experiments.storage.lock import lock
from bunet.experiments.storage.results import write_json
from bunet.models.errors import UsageError
from bunet.models.files import json_text
from bunet.models.files.disk_space import explaining_full_disk
from bunet.models.volumes.volume import Sliceable

IDENTITY = "run.json"
LOCK = ".lock"


def digest_of(array: Sliceable) -> str:
    """SHA-256 of a volume as the network would see it: dtype, shape and values, whatever file it came from."""
    known = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    for image in array:  # one at a time: the whole may be mapped from the disk
        known.update(np.ascontiguousarray(image).data)
    return known.hexdigest()


class RunFolder:
    """One run's folder, made if it is not there, and locked against a second process until the context is left.

    identity: whatever the results depend on, JSON-able. later: names of what is known only when the run has begun; `noted`
    has them once `claim` has been called, now or by an earlier part of the run. leftovers: a pattern of files that without
    an identity belong to an unknown run. option: what messages call the folder.
    Raises UsageError for a folder that holds anything of another run, and one that another process uses.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        *,
        command: str,
        later: Sequence[str] = (),
        leftovers: str = "slice-*",
        option: str = "--out",
    ) -> None:
        self.folder = folder
        self.noted: dict[str, Any] | None = None
        self._identity = json.loads(json.dumps(dict(identity)))  # as it will be read back: tuples are lists
        self._command, self._later, self._option = command, set(later), option
        try:
            with explaining_full_disk(folder):
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = _locked(folder / LOCK)
        except BlockingIOError:
            raise UsageError(f"{option} {folder} is used by another process") from None
        except OSError as error:
            raise UsageError(f"{option} {folder}: {error.strerror}") from error
        self.file = folder / IDENTITY
        try:
            if self.file.exists():
                self.noted = self._stored()
            elif any(folder.glob(leftovers)):
                raise UsageError(f"{option} {folder} holds slices of an unknown run: choose another folder")
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def claim(self, **later: Any) -> None:
        """Write down whose folder it is, if that has not been done."""
        if self.noted is None:
            self.noted = later
            write_json(self.file, {**self._identity, **later})

    def _stored(self) -> dict[str, Any]:
        try:
            stored = json_text.parse(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.file} cannot be read ({type(error).__name__}): choose another {self._option}") from error
        if not isinstance(stored, dict) or set(stored) != {*self._identity, *self._later}:
            raise UsageError(f"{self.file} is not of a run of `{self._command}` of this version: choose another {self._option}")
        changed = sorted(key for key in self._identity if stored[key] != self._identity[key])
        if changed:
            raise UsageError(
                f"{self._option} {self.folder} holds another run (its {changed[0]} differs): choose another folder"
            )
        noted = {key: stored[key] for key in self._later}
        self.check(noted)
        return noted

    def check(self, noted: dict[str, Any]) -> None:
        """For classes that know what was noted: UsageError if it cannot be."""


def _locked(path: Path) -> IO[bytes]:
    """The file, open and locked until it is closed; BlockingIOError if another process has it."""
    stream = open(path, "ab")  # noqa: SIM115 - lives as long as the lock
    try:
        lock(stream)
    except BlockingIOError:
        stream.close()
        raise
    return stream
