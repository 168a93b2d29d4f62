"""Lines for people: whatever a file, a folder or a peer is called, a line stays a line, and a terminal obeys nothing in it.

Names in JSON documents are the true ones.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from bunet.models.printable import printable

Say = Callable[[str], None]  # who is told a line

LINE_BREAK = re.compile(r"\s*\n\s*")


def one_line(text: str) -> str:
    """The text with a space for every line break and a question mark for whatever else cannot be shown."""
    return printable(LINE_BREAK.sub(" ", text))


def say(text: str, err: bool = False) -> None:
    """Print one line on standard output, or on standard error."""
    stream = sys.stderr if err else sys.stdout
    stream.write(one_line(text) + "\n")  # at once, so that lines of two threads stay lines
    stream.flush()
