"""The command line: every command's file adds its own to it.

Errors are one sentence on standard error: status 2 for what was asked wrongly, 1 for a run that failed. BUNET_DEBUG=1
shows the traceback instead.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from bunet.experiments.commands import bench as kernels
from bunet.experiments.commands import demo, model, party, predict, slices, start, sweep, warmup
from bunet.experiments.one_line import say
from bunet.experiments.options import UsageError

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


def _belongs_to_typer(error: Exception) -> bool:
    """Whether typer's own handling (usage and hint) is for it: it knows how to show itself."""
    return hasattr(error, "exit_code") and hasattr(error, "show")


def explain(error: Exception) -> tuple[str, int]:
    """(one sentence, exit status) for an exception."""
    from bunet.experiments.sweep.reading import ConfigError
    from bunet.models.files.disk_space import is_full, sentence
    from bunet.net.channel import AddressError, ChannelError, InsecureChannel
    from bunet.net.keys import BadKey
    from bunet.parties.errors import RunError

    # A party raises an address or a key that cannot be as the reason why its run ended.
    asked_wrongly = (AddressError, InsecureChannel, BadKey)
    if isinstance(error, asked_wrongly) or isinstance(error.__cause__, asked_wrongly):
        return str(error), 2
    if isinstance(error, (RunError, ChannelError)):
        return str(error), 1
    # Bad arguments are ValueErrors of many kinds, raised at the border with a sentence (VolumeError, CompileError, ...).
    if isinstance(error, (UsageError, ConfigError, FileNotFoundError)) and not getattr(error, "strerror", None):
        return str(error), 2
    if isinstance(error, MemoryError):
        return f"there is not enough memory{f': {error}' if str(error) else ''}", 1
    if isinstance(error, OSError) and is_full(error):
        return sentence(None if error.filename is None else Path(os.fsdecode(error.filename)).parent, error), 1
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # nobody has such a file
        return f"{os.fsdecode(error.filename or '')}: {error.strerror}", 2
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error), 1
    if type(error).__module__.startswith("bunet."):
        return str(error), 2 if isinstance(error, ValueError) else 1
    if isinstance(error, ValueError) and _raised_by_us(error):
        return str(error), 2
    return f"internal error: {type(error).__name__}: {error} (BUNET_DEBUG=1 shows where)", 1


def _raised_by_us(error: Exception) -> bool:
    """Whether the exception left our own code, not a library's."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("bunet.")


app = typer.Typer(
    cls=OneSentence,
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Two-party secure segmentation of CT volumes: neither party sees the other's secret.",
)
bench = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Timings of whole runs and of kernels.")
app.add_typer(bench, name="bench")


@bench.callback()
def bench_group() -> None:
    """Timings of whole runs and of kernels."""


for group in (model, warmup, party, predict, start, demo, sweep):
    group.register(app)
for group in (kernels, slices):
    group.register(bench)
