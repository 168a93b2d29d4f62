"""`bunet demo`: slices of a volume segmented by two processes on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bunet.experiments import checks
from bunet.experiments.commands import options as o
from bunet.experiments.machine import default_cores
from bunet.experiments.settings import DEMO_SIZE, RunSettings, run_options
from bunet.experiments.storage.places import check_apart, writable_parent
from bunet.models.errors import UsageError
from bunet.protocols.defaults import DEFAULTS, OT


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("demo")(demo)


def demo(
    volume: Annotated[
        Path | None,
        typer.Option("--volume", metavar="FILE", help=".npz, .npy, NIfTI, or a DICOM folder, instead of the embedded chest."),
    ] = None,
    series: o.SeriesOption = None,
    truth: o.TruthOption = None,
    label_value: o.LabelValueOption = None,
    size: Annotated[int | None, typer.Option("--size", help="Pixels of a slice  [default: 128, or the volume's own]")] = None,
    features: o.FeaturesOption = 16,
    activation: o.ActivationOption = "relu",
    relu: o.ReluOption = DEFAULTS["relu"],
    pool: o.PoolOption = "avg",
    format: o.FormatOption = "8.4",
    link: o.LinkOption = "lan",
    bandwidth: o.BandwidthOption = None,
    rtt: o.RttOption = None,
    slices: o.SlicesOption = 2,
    in_flight: o.InFlightOption = 2,
    axis: o.AxisOption = "z",
    weights: Annotated[str, typer.Option("--weights", help="auto, demo, random, or a weight file.")] = "auto",
    intensity: o.IntensityOption = "auto",
    field_of_view: o.FieldOption = "auto",
    protocol: o.ProtocolOption = None,
    ot: o.OtOption = OT,
    seed: o.SeedOption = 0,
    cores: o.CoresOption = None,
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
        size=DEMO_SIZE if size is None else size,
        features=features,
        activation=activation,
        pool=pool,
        format=format,
        slices=slices,
        axis=axis,
        seed=seed,
        run=run_options(
            link=checks.link(link, bandwidth, rtt),
            in_flight=in_flight,
            cores=default_cores() if cores is None else cores,
            relu=relu,
            protocols=checks.protocols(protocol or []),
            ot=ot,
        ),
    )
    values = checks.label_values(label_value)
    _check_volume(volume, truth, values, series, (intensity, field_of_view) != ("auto", "auto"))
    if json_file is not None:
        writable_parent("--json", json_file)
    check_apart([volume, truth], out, [out / "mask.npz", json_file])
    _make_folder(out)
    from bunet.experiments.demo import DemoRequest, run_demo
    from bunet.models.volumes.reading import VolumeReading
    from bunet.parties.console import RunConsole

    request = DemoRequest(
        settings,
        out,
        volume=volume,
        own_size=size is None,
        truth=truth,
        reading=VolumeReading(series, checks.intensity(intensity), checks.field_of_view(field_of_view), values),
        weights=weights,
        json=json_file,
        verify=verify,
    )
    result = run_demo(request, RunConsole(bandwidth_bps=settings.run.link.bandwidth_bps))
    if result.document["verified"] is False:
        raise typer.Exit(1)


def _check_volume(volume: Path | None, truth: Path | None, values: tuple[int, ...], series: str | None, read: bool) -> None:
    """UsageError where something is said of a volume, and none is given. read: whether it is said how it is read."""
    if volume is not None:
        return
    if truth is not None:
        raise UsageError("--truth belongs to a --volume; the embedded chest has its own labels")
    if values:
        raise UsageError("--label-value belongs to the label of a --volume; the embedded chest has its own")
    if series is not None:
        raise UsageError("--series belongs to a --volume, the folder of several DICOM series")
    if read:
        raise UsageError("--intensity and --field-of-view belong to a --volume; the embedded chest is read as it is")


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}") from error
    if not os.access(out, os.W_OK):
        raise UsageError(f"--out {out} cannot be written to")
