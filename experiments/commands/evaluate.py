"""`bunet evaluate`: how well weights find their target on whole cases of real CT, in floats and in integers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bunet.experiments import checks
from bunet.experiments.commands import options as o
from bunet.experiments.commands.bars import CaseBar
from bunet.experiments.one_line import one_line, say
from bunet.experiments.storage.places import writable_parent
from bunet.models import extras
from bunet.models.errors import UsageError

if TYPE_CHECKING:
    from bunet.experiments.training.evaluation import Evaluation, Figures


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("evaluate")(evaluate)


def evaluate(
    weights: Annotated[str, typer.Option("--weights", help="A weight file, or committed ones such as infection-z.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of CT cases (.npz).")],
    cases: Annotated[
        str, typer.Option("--cases", help="test, validation or training as noted in the weights, all, or names.")
    ] = "test",
    target: Annotated[
        str | None, typer.Option("--target", help="infection or lung; default: what the weights were trained for.")
    ] = None,
    axis: Annotated[str | None, typer.Option("--axis", help="x, y or z; default as for --target.")] = None,
    label_value: o.LabelValueOption = None,
    intensity: o.IntensityOption = "auto",
    field_of_view: o.FieldOption = "auto",
    size: Annotated[int | None, typer.Option("--size", help="Pixels of a slice; default as for --target.")] = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="FORMATS", help="Operand bits, comma-separated, such as 8.4,12.4,8.8.")
    ] = "",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the oracle's stochastic rounding.")] = 0,
    threads: o.ThreadsOption = 1,
    document: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there.")] = None,
) -> None:
    """Segment whole cases along one axis in the clear and compare them with their labels.

    Slices are cut as `bunet predict` cuts them, and masks are compared at the cases' own pixels. With --format the integer
    program of each format, which a secure run computes, is run by the oracle too. Needs torch (the extra `models`).

    Examples:

      bunet evaluate --weights infection-z.safetensors --data covid_ct_seg_128

      bunet evaluate --weights infection-z --data covid_ct_seg_128 --format 8.4,12.4,8.8

      bunet evaluate --weights lung-x.safetensors --data covid_ct_seg_128 --cases coronacases_002 --json lung-x.json
    """
    try:
        from bunet.experiments.training.job import EvaluationRequest, evaluate_cases
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError(f"evaluating needs torch: {extras.how('models')}") from error
    from bunet.experiments.storage.results import write_json
    from bunet.models.volumes.reading import VolumeReading

    if document is not None:
        writable_parent("--json", document)
    reading = VolumeReading(
        label_values=checks.label_values(label_value),
        rule=checks.intensity(intensity),
        field_of_view=checks.field_of_view(field_of_view),
    )
    request = EvaluationRequest(
        weights=weights,
        data=data,
        cases=cases,
        target=target,
        axis=axis,
        size=size,
        formats=checks.names(formats),
        reading=reading,
        seed=seed,
        threads=threads,
    )
    result = evaluate_cases(request, CaseBar(), say)
    print_tables(result.evaluation)
    if result.evaluation.compiled:
        say(f"formats: the integer oracle, rounding stochastically; {result.calibration}")
    if document is not None:
        write_json(document, result.document())


def print_tables(evaluation: Evaluation) -> None:
    """A line for each case, and their mean; where formats were asked for, a second table with a line for each of them."""
    from rich.console import Console
    from rich.markup import escape

    from bunet.experiments.training.evaluation import FIGURES, FLOAT

    console = Console(highlight=False)
    shares = ("infected %", "true %") if evaluation.target == "infection" else ()
    table = _table(("case",), ("slices", "Dice to label", "overlap", "sensitivity", *shares))
    for figures in [*evaluation.figures, {"case": "mean", **evaluation.means()}]:
        cells = [_dice(figures, "dice"), *(_ratio(figures.get(key)) for key in FIGURES[1:3])]
        if shares:
            cells += [_ratio(figures.get(key), 100, 2) for key in FIGURES[3:]]
        table.add_row(escape(one_line(figures["case"])), str(figures.get("slices", "")), *cells)
    console.print(table)
    if not evaluation.compiled:
        return
    table = _table(("case", "numbers"), ("Dice to label", "Dice to float", "s a slice"))
    for figures in evaluation.figures:
        case = escape(one_line(figures["case"]))
        table.add_row(case, FLOAT, _dice(figures, "dice"), "", f"{figures['seconds_per_slice']:.3f}")
        for name, integer in figures["formats"].items():
            table.add_row(
                "", name, _dice(integer, "dice"), _dice(integer, "dice_float", 5), f"{integer['seconds_per_slice']:.3f}"
            )
    summary = evaluation.summary()
    for statistic in ("mean", "pooled"):
        table.add_row(statistic, FLOAT, _ratio(summary[statistic].get("dice")), "", "")
        for name, integer in summary["formats"].items():
            dice, against_float = (integer[statistic].get(key) for key in ("dice", "dice_float"))
            table.add_row("", name, _ratio(dice), _ratio(against_float, digits=5), "")
    console.print()
    console.print(table)


def _table(left: tuple[str, ...], right: tuple[str, ...]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for title in left:
        table.add_column(title, no_wrap=True)
    for title in right:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _dice(figures: Figures, key: str, digits: int = 4) -> str:
    """Of one case; of the mean, - where no case has a figure."""
    from bunet.models.metrics import BOTH_EMPTY

    return BOTH_EMPTY if key in figures and figures[key] is None else _ratio(figures.get(key), digits=digits)


def _ratio(value: float | None, scale: float = 1, digits: int = 4) -> str:
    return "-" if value is None else f"{scale * value:.{digits}f}"
