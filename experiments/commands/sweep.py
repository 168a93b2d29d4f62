"""`bunet sweep`: a grid of runs from an experiment file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bunet.experiments import checks
from bunet.experiments.commands import options as o
from bunet.experiments.one_line import say


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("sweep")(sweep)


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="The experiment file.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the results  [default: runs/NAME]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the points, run none.")] = False,
    volume: Annotated[
        Path | None, typer.Option("--volume", metavar="FILE", help="CT to run on, for an experiment with trained weights.")
    ] = None,
    truth: o.TruthOption = None,
    label_value: o.LabelValueOption = None,
    series: o.SeriesOption = None,
    intensity: Annotated[
        str | None, typer.Option("--intensity", help="How the volume's values become the network's  [default: auto]")
    ] = None,
    field_of_view: Annotated[
        str | None, typer.Option("--field-of-view", help="auto or whole, as `bunet demo` has it  [default: auto]")
    ] = None,
) -> None:
    """Run a grid of links, protocols, formats and slices in flight; an interrupted sweep goes on where it stopped.

    Writes points.jsonl, points.csv, seconds_by_link.png and seconds_by_protocol.png; on CT also accuracy.md, accuracy.csv
    and seconds_by_kind.png.

    Examples:

      bunet sweep experiments/network.yaml

      bunet sweep experiments/network.yaml --out runs/again --dry-run

      bunet sweep experiments/accuracy.yaml --volume case.npz
    """
    from bunet.experiments.sweep.data import Asked
    from bunet.experiments.sweep.job import SweepJob
    from bunet.experiments.sweep.reading import load

    config = load(file)
    asked = Asked(
        volume=volume,
        truth=truth,
        label_value=checks.label_values(label_value),
        series=series,
        intensity=None if intensity is None else checks.intensity(intensity),
        field_of_view=None if field_of_view is None else checks.field_of_view(field_of_view),
    )
    job = SweepJob.of(config, asked, out, say)
    if dry_run:
        for line in job.progress():
            say(line)
        return
    folder, data = job.folder, job.data
    say(f"{config.name}: {len(job.points)} points, results in {folder}")
    summary = job.run(say)
    counts = f"{summary.ran} points run, {summary.skipped} skipped, {summary.failed} failed"
    say(f"{counts}; table in {folder}/{'accuracy.md' if data else 'points.csv'}")
    for picture in summary.pictures:
        say(f"picture: {picture}")
    if summary.failed or summary.disagreeing:
        what = [f"{summary.failed} failed"] * bool(summary.failed)
        what += [f"{summary.disagreeing} do not agree with the oracle"] * bool(summary.disagreeing)
        say(f"bunet: of {summary.points} points {' and '.join(what)}, see {folder}/points.jsonl", err=True)
        raise typer.Exit(1)
