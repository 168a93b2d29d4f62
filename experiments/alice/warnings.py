"""What Alice is warned of when a session is agreed on, kept with its slices: it belongs to the mask, whoever writes that.

`alice-warnings.json` has the calibrated range of Bob's program and, by slice, the share of values beyond it
(`parties.input_range`); sessions add their slices. That a volume's values are not what the model takes follows from its card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bunet.experiments.storage.results import write_json
from bunet.models.errors import UsageError
from bunet.models.files import json_text
from bunet.models.model_card import ModelCard, intensity_of
from bunet.parties import input_range

FILE = "alice-warnings.json"
VERSION = 1


@dataclass(frozen=True)
class Kept:
    """limit: the calibrated range is -limit..limit, None where Bob's program does not say. beyond: share by slice (`z20`)."""

    limit: float | None
    beyond: Mapping[str, float] = field(default_factory=dict)

    def of(self, axis: str, positions: Sequence[int]) -> dict[str, float]:
        """The shares of these slices, of those that have any."""
        names = [f"{axis}{k}" for k in positions]
        return {name: self.beyond[name] for name in names if name in self.beyond}

    def sentences(self, axis: str, positions: Sequence[int]) -> list[str]:
        """What a person should read of these slices."""
        if self.limit is None:
            return [input_range.UNSAID]
        shares = self.of(axis, positions)
        return [input_range.remark(self.limit, shares, len(positions))] if shares else []


def of_intensity(card: ModelCard | None, rule: str) -> list[str]:
    """A sentence where the model takes other values than the rule of intensities gives."""
    if card is None or card.intensity == intensity_of(rule):
        return []
    return [
        f"the model takes values {card.intensity}, and this volume has values {intensity_of(rule)} (rule `{rule}`): "
        "the mask may be wrong"
    ]


def read(folder: Path) -> Kept | None:
    """What sessions left in a folder, None where none has. Raises UsageError where it is damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        document = json_text.parse(path.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']!r}")
        limit = None if document["calibrated"] is None else float(document["calibrated"])
        return Kept(limit, {str(name): float(share) for name, share in document["beyond"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UsageError(
            f"{path} cannot be read: choose another --out, or remove it, and warnings of the slices that are there are lost"
        ) from error


def keep(folder: Path, limit: float | None, slices: Sequence[str], beyond: Mapping[str, float], earlier: Kept | None) -> None:
    """Add what a session found. slices: all that it looked at (`z20`). earlier: what `read` gave, of the same program."""
    others = {} if earlier is None else {name: share for name, share in earlier.beyond.items() if name not in set(slices)}
    document: dict[str, Any] = {"version": VERSION, "calibrated": limit, "beyond": {**others, **beyond}}
    write_json(folder / FILE, document)
