from __future__ import annotations

import dataclasses
import json
import math

import pytest

from bunet.models.errors import UsageError
from bunet.net.link import PRESETS, Link, parse_bandwidth, parse_duration


def test_presets() -> None:
    assert dict(PRESETS) == {
        "loopback": Link(math.inf, 0),
        "lan-10g": Link(10e9, 0.1e-3),
        "lan": Link(3e9, 0.3e-3),
        "lan-1g": Link(1e9, 1e-3),
        "wan": Link(400e6, 40e-3),
        "wan-100m": Link(100e6, 80e-3),
    }
    for name, link in PRESETS.items():
        assert Link.parse(name) == link
        assert link.name == name
        assert link.jitter_s == 0
        assert link.unlimited == (name == "loopback")
        assert json.loads(json.dumps(link.describe(), allow_nan=False))["name"] == name


def test_transfer_seconds() -> None:
    assert PRESETS["wan-100m"].transfer_seconds(12_500_000) == 1.0
    assert PRESETS["loopback"].transfer_seconds(1 << 40) == 0.0


def test_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PRESETS["lan"].rtt_s = 0  # type: ignore[misc]
    with pytest.raises(TypeError):
        PRESETS["lan"] = Link()  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "bps"),
    [
        ("200Mbit", 200e6),
        ("1.5Gbit/s", 1.5e9),
        ("400 kbps", 400e3),
        ("9600 bit/s", 9600),
        ("10gbit", 10e9),
        (" 3 Gbps ", 3e9),
        ("unlimited", math.inf),
    ],
)
def test_bandwidth(text: str, bps: float) -> None:
    assert parse_bandwidth(text) == bps


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("0.3 ms", 0.3e-3), ("150us", 150e-6), ("150µs", 150e-6), ("1s", 1.0), ("0", 0.0), ("0ms", 0.0)],
)
def test_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", ["", "200", "200MB/s", "-5Mbit", "0Mbit", "fast", "1e3Mbit", "1.Mbit", "inf", "nan"])
def test_bad_bandwidth(text: str) -> None:
    with pytest.raises(UsageError, match=r"200Mbit or 1\.5Gbit/s"):
        parse_bandwidth(text)


@pytest.mark.parametrize("text", ["", "20", "-1ms", "20min", "ms", "nan", "1e3s"])
def test_bad_duration(text: str) -> None:
    with pytest.raises(UsageError, match="20ms, 150us or 1s"):
        parse_duration(text)


def test_parse_pairs_and_choose() -> None:
    assert Link.parse("200Mbit,20ms") == Link(200e6, 0.02)
    assert Link.parse("1.5Gbit/s, 2ms, 0.1ms") == Link(1.5e9, 0.002, 0.1e-3)
    assert Link.parse(" LAN ") == PRESETS["lan"]
    assert Link.parse("200Mbit,20ms").name == "200 Mbit/s, 20 ms"
    assert Link(math.inf, 0.02, 0.001).name == "unlimited, 20 ms, 1 ms"
    assert Link.choose("wan") == PRESETS["wan"]
    assert Link.choose("wan", rtt="1ms") == Link(400e6, 1e-3)
    assert Link.choose(bandwidth="1Gbit", rtt="1ms") == PRESETS["lan-1g"]
    assert Link.choose("lan", jitter="1ms") == Link(3e9, 0.3e-3, 1e-3)


@pytest.mark.parametrize("text", ["", "lann", "200Mbit", "1,2,3,4"])
def test_an_unknown_link_names_the_presets(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Link.parse(text)
    for name in PRESETS:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [(0, 0, 0), (-1, 0, 0), (math.nan, 0, 0), (1, -1, 0), (1, math.inf, 0), (1, math.nan, 0), (1, 0, -1), (1, 0, math.nan)],
)
def test_impossible_links(values: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError):
        Link(*values)
