"""`bunet train`, `bunet evaluate`, `bunet compile`, `bunet plan`: what concerns the model, before any party runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bunet.experiments import checks
from bunet.experiments.commands import evaluate
from bunet.experiments.commands import options as o
from bunet.experiments.commands.bars import TrainBar
from bunet.experiments.one_line import say
from bunet.experiments.settings import RunSettings, run_options
from bunet.experiments.storage.places import writable_parent
from bunet.models import extras
from bunet.models.errors import UsageError
from bunet.models.network.architecture import Architecture
from bunet.models.training.config import TEST_CASES, VALIDATION_CASES, TrainConfig
from bunet.net.link import Link
from bunet.protocols.defaults import DEFAULTS, OT

if TYPE_CHECKING:
    from bunet.parties.events import LayerPlan


DROPPED = ("shape", "bits", "rnd", "MiB Bob", "MiB Alice", "protocol")  # columns of a plan, where there is no room for them


def register(app: typer.Typer) -> None:
    """Add the five commands to the command line."""
    app.command("train")(train)
    evaluate.register(app)
    app.command("compile")(compile_weights)
    app.command("plan")(plan)
    app.command("seal")(seal)


def train(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the weights go (.safetensors).")],
    size: o.SizeOption = TrainConfig.size,
    features: o.FeaturesOption = Architecture.features,
    activation: o.ActivationOption = Architecture.activation,
    pool: o.PoolOption = Architecture.pooling,
    steps: Annotated[int, typer.Option("--steps", help="Optimiser steps.")] = TrainConfig.steps,
    volumes: Annotated[int, typer.Option("--volumes", help="Distinct synthetic training volumes.")] = TrainConfig.volumes,
    batch: Annotated[int, typer.Option("--batch", help="Slices a step.")] = TrainConfig.batch,
    rate: Annotated[float, typer.Option("--rate", help="Learning rate.")] = TrainConfig.rate,
    evaluate_every: Annotated[
        int, typer.Option("--evaluate-every", help="Steps between evaluations.")
    ] = TrainConfig.evaluate_every,
    patience: Annotated[
        int, typer.Option("--patience", help="Evaluations without a better Dice before stopping; 0: never.")
    ] = TrainConfig.patience,
    initial: Annotated[Path | None, typer.Option("--initial", metavar="FILE", help="Weights to start from.")] = None,
    settle: Annotated[
        float | None,
        typer.Option("--settle", help="Last share of the steps, with fixed norms  [default: 0.5 with squares, else 0]"),
    ] = None,
    threads: o.ThreadsOption = TrainConfig.threads,
    mixed: Annotated[bool, typer.Option("--mixed", help="bfloat16 where torch deems it safe.")] = TrainConfig.mixed,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside --out.")] = False,
    seed: o.SeedOption = TrainConfig.seed,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Folder of CT cases (.npz); without it synthetic chests.")
    ] = None,
    target: Annotated[str, typer.Option("--target", help="infection or lung: what is labelled.")] = TrainConfig.target,
    label_value: o.LabelValueOption = None,
    intensity: o.IntensityOption = TrainConfig.intensity,
    axis: o.AxisOption = TrainConfig.axis,
    test: Annotated[
        str, typer.Option("--test", metavar="NAMES", help="Cases kept for test, comma-separated; used with --data.")
    ] = ",".join(TEST_CASES),
    validation: Annotated[
        str, typer.Option("--validation", metavar="NAMES", help="Cases by which the best step is chosen.")
    ] = ",".join(VALIDATION_CASES),
) -> None:
    """Train weights on synthetic chests or on real CT cases; the best ones so far are always in --out.

    Needs torch (the extra `models`). A case is an .npz file with the keys ct, infection and lung_derived.

    Examples:

      bunet train --out relu.safetensors

      bunet train --out hybrid.safetensors --activation hybrid --initial relu.safetensors --steps 600

      bunet train --out relu.safetensors --resume

      bunet train --out infection-z.safetensors --data covid_ct_seg_128 --target infection --axis z --patience 8
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out} must end in .safetensors")
    values = checks.label_values(label_value)
    if values and data is None:
        raise UsageError("--label-value belongs to --data; synthetic chests have labels of their own")
    if checks.intensity(intensity) != "auto" and data is None:
        raise UsageError("--intensity belongs to --data; synthetic chests are read as they are")
    settings = RunSettings(size=size, features=features, activation=activation, pool=pool, seed=seed)
    try:
        from bunet.models.training import train as training
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError(f"training needs torch: {extras.how('models')}") from error
    config = TrainConfig(
        output=out,
        architecture=settings.architecture(),
        size=size,
        volumes=volumes,
        steps=steps,
        batch=batch,
        rate=rate,
        evaluate_every=evaluate_every,
        patience=patience,
        seed=seed,
        initial=initial,
        settle=settle,
        mixed=mixed,
        threads=threads,
        data=data,
        target=target,
        axis=axis,
        test_cases=checks.names(test),
        validation_cases=checks.names(validation),
        label_values=values,
        intensity=intensity,
    )
    with TrainBar(config.steps) as bar:
        result = training.train(config, bar.evaluated, resume, bar.stepped, bar.say)
    stopped = ", stopped early" if result.stopped_early else ""
    say(
        f"best: validation Dice {result.dice:.4f} against the labels at step {result.step}{stopped}; weights in {result.output}"
    )


