"""What a written file says of its values, and who made it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

MAKER = "BUNET"


def software() -> str:
    """The version that is written into files."""
    return metadata.version("bunet")


@dataclass(frozen=True)
class About:
    """description: in ASCII; SeriesDescription of a DICOM series (64 characters), `descrip` of a NIfTI file (79).

    series: SeriesNumber, well above those of scanners. derivation: how it was made, in words; empty for a copy. mask: whether
    its values are 0 and 1, to be shown black and white.
    """

    description: str = MAKER
    series: int = 1100
    derivation: str = ""
    mask: bool = False
