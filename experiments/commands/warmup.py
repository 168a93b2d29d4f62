"""`bunet warmup`: every kernel compiled before it is needed."""

from __future__ import annotations

from typing import Annotated

import typer

from bunet.experiments.commands.bars import step_bar
from bunet.experiments.one_line import say


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("warmup")(warmup)


def warmup(
    clear: Annotated[
        bool, typer.Option("--clear", help="Compile nothing: remove what other versions left in the cache.")
    ] = False,
) -> None:
    """Compile every kernel of every protocol, so that no run has to; minutes the first time, seconds afterwards.

    BUNET_TIER chooses the instructions; NUMBA_CACHE_DIR another place. Remove other versions only while none runs.

    Examples:

      bunet warmup

      bunet warmup --clear
    """
    from bunet.experiments import warmup as warming

    current = warming.folder()
    if clear:
        count, size = warming.clear(current)
        say(f"removed {_folders(count)} of other versions, {_mebibytes(size)}, from {current.parent.parent}")
        return
    planned = warming.layer_groups(warming.programs())
    with step_bar("compiling", len(planned)) as step:
        warming.compile_all(planned, step)
    say(f"kernels of {len(planned)} kinds of layers are ready: {_mebibytes(warming.size(current))} in {current}")
    others = warming.other_versions(current)
    if others:
        held = _mebibytes(sum(map(warming.size, others)))
        say(f"{held} in {_folders(len(others))} of other versions: bunet warmup --clear removes them")


def _folders(count: int) -> str:
    return "1 folder" if count == 1 else f"{count} folders"


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
