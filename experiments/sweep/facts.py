"""What tells the points of a sweep apart, in words: one rule for progress lines, tables and pictures.

A point's facts are the keys of `Point.describe`, whatever keys there are: nothing here lists them, so none can be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Facts = Mapping[str, Any]

# Keys of `Point.describe` that say more of another key, which stands for them where people read.
DETAILS = {"link": ("bandwidth_bps", "rtt_s", "jitter_s"), "weights": ("data",)}
# Facts that one experiment file gives to all of its points.
COMMON = ("slices", "seed", "cores", "verify")
# Facts that are plain by themselves need no word beside them.
_PLAIN = ("link", "format", "activation", "pool", "volume", "weights")
_WORDS = {
    "ot": "OT {}",
    "in_flight": "{} in flight",
    "size": "{0}x{0}",
    "features": "{} features",
    "axis": "axis {}",
}


def told(facts: Facts) -> list[str]:
    """The facts that people read, in their order: all but those which another one stands for."""
    hidden = {detail for key, details in DETAILS.items() if key in facts for detail in details}
    return [key for key in facts if key not in hidden]


def varied(points: Sequence[Facts], but: Sequence[str] = ()) -> list[str]:
    """The facts in which points differ, but for `but`; a fact that only some points have is one of them."""
    keys = dict.fromkeys(key for facts in points for key in told(facts))
    return [key for key in keys if key not in but and len({words(key, facts.get(key)) for facts in points}) > 1]


def words(key: str, value: Any) -> str:
    """One fact as people read it, such as `2 in flight`."""
    if value is None:
        return f"no {key}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {choice}" for name, choice in sorted(value.items())) or f"default {key}"
    if key in _PLAIN:
        return str(value)
    return _WORDS.get(key, key.replace("_", " ") + " {}").format(value)


def beyond_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What left its bounds in one run, for tables. beyond: values of all layers, None where none were compared.
    input_beyond: which share of the input's values lies beyond the calibrated range, 0 to 1. None of a run that notes none.
    """
    run = document.get("run", {})
    layers, shares = run.get("beyond_calibration"), run.get("input_beyond_calibration")
    return {
        "beyond": None if layers is None else sum(layers.values()),
        "input_beyond": None if shares is None else sum(shares.values()) / len(document["slices"]),
    }


def name_of(facts: Facts, keys: Sequence[str] | None = None) -> str:
    """A point by some of its facts, or by all that a grid varies."""
    chosen = [key for key in told(facts) if key not in COMMON] if keys is None else keys
    return ", ".join(words(key, facts.get(key)) for key in chosen)
