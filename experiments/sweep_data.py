"""What a sweep runs on where it is not random weights and images: a CT volume, and trained weights by activation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from bunet.experiments import prepare
from bunet.experiments.options import UsageError
from bunet.experiments.sweep_config import PointData, SweepConfig
from bunet.models.volumes import formats, labels

CHUNK_BYTES = 1 << 20


def chosen_data(
    config: SweepConfig, volume: Path | None, truth: Path | None, label_values: Sequence[int] = (),
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, PointData]:
    """Data by activation of the grid; empty for an experiment with random weights.

    volume, truth, label_values: instead of those that the experiment file names. say: gets what there is to know of the label.
    Raises UsageError where a volume is missing or cannot be found, where weights are missing, and where the label is none.
    """
    if config.weights is None:
        if volume is not None or truth is not None or config.volume is not None:
            raise UsageError(f"{config.name}: a volume needs `weights` in the experiment file, and there are none")
        return {}
    found = _place("--volume", volume, config.volume)
    if found is None:
        raise UsageError(
            f"{config.name}: its weights are for real CT, and it names no volume: add --volume FILE (.npz, .npy, NIfTI, or "
            "a DICOM folder)"
        )
    label = _place("--truth", truth, config.truth)
    values = tuple(label_values) or config.label_values
    _check_label(found, label, values, say)
    content = digest([found] if label is None else [found, label])
    chosen: dict[str, PointData] = {}
    for activation in config.grid.activations:
        name = config.weights if isinstance(config.weights, str) else config.weights.get(activation)
        if name is None:
            raise UsageError(f"{config.name}: `weights` names none for activation {activation}")
        prepare.named_weights(name)
        chosen[activation] = PointData(
            volume=found, truth=label, weights=name, axis=config.axis,
            digest=f"{content}-{digest([prepare.weight_path(name)])}", label_values=values,
        )
    return chosen


def _check_label(volume: Path, label: Path | None, values: Sequence[int], say: Callable[[str], None]) -> None:
    """Read the label once before the first run; UsageError where it does not do."""
    try:
        found, notes = labels.beside(label, formats.read_volume(volume), values)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if values and found is None:
        raise UsageError("--label-value: there is no label")
    for note in notes:
        say(note)
def remarks(data: Mapping[str, PointData]) -> list[str]:
    """What there is to say of how the volume is read. Raises VolumeError where it cannot be."""
    return [remark for path in sorted({each.volume for each in data.values()}) for remark in formats.load(path).remarks()]


def _place(option: str, given: Path | None, written: str | None) -> Path | None:
    """The path that was given, or that the experiment file has (its environment variables filled in)."""
    if given is None and written is None:
        return None
    path = Path(os.path.expandvars(str(written))).expanduser() if given is None else given
    if given is None and "$" in str(path):
        raise UsageError(f"{option}: the experiment file says {written}, an environment variable that is not set")
    if not path.exists():
        raise UsageError(f"{option} {path}: there is no such file or folder")
    return path


def digest(paths: Iterable[Path]) -> str:
    """16 hexadecimal digits of the content of files, and of the files in folders with their names, in order."""
    state = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if path.is_dir():
                state.update(str(file.relative_to(path)).encode())
            state.update(str(file.stat().st_size).encode())
            with open(file, "rb") as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    state.update(chunk)
    return state.hexdigest()[:16]
