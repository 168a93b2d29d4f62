"""How a command fails: one sentence on standard error, and the exit status that says whose fault it was.

2 is the user's, 1 this side's or the peer's (`models/errors.py`). What the operating system says is told here, once; whatever
else comes is a defect of ours. BUNET_DEBUG=1 shows the traceback instead.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from bunet.experiments.one_line import say
from bunet.models.errors import BunetError
from bunet.models.files.disk_space import is_full, no_room

USAGE = 2
STOPPED = 130
UNREAD = 141  # as of a process that SIGPIPE ends


class OneSentence(TyperGroup):
    """A group of commands whose errors are one sentence and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        if os.environ.get("BUNET_DEBUG", "0") not in ("", "0"):
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("\nbunet: stopped", err=True)
            raise typer.Exit(STOPPED) from None
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:  # who read our output has left, such as `| head`: nobody is there to be told
            raise typer.Exit(UNREAD) from None
        except Exception as error:
            if _belongs_to_typer(error):
                raise
            sentence, status = explain(error)
            say(f"bunet: {sentence}", err=True)
            raise typer.Exit(status) from None


def explain(error: Exception) -> tuple[str, int]:
    """(one sentence, exit status) for an exception."""
    if isinstance(error, BunetError):
        return str(error), error.exit_status
    if isinstance(error, MemoryError):
        return f"there is not enough memory{f': {error}' if str(error) else ''}", 1
    if isinstance(error, OSError):
        return _of_the_system(error)
    return f"internal error: {type(error).__name__}: {error} (BUNET_DEBUG=1 shows where)", 1


def _of_the_system(error: OSError) -> tuple[str, int]:
    if is_full(error):
        return str(no_room(None if error.filename is None else Path(os.fsdecode(error.filename)).parent, error)), 1
    if error.errno == errno.ENAMETOOLONG:  # nobody has such a file
        return f"{os.fsdecode(error.filename or '')}: {error.strerror}", USAGE
    return f"{error.filename}: {error.strerror}" if error.filename else str(error), 1


def _belongs_to_typer(error: Exception) -> bool:
    """Whether typer's own handling (usage and hint) is for it: it knows how to show itself."""
    return hasattr(error, "exit_code") and hasattr(error, "show")
