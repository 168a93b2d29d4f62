"""One process at a time in a folder of results, where the system and the file system have locks."""

from __future__ import annotations

from typing import IO

try:
    import fcntl
except ImportError:  # not on this system
    fcntl = None  # type: ignore[assignment]


def lock(stream: IO[bytes]) -> None:
    """Lock an open file until it is closed or the process ends. Raises BlockingIOError where another holds it."""
    if fcntl is None:
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass  # a file system without locks