def compile_weights(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the compiled model goes.")],
    weights: Annotated[str, typer.Option("--weights", help="A weight file, or committed ones such as demo-relu.")],
    size: Annotated[str, typer.Option("--size", help="Pixels of a square slice, or HEIGHTxWIDTH; multiples of 16.")] = "128",
    format: o.FormatOption = "8.4",
    readout: Annotated[
        str, typer.Option("--readout", help="argmax, label-share, logits or share: what Alice learns.")
    ] = "argmax",
    name: Annotated[
        str | None, typer.Option("--name", help="The model's name, for Alice  [default: as the weights say, or their file]")
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="Its version  [default: as the weights say, or 1]")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="What it marks: infection, lung, ...  [default: as the weights say]")
    ] = None,
    axis: Annotated[
        str | None, typer.Option("--axis", help="x, y or z: of its slices; z is the volume's  [default: as the weights say]")
    ] = None,
) -> None:
    """Fold, calibrate and round float weights: the model file that Bob serves for slices of one size and format.

    Calibrated with the ranges that `bunet train` noted in the weights, else on synthetic chests; never on Alice's volume.
    Alice is told the model's target, axis, name and version. Compiled again, a model has a new commitment to its weights, and
    runs that began with the old file do not go on with it.

    Examples:

      bunet compile --weights demo-relu --out lesion.model

      bunet compile --weights relu.safetensors --size 256 --format 12.4 --out wide.model

      bunet compile --weights demo-relu --size 192x256 --axis y --out coronal.model

      bunet compile --weights infection-z --name infection-z --version 2 --out infection-z.model
    """
    from bunet.experiments.calibration import compile_for
    from bunet.experiments.weights_choice import model_card, named_weights
    from bunet.models.commitment import SALT_BYTES
    from bunet.models.compiled import save_compiled
    from bunet.models.program import READOUTS
    from bunet.protocols.random import Random

    checks.one_of("--readout", readout, READOUTS)
    height, width = checks.slice_size("--size", size)
    writable_parent("--out", out)
    loaded = named_weights(weights)
    card = model_card(weights, {"name": name, "version": version, "target": target, "axis": axis})
    architecture = loaded.weights.architecture
    settings = RunSettings(features=architecture.features, pool=architecture.pooling, format=format)
    compiled = replace(compile_for(settings, loaded, (height, width), readout), card=card, salt=Random().bytes(SALT_BYTES))
    save_compiled(compiled, out)
    program = compiled.program
    say(f"{out}: {len(program.nodes)} layers, format {format}, {height}x{width}, program {program.digest()[:12]}")
    say(f"model: {card}")
    say(f"calibrated: {loaded.calibration}")
    say(f"commitment to the weights: {compiled.commitment}")
    if loaded.licence:
        say(f"licence of these weights: {loaded.licence}")
    if loaded.warning:
        say(f"warning: {loaded.warning}")


