"""Where a party's compute threads spend their seconds, by function: kernels show up by name."""

from __future__ import annotations

import cProfile
import json
import pstats
import threading
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """One function's own time (what it called is not in it, unless it is a compiled kernel). place: file:function."""

    place: str
    calls: int
    seconds: float


class Profiler:
    """Hand `start` to the scheduler as its thread_hook; `save` once the threads have ended."""

    def __init__(self) -> None:
        self._profiles: list[cProfile.Profile] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Profile the thread that calls this, from now to its end."""
        profile = cProfile.Profile()
        with self._lock:
            self._profiles.append(profile)
        profile.enable()

    def lines(self) -> list[Line]:
        """Functions by their own time, the longest first."""
        if not self._profiles:
            return []
        statistics = pstats.Stats(self._profiles[0])
        for profile in self._profiles[1:]:
            statistics.add(profile)
        root = str(Path(__file__).parents[2]) + "/"
        lines = [
            Line(f"{path.removeprefix(root)}:{function}" if path != "~" else function, calls, own)
            for (path, _, function), (_, calls, own, _, _) in statistics.stats.items()  # type: ignore[attr-defined]
        ]
        return sorted(lines, key=lambda line: -line.seconds)

    def save(self, path: Path, most: int = 40) -> None:
        """The longest functions as JSON."""
        path.write_text(json.dumps([asdict(line) for line in self.lines()[:most]]))


def load(path: Path) -> list[Line]:
    return [Line(**fields) for fields in json.loads(path.read_text())]
