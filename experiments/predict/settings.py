"""What `bunet predict` can be told, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bunet.experiments import checks
from bunet.experiments.checks import one_of, operand_format
from bunet.experiments.predict.region import AXIS_ORDER, letter
from bunet.experiments.settings import run_options
from bunet.models.errors import UsageError
from bunet.models.volumes.reading import DEFAULT_READING, VolumeReading
from bunet.parties.run_options import RunOptions

ENSEMBLES = ("probabilities", "majority", "argmax")
READOUTS = {"probabilities": "logits", "majority": "label-share", "argmax": "argmax"}


@dataclass(frozen=True)
class PredictSettings:
    """A prediction, checked (UsageError).

    axes: of x, y, z, in that order. ensemble: how the axes' slices become one mask. filtered: whether it goes through the
    3x3x3 maximum filter, None for what suits the models. filters: for each target whether it does, once `of_models` decided.
    lung_mask: whether an infection is cut to the lung. secure: False for the same job in the clear. compare: also run the job
    in the clear and say how well the masks agree. size: pixels of the network's slices, None for what the models were trained
    at, or the volume's own. reading: of volumes and labels. probabilities: whether the mean probability is written
    too. verify: hold layers of the first slices of every session against the oracle. published: whether `slices` calls axes as
    the published files do. run: how both parties run.
    """

    axes: tuple[str, ...] = AXIS_ORDER
    ensemble: str = "probabilities"
    lung_mask: bool = True
    filtered: bool | None = None
    filters: Mapping[str, bool] = field(default_factory=dict)
    format: str = "12.4"
    run: RunOptions = field(default_factory=lambda: run_options(in_flight=2))
    secure: bool = True
    compare: bool = True
    size: int | None = None
    reading: VolumeReading = DEFAULT_READING
    slices: str = ":"
    probabilities: bool = False
    verify: bool = False
    published: bool = False

    def __post_init__(self) -> None:
        for axis in self.axes:
            one_of("--axes", axis, AXIS_ORDER)
        if not self.axes:
            raise UsageError("--axes: name at least one of x, y, z")
        object.__setattr__(self, "axes", tuple(axis for axis in AXIS_ORDER if axis in self.axes))
        one_of("--ensemble", self.ensemble, ENSEMBLES)
        checks.intensity(self.reading.rule)
        checks.field_of_view(self.reading.field_of_view)
        object.__setattr__(self, "format", str(operand_format(self.format)))
        if self.size is not None:
            checks.square_size(self.size)
        if self.probabilities and self.ensemble != "probabilities":
            raise UsageError(f"--probabilities: with --ensemble {self.ensemble} nobody learns any")

    def of_models(self, usual: Mapping[str, bool]) -> PredictSettings:
        """With what was left to the models decided. usual: by target, whether its models' masks usually are filtered.

        A vote has one filter for all of its masks: the infection's models decide on it (`vote_differs`).
        """
        one = self.filtered if self.filtered is not None or self.ensemble != "majority" else usual["infection"]
        return replace(self, filters={target: usual[target] if one is None else one for target in self.targets})

    def vote_differs(self, usual: Mapping[str, bool]) -> bool:
        """Whether a mask is filtered otherwise than suits its models, because the vote has one filter."""
        return self.filtered is None and any(self.filters[target] != usual[target] for target in self.targets)

    def as_published(self) -> PredictSettings:
        """For published models only, whose letters count array axes: `axes` and `slices` were meant so."""
        return replace(self, axes=tuple(letter(axis, True) for axis in self.axes), published=True)

    @property
    def readout(self) -> str:
        """Of every slice: what the ensemble opens to Alice."""
        return READOUTS[self.ensemble]

    @property
    def targets(self) -> tuple[str, ...]:
        return ("infection", "lung") if self.lung_mask else ("infection",)

    @property
    def ways(self) -> tuple[str, ...]:
        """`secure`, `float` or both: how every slice is run."""
        return ("secure", "float") if self.secure and self.compare else ("secure",) if self.secure else ("float",)

    def identity(self) -> dict[str, Any]:
        """What masks depend on: link, cores and slices in flight never change a result."""
        secure = {"format": self.format, **self.run.choices()} if self.secure else None
        return {
            "axes": list(self.axes),
            "ensemble": self.ensemble,
            "lung_mask": self.lung_mask,
            "filtered": dict(self.filters),
            "size": self.size,
            "intensity": self.reading.rule,
            "secure": secure,
        }

    def document(self) -> dict[str, Any]:
        """What was asked for."""
        return {
            **self.identity(),
            "link": self.run.link.describe(),
            **self.run.pace(),
            "slices": self.slices,
            "compare": self.compare,
            "field_of_view": self.reading.field_of_view,
            "label_values": list(self.reading.label_values),
        }
