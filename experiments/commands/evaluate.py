"""`bunet evaluate`: how well weights find their target on whole cases of real CT, in floats and in integers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from bunet.experiments import options as o
from bunet.experiments.one_line import one_line, say
from bunet.experiments.options import UsageError
from bunet.experiments.settings import RunSettings
from bunet.models.network import weights as weight_files
from bunet.models.training.config import TARGETS, TrainConfig
from bunet.models.volumes.slicing.slices import AXES

PARTS = ("test", "validation", "training")
DOCUMENT_VERSION = 1


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
    threads: Annotated[int, typer.Option("--threads", help="Threads of torch.")] = 1,
    document: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there.")] = None,
) -> None:
    """Segment whole cases along one axis in the clear and compare them with their labels.

    Slices are cut as `bunet predict` cuts them, and masks are compared at the cases' own pixels. With --format the integer
    program of each format, which a secure run computes, is run by the oracle too. Needs torch: pip install 'bunet[models]'.

    Examples:

      bunet evaluate --weights infection-z.safetensors --data covid_ct_seg_128

      bunet evaluate --weights infection-z --data covid_ct_seg_128 --format 8.4,12.4,8.8

      bunet evaluate --weights lung-x.safetensors --data covid_ct_seg_128 --cases coronacases_002 --json lung-x.json
    """
    try:
        import torch

        from bunet.experiments.training import evaluation
        from bunet.models.training import files
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError("evaluating needs torch: pip install 'bunet[models]'") from error
    from bunet.experiments import prepare
    from bunet.experiments.storage.results import write_json
    from bunet.models.training.cases import known_cases, read_case

    if document is not None:
        o.writable_parent("--json", document)
    chosen, path = prepare.named_weights(weights), prepare.weight_path(weights)
    if chosen.warning:
        say(f"warning: {chosen.warning}")
    notes = weight_files.read_notes(path)
    target = _noted("--target", target, notes.get("target", TARGETS[0]), TARGETS)
    axis = _noted("--axis", axis, notes.get("axis", "z"), tuple(AXES))
    size = notes.get("size", TrainConfig.size) if size is None else size
    if not isinstance(size, int):
        raise UsageError(f"the weights note size {size!r}: say --size")
    values, rule = o.label_values(label_value), o.chosen_intensity(intensity)
    field = o.chosen_field_of_view(field_of_view)
    names = known_cases(data, chosen_cases(cases, notes, data))
    torch.set_num_threads(threads)
    model = files.load(path)
    try:
        model.architecture.check_size(size, size)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from error
    RunSettings(size=size)  # as everywhere
    compiled = {}
    for text in o.names(formats):
        settings = RunSettings(features=model.architecture.features, pool=model.architecture.pooling, format=text)
        compiled[str(o.operand_format(text))] = prepare.compile_for(settings, chosen, (size, size))
    scored = evaluation.Evaluation(model, target, axis, size, compiled, seed)
    with CaseBar() as bar:
        for name in names:
            case = read_case(data, name, target, values, rule, field)
            bar.begin(name, scored.slices(case), axis, len(compiled) + 1)
            for remark in case.remarks():
                bar.console.print(one_line(f"{name}: {remark}"), markup=False, soft_wrap=True)
            figures = scored.score(case, bar.done)
            if case.labelled is not None:
                figures["label"] = case.labelled.document()
    evaluation.print_tables(scored)
    if compiled:
        say(f"formats: the integer oracle, rounding stochastically; {chosen.calibration}")
    if document is not None:
        whole = {
            "version": DOCUMENT_VERSION,
            "weights": path.name,
            "notes": notes,
            "target": target,
            "axis": axis,
            "size": size,
            "intensity": rule,
            "field_of_view": field,
            "seed": seed,
            "calibration": chosen.calibration,
            "cases": scored.found,
            **scored.summary(),
        }
        write_json(document, whole)


def _noted(option: str, given: str | None, noted: object, known: tuple[str, ...]) -> str:
    """What was given, else what the weights note; UsageError, which does not say what nobody gave, where it is not known."""
    if given is not None:
        return o.one_of(option, given, known)
    if noted not in known:
        raise UsageError(f"the weights note {option.removeprefix('--')} {noted!r}: say {option} {' or '.join(known)}")
    return str(noted)


class CaseBar:
    """On a terminal a bar for each case with the time left; elsewhere a line. Both on stderr: stdout is for figures."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = console or Console(stderr=True, highlight=False)
        self.progress = Progress(
            TextColumn("{task.description}"),
            TextColumn("{task.fields[numbers]}"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> CaseBar:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, name: str, slices: int, axis: str, passes: int) -> None:
        """The next case: its slices are segmented `passes` times."""
        self.console.print(one_line(f"{name}: {slices} slices along {axis}"), markup=False, soft_wrap=True)
        for task in self.progress.task_ids:
            self.progress.remove_task(task)
        self.task = self.progress.add_task(escape(one_line(name)), total=slices * passes, numbers="")
        self.slices, self.earlier, self.numbers = slices, -slices, ""

    def done(self, numbers: str, count: int) -> None:
        if numbers != self.numbers:
            self.numbers, self.earlier = numbers, self.earlier + self.slices
        self.progress.update(self.task, completed=self.earlier + count, numbers=numbers)


def chosen_cases(wanted: str, notes: dict[str, Any], data: Path) -> tuple[str, ...]:
    """Names for `test`, `validation`, `training` (from the weights' notes), `all`, or names; UsageError for none."""
    from bunet.models.training.cases import case_names

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
