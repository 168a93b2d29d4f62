"""Names and texts of others, fit for a terminal, a picture and a line of a file."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with every character that cannot be shown, such as a byte that is no text, as a question mark."""
    return "".join(c if c.isprintable() else "?" for c in text)


def reason(error: BaseException) -> str:
    """What a library's exception says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
