"""The settings of a training, what it reports and what it returns; plain data, without torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bunet.models.errors import UsageError
from bunet.models.network.architecture import Architecture
from bunet.models.volumes import synthetic
from bunet.models.volumes.content.intensity import RULES
from bunet.models.volumes.slicing.slices import AXES

SEEDS_A_RUN = 1000  # volumes set aside for each value of `seed`
TARGETS = ("infection", "lung")

# The split by case of the COVID-19 CT Lung and Infection Segmentation Dataset (Ma et al., doi 10.5281/zenodo.3757476).
TEST_CASES = ("coronacases_002", "coronacases_008", "radiopaedia_7_85703_0")
VALIDATION_CASES = ("coronacases_005", "radiopaedia_27_86410_0")
ONE_PATIENT = (("radiopaedia_29_86490_1", "radiopaedia_29_86491_1"),)  # look like series of one patient


class TrainError(UsageError):
    """A configuration, checkpoint or starting point that cannot be trained."""


@dataclass(frozen=True)
class TrainConfig:
    """What to train and how; the defaults are those of the demo's ReLU model.

    output: where the weights go (`.safetensors`); the checkpoint and the metrics lie beside it. data: folder of cases
    (`cases`), None for synthetic chests. target: what is labelled 1. axis: what slices are perpendicular to.
    label_values: of the cases' labels, what is inside; none for what each tells. intensity: the rule of the cases' values
    (`content.intensity`), auto for what is recognised.
    test_cases, validation_cases: names that are kept out of training, used with `data` only. validation_slices: evenly
    spaced, of all validation cases together. initial: weights to start from, of the same features, channels and depth.
    size: pixels of a (square) slice. slices: of a synthetic volume for axis z; it is a cube for the others. volumes:
    distinct synthetic training volumes. batch: slices a step. patience: evaluations without a better Dice before
    stopping, 0 for never. activation_limit: activations above it are penalised. noise_step: width of the uniform
    noise on activations. settle: the last share of the steps, in which the batch norms keep their running statistics,
    as they will in use; by default half for a network with squares, whose rare large values a batch's own statistics
    would hide, else none. mixed: bfloat16 where torch deems it safe; twice as fast on processors that have it, slow
    elsewhere. threads: of torch.
    """

    output: Path
    architecture: Architecture = field(default_factory=Architecture)
    size: int = 128
    slices: int = 32
    volumes: int = 128
    validation_volumes: int = 4
    steps: int = 1400
    batch: int = 4
    rate: float = 2e-3
    weight_decay: float = 1e-2
    activation_limit: float = 8.0
    noise_step: float = 1 / 16
    settle: float | None = None
    evaluate_every: int = 100
    patience: int = 0
    seed: int = 0
    initial: Path | None = None
    mixed: bool = False
    threads: int = 1
    data: Path | None = None
    target: str = "infection"
    axis: str = "z"
    test_cases: tuple[str, ...] = TEST_CASES
    validation_cases: tuple[str, ...] = VALIDATION_CASES
    validation_slices: int = 64
    label_values: tuple[int, ...] = ()
    intensity: str = "auto"

    def __post_init__(self) -> None:
        whole = (
            "size",
            "slices",
            "volumes",
            "validation_volumes",
            "validation_slices",
            "steps",
            "batch",
            "evaluate_every",
            "threads",
        )
        for name in whole:
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise TrainError(f"{name} must be a positive whole number, not {getattr(self, name)!r}")
        for name in ("rate", "activation_limit"):
            if not getattr(self, name) > 0:
                raise TrainError(f"{name} must be positive, not {getattr(self, name)!r}")
        if self.settle is not None and not 0 <= self.settle <= 1:
            raise TrainError(f"settle must be a share from 0 to 1, not {self.settle!r}")
        for name in ("weight_decay", "noise_step", "patience", "seed"):
            if not getattr(self, name) >= 0:
                raise TrainError(f"{name} must not be negative, it is {getattr(self, name)!r}")
        if self.architecture.in_channels != 5 or self.architecture.out_channels != 2:
            raise TrainError("training takes 5 input channels and 2 classes")
        if self.target not in TARGETS:
            raise TrainError(f"target {self.target!r} is not one of {', '.join(TARGETS)}")
        if self.intensity not in ("auto", *RULES):
            raise TrainError(f"intensity {self.intensity!r} is not one of auto, {', '.join(RULES)}")
        if self.axis not in AXES:
            raise TrainError(f"axis {self.axis!r} is not one of {', '.join(sorted(AXES))}")
        if max(self.volumes, self.validation_volumes) > SEEDS_A_RUN:
            raise TrainError(f"volumes and validation volumes are at most {SEEDS_A_RUN} each")
        if self.seed >= len(synthetic.TRAINING_SEEDS) // SEEDS_A_RUN:
            raise TrainError(f"seed {self.seed} is not below {len(synthetic.TRAINING_SEEDS) // SEEDS_A_RUN}")
        self.architecture.check_size(self.size, self.size)

    @property
    def checkpoint(self) -> Path:
        return self.output.with_suffix(".checkpoint.safetensors")

    @property
    def metrics(self) -> Path:
        return self.output.with_suffix(".metrics.jsonl")

    @property
    def settled_from(self) -> int:
        """The first step with fixed norm statistics."""
        squares = "square" in self.architecture.level_activations()
        share = (0.5 if squares else 0.0) if self.settle is None else self.settle
        return self.steps - round(share * self.steps)

    def fingerprint(self) -> str:
        """What must be equal for a checkpoint to be continued: all but places, threads and patience."""
        values = asdict(self)
        for name in ("output", "threads", "patience", "initial", "data"):
            del values[name]
        if not self.label_values:  # checkpoints from before there was a choice go on
            del values["label_values"]
        if self.intensity == "auto":
            del values["intensity"]
        places = {"initial": self.initial is not None, "data": self.data is not None}
        return json.dumps(values | places, sort_keys=True)


@dataclass(frozen=True)
class TrainProgress:
    """One evaluation: loss is the mean since the last one, dice that of the validation slices (on cases the mean over
    them), peak the largest activation there."""

    step: int
    steps: int
    loss: float
    dice: float
    peak: float
    seconds: float


@dataclass(frozen=True)
class TrainResult:
    """The best weights are in `output`; `dice` is their validation Dice at `step`; `stopped_early` if patience ran
    out.
    """

    output: Path
    dice: float
    step: int
    seconds: float
    stopped_early: bool
