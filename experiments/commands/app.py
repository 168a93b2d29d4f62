"""The command line: `bunet demo`, `bench`, `sweep`, and what other files add to it.

Errors are one sentence on standard error: status 2 for what was asked wrongly, 1 for a run that failed. BUNET_DEBUG=1
shows the traceback instead.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bunet.experiments import options as o
from bunet.experiments.commands import bench as commands_kernels
from bunet.experiments.commands import model, party, predict, start
from bunet.experiments.one_line import say
from bunet.experiments.options import RunSettings, UsageError
from bunet.experiments.storage.apart import check_apart
from bunet.experiments.sweep.config import ConfigError, Point
from bunet.experiments.sweep.config import load as load_config
from bunet.models.volumes.about import software

STOPPED = 130
UNREAD = 141  # as of a process that SIGPIPE ends
PROFILE_LINES = 15


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


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"bunet {software()}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version.")] = False,
) -> None: ...


model.register(app)
commands_kernels.register(app, bench)
party.register(app)
predict.register(app)
start.register(app)


@app.command()
def demo(
    volume: Annotated[
        Path | None,
        typer.Option("--volume", metavar="FILE", help=".npz, .npy, NIfTI, or a DICOM folder, instead of the embedded chest."),
    ] = None,
    series: o.SeriesOption = None,
    truth: Annotated[Path | None, typer.Option("--truth", metavar="FILE", help="Labels of the volume, for the Dice.")] = None,
    label_value: o.LabelValueOption = None,
    size: Annotated[int | None, typer.Option("--size", help="Pixels of a slice  [default: 128, or the volume's own]")] = None,
    features: o.FeaturesOption = 16,
    activation: o.ActivationOption = "relu",
    relu: o.ReluOption = "gc-sign",
    pool: o.PoolOption = "avg",
    format: o.FormatOption = "8.4",
    link: o.LinkOption = "lan",
    bandwidth: o.BandwidthOption = None,
    rtt: o.RttOption = None,
    slices: o.SlicesOption = 2,
    in_flight: o.InFlightOption = 2,
    axis: Annotated[str, typer.Option("--axis", help="x, y or z: what the slices are perpendicular to.")] = "z",
    weights: Annotated[str, typer.Option("--weights", help="auto, demo, random, or a weight file.")] = "auto",
    intensity: o.IntensityOption = "auto",
    field_of_view: o.FieldOption = "auto",
    protocol: o.ProtocolOption = None,
    ot: o.OtOption = "iknp",
    seed: o.SeedOption = 0,
    cores: Annotated[int | None, typer.Option("--cores", help="Cores of each party  [default: half of the machine]")] = None,
    verify: o.VerifyOption = True,
    json_file: o.JsonOption = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for mask.npz, overlay.png, run.json.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Segment slices of a CT volume with two processes on this machine, and show what it cost.

    Examples:

      bunet demo

      bunet demo --volume ct.npz --slices 4 --format 12.4 --link wan

      bunet demo --bandwidth 200Mbit --rtt 20ms --activation hybrid --json run.json
    """
    settings = RunSettings(
        size=o.DEMO_SIZE if size is None else size,
        features=features,
        activation=activation,
        relu=relu,
        pool=pool,
        format=format,
        link=o.chosen_link(link, bandwidth, rtt),
        slices=slices,
        in_flight=in_flight,
        axis=axis,
        seed=seed,
        cores=o.default_cores() if cores is None else cores,
        protocols=o.chosen_protocols(protocol or []),
        ot=ot,
    )
    if truth is not None and volume is None:
        raise UsageError("--truth belongs to a --volume; the embedded chest has its own labels")
    values = o.label_values(label_value)
    if values and volume is None:
        raise UsageError("--label-value belongs to the label of a --volume; the embedded chest has its own")
    if series is not None and volume is None:
        raise UsageError("--series belongs to a --volume, the folder of several DICOM series")
    if volume is None and (intensity, field_of_view) != ("auto", "auto"):
        raise UsageError("--intensity and --field-of-view belong to a --volume; the embedded chest is read as it is")
    if json_file is not None:
        o.writable_parent("--json", json_file)
    check_apart([volume, truth], out, [out / "mask.npz", *[json_file] * bool(json_file)])
    _make_folder(out)
    from bunet.experiments.demo import DemoRequest, run_demo
    from bunet.parties.console import RunConsole

    console = RunConsole(bandwidth_bps=settings.link.bandwidth_bps)
    request = DemoRequest(
        settings,
        out,
        size,
        volume,
        truth,
        weights,
        json_file,
        verify,
        values,
        series,
        o.chosen_intensity(intensity),
        o.chosen_field_of_view(field_of_view),
    )
    result = run_demo(request, console)
    if result.document["verified"] is False:
        raise typer.Exit(1)


@bench.callback()
def bench_group() -> None:
    """Timings of whole runs and of kernels."""


