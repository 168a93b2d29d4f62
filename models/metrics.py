"""How well two masks agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BOTH_EMPTY = "both are empty"  # what is said in place of a figure


@dataclass(frozen=True)
class Agreement:
    """Pixels in both masks, in the one that was found, and in the true one. Sums of such counts pool several masks."""

    both: int = 0
    found: int = 0
    true: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.both + other.both, self.found + other.found, self.true + other.true)

    @property
    def empty(self) -> bool:
        """Whether both masks are: figures of nothing against nothing say nothing, so none is shown (`known`)."""
        return not self.found and not self.true

    def known(self) -> dict[str, float | None]:
        """dice, overlap and sensitivity as people and documents get them: None where both masks are empty."""
        figures = {"dice": self.dice, "overlap": self.overlap, "sensitivity": self.sensitivity}
        return {name: None if self.empty else value for name, value in figures.items()}

    @property
    def dice(self) -> float:
        """2|A and B| / (|A| + |B|); 1 where both are empty."""
        return 2 * self.both / (self.found + self.true) if self.found + self.true else 1.0

    @property
    def overlap(self) -> float:
        """Volume overlap (Jaccard, IoU) |A and B| / |A or B|; 1 where both are empty."""
        union = self.found + self.true - self.both
        return self.both / union if union else 1.0

    @property
    def sensitivity(self) -> float:
        """Share of the true mask that was found; 1 where there is none."""
        return self.both / self.true if self.true else 1.0


def agreement(found: np.ndarray, true: np.ndarray) -> Agreement:
    """Counts for two masks of equal shape, non-zero being inside. Raises ValueError where the shapes differ."""
    a, b = np.asarray(found) != 0, np.asarray(true) != 0
    if a.shape != b.shape:
        raise ValueError(f"masks of shapes {a.shape} and {b.shape} cannot be compared")
    return Agreement(int((a & b).sum()), int(a.sum()), int(b.sum()))


def known_dice(first: np.ndarray, second: np.ndarray) -> float | None:
    """Dice of two masks as of `agreement`, None where both are empty: for documents, and for people by `dice_text`."""
    return agreement(first, second).known()["dice"]


def dice_text(value: float | None) -> str:
    """What people read of a `known_dice`."""
    return BOTH_EMPTY if value is None else f"{value:.4f}"
