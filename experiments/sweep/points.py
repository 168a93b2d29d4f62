"""One run of a sweep: what it is told, what tells it from others, and the data that it runs on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any

from bunet.experiments.bench.data import CtData
from bunet.net.link import Link

# Keys of `Point.describe` that say more of another key, which stands for them where people read.
DETAILS = {"link": ("bandwidth_bps", "rtt_s", "jitter_s"), "weights": ("data",)}


@dataclass(frozen=True)
class Point:
    """One run of a sweep."""

    link: Link
    link_name: str
    protocols: tuple[tuple[str, str], ...]
    ot: str
    format: str
    in_flight: int
    size: int
    features: int
    activation: str
    pool: str
    slices: int
    seed: int
    cores: int
    verify: bool
    data: CtData | None = None

    def describe(self) -> dict[str, Any]:
        """What tells this point from others, JSON-able: every field of it, whatever fields there will be."""
        facts: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "link":
                about = value.describe()
                facts |= {"link": self.link_name, **{key: about[key] for key in DETAILS["link"]}}
            elif field.name == "protocols":
                facts[field.name] = dict(value)
            elif field.name not in ("link_name", "data"):
                facts[field.name] = value
        if self.data is not None:
            facts |= {
                "volume": self.data.volume.name,
                "weights": self.data.weights,
                "axis": self.data.axis,
                "data": self.data.digest,
            }
            if self.data.label_values:
                facts["label_value"] = ",".join(map(str, self.data.label_values))
            usual = {"series": None, "intensity": "auto", "field_of_view": "auto"}
            facts |= {name: getattr(self.data, name) for name in usual if getattr(self.data, name) != usual[name]}
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
