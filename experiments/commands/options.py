"""The options that commands share: each has one type and one help text, whichever command has it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bunet.models.volumes.content.intensity import RULES
from bunet.net.link import PRESETS

RELU_HELP = "Protocol of the ReLU layers, such as gc-sign or gc."

LabelValueOption = Annotated[
    str | None,
    typer.Option("--label-value", metavar="VALUES", help="What is inside, such as 3 or 1,2, where a label has several values."),
]
FeaturesOption = Annotated[int, typer.Option("--features", help="Channels of the first level; doubled at each next one.")]
ActivationOption = Annotated[
    str, typer.Option("--activation", help="relu, square, or hybrid (square on the two finest levels).")
]
ReluOption = Annotated[str, typer.Option("--relu", help=RELU_HELP)]
OptionalReluOption = Annotated[str | None, typer.Option("--relu", help=RELU_HELP)]
PoolOption = Annotated[str, typer.Option("--pool", help="avg or max.")]
FormatOption = Annotated[str, typer.Option("--format", help="Operand bits INTEGER.FRACTION, such as 8.4, 12.4, 8.8.")]
LinkOption = Annotated[
    str, typer.Option("--link", help=f"Emulated link: {', '.join(PRESETS)}, or BANDWIDTH,RTT such as 200Mbit,20ms.")
]
BandwidthOption = Annotated[str | None, typer.Option("--bandwidth", help="Overrides the link's bandwidth, such as 200Mbit.")]
RttOption = Annotated[str | None, typer.Option("--rtt", help="Overrides the link's round-trip time, such as 20ms.")]
SlicesOption = Annotated[int, typer.Option("--slices", help="How many slices to segment.")]
InFlightOption = Annotated[int, typer.Option("--in-flight", help="Slices that run interleaved.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of random weights and inputs; never of secrets.")]
ProtocolOption = Annotated[
    list[str] | None,
    typer.Option("--protocol", help="OPERATION=PROTOCOL or LAYER=PROTOCOL, such as maxpool=gc; may be repeated."),
]
OtOption = Annotated[
    str, typer.Option("--ot", help="OT extension: iknp, or softspoken-2, -4, -8 for less traffic and more computation.")
]
SeriesOption = Annotated[
    str | None, typer.Option("--series", metavar="N", help="Which series of a DICOM folder that holds several, by its number.")
]
IntensityOption = Annotated[
    str,
    typer.Option("--intensity", help=f"auto, or {', '.join(RULES)}: how values become the network's."),
]
PredictIntensityOption = Annotated[
    str,
    typer.Option("--intensity", help=f"auto (as-is for .pth), or {', '.join(RULES)}: how values become the network's."),
]
FieldOption = Annotated[
    str, typer.Option("--field-of-view", help="auto: slices are cut to a body that is small in them; whole: never.")
]
JsonOption = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the run as one JSON document.")]
VerifyOption = Annotated[bool, typer.Option("--verify/--no-verify", help="Compare every layer with the oracle afterwards.")]
SizeOption = Annotated[int, typer.Option("--size", help="Pixels of a (square) slice.")]
AxisOption = Annotated[str, typer.Option("--axis", help="x, y or z: what the slices are perpendicular to.")]
TruthOption = Annotated[Path | None, typer.Option("--truth", metavar="FILE", help="Labels of the volume, for the Dice.")]
CoresOption = Annotated[int | None, typer.Option("--cores", help="Cores of each party  [default: half of the machine]")]
ThreadsOption = Annotated[int, typer.Option("--threads", help="Threads of torch.")]
