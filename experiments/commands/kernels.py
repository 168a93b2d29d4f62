"""`bunet bench kernels`: every kernel timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bunet.experiments.commands.bars import step_bar
from bunet.experiments.storage.places import writable_parent
from bunet.models.errors import UsageError

if TYPE_CHECKING:
    from bunet.experiments.bench.kernels import Change

MAX_RUNS = 1000


def register(bench: typer.Typer) -> None:
    """Add the command to `bench`."""
    bench.command("kernels")(bench_kernels)


def bench_kernels(
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON.")] = None,
    against: Annotated[
        bool, typer.Option("--compare", help="Also time OpenSSL, SEAL and python-paillier, where installed.")
    ] = False,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="An earlier --json FILE to compare with.")
    ] = None,
    fail_below: Annotated[
        float | None,
        typer.Option("--fail-below", metavar="RATIO", help="Exit 1 if a kernel's speed is below RATIO of the baseline's."),
    ] = None,
    wanted: Annotated[
        str | None, typer.Option("--filter", metavar="NAME", help="Only kernels whose name contains NAME.")
    ] = None,
    runs: Annotated[int, typer.Option("--runs", help="Runs of each kernel; the median counts.")] = 9,
    prototypes: Annotated[
        Path | None,
        typer.Option("--prototypes", metavar="DIR", help="Also compare with the reference programs in DIR, which are run."),
    ] = None,
) -> None:
    """Time every kernel: median and spread of several runs, beside the processor's limit where it is known.

    BUNET_TIER=vaes, aesni or portable chooses the instructions. --compare wants the extras `compare` and `paillier`.
    What --prototypes shows is told in docs/benchmarks.md; its floors do not touch the exit status.

    Examples:

      bunet bench kernels --json before.json

      bunet bench kernels --filter ntt --baseline before.json

      bunet bench kernels --compare

      bunet bench kernels --prototypes DIR --filter ntt
    """
    from bunet.experiments.bench import case, kernels, libraries
    from bunet.experiments.bench.cases import all_cases
    from bunet.experiments.bench.prototype_cases import prototype_cases
    from bunet.experiments.bench.prototypes import check, loaded

    if not 1 <= runs <= MAX_RUNS:
        raise UsageError(f"--runs must be a whole number from 1 to {MAX_RUNS}, not {runs}")
    if fail_below is not None and baseline is None:
        raise UsageError("--fail-below needs a --baseline")
    if fail_below is not None and not 0 < fail_below < float("inf"):
        raise UsageError(f"--fail-below must be above 0, not {fail_below}")
    if json_file is not None:
        writable_parent("--json", json_file)
    earlier = None if baseline is None else kernels.load_baseline(baseline)
    with ExitStack() as stack:
        comparisons = []
        if prototypes is not None:
            check(prototypes)
            modules = stack.enter_context(loaded(prototypes))
            comparisons = case.select(prototype_cases(modules), wanted)
        known = all_cases()
        cases = case.select(known, wanted)
        case.check_filter(wanted, [*cases, *comparisons], known)
        names = {one.name for one in cases}
        others = [one for one in libraries.library_cases() if against and one.name in names]
        from bunet.parties.local.allocator import keep_freed_memory
        from bunet.protocols.kernels.machine import clock

        keep_freed_memory()  # as the parties' processes do
        throughput = case.host()
        with step_bar("timing", len(cases) + len(others) + len(comparisons)) as step:
            clock_hz = None if throughput is None else clock.clock_hz(kernels.CLOCK)
            document = kernels.run(cases, runs=runs, clock_hz=clock_hz, throughput=throughput, step=step)
            libraries.run(document, others, runs=runs, step=step)
            document["duels"] = kernels.run_compared(comparisons, runs=runs, step=step)
    print_figures(document)
    if against:
        print_compared(document)
    if comparisons:
        print_comparisons(document["duels"])
    changes = []
    if earlier is not None:
        changes = kernels.compare(document, earlier)
        for sentence in kernels.differences(document, earlier):
            typer.echo(f"note: {sentence}")
        print_changes(changes, [name for name in sorted(names) if name not in {change.name for change in changes}])
    if json_file is not None:
        from bunet.experiments.storage.results import write_json

        write_json(json_file, document)
    slow = [] if fail_below is None else kernels.too_slow(changes, fail_below)
    if slow:
        what = ", ".join(f"{change.name} ({change.ratio:.2f})" for change in slow)
        typer.echo(f"bunet: below {fail_below} of the baseline's speed: {what}", err=True)
        raise typer.Exit(1)


# --- tables, 80 columns at most ----------------------------------------------------------------------------------------


def figure(value: float) -> str:
    """Four significant digits, without an exponent below ten million."""
    if value >= 1e7:
        return f"{value:.2e}"
    return f"{value:.0f}" if value >= 1000 else f"{value:#.4g}".rstrip(".")


def _table(*columns: tuple[str, str]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for title, justify in columns:
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    return table


def _print(table: Any) -> None:
    from rich.console import Console

    Console(highlight=False).print(table)


def print_figures(document: Mapping[str, Any]) -> None:
    """Median, extremes and limit of every kernel. The last column is the speed as a part of the limit's."""
    place, clock_hz = document["environment"], document["clock_hz"]
    at = "" if clock_hz is None else f" at {clock_hz / 1e9:.2f} GHz"
    typer.echo(f"{place['cpu']}{at}, tier {place['tier']}, one core; medians of {document['runs']} runs")
    if not document["kernels"]:
        return  # the filter chose comparisons only
    table = _table(
        ("kernel", "left"),
        ("median", "right"),
        ("lowest", "right"),
        ("highest", "right"),
        ("unit", "left"),
        ("limit", "right"),
        ("of it", "right"),
    )
    group = None
    for entry in document["kernels"]:
        if group not in (None, entry["name"].partition(".")[0]):
            table.add_row("")
        group = entry["name"].partition(".")[0]
        limit, part = "-", "-"
        if entry["limit"] is not None:
            share = entry["limit"] / entry["median"] if entry["unit"] == "us" else entry["median"] / entry["limit"]
            limit, part = figure(entry["limit"]), f"{share:.0%}"
        table.add_row(
            entry["name"], figure(entry["median"]), figure(entry["low"]), figure(entry["high"]), entry["unit"], limit, part
        )
    _print(table)


