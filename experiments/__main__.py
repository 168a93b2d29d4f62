"""Entry point of the `bunet` command, and of `python -m bunet.experiments`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line."""
    prepare_streams()
    from bunet.experiments.commands.app import app  # not before there are streams

    try:
        app(prog_name="bunet")
    finally:
        leave_streams()


def prepare_streams() -> None:
    """Standard streams that take any text, whatever terminal, pipe or locale they belong to; a closed one leads nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - lives as long as the process
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # something else than Python's own stands in its place
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def leave_streams() -> None:
    """Write what is left. Where nobody reads it any more, Python is kept from saying so once again at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
