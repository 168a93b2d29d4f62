"""What the fixture `bunet` gives to a test: the command line, in the test's own process."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Answer(NamedTuple):
    """What a command ended with. out, error: what it wrote on standard output and on standard error."""

    status: int
    out: str
    error: str


class Bunet(Protocol):
    """Runs `bunet` with the arguments. environment: variables for this one command."""

    def __call__(self, *arguments: object, **environment: str) -> Answer: ...
