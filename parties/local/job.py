"""What the processes of a local run are told: a record that each reads from a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt

from bunet.parties.local.inputs import VolumeSlices
from bunet.parties.run_options import RunOptions

AbsolutePath = Annotated[Path, AfterValidator(Path.resolve)]


class Job(BaseModel):
    """What both kinds of job share.

    folder: an existing one, for the run's files. run: how both parties run. shares: by role, a folder of that party's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: AbsolutePath
    run: RunOptions = Field(default_factory=RunOptions)
    shares: Mapping[str, AbsolutePath] = Field(default_factory=dict)

    def to_json(self, role: str) -> str:
        """What one party is told: never the folder of the other's shares."""
        own = {role: self.shares[role]} if role in self.shares else {}
        return self.model_copy(update={"shares": own}).model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The inverse of `to_json`; pydantic's ValidationError for what is no such job."""
        return cls.model_validate_json(text)

    def write(self, role: str) -> Path:
        """Leave `to_json` in the job's folder; returns the file."""
        path = self.folder / f"{role}.json"
        path.write_text(self.to_json(role))
        return path


class PairJob(Job):
    """Slices to segment.

    model: a compiled model file. inputs: an .npy file, int64 (slices, channels, height, width), quantised for the program, or a
    volume that Alice cuts. labels: (axis, index) of each slice. results: a folder where Alice writes each slice as it comes out
    (`parties.outcomes`), so that nothing that is done is lost; without one the result holds them all. shares: where the
    read-out is label-share, a folder of each party for its shares of the labels (`parties.shares`); nothing is learned
    then. record: keep every layer's shares of the first `record` slices and verify them (0: none). profile: also say where the
    compute threads spend their seconds, which costs some.
    """

    model: AbsolutePath
    inputs: AbsolutePath | VolumeSlices
    labels: tuple[tuple[str, int], ...]
    record: NonNegativeInt = 0
    profile: bool = False
    results: AbsolutePath | None = None
