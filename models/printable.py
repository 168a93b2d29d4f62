"""Names and texts of others, fit for a terminal, a picture and a line of a file."""

from __future__ import annotations

MAX_PEER_TEXT = 300


def printable(text: str, instead: str = "?") -> str:
    """The text with `instead` for every character that cannot be shown, such as a byte that is no text."""
    return "".join(c if c.isprintable() else instead for c in text)


def plain(text: object) -> str:
    """What a peer sent, on one line: printable characters, at most 300."""
    whole = str(text)
    head = whole[: 4 * MAX_PEER_TEXT]
    cleaned = " ".join(printable(head, " ").split())
    return cleaned if len(cleaned) <= MAX_PEER_TEXT and head == whole else cleaned[:MAX_PEER_TEXT] + "..."


def reason(error: BaseException) -> str:
    """What a library's exception says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
