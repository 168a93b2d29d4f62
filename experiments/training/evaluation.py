"""Float and integer masks of whole cases against labels and against one another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bunet.models.compiled import Compiled
from bunet.models.metrics import Agreement, agreement
from bunet.models.training import integer_score
from bunet.models.training.cases import Case
from bunet.models.volumes.slice_source import SliceFrame
from bunet.models.volumes.slicing.slices import slice_count

if TYPE_CHECKING:
    from bunet.models.network.unet import UNet

FIGURES = ("dice", "overlap", "sensitivity", "infected_share", "infected_share_true")
FLOAT = "float"

Figures = dict[str, Any]


@dataclass
class Evaluation:
    """Scores cases one after the other, and pools them.

    model: a torch network in evaluation mode. compiled: its integer programs by format, each run by the oracle too.
    figures: of the cases so far, with those of the formats under `formats`. seed: of the stochastic rounding.
    """

    model: UNet
    target: str
    axis: str
    size: int
    compiled: Mapping[str, Compiled] = field(default_factory=dict)
    seed: int = 0
    figures: list[Figures] = field(default_factory=list)
    _truth: dict[str, Agreement] = field(default_factory=dict)
    _float: dict[str, Agreement] = field(default_factory=dict)

    def score(self, case: Case, progress: Callable[[str, int], None] | None = None) -> Figures:
        """Figures of one case, which `figures` gets too. progress: told a format (or `float`) and its slices done."""
        from bunet.models.training import score as train_score

        def told(name: str) -> Callable[[int], None] | None:
            return None if progress is None else lambda done: progress(name, done)

        began = time.perf_counter()
        reference = train_score.segment(self.model, case.volume, self.axis, self.size, told(FLOAT), case.crop)
        count = max(1, self.slices(case))
        figures = train_score.case_figures(case, reference, self.target)
        figures["seconds_per_slice"] = (time.perf_counter() - began) / count
        self._pool(self._truth, FLOAT, agreement(reference, case.label))
        for name, compiled in self.compiled.items():
            began = time.perf_counter()
            mask = integer_score.segment(compiled, case.volume, self.axis, self.seed, told(name), case.crop)
            seconds = (time.perf_counter() - began) / count
            against_float = agreement(mask, reference)
            self._pool(self._truth, name, agreement(mask, case.label))
            self._pool(self._float, name, against_float)
            integer = train_score.case_figures(case, mask, self.target)
            del integer["case"], integer["slices"]
            figures.setdefault("formats", {})[name] = {
                **integer,
                "dice_float": against_float.known()["dice"],
                "seconds_per_slice": seconds,
            }
        if case.crop is not None:
            figures["crop"] = case.crop.as_list()
        self.figures.append(figures)
        return figures

    def slices(self, case: Case) -> int:
        """How many slices of a case are segmented: those that its crop holds."""
        frame = SliceFrame.of(case.volume.shape, self.axis, self.size, case.crop)
        return len(frame.positions(range(slice_count(case.volume, self.axis))))

    @staticmethod
    def _pool(table: dict[str, Agreement], name: str, counts: Agreement) -> None:
        table[name] = table.get(name, Agreement()) + counts

    def means(self) -> dict[str, float]:
        """The mean over cases of each figure that some case has."""
        return _means(self.figures)

    def summary(self) -> Figures:
        """`mean`, `lowest` and `highest` over cases, and `pooled` over all their voxels; the same for every format.

        Cases of two empty masks have no figure, and are left out of those over cases.
        """
        document: Figures = {
            "mean": self.means(),
            **_extremes(self.figures),
            "pooled": {"dice": self._truth[FLOAT].known()["dice"]},
        }
        for name in self.compiled:
            each = [figures["formats"][name] for figures in self.figures]
            document.setdefault("formats", {})[name] = {
                "mean": _means(each),
                **_extremes(each),
                "pooled": {
                    "dice": self._truth[name].known()["dice"],
                    "dice_float": self._float[name].known()["dice"],
                },
            }
        return document


def _means(each: list[Figures]) -> dict[str, float]:
    means = {}
    for key in (*FIGURES, "dice_float"):
        known = [figures[key] for figures in each if figures.get(key) is not None]
        if known:
            means[key] = sum(known) / len(known)
    return means


def _extremes(each: list[Figures]) -> Figures:
    known = {
        key: [figures[key] for figures in each if figures[key] is not None] for key in ("dice", "dice_float") if key in each[0]
    }
    return {
        "lowest": {key: min(values) for key, values in known.items() if values},
        "highest": {key: max(values) for key, values in known.items() if values},
    }
