"""What slices are timed on where it is not random weights and images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CtData:
    """A volume, its label where it is another file, and trained weights. digest: of what these hold, not of their names.

    label_values: what is inside of the label; none for what it tells. series, intensity (a rule), field_of_view: how the volume
    is read, as `formats.load`.
    """

    volume: Path
    truth: Path | None
    weights: str
    axis: str
    digest: str
    label_values: tuple[int, ...] = ()
    series: str | None = None
    intensity: str = "auto"
    field_of_view: str = "auto"
