"""`bunet predict`: whole volumes, along three axes, with lung and infection models, as the published script does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bunet.experiments import checks
from bunet.experiments.commands import options as o
from bunet.experiments.machine import default_cores
from bunet.experiments.one_line import one_line
from bunet.experiments.storage.places import writable_parent
from bunet.models.errors import UsageError
from bunet.models.network.architecture import POOLINGS
from bunet.parties.console import RunConsole
from bunet.protocols.defaults import DEFAULTS, OT

DOCUMENT_VERSION = 1


def register(app: typer.Typer) -> None:
    """Add the command to the command line, with the published script's spelling of its options."""
    app.command("predict")(predict)


def predict(
    model_infection_dir: Annotated[
        str,
        typer.Option(
            "--model-infection-dir",
            "--model_infection_dir",
            metavar="DIR",
            help="Folder with best_model-X.pth (array axis 0), -Y, -Z; or clinical, clinical-hybrid: committed ones.",
        ),
    ] = "clinical",
    model_lung_dir: Annotated[
        str, typer.Option("--model-lung-dir", "--model_lung_dir", metavar="DIR", help="Likewise, of the lung models.")
    ] = "clinical",
    test_data_dir: Annotated[
        Path | None,
        typer.Option(
            "--test-data-dir",
            "--test_data_dir",
            metavar="DIR",
            help="Folder of cases: ID/ID.npz (key array), ID/ID_label.npz if there is one.",
        ),
    ] = None,
    volume: Annotated[
        Path | None, typer.Option("--volume", metavar="FILE", help="One .npz, .npy, NIfTI or DICOM folder instead.")
    ] = None,
    series: o.SeriesOption = None,
    label: Annotated[Path | None, typer.Option("--label", metavar="FILE", help="Label of --volume, for the Dice.")] = None,
    label_value: o.LabelValueOption = None,
    axes: Annotated[
        str, typer.Option("--axes", help="Which of x, y, z make one mask together; z is the slices (for .pth: array axis 2).")
    ] = "x,y,z",
    which: Annotated[
        str, typer.Option("--slices", metavar="A:B", help="Only these positions, along every axis; or such as z=20:24.")
    ] = ":",
    ensemble: Annotated[
        str, typer.Option("--ensemble", help="probabilities, argmax, or majority: which opens the combined mask only.")
    ] = "probabilities",
    lung_mask: Annotated[bool, typer.Option("--lung-mask/--no-lung-mask", help="Cut the infection to the lung.")] = True,
    filtered: Annotated[
        bool | None,
        typer.Option(
            "--maximum-filter/--no-maximum-filter",
            help="Widen masks by a voxel  [default: for published models, and those of 512 pixels]",
        ),
    ] = None,
    float_only: Annotated[bool, typer.Option("--float", help="The same job in the clear, for comparison.")] = False,
    compare: Annotated[
        bool, typer.Option("--compare/--no-compare", help="Also run it in the clear, and say how well the masks agree.")
    ] = True,
    format: o.FormatOption = "12.4",
    relu: o.ReluOption = DEFAULTS["relu"],
    protocol: o.ProtocolOption = None,
    ot: o.OtOption = OT,
    link: o.LinkOption = "lan",
    bandwidth: o.BandwidthOption = None,
    rtt: o.RttOption = None,
    in_flight: o.InFlightOption = 2,
    cores: o.CoresOption = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Pixels of the network's slices  [default: the models' own, or the volume's]")
    ] = None,
    pool: Annotated[str, typer.Option("--pool", help="avg, max, or auto: as a .pth file's batch norms tell.")] = "auto",
    activation: Annotated[str, typer.Option("--activation", help="Of .pth files: relu, square or hybrid.")] = "relu",
    calibration: Annotated[
        list[Path] | None,
        typer.Option("--calibration", metavar="FILE", help="Volumes of Bob's to calibrate .pth files on; may be repeated."),
    ] = None,
    intensity: o.PredictIntensityOption = "auto",
    field_of_view: o.FieldOption = "auto",
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write the mean probability of infection.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hold every layer of each session's first slices against the oracle.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Masks, reports, and every slice as soon as it is done.")
    ] = Path("result"),
    json_file: o.JsonOption = None,
) -> None:
    """Segment the infection in whole volumes: two models, three axes, one mask, by two processes on this machine.

    The same command goes on where it was cut off. DIR gets ID_prediction.* and ID_lung.* in the volume's format, and in ID/
    report.html, pictures and result.json. Files .pth need torch (the extra `models`).

    Examples:

      bunet predict --volume ct.nii.gz --slices z=60:64

      bunet predict --model-infection-dir infection --model-lung-dir lung --test-data-dir test

      bunet predict --test-data-dir test --ensemble majority --format 8.4 --link wan

      bunet predict --volume dicom_folder --axes z --float

      bunet predict --volume coronacases_001.nii.gz --label Lung_and_Infection_Mask/coronacases_001.nii.gz --label-value 3
    """
    from bunet.experiments.predict.run import PredictRequest
    from bunet.experiments.predict.run import predict as run_predict
    from bunet.experiments.predict.settings import PredictSettings
    from bunet.experiments.settings import run_options
    from bunet.experiments.storage.results import write_json
    from bunet.models.volumes.reading import VolumeReading

    settings = PredictSettings(
        axes=checks.names(axes),
        ensemble=ensemble,
        lung_mask=lung_mask,
        filtered=filtered,
        format=format,
        run=run_options(
            link=checks.link(link, bandwidth, rtt),
            in_flight=in_flight,
            cores=default_cores() if cores is None else cores,
            relu=relu,
            protocols=checks.protocols(protocol or []),
            ot=ot,
        ),
        secure=not float_only,
        compare=compare,
        size=size,
        reading=VolumeReading(series, intensity, field_of_view, checks.label_values(label_value)),
        slices=which,
        probabilities=probabilities,
        verify=verify,
    )
    checks.one_of("--pool", pool, ("auto", *POOLINGS))
    if (volume is None) == (test_data_dir is None):
        raise UsageError("give either --test-data-dir or --volume")
    if label is not None and volume is None:
        raise UsageError("--label belongs to a --volume; cases of --test-data-dir have their ID_label.npz")
    if json_file is not None:
        writable_parent("--json", json_file)
    request = PredictRequest(
        settings,
        out,
        infection_models=model_infection_dir,
        lung_models=model_lung_dir,
        cases=test_data_dir,
        volume=volume,
        label=label,
        pool=pool,
        activation=activation,
        calibration=tuple(calibration or ()),
        json=json_file,
    )
    documents = run_predict(request, PredictView(Console(highlight=False)), date.today().isoformat())
    if json_file is not None:
        write_json(json_file, {"version": DOCUMENT_VERSION, "cases": documents})


class PredictView:
    """A prediction on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(one_line(text), highlight=False, markup=False, soft_wrap=True)

    def session(self, bandwidth_bps: float, above: Callable[[], str]) -> RunConsole:
        """What shows a session of the parties. above: the line over it."""
        return RunConsole(bandwidth_bps=bandwidth_bps, console=self._console, above=above)

    def track(self, title: str, positions: Sequence[int]) -> Iterable[int]:
        """The positions, one after the other, while a bar shows how many are left."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(title), MofNCompleteColumn(), BarColumn(), TextColumn("left"), TimeRemainingColumn())
        console = self._console
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            yield from bar.track(positions)
