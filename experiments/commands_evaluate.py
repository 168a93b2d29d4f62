"""`bunet evaluate`: how well float weights find their target on whole cases of real CT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bunet.experiments import options as o
from bunet.experiments.options import UsageError
from bunet.models import weights as weight_files
from bunet.models.train_config import TARGETS, TrainConfig
from bunet.models.volumes.slices import AXES

PARTS = ("test", "validation", "training")
FIGURES = ("dice", "overlap", "sensitivity", "infected_share", "infected_share_true")
DOCUMENT_VERSION = 1


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("evaluate")(evaluate)


def evaluate(
    weights: Annotated[Path, typer.Option("--weights", metavar="FILE", help="A weight file of `bunet train`.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of CT cases (.npz).")],
    cases: Annotated[
        str, typer.Option("--cases", help="test, validation or training as noted in the weights, all, or names.")
    ] = "test",
    target: Annotated[
        str | None, typer.Option("--target", help="infection or lung; default: what the weights were trained for.")
    ] = None,
    axis: Annotated[str | None, typer.Option("--axis", help="x, y or z; default as for --target.")] = None,
    size: Annotated[int | None, typer.Option("--size", help="Pixels of a slice; default as for --target.")] = None,
    threads: Annotated[int, typer.Option("--threads", help="Threads of torch.")] = 1,
    document: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there.")] = None,
) -> None:
    """Segment whole cases along one axis in the clear and compare them with their labels.

    Masks are compared at the cases' own pixels. Needs torch: pip install 'bunet[models]'.

    Examples:

      bunet evaluate --weights infection-z.safetensors --data covid_ct_seg_128

      bunet evaluate --weights lung-x.safetensors --data covid_ct_seg_128 --cases coronacases_002 --json lung-x.json
    """
    try:
        import torch

        from bunet.models import train_files, train_score
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError("evaluating needs torch: pip install 'bunet[models]'") from error
    from bunet.models.train_cases import known_cases, read_case

    if document is not None:
        o.writable_parent("--json", document)
    notes = weight_files.read_notes(weights)
    target = o.one_of("--target", target or notes.get("target", TARGETS[0]), TARGETS)
    axis = o.one_of("--axis", axis or notes.get("axis", "z"), tuple(AXES))
    size = size or notes.get("size", TrainConfig.size)
    names = known_cases(data, chosen_cases(cases, notes, data))
    torch.set_num_threads(threads)
    model = train_files.load(weights)
    try:
        model.architecture.check_size(size, size)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from error
    found = []
    for name in names:
        case = read_case(data, name, target)
        typer.echo(f"{name}: {case.volume.shape[AXES[axis]]} slices along {axis}", err=True)
        found.append(train_score.case_figures(case, train_score.segment(model, case.volume, axis, size), target))
    means = {key: mean for key in FIGURES if (mean := _mean([figures.get(key) for figures in found])) is not None}
    print_figures(found, means, target)
    if document is not None:
        whole = {
            "version": DOCUMENT_VERSION, "weights": weights.name, "notes": notes, "target": target, "axis": axis,
            "size": size, "cases": found, "mean": means,
        }
        document.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def chosen_cases(wanted: str, notes: dict[str, Any], data: Path) -> tuple[str, ...]:
    """Names for `test`, `validation`, `training` (from the weights' notes), `all`, or names; UsageError for none."""
    from bunet.models.train_cases import case_names

    if wanted == "all":
        return case_names(data)
    if wanted not in PARTS:
        found = o.names(wanted)
    elif wanted in notes:
        found = tuple(notes[wanted])
    else:
        raise UsageError(f"--cases {wanted}: the weights do not note a split by case; name the cases, or say all")
    if not found:
        raise UsageError(f"--cases {wanted}: there is no such case")
    return found


def print_figures(found: list[dict[str, Any]], means: dict[str, float], target: str) -> None:
    """The table: a line for each case, and their mean."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("case", no_wrap=True)
    shares = ("infected %", "true %") if target == "infection" else ()
    for title in ("slices", "Dice", "overlap", "sensitivity", *shares):
        table.add_column(title, justify="right", no_wrap=True)
    for figures in [*found, {"case": "mean", **means}]:
        cells = [_ratio(figures.get(key)) for key in FIGURES[:3]]
        if target == "infection":
            cells += [_ratio(figures.get(key), 100, 2) for key in FIGURES[3:]]
        table.add_row(figures["case"], str(figures.get("slices", "")), *cells)
    Console(highlight=False).print(table)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _ratio(value: float | None, scale: float = 1, digits: int = 4) -> str:
    return "-" if value is None else f"{scale * value:.{digits}f}"