def print_compared(document: Mapping[str, Any]) -> None:
    """The other libraries' figures, and ours beside them."""
    if document["compared"]:
        typer.echo("\nThe same work by others; times: our speed over theirs (Paillier: 4096 values)")
        table = _table(
            ("kernel", "left"),
            ("library", "left"),
            ("theirs", "right"),
            ("ours", "right"),
            ("unit", "left"),
            ("times", "right"),
        )
        for entry in document["compared"]:
            table.add_row(
                entry["name"],
                entry["library"],
                figure(entry["median"]),
                figure(entry["ours"]),
                entry["unit"],
                figure(entry["ratio"]),
            )
        _print(table)
    for library in document["absent"]:
        typer.echo(f"absent: {library}")


def print_comparisons(entries: Sequence[Mapping[str, Any]]) -> None:
    """Medians of both sides, our speed over the opponent's by medians and by best runs, and what is asked for."""
    typer.echo("\nCompared in turns; median, best: our speed over theirs, by medians and best runs")
    table = _table(
        ("kernel", "left"),
        ("ours", "right"),
        ("theirs", "right"),
        ("unit", "left"),
        ("median", "right"),
        ("best", "right"),
        ("floor", "right"),
        ("", "left"),
    )
    for entry in entries:
        theirs, median, best, floor = "-", "-", "-", f"{entry['floor']:g} {entry['unit']}"
        if entry["ratio"] is not None:
            theirs, floor = figure(entry["theirs"]["median"]), f"{entry['floor']:.2f}"
            median, best = (f"{entry['ratio'][key]:.2f}" for key in ("median", "best"))
        mark = "BELOW" if entry["verdict"] == "below" else entry["verdict"]
        table.add_row(entry["name"], figure(entry["ours"]["median"]), theirs, entry["unit"], median, best, floor, mark)
    _print(table)
    counts = {verdict: sum(entry["verdict"] == verdict for entry in entries) for verdict in ("met", "below", "unsure")}
    typer.echo(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + f", of {len(entries)} floors")


def print_changes(changes: Sequence[Change], new: Sequence[str]) -> None:
    """Speeds against the baseline's, regressions marked."""
    typer.echo("\nAgainst the baseline; ratio: speed now over speed then")
    table = _table(("kernel", "left"), ("then", "right"), ("now", "right"), ("unit", "left"), ("ratio", "right"), ("", "left"))
    for change in changes:
        mark = {"slower": "SLOWER", "faster": "faster", "same": ""}[change.verdict]
        table.add_row(change.name, figure(change.then), figure(change.now), change.unit, f"{change.ratio:.2f}", mark)
    _print(table)
    slower = sum(change.verdict == "slower" for change in changes)
    faster = sum(change.verdict == "faster" for change in changes)
    typer.echo(f"beyond the noise: {slower} slower, {faster} faster, of {len(changes)} kernels")
    if new:
        typer.echo(f"not in the baseline: {', '.join(new)}")
