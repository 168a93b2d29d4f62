"""The command line: every command's file adds its own to it.

Errors are one sentence on standard error: status 2 for what was asked wrongly, 1 for a run that failed. BUNET_DEBUG=1
shows the traceback instead.
"""

from __future__ import annotations

from typing import Annotated

import typer

from bunet.experiments.commands import demo, kernels, model, party, predict, slices, start, sweep, warmup
from bunet.experiments.commands.failure import OneSentence
from bunet.models.volumes.about import software

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


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"bunet {software()}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version.")] = False,
) -> None: ...


for group in (model, warmup, party, predict, start, demo, sweep):
    group.register(app)
for group in (kernels, slices):
    group.register(bench)
