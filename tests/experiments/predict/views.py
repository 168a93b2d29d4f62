"""A view of a prediction that keeps what is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console

from bunet.parties.console import RunConsole


class QuietView:
    """said: the lines so far; nothing else is shown."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def session(self, bandwidth_bps: float, above: Callable[[], str]) -> RunConsole:
        return RunConsole(bandwidth_bps=bandwidth_bps, console=Console(quiet=True), above=above)

    def track(self, title: str, positions: Sequence[int]) -> Sequence[int]:
        return positions
