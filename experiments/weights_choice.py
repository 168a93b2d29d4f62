"""Which weights a run takes: the demo's, committed ones by name, a file, or random ones of a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bunet import models
from bunet.experiments import clinical_weights
from bunet.experiments.settings import DEMO_SIZE, RunSettings
from bunet.models.errors import UsageError
from bunet.models.model_card import ModelCard, ModelCardError, card_of_notes
from bunet.models.network import weights as weight_files
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_weights
from bunet.models.network.weights import FloatWeights, WeightsError

DEMO_FOLDER = Path(models.__file__).parent / "demo"
OWN_NETWORK = "as 'Your own network' in docs/models.md shows"


@dataclass(frozen=True)
class ChosenWeights:
    """Float weights and where they come from, in words. trained: whether a mask of theirs means anything.

    synthetic: whether they were trained on synthetic chests, so that of a patient's CT they know nothing.
    ranges: what their training measured on its own slices, by float node (`models/training/ranges.py`); None where the
    weight file has none, and calibration is done on synthetic chests. target: what they mark, None where nothing tells.
    licence: None where they are not of BUNET's clinical weights, which have one of their own.
    """

    weights: FloatWeights
    source: str
    trained: bool
    ranges: Mapping[str, float] | None = None
    synthetic: bool = False
    target: str | None = None
    licence: str | None = None

    @property
    def warning(self) -> str | None:
        """What people should know before they believe a mask of these weights; None where there is nothing."""
        if not self.synthetic:
            return None
        return (
            "these weights were trained on synthetic chests: of a patient's CT their mask means nothing. Weights trained on "
            "real CT are such as `--weights infection-z`, and `bunet predict` segments whole volumes with them"
        )

    @property
    def calibration(self) -> str:
        """What the integer program's ranges come from, in words."""
        if self.ranges is not None:
            return "ranges measured on slices of the weights' own training"
        images = "synthetic chests" if self.trained else "synthetic chests and random images"
        return f"ranges measured on {images}"


def demo_weights(architecture: Architecture, folder: Path = DEMO_FOLDER) -> tuple[FloatWeights, str] | None:
    """The committed weights of this architecture with their file's name, or None where there are none."""
    for path in sorted(folder.glob("*.safetensors")):
        weights = weight_files.load(path)
        if _same(weights.architecture, architecture):
            return weights, path.name
    return None


def _same(first: Architecture, second: Architecture) -> bool:
    def facts(a: Architecture) -> tuple[object, ...]:
        return (a.features, a.in_channels, a.depth, a.out_channels, a.level_activations(), a.pooling)

    return facts(first) == facts(second)


def choose_weights(settings: RunSettings, wanted: str, size: tuple[int, int]) -> ChosenWeights:
    """Weights for `wanted`: `auto` (the demo's where they fit, else random), `demo`, `random`, or a weight file.

    size: (height, width) of the slices. UsageError where the wanted weights do not exist or do not fit the settings.
    """
    architecture = settings.architecture()
    if wanted in ("auto", "demo"):
        demo = demo_weights(architecture)
        if demo and (wanted == "demo" or size == (DEMO_SIZE, DEMO_SIZE)):
            trained_at = "" if size == (DEMO_SIZE, DEMO_SIZE) else f", trained at {DEMO_SIZE}x{DEMO_SIZE}"
            return ChosenWeights(demo[0], f"demo weights {demo[1]}{trained_at}", True, synthetic=True)
        if wanted == "demo":
            raise UsageError(
                f"--weights demo: there are none for {settings.features} features, activation {settings.activation}, "
                f"{settings.pool} pooling"
            )
        why = (
            f"the demo weights are for {DEMO_SIZE}x{DEMO_SIZE} (--weights demo takes them all the same)"
            if demo
            else "there are no demo weights for this network"
        )
        note = f"random weights of seed {settings.seed}: {why}, so the mask means nothing"
        return ChosenWeights(seeded_weights(architecture, settings.seed), note, False)
    if wanted == "random":
        note = f"random weights of seed {settings.seed}: the mask means nothing"
        return ChosenWeights(seeded_weights(architecture, settings.seed), note, False)
    weights = named_weights(wanted)
    held = weights.weights.architecture
    if not _same(held, architecture):
        raise UsageError(
            f"--weights {wanted} holds {held.features} features, activation {held.activation}, {held.pooling} "
            f"pooling; the options ask for {settings.features}, {settings.activation}, {settings.pool}"
        )
    return weights


def named_weights(name: str) -> ChosenWeights:
    """A weight file, or a committed one by its name without the ending, such as `demo-relu` or `infection-z`.

    UsageError otherwise.
    """
    path = weight_path(name)
    if path.suffix == ".pth" and path.is_file():
        raise UsageError(f"--weights {name}: a .pth file is made a weight file first, {OWN_NETWORK}")
    try:
        weights, notes = weight_files.load(path), weight_files.read_notes(path)
    except WeightsError as error:
        raise UsageError(f"--weights {name}: {error}; committed ones: {', '.join(_committed()) or 'none'}") from error
    synthetic_only = path.parent == DEMO_FOLDER or notes.get("source") == "synthetic"
    target = notes.get("target")
    return ChosenWeights(
        weights,
        f"weights {path.name}",
        True,
        notes.get("ranges"),
        synthetic_only,
        target if isinstance(target, str) else None,
        clinical_weights.LICENCE if path.parent == clinical_weights.installed_folder() else None,
    )


def model_card(name: str, said: Mapping[str, str | None]) -> ModelCard:
    """The card of `named_weights(name)`: what was said of it, else what its notes say. UsageError where it cannot be one."""
    path = weight_path(name)
    try:
        return card_of_notes(weight_files.read_notes(path), path.stem, said)
    except ModelCardError as error:
        raise UsageError(f"--weights {name}: {error}") from error


def weight_path(name: str) -> Path:
    """The file of committed weights of this name, else the name as a path.

    UsageError where it would be one of the clinical weights, and these are not installed.
    """
    path = _committed().get(name, Path(name))
    if clinical_weights.NAME.fullmatch(name) and not path.exists():
        clinical_weights.needed_folder(f"--weights {name}")
    return path


def _committed() -> dict[str, Path]:
    folders = (DEMO_FOLDER, clinical_weights.installed_folder())
    return {path.stem: path for folder in folders if folder for path in sorted(folder.glob("*.safetensors"))}
