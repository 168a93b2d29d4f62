"""What a network link is: bandwidth, round-trip time, jitter. Presets, and reading links from text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from bunet.models.errors import UsageError

_SCALE = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_BANDWIDTH = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmg]?)(?:bit/s|bits/s|bit|bps)", re.IGNORECASE)
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|ms|us|µs)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Link:
    """A full-duplex link. Each direction has the whole bandwidth and half the round-trip time.

    bandwidth_bps: bits a second, > 0, `math.inf` for unlimited. rtt_s: seconds, >= 0. jitter_s: each message is
    delayed by a further uniform time from [0, jitter_s) seconds, but never overtakes the message before it.
    """

    bandwidth_bps: float = math.inf
    rtt_s: float = 0.0
    jitter_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.bandwidth_bps > 0:  # written so that NaN fails, too
            raise UsageError(f"the bandwidth of a link must be above 0 bit/s, not {self.bandwidth_bps}")
        for field, value in (("round-trip time", self.rtt_s), ("jitter", self.jitter_s)):
            if not 0 <= value < math.inf:
                raise UsageError(f"the {field} of a link must be 0 or more seconds, not {value}")

    @property
    def name(self) -> str:
        """The preset's name where this is a preset, else such as `200 Mbit/s, 20 ms`."""
        for name, link in PRESETS.items():
            if link == self:
                return name
        text = f"{_format_bandwidth(self.bandwidth_bps)}, {_format_duration(self.rtt_s)}"
        return f"{text}, {_format_duration(self.jitter_s)}" if self.jitter_s else text

    @property
    def unlimited(self) -> bool:
        """True where the link changes nothing: such as `loopback`."""
        return self.bandwidth_bps == math.inf and self.rtt_s == 0 and self.jitter_s == 0

    def transfer_seconds(self, nbytes: int) -> float:
        """Seconds to put `nbytes` on the wire, without the latency."""
        return nbytes * 8 / self.bandwidth_bps

    def describe(self) -> dict[str, str | float | None]:
        """For JSON documents: unlimited bandwidth is None, since JSON has no infinity."""
        bandwidth = None if self.bandwidth_bps == math.inf else self.bandwidth_bps
        return {"name": self.name, "bandwidth_bps": bandwidth, "rtt_s": self.rtt_s, "jitter_s": self.jitter_s}

    @classmethod
    def of_description(cls, document: Mapping[str, Any]) -> Link:
        """The inverse of `describe`. Raises KeyError, TypeError, UsageError for what is none."""
        bandwidth = document["bandwidth_bps"]
        return cls(math.inf if bandwidth is None else bandwidth, document["rtt_s"], document["jitter_s"])

    @classmethod
    def parse(cls, text: str) -> Link:
        """Read a preset's name, or `BANDWIDTH,RTT[,JITTER]` such as `200Mbit,20ms` or `1.5Gbit/s,2ms,0.1ms`.

        Raises UsageError, with the presets in its sentence, for anything else.
        """
        preset = PRESETS.get(text.strip().lower())
        if preset is not None:
            return preset
        parts = [part.strip() for part in text.split(",")]
        if not 2 <= len(parts) <= 3:
            raise UsageError(f"unknown link {text!r}: give one of {', '.join(PRESETS)}, or BANDWIDTH,RTT such as 200Mbit,20ms")
        jitter_s = parse_duration(parts[2]) if len(parts) == 3 else 0.0
        return cls(parse_bandwidth(parts[0]), parse_duration(parts[1]), jitter_s)

    @classmethod
    def choose(
        cls, preset: str = "loopback", bandwidth: str | None = None, rtt: str | None = None, jitter: str | None = None
    ) -> Link:
        """The link of the command line's options: a preset (or `parse` text), parts of which may be overridden."""
        base = cls.parse(preset)
        return cls(
            base.bandwidth_bps if bandwidth is None else parse_bandwidth(bandwidth),
            base.rtt_s if rtt is None else parse_duration(rtt),
            base.jitter_s if jitter is None else parse_duration(jitter),
        )


def parse_bandwidth(text: str) -> float:
    """Bits a second of `200Mbit`, `1.5Gbit/s`, `400 kbps`, `unlimited`. Units are powers of 1000 and count bits."""
    if text.strip().lower() == "unlimited":
        return math.inf
    match = _BANDWIDTH.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise UsageError(f"bandwidth {text!r} is not understood: write it in bits, such as 200Mbit or 1.5Gbit/s")
    return float(match[1]) * _SCALE[match[2].lower()]


def parse_duration(text: str) -> float:
    """Seconds of `20ms`, `0.3 ms`, `150us`, `1s`, or a bare `0`."""
    if text.strip() == "0":
        return 0.0
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"time {text!r} is not understood: write it with its unit, such as 20ms, 150us or 1s")
    return float(match[1]) * _SECONDS[match[2].lower()]


def _format_bandwidth(bps: float) -> str:
    if bps == math.inf:
        return "unlimited"
    for scale, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bps >= scale:
            return f"{bps / scale:g} {unit}"
    return f"{bps:g} bit/s"


def _format_duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"


PRESETS: Mapping[str, Link] = MappingProxyType(
    {
        "loopback": Link(),
        "lan-10g": Link(10e9, 0.1e-3),
        "lan": Link(3e9, 0.3e-3),
        "lan-1g": Link(1e9, 1e-3),
        "wan": Link(400e6, 40e-3),
        "wan-100m": Link(100e6, 80e-3),
    }
)
