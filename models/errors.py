"""How BUNET fails: one class for each whose fault it is, the user's, ours, or the peer's.

As h11 tells its local from its remote protocol errors. Every exception class of ours stands below exactly one of the three, and
the command line asks nothing else. A defect of the program is no such error: it stays what Python raises.
"""

from __future__ import annotations

from typing import ClassVar


class BunetError(Exception):
    """What a person is told when something fails: one sentence, and what to do about it where that is known.

    sentence: without a full stop, on one line. remedy: likewise, such as "compile it again". exit_status: of the command line.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, sentence: str, remedy: str | None = None) -> None:
        super().__init__(sentence, *([] if remedy is None else [remedy]))
        self.sentence = sentence
        self.remedy = remedy

    def __str__(self) -> str:
        """The sentence, and the remedy after a colon; after a semicolon where the sentence has its colon already."""
        if not self.remedy:
            return self.sentence
        return f"{self.sentence}{';' if ': ' in self.sentence else ':'} {self.remedy}"


class UsageError(BunetError):
    """The user's fault: an option, a file or a volume that does not do. The sentence names it."""

    exit_status = 2


class LocalError(BunetError):
    """Our own: this side's run or machine failed, such as a disk that is full."""


class PeerError(BunetError):
    """The peer's fault: it is gone, refused, or sent what the protocol forbids."""
