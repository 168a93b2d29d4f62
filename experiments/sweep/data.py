"""What a sweep runs on where it is not random weights and images: a CT volume, and trained weights by activation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bunet.experiments.bench.data import CtData
from bunet.experiments.one_line import Say
from bunet.experiments.sweep.grid import SweepConfig
from bunet.experiments.weights_choice import named_weights, weight_path
from bunet.models.errors import UsageError
from bunet.models.volumes.reading import VolumeReading

CHUNK_BYTES = 1 << 20
# Keys of an experiment file that speak of its volume, and the options that take their place.
OF_DATA = {
    "volume": "--volume",
    "truth": "--truth",
    "label_value": "--label-value",
    "series": "--series",
    "intensity": "--intensity",
    "field_of_view": "--field-of-view",
}


@dataclass(frozen=True)
class Asked:
    """What the command line says of a sweep's data, in place of the experiment file; None and () for what it does not."""

    volume: Path | None = None
    truth: Path | None = None
    label_value: tuple[int, ...] = ()
    series: str | None = None
    intensity: str | None = None
    field_of_view: str | None = None

    def named(self) -> list[str]:
        """The options that were given."""
        return [option for name, option in OF_DATA.items() if getattr(self, name) not in (None, ())]


def chosen_data(config: SweepConfig, asked: Asked = Asked(), say: Say = lambda text: None) -> dict[str, CtData]:
    """Data by activation of the grid; empty for an experiment with random weights.

    say: gets what there is to know of how volume and label are read. Raises UsageError where a volume is missing, cannot be
    found or cannot be read, where weights are missing, and where the label is none.
    """
    if config.weights is None:
        _refuse_data(config, asked)
        return {}
    volume = _place("--volume", asked.volume, config.volume)
    if volume is None:
        raise UsageError(
            f"{config.name}: its weights are for real CT, and it names no volume: add --volume FILE (.npz, .npy, NIfTI, or "
            "a DICOM folder)"
        )
    label = _place("--truth", asked.truth, config.truth)
    reading = _reading(config, asked, say)
    _check_data(volume, label, reading, say)
    content = digest([volume] if label is None else [volume, label])
    data: dict[str, CtData] = {}
    for activation in config.grid.activations:
        name = config.weights if isinstance(config.weights, str) else config.weights.get(activation)
        if name is None:
            raise UsageError(f"{config.name}: `weights` names none for activation {activation}")
        named_weights(name)
        data[activation] = CtData(
            volume=volume,
            truth=label,
            weights=name,
            axis=config.axis,
            digest=f"{content}-{digest([weight_path(name)])}",
            reading=reading,
        )
    return data


def _refuse_data(config: SweepConfig, asked: Asked) -> None:
    """UsageError where something is said of a volume, and the experiment has none."""
    written = [f"`{name}`" for name in OF_DATA if getattr(config, name) != SweepConfig.model_fields[name].default]
    for said in [*asked.named(), *written]:
        raise UsageError(
            f"{config.name}: {said} is for a volume, and a volume needs `weights` in the experiment file: there are none"
        )


def _reading(config: SweepConfig, asked: Asked, say: Say) -> VolumeReading:
    """How volume and label are read: what the command line says, else what the experiment file does.

    What the file says of the volume and the label that it names is not for others, which the command line gives.
    """
    other_volume = _another(asked.volume, config.volume)
    other_label = _another(asked.truth, config.truth or config.volume) or (config.truth is None and other_volume)

    def written(name: str, others: bool, usual: Any) -> Any:
        value = getattr(config, name)
        if not others or value == usual:
            return value
        say(f"`{name}` of the experiment file is for the data that it names, not for these: {OF_DATA[name]} is")
        return usual

    values = asked.label_value
    if not values and written("label_value", other_label, None) is not None:
        values = config.label_values
    series = asked.series if asked.series is not None else written("series", other_volume, None)
    return VolumeReading(
        series=None if series is None else str(series),
        rule=asked.intensity or written("intensity", other_volume, "auto"),
        field_of_view=asked.field_of_view or config.field_of_view,
        label_values=values,
    )


def _another(given: Path | None, written: str | None) -> bool:
    """Whether the command line gives another file than the one that the experiment names."""
    return given is not None and written is not None and given.resolve() != _expanded(written).resolve()


def _check_data(volume: Path, label: Path | None, reading: VolumeReading, say: Say) -> None:
    """Read volume and label once before the first run, and say how; UsageError where one does not do."""
    loaded = reading.load(volume)
    read, notes = reading.label(label, loaded.stored)
    if reading.label_values and read is None:
        raise UsageError("--label-value: there is no label")
    for line in (*loaded.remarks(), *notes):
        say(line)


def _expanded(written: str) -> Path:
    return Path(os.path.expandvars(written)).expanduser()


def _place(option: str, given: Path | None, written: str | None) -> Path | None:
    """The path that was given, or that the experiment file has (its environment variables filled in)."""
    if given is None and written is None:
        return None
    path = _expanded(str(written)) if given is None else given
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
