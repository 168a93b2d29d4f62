"""How a volume and its label are to be read: one record for every command that reads one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bunet.models.volumes import formats
from bunet.models.volumes.labels import labels
from bunet.models.volumes.volume import Volume


@dataclass(frozen=True)
class VolumeReading:
    """series: which of a DICOM folder's, None where it holds one. rule: of the intensities, one of `intensity.RULES` or auto.
    field_of_view: one of `formats.FIELDS`. label_values: what is inside of a label, none for what it tells.
    """

    series: str | None = None
    rule: str = "auto"
    field_of_view: str = "auto"
    label_values: tuple[int, ...] = ()

    def load(self, path: Path, sized: bool = True) -> formats.LoadedVolume:
        """As `formats.load`. sized: whether slices are brought to a network's size. Raises VolumeError."""
        return formats.load(path, self.rule, self.series, self.field_of_view, sized)

    def label(self, path: Path | None, stored: Volume) -> tuple[labels.Label | None, tuple[str, ...]]:
        """The label of a volume that was read, and what to say of it: as `labels.beside`. Raises VolumeError."""
        return labels.beside(path, stored, self.label_values)


DEFAULT_READING = VolumeReading()