def plan(
    size: o.SizeOption = 128,
    features: o.FeaturesOption = 16,
    activation: o.ActivationOption = "relu",
    relu: o.ReluOption = DEFAULTS["relu"],
    pool: o.PoolOption = "avg",
    format: o.FormatOption = "8.4",
    link: o.LinkOption = "lan",
    bandwidth: o.BandwidthOption = None,
    rtt: o.RttOption = None,
    protocol: o.ProtocolOption = None,
    ot: o.OtOption = OT,
    seed: o.SeedOption = 0,
) -> None:
    """Show the protocol of every layer and its stated cost for one slice, without running it.

    Widths follow from random weights of the seed; other weights may shift them by a bit.

    Examples:

      bunet plan --size 256 --relu gc

      bunet plan --activation hybrid --pool max --link wan
    """
    settings = RunSettings(
        size=size,
        features=features,
        activation=activation,
        pool=pool,
        format=format,
        seed=seed,
        run=run_options(link=checks.link(link, bandwidth, rtt), relu=relu, protocols=checks.protocols(protocol or []), ot=ot),
    )
    from bunet.experiments.calibration import compile_for
    from bunet.experiments.weights_choice import ChosenWeights
    from bunet.models.network.seeded import seeded_weights
    from bunet.parties import planner

    random = ChosenWeights(seeded_weights(settings.architecture(), seed), "random", False)
    program = compile_for(settings, random, (size, size)).program
    layers = planner.plan(program, planner.choose(program, settings.run.protocols), settings.run.settings)
    print_plan([layer.summary for layer in layers], settings.run.link)


def seal(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Weight files of an earlier version.")],
) -> None:
    """Give weight files of an earlier version the checksum that is verified now. Whether they are whole cannot be known.

    Example: bunet seal relu.safetensors
    """
    from bunet.models.network import weights

    for path in files:
        say(f"{path}: {'sealed' if weights.seal(path) else 'has its checksum already'}")


def print_plan(lines: list[LayerPlan], link: Link) -> None:
    """The plan as a table; layers that cost no traffic are counted, not listed.

    Names and figures are whole: a terminal that is too narrow, or COLUMNS, gets fewer columns; a pipe or a file gets all.
    """
    from rich.console import Console
    from rich.table import Table

    from bunet.parties.words import mebibytes

    costly = [line for line in lines if line.alice_bytes or line.bob_bytes or line.rounds]
    columns = {
        "layer": [line.name for line in costly],
        "protocol": [line.protocol for line in costly],
        "shape": ["x".join(map(str, line.shape)) for line in costly],
        "bits": [str(line.width) for line in costly],
        "MiB Alice": [mebibytes(line.alice_bytes) for line in costly],
        "MiB Bob": [mebibytes(line.bob_bytes) for line in costly],
        "rnd": [str(line.rounds) for line in costly],
    }
    console = Console(highlight=False)
    known = console.is_terminal or "COLUMNS" in os.environ
    for title in DROPPED if known else ():
        if _table_width(columns) > console.width:
            del columns[title]
    console.width = max(console.width, _table_width(columns))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for title in columns:
        table.add_column(title, justify="left" if title in ("layer", "protocol") else "right", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    console.print(table)
    alice, bob = sum(line.alice_bytes for line in lines), sum(line.bob_bytes for line in lines)
    rounds = sum(line.rounds for line in lines)
    floor_s = max(link.transfer_seconds(alice), link.transfer_seconds(bob)) + rounds * link.rtt_s / 2
    say(
        f"and {len(lines) - len(costly)} local layers. A slice: {mebibytes(alice)} MiB from Alice, "
        f"{mebibytes(bob)} MiB from Bob, {rounds} rounds; "
        f"link {link.name} alone takes {floor_s:.2f} s of it where nothing overlaps."
    )


def _table_width(columns: Mapping[str, list[str]]) -> int:
    """Cells, with one between two columns."""
    return sum(max(map(len, (title, *cells))) for title, cells in columns.items()) + len(columns) - 1
