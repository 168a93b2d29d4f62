"""What a model is: what it marks, along which axis, its name and version, and on what values it was trained.

The card travels from Bob to Alice and is printed, so every word of it is short and printable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from bunet.models.errors import UsageError
from bunet.models.volumes.content.intensity import HU_WINDOW
from bunet.models.volumes.slicing.slices import AXES

MAX_TEXT = 64
MAX_SIZE = 4096
AS_IS = "as-is"
WINDOW = f"window {HU_WINDOW[0]:g}..{HU_WINDOW[1]:g} HU on 0..1"
FIRST_VERSION = "1"


class ModelCardError(UsageError):
    """A model's card, or a wish for a model, that cannot be one; the message names the field."""


@dataclass(frozen=True)
class ModelCard:
    """What the owner of a model says of it. Checked when made (ModelCardError).

    target: what is marked, such as `infection`. axis: x, y or z, what its slices are perpendicular to (z: the volume's
    slices). name, version: told apart by people. size: pixels of the slices it was trained on, None where nobody knows.
    intensity: what its input values mean, WINDOW or AS_IS or other words.
    """

    target: str
    axis: str
    name: str
    version: str = FIRST_VERSION
    size: int | None = None
    intensity: str = WINDOW

    def __post_init__(self) -> None:
        for field in ("target", "axis", "name", "version", "intensity"):
            _check_text(field, getattr(self, field))
        if self.size is not None and (type(self.size) is not int or not 1 <= self.size <= MAX_SIZE):
            raise ModelCardError(f"the model's size is not a number of pixels from 1 to {MAX_SIZE}")

    @classmethod
    def from_document(cls, document: Any) -> ModelCard:
        """Read what `to_document` gave; ModelCardError on anything else."""
        return cls(**_exactly(cls, document))

    def to_document(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @property
    def short(self) -> str:
        """Such as `infection along z (infection-z@1)`."""
        return f"{self.target} along {self.axis} ({self.name}@{self.version})"

    def __str__(self) -> str:
        trained = f"trained at {self.size} pixels" if self.size else "of unknown training size"
        return f"{self.target} along {self.axis}, `{self.name}` version {self.version}, {trained}, values {self.intensity}"


@dataclass(frozen=True)
class ModelWish:
    """What somebody wants of a model; None: whatever there is. Checked when made (ModelCardError)."""

    target: str | None = None
    axis: str | None = None
    name: str | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        for field, value in asdict(self).items():
            if value is not None:
                _check_text(field, value)

    @classmethod
    def from_document(cls, document: Any) -> ModelWish:
        """Read what `asdict` gave; ModelCardError on anything else."""
        return cls(**_exactly(cls, document))

    @classmethod
    def of(cls, card: ModelCard) -> ModelWish:
        """For this very model."""
        return cls(card.target, card.axis, card.name, card.version)

    def __bool__(self) -> bool:
        return any(value is not None for value in asdict(self).values())

    def fits(self, card: ModelCard | None) -> bool:
        """Whether the model is what is wanted; one that does not say what it is suits those who want nothing."""
        if card is None:
            return not self
        return all(value in (None, getattr(card, field)) for field, value in asdict(self).items())

    def __str__(self) -> str:
        named = "" if self.name is None else f"model {self.name}"
        named += "" if self.version is None else f" version {self.version}" if named else f"version {self.version}"
        along = None if self.axis is None else f"axis {self.axis}"
        return ", ".join(part for part in (self.target and f"target {self.target}", along, named) if part)


def parse_model(text: str) -> tuple[str, str | None]:
    """(name, version) of NAME or NAME@VERSION; ModelCardError for an empty one."""
    name, at, version = text.partition("@")
    _check_text("name", name)
    if at:
        _check_text("version", version)
    return name, version if at else None


def card_of_notes(notes: Mapping[str, Any], stem: str, said: Mapping[str, str | None]) -> ModelCard:
    """The card of weights: what their notes say, and before that what somebody said (None: nothing).

    stem: of their file's name, their name where nothing else is known. Raises ModelCardError, also where neither says what
    is marked or along which axis.
    """
    facts = {**notes, **{key: value for key, value in said.items() if value is not None}}
    for field in ("target", "axis"):
        if facts.get(field) is None:
            raise ModelCardError(f"the weights do not say their {field}: say --{field}")
    return ModelCard(
        facts["target"],
        facts["axis"],
        facts.get("name", stem),
        str(facts.get("version", FIRST_VERSION)),
        facts.get("size"),
        facts.get("intensity", WINDOW),
    )


def intensity_of(rule: str) -> str:
    """What the values of a volume mean that was put on its scale by a rule of `content.intensity`, in a card's words."""
    return AS_IS if rule == AS_IS else WINDOW


def _check_text(field: str, value: object) -> None:
    """ModelCardError unless it is short, printable, and starts and ends with something to see."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT:
        raise ModelCardError(f"the model's {field} is not a text of 1 to {MAX_TEXT} characters")
    if not value.isprintable() or value != value.strip():
        raise ModelCardError(f"the model's {field} holds characters that cannot be printed, or spaces at an end")
    if field == "axis" and value not in AXES:
        raise ModelCardError(f"the model's axis {value!r} is not one of {', '.join(sorted(AXES))}")
    if field in ("name", "version") and "@" in value:
        raise ModelCardError(f"the model's {field} {value!r} holds an @, which stands between name and version")


def _exactly(record: type, document: Any) -> dict[str, Any]:
    names = {field.name for field in fields(record)}
    if not isinstance(document, dict) or set(document) != names:
        raise ModelCardError(f"not a table of {', '.join(sorted(names))}")
    return document
