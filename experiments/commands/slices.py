"""`bunet bench slice`: whole slices timed, of random weights and images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bunet.experiments import checks
from bunet.experiments.commands import options as o
from bunet.experiments.one_line import say
from bunet.experiments.settings import RunSettings, run_options
from bunet.experiments.storage.places import writable_parent
from bunet.protocols.defaults import DEFAULTS, OT

if TYPE_CHECKING:
    from bunet.experiments.bench.slices import Outcome

PROFILE_LINES = 15


def register(bench: typer.Typer) -> None:
    """Add the command to `bench`."""
    bench.command("slice")(bench_slice)


def bench_slice(
    size: o.SizeOption = 128,
    features: o.FeaturesOption = 16,
    activation: o.ActivationOption = "relu",
    relu: o.ReluOption = DEFAULTS["relu"],
    pool: o.PoolOption = "avg",
    format: o.FormatOption = "8.4",
    link: o.LinkOption = "lan",
    bandwidth: o.BandwidthOption = None,
    rtt: o.RttOption = None,
    slices: o.SlicesOption = 1,
    in_flight: o.InFlightOption = 1,
    protocol: o.ProtocolOption = None,
    ot: o.OtOption = OT,
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
        pool=pool,
        format=format,
        slices=slices,
        seed=seed,
        run=run_options(
            link=checks.link(link, bandwidth, rtt),
            in_flight=in_flight,
            cores=cores,
            relu=relu,
            protocols=checks.protocols(protocol or []),
            ot=ot,
        ),
    )
    if json_file is not None:
        writable_parent("--json", json_file)
    from bunet.experiments.bench.slices import Bench
    from bunet.experiments.storage.results import write_json
    from bunet.parties.console import RunConsole

    console = RunConsole(bandwidth_bps=settings.run.link.bandwidth_bps)
    with console:
        outcome = Bench()(settings, verify=verify, subscriber=console, profile=profile)
    console.print_table()
    print_outcome(outcome)
    if json_file is not None:
        write_json(json_file, outcome.document)
    if outcome.document["verified"] is False:
        wrong = outcome.mismatches
        first = f"{len(wrong)} layers differ from the oracle; the first: {wrong[0]}" if wrong else "no layer was compared"
        say(f"bunet: {first}", err=True)
        raise typer.Exit(1)


def print_outcome(outcome: Outcome) -> None:
    """Seconds, Dice, the longest functions where they were profiled, and what was verified."""
    from bunet.models.metrics import dice_text
    from bunet.parties.local.record import beyond_calibration

    document = outcome.document
    run = document["run"]
    seconds = ", ".join(f"{one['seconds']:.2f}" for one in document["slices"])
    say(f"seconds of each slice: {seconds}")
    say(f"Dice of the secure mask against the float model: {dice_text(document['dice']['float'])}")
    for role, lines in outcome.profiles.items():
        say(f"{role}: own seconds of the longest functions")
        for line in lines[:PROFILE_LINES]:
            say(f"  {line.seconds:8.3f} s  {line.calls:7d} calls  {line.place}")
    if document["verified"]:
        say(f"verified: {run['compared_layers']} layers of {run['verified_slices']} of {run['slices']} slices agree")
    for beyond in beyond_calibration(run["beyond_calibration"]):
        say(beyond)
