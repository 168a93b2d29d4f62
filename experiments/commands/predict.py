"""`bunet predict`: whole volumes, along three axes, with lung and infection models, as the published script does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from bunet.experiments import options as o
from bunet.experiments.one_line import one_line
from bunet.experiments.options import UsageError
from bunet.models.network.architecture import POOLINGS

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
    format: Annotated[str, typer.Option("--format", help="Operand bits INTEGER.FRACTION, such as 8.4, 12.4, 8.8.")] = "12.4",
    relu: o.ReluOption = "gc-sign",
    protocol: o.ProtocolOption = None,
    ot: o.OtOption = "iknp",
    link: o.LinkOption = "lan",
    bandwidth: o.BandwidthOption = None,
    rtt: o.RttOption = None,
    in_flight: o.InFlightOption = 2,
    cores: Annotated[int | None, typer.Option("--cores", help="Cores of each party  [default: half of the machine]")] = None,
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
    report.html, pictures and result.json. Needs torch for .pth files: pip install 'bunet[models]'.

    Examples:

      bunet predict --volume ct.nii.gz --slices z=60:64

      bunet predict --model-infection-dir infection --model-lung-dir lung --test-data-dir test

      bunet predict --test-data-dir test --ensemble majority --format 8.4 --link wan

      bunet predict --volume dicom_folder --axes z --float

      bunet predict --volume coronacases_001.nii.gz --label Lung_and_Infection_Mask/coronacases_001.nii.gz --label-value 3
    """
    from bunet.experiments.predict.settings import PredictSettings
    from bunet.experiments.settings import run_options

    settings = PredictSettings(
        axes=o.names(axes),
        ensemble=ensemble,
        lung_mask=lung_mask,
        filtered=filtered,
        format=format,
        run=run_options(
            link=o.chosen_link(link, bandwidth, rtt),
            in_flight=in_flight,
            cores=o.default_cores() if cores is None else cores,
            relu=relu,
            protocols=o.chosen_protocols(protocol or []),
            ot=ot,
        ),
        secure=not float_only,
        compare=compare,
        size=size,
        rule=intensity,
        field_of_view=field_of_view,
        slices=which,
        probabilities=probabilities,
        verify=verify,
        label_values=o.label_values(label_value),
    )
    o.one_of("--pool", pool, ("auto", *POOLINGS))
    if (volume is None) == (test_data_dir is None):
        raise UsageError("give either --test-data-dir or --volume")
    if label is not None and volume is None:
        raise UsageError("--label belongs to a --volume; cases of --test-data-dir have their ID_label.npz")
    if json_file is not None:
        o.writable_parent("--json", json_file)
    from rich.console import Console

    from bunet.experiments.predict import cases as predict_cases
    from bunet.experiments.predict import models as predict_models
    from bunet.experiments.predict.case import open_case, written
    from bunet.experiments.predict.job import run_job
    from bunet.experiments.predict.stage import Calibration, spread_slices
    from bunet.experiments.storage.apart import check_apart
    from bunet.experiments.storage.results import write_json
    from bunet.models.volumes import formats
    from bunet.models.volumes.volume import SeveralSeries

    console = Console(highlight=False)

    def say(text: str) -> None:
        console.print(one_line(text), highlight=False, markup=False, soft_wrap=True)

    folders = {"infection": ("--model-infection-dir", model_infection_dir), "lung": ("--model-lung-dir", model_lung_dir)}
    folders = {target: folders[target] for target in settings.targets}
    settings = predict_models.suited(settings, folders)
    files = predict_cases.find_cases(test_data_dir) if test_data_dir else [predict_cases.one_case(volume or Path(), label)]
    files = [replace(each, series=series) for each in files]
    for each in files:  # by name alone, before anything is read
        results = [*written(formats.kind_of(each.volume), out, each.name), *[json_file] * bool(json_file)]
        check_apart([test_data_dir, volume, label, *(calibration or [])], out / each.name, results)
    cases = [open_case(each, settings) for each in files]
    if settings.label_values and not any(case.labelled for case in cases):
        raise UsageError("--label-value: there is no label")
    try:
        theirs = [formats.load(path, settings.rule, field_of_view=field_of_view) for path in calibration or []]
    except SeveralSeries as error:
        raise UsageError(f"--calibration: {error.elsewhere}") from error
    own = Calibration(tuple(each.volume for each in theirs), tuple(each.crop for each in theirs))

    def images(axis: str) -> Any:
        """What pooling is told from: Bob's own volumes, or else the first case, since how he pools is no secret."""
        first = (theirs or [cases[0].loaded])[0]
        return spread_slices(first.volume, axis, size, first.crop)

    models = {
        target: predict_models.load_models(
            *folders[target], target, settings.axes, pool=pool, activation=activation, images=images, say=say
        )
        for target in settings.targets
    }
    sized = {(size or model.size) is not None for of_axis in models.values() for model in of_axis.values()}
    for remark in [remark for each in theirs for remark in each.remarks(sized)]:
        say(f"calibration: {remark}")
    documents = run_job(cases, models, settings, out, own, console, say)
    if json_file is not None:
        write_json(json_file, {"version": DOCUMENT_VERSION, "cases": documents})
