"""JSON from outside, with one class of error."""

from __future__ import annotations

import json
from typing import Any


def parse(text: str | bytes) -> Any:
    """What `json.loads` gives; ValueError for everything that is not JSON, nested too deeply, or in no known encoding."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
