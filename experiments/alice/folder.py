"""The folder of `bunet alice`: finished slices, and the model of Bob's that they came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bunet.experiments.storage.run_folder import RunFolder
from bunet.models.commitment import COMMITMENT
from bunet.models.errors import UsageError
from bunet.models.model_card import ModelCard, ModelCardError, ModelWish
from bunet.parties import outcomes
from bunet.parties.session.handshake import Terms

DIGEST = re.compile(r"[0-9a-f]{64}")


def served(terms: Terms) -> dict[str, Any]:
    """What Bob said of his model, for documents."""
    return {"model": None if terms.card is None else terms.card.to_document(), "commitment": terms.commitment}


class SliceFolder(RunFolder):
    """Finished slices of `bunet alice` on disk, each written whole or not at all, and the model they came from."""

    def __init__(self, folder: Path, identity: Mapping[str, object]) -> None:
        super().__init__(folder, identity, command="bunet alice", later=("program", "model", "commitment"))

    def check(self, noted: dict[str, Any]) -> None:
        if not isinstance(noted["program"], str) or not DIGEST.fullmatch(noted["program"]):
            raise UsageError(f"{self.file} names no program: choose another --out")
        if not isinstance(noted["commitment"], str) or not COMMITMENT.fullmatch(noted["commitment"]):
            raise UsageError(f"{self.file} has no commitment to Bob's weights: choose another --out")
        try:
            ModelCard.from_document(noted["model"])
        except ModelCardError as error:
            raise UsageError(f"{self.file} does not name a model ({error}): choose another --out") from error

    @property
    def digest(self) -> str | None:
        return None if self.noted is None else str(self.noted["program"])

    @property
    def commitment(self) -> str | None:
        return None if self.noted is None else str(self.noted["commitment"])

    @property
    def wish(self) -> ModelWish | None:
        """For the model of the slices that are there."""
        return None if self.noted is None else ModelWish.of(self.model)

    @property
    def model(self) -> ModelCard:
        """Of the slices that are there."""
        assert self.noted is not None  # there are slices
        return ModelCard.from_document(self.noted["model"])

    def belongs_to(self, terms: Terms) -> None:
        """Note the model of the first slice; the handshake holds every later session to it."""
        if self.noted is None:
            self.claim(program=terms.program.digest(), **served(terms))

    def has(self, k: int) -> bool:
        return outcomes.path_of(self.folder, k).exists()

    def write(self, k: int, mask: np.ndarray) -> None:
        outcomes.write(self.folder, k, mask.astype(np.uint8))
