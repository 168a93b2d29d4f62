"""One run of a sweep: what it is told, what tells it from others, and the data that it runs on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from bunet.experiments.bench.data import CtData
from bunet.experiments.settings import RunSettings
from bunet.experiments.sweep.facts import DETAILS
from bunet.models.volumes.reading import DEFAULT_READING, VolumeReading

# What of its settings tells a point, in the order of the table's columns; what else they may hold follows.
_ORDER = ("protocols", "ot", "format", "in_flight", "size", "features", "activation", "pool", "slices", "seed", "cores")


@dataclass(frozen=True)
class Point:
    """One run of a sweep. link_name: what the file calls its link. protocols: those that the file names, no default."""

    settings: RunSettings
    link_name: str
    protocols: Mapping[str, str]
    verify: bool
    data: CtData | None = None

    def describe(self) -> dict[str, Any]:
        """What tells this point from others, JSON-able: every setting and every field, whatever there will be."""
        link = self.settings.run.link.describe()
        asked = self.settings.document()
        asked["protocols"] = dict(self.protocols)
        axis = asked.pop("axis")  # of random images it means nothing
        facts = {"link": self.link_name, **{key: link[key] for key in DETAILS["link"]}}
        facts |= {key: asked.pop(key) for key in _ORDER} | asked
        composed = ("settings", "link_name", "protocols", "data")
        facts |= {field.name: getattr(self, field.name) for field in fields(self) if field.name not in composed}
        if self.data is not None:
            facts |= {
                "volume": self.data.volume.name,
                "weights": self.data.weights,
                "axis": axis,
                "data": self.data.digest,
            }
            facts |= _unusual(self.data.reading)
        return facts

    def identity(self) -> str:
        """Equal points have equal identities, whatever the link and the files are called; 16 hexadecimal digits."""
        facts = self.describe()
        for name in ("link", "volume", "weights"):
            facts.pop(name, None)
        if facts["ot"] == "iknp":  # points that were run before there was a choice keep their identity
            del facts["ot"]
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _unusual(reading: VolumeReading) -> dict[str, Any]:
    """What of a reading is not as by default, under the keys of an experiment file."""
    usual = _facts(DEFAULT_READING)
    return {key: value for key, value in _facts(reading).items() if value != usual[key]}


def _facts(reading: VolumeReading) -> dict[str, Any]:
    return {
        "label_value": ",".join(map(str, reading.label_values)),
        "series": reading.series,
        "intensity": reading.rule,
        "field_of_view": reading.field_of_view,
    }
