"""The float models of `bunet predict`: one for each axis, from a folder of published files or from the committed ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bunet.experiments import clinical_weights
from bunet.experiments.one_line import Say
from bunet.experiments.predict.region import AXIS_ORDER, letter
from bunet.experiments.predict.settings import PredictSettings
from bunet.models import extras
from bunet.models.errors import UsageError
from bunet.models.network import pooling as pooling_of
from bunet.models.network import weights as weight_files
from bunet.models.network.weights import FloatWeights, WeightsError
from bunet.models.volumes.slicing.slices import axis_number

COMMITTED = {"clinical": "{target}-{axis}.safetensors", "clinical-hybrid": "{target}-{axis}-hybrid.safetensors"}
PUBLISHED_POOLING = "max"  # of the published float models
FILTERED_SIZE = 512  # pixels of slices for which the maximum filter was published; at fewer a voxel's width is too much


@dataclass(frozen=True)
class PredictModel:
    """One network of one axis. size: pixels of the slices it was trained on, None where its file does not say.

    notes: what the weight file says of itself. digest: SHA-256 of whatever its masks depend on: architecture, weights, and of
    the notes the size and the ranges that its integers are made for.
    """

    target: str
    axis: str
    weights: FloatWeights
    source: str
    size: int | None = None
    notes: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.target}-{self.axis}"

    @property
    def along(self) -> str:
        """The axis in words."""
        if not self.published:
            return self.axis
        return f"{letter(self.axis, True).upper()} (array axis {axis_number(self.axis)})"

    @property
    def published(self) -> bool:
        """Whether it is a published file, whose name counts array axes and whose values are taken as they are."""
        return self.source.endswith(".pth")

    @property
    def filtered(self) -> bool:
        """Whether its masks go through the maximum filter unless something else is asked for."""
        return self.published or self.size == FILTERED_SIZE

    @property
    def digest(self) -> str:
        known = hashlib.sha256(self.weights.architecture.to_json().encode())
        known.update(json.dumps([self.size, self.notes.get("ranges")], sort_keys=True).encode())
        for name in sorted(self.weights.tensors):
            known.update(name.encode())
            known.update(np.ascontiguousarray(self.weights.tensors[name]).data)
        return known.hexdigest()


def load_models(
    option: str,
    where: str,
    target: str,
    axes: Sequence[str],
    *,
    pool: str = "auto",
    activation: str = "relu",
    images: Callable[[str], Sequence[np.ndarray]] | None = None,
    say: Say = lambda text: None,
) -> dict[str, PredictModel]:
    """A model for each axis of `axes`.

    where: a folder with `best_model-X.pth` and so on (torch files with the key `state_dict`, of which nothing is executed; X is
    array axis 0, which is z here), or with `infection-x.safetensors` or `best_model-X.safetensors` (of `bunet train`, along
    x as it calls it); or a name of COMMITTED. pool: avg, max, or auto: what the file says; a published one does not, so its
    batch norms are asked on images(axis), slices of the kind it was trained on. activation: of published files. option: what
    messages call the folder. say: gets what was assumed.
    Raises UsageError in one sentence that names the file.
    """
    models = {axis: _load(option, where, target, axis, pool, activation, say) for axis in axes}
    untold = [model for model in models.values() if model.published]
    if untold:
        which = ", ".join(f"{model.source} along array axis {axis_number(model.axis)}" for model in untold)
        say(f"{target} models, published: {which}")
    if untold and pool == "auto":
        pooling = None
        if images is not None:
            pooling = pooling_of.decide([pooling_of.distances(model.weights, images(model.axis)) for model in untold])
        how = f"{pooling} pooling, as its batch norms tell" if pooling else f"{PUBLISHED_POOLING} pooling, as published"
        say(f"{target} models: {how} (--pool says otherwise)")
        for model in untold:
            models[model.axis] = _pooled(model, pooling or PUBLISHED_POOLING)
    return models


def _pooled(model: PredictModel, pool: str) -> PredictModel:
    architecture = replace(model.weights.architecture, pooling=pool)
    return replace(model, weights=FloatWeights(architecture, model.weights.tensors))


def _load(
    option: str,
    where: str,
    target: str,
    axis: str,
    pool: str = "auto",
    activation: str = "relu",
    say: Say = lambda text: None,
) -> PredictModel:
    path = _file(option, where, target, axis)
    try:
        if path.suffix == ".pth":
            weights = _published(path, activation, PUBLISHED_POOLING if pool == "auto" else pool, say)
            model = PredictModel(target, axis, weights, path.name)
        else:
            notes = weight_files.read_notes(path)
            size = notes.get("size")
            size = size if isinstance(size, int) and size > 0 else None
            model = PredictModel(target, axis, weight_files.load(path), path.name, size, notes)
    except WeightsError as error:
        raise UsageError(f"{option}: {error}") from error
    architecture = model.weights.architecture
    channels = (architecture.in_channels, architecture.out_channels)
    if channels != (5, 2):
        raise UsageError(f"{option}: {path} takes {channels[0]} channels and gives {channels[1]}, not 5 and 2")
    if path.name.startswith("best_model-") and not model.published and "axis" not in model.notes:
        raise UsageError(f"{option}: {path} does not say along which axis it was trained: call it {target}-AXIS.safetensors")
    noted = (model.notes.get("target", target), model.notes.get("axis", axis))
    if noted != (target, axis):
        raise UsageError(f"{option}: {path} was trained for {noted[0]} along {noted[1]}, not for {target} along {axis}")
    if pool not in ("auto", architecture.pooling):
        raise UsageError(f"--pool {pool}: {path} says that it pools with {architecture.pooling}")
    return model


def _file(option: str, where: str, target: str, axis: str) -> Path:
    if where in COMMITTED:
        folder = clinical_weights.needed_folder(f"{option} {where}")
        # The published design has square activations where they are many; the lung's models are small as they are.
        for name in (COMMITTED[where], COMMITTED["clinical"]):
            path = folder / name.format(target=target, axis=axis)
            if path.is_file():
                return path
        raise UsageError(f"{option} {where}: there is no committed model for {target} along {axis}")
    folder = Path(where)
    if not folder.is_dir():
        raise UsageError(f"{option} {where} is neither a folder nor one of {', '.join(COMMITTED)}")
    names = (_published_name(axis), f"best_model-{axis.upper()}.safetensors", f"{target}-{axis}.safetensors")
    there = [folder / name for name in names if (folder / name).is_file()]
    if not there:
        raise UsageError(f"{option}: {folder} has neither {names[0]} (published) nor {names[2]}")
    if len(there) > 1:
        raise UsageError(f"{option}: {folder} has both {there[0].name} and {there[1].name}; remove one")
    return there[0]


def _published_name(axis: str) -> str:
    return f"best_model-{letter(axis, True).upper()}.pth"


def suited(settings: PredictSettings, folders: Mapping[str, tuple[str, str]]) -> PredictSettings:
    """What was asked for, as the models mean it: published ones take intensities as they are and call axes by their own
    letters, others take what is recognised and call the slices z. Where there are both, published files are read first.

    folders: by target, the option and its value. Raises UsageError where models of both kinds leave open which is meant.
    """
    there = {target: where for target, (_, where) in folders.items() if where in COMMITTED or Path(where).is_dir()}
    published = {target: _holds_published(where) for target, where in there.items()}
    if not any(published.values()):
        return settings
    if all(published.values()):
        reading = replace(settings.reading, rule="as-is") if settings.reading.rule == "auto" else settings.reading
        return replace(settings.as_published(), reading=reading)
    for target, (option, where) in folders.items():  # one that cannot be read is told before a question that it raises
        for axis in AXIS_ORDER:
            if published.get(target) and (Path(where) / _published_name(axis)).is_file():
                _load(option, where, target, axis)
    ours = next(target for target in there if not published[target])
    head = f"{folders[ours][0]}: the {ours} models are ours, the others published"
    if settings.reading.rule == "auto":
        raise UsageError(f"{head}, which take values as they are: say which --intensity the volume is read with")
    if len(settings.axes) < len(AXIS_ORDER) or "=" in settings.slices:
        raise UsageError(f"{head}, which call array axis 0 X where ours call it z: say all of --axes x,y,z, and --slices A:B")
    return settings


def _holds_published(where: str) -> bool:
    return where not in COMMITTED and any((Path(where) / _published_name(axis)).is_file() for axis in AXIS_ORDER)


def _published(path: Path, activation: str, pool: str, say: Say) -> FloatWeights:
    try:
        from bunet.models.network.unet import read_checkpoint
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError(f"{path}: reading a .pth file needs torch: {extras.how('models')}") from error
    try:
        return read_checkpoint(path, activation, pool, say)
    except WeightsError as error:
        raise UsageError(str(error)) from error