@bench.command("slice")
def bench_slice(
    size: Annotated[int, typer.Option("--size", help="Pixels of a (square) slice.")] = 128,
    features: o.FeaturesOption = 16,
    activation: o.ActivationOption = "relu",
    relu: o.ReluOption = "gc-sign",
    pool: o.PoolOption = "avg",
    format: o.FormatOption = "8.4",
    link: o.LinkOption = "lan",
    bandwidth: o.BandwidthOption = None,
    rtt: o.RttOption = None,
    slices: o.SlicesOption = 1,
    in_flight: o.InFlightOption = 1,
    protocol: o.ProtocolOption = None,
    ot: o.OtOption = "iknp",
    seed: o.SeedOption = 0,
    cores: Annotated[int, typer.Option("--cores", help="Cores of each party.")] = 1,
    verify: o.VerifyOption = True,
    profile: Annotated[
        bool, typer.Option("--profile", help="Say which kernels the compute threads were in; slows the run a little.")
    ] = False,
    json_file: o.JsonOption = None,
) -> None:
    """Time whole slices: two processes, seeded random weights and images, kernels compiled before the clock starts.

    Examples:

      bunet bench slice

      bunet bench slice --size 256 --format 12.4 --link wan --slices 2 --in-flight 2 --json run.json
    """
    settings = RunSettings(
        size=size,
        features=features,
        activation=activation,
        relu=relu,
        pool=pool,
        format=format,
        link=o.chosen_link(link, bandwidth, rtt),
        slices=slices,
        in_flight=in_flight,
        seed=seed,
        cores=cores,
        protocols=o.chosen_protocols(protocol or []),
        ot=ot,
    )
    if json_file is not None:
        o.writable_parent("--json", json_file)
    from bunet.experiments.bench.slices import Bench
    from bunet.experiments.storage.results import write_json
    from bunet.models.metrics import dice_text
    from bunet.parties.console import RunConsole
    from bunet.parties.local.record import beyond_calibration

    console = RunConsole(bandwidth_bps=settings.link.bandwidth_bps)
    with console:
        outcome = Bench()(settings, verify=verify, subscriber=console, profile=profile)
    console.print_table()
    seconds = ", ".join(f"{one['seconds']:.2f}" for one in outcome.document["slices"])
    say(f"seconds of each slice: {seconds}")
    say(f"Dice of the secure mask against the float model: {dice_text(outcome.document['dice']['float'])}")
    if profile:
        for role, lines in outcome.result.profiles.items():
            say(f"{role}: own seconds of the longest functions")
            for line in lines[:PROFILE_LINES]:
                say(f"  {line.seconds:8.3f} s  {line.calls:7d} calls  {line.place}")
    run = outcome.document["run"]
    if outcome.document["verified"]:
        say(f"verified: {run['compared_layers']} layers of {run['verified_slices']} of {slices} slices agree")
    for beyond in beyond_calibration(run["beyond_calibration"]):
        say(beyond)
    if json_file is not None:
        write_json(json_file, outcome.document)
    if outcome.document["verified"] is False:
        wrong = outcome.mismatches
        first = f"{len(wrong)} layers differ from the oracle; the first: {wrong[0]}" if wrong else "no layer was compared"
        say(f"bunet: {first}", err=True)
        raise typer.Exit(1)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="The experiment file.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the results  [default: runs/NAME]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the points, run none.")] = False,
    volume: Annotated[
        Path | None, typer.Option("--volume", metavar="FILE", help="CT to run on, for an experiment with trained weights.")
    ] = None,
    truth: Annotated[Path | None, typer.Option("--truth", metavar="FILE", help="Labels of the volume.")] = None,
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
    from bunet.experiments import prepare
    from bunet.experiments.sweep import data as sweep_data
    from bunet.experiments.sweep import run as sweeping

    config = load_config(file)
    asked = sweep_data.Asked(
        volume,
        truth,
        o.label_values(label_value),
        series,
        None if intensity is None else o.chosen_intensity(intensity),
        None if field_of_view is None else o.chosen_field_of_view(field_of_view),
    )
    data = sweep_data.chosen_data(config, asked, say)
    points = list(config.points(data))
    warnings: dict[str, None] = {}
    for point in points:  # what does not fit together is said before the first run
        settings = sweeping.settings_of(point)
        if point.data is not None:
            chosen = prepare.choose_weights(settings, point.data.weights, (point.size, point.size))
            if chosen.warning:
                warnings[f"warning: {point.data.weights}: {chosen.warning}"] = None
    for warning in warnings:
        say(warning)
    folder = out or Path("runs") / config.name
    inputs = [file for each in data.values() for file in (each.volume, each.truth)]
    check_apart(inputs, folder, [folder / "points.jsonl"])
    if dry_run:
        entries, _ = sweeping.read_points(folder / "points.jsonl")
        for point in points:
            done = "document" in entries.get(point.identity(), {})
            say(f"{'done' if done else 'to do':6}{sweeping.title_of(point)}")
        return
    from bunet.experiments.bench.slices import Bench

    run = Bench()

    def runner(point: Point) -> dict[str, Any]:
        return run(sweeping.settings_of(point), verify=point.verify, data=point.data).document

    say(f"{config.name}: {len(points)} points, results in {folder}")
    summary = sweeping.run_sweep(config, folder, runner, say, data=data)
    counts = f"{summary.ran} points run, {summary.skipped} skipped, {summary.failed} failed"
    say(f"{counts}; table in {folder}/{'accuracy.md' if data else 'points.csv'}")
    for picture in summary.pictures:
        say(f"picture: {picture}")
    if summary.failed or summary.disagreeing:
        what = [f"{summary.failed} failed"] * bool(summary.failed)
        what += [f"{summary.disagreeing} do not agree with the oracle"] * bool(summary.disagreeing)
        say(f"bunet: of {summary.points} points {' and '.join(what)}, see {folder}/points.jsonl", err=True)
        raise typer.Exit(1)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}") from error
    if not os.access(out, os.W_OK):
        raise UsageError(f"--out {out} cannot be written to")
