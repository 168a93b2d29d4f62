"""What slices are timed on where it is not random weights and images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bunet.models.volumes.reading import DEFAULT_READING, VolumeReading


@dataclass(frozen=True)
class CtData:
    """A volume, its label where it is another file, and trained weights. digest: of what these hold, not of their names.
    reading: of volume and label.
    """

    volume: Path
    truth: Path | None
    weights: str
    axis: str
    digest: str
    reading: VolumeReading = DEFAULT_READING
