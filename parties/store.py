"""The models that Bob serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bunet.models.errors import LocalError, PeerError, UsageError
from bunet.models.model_card import ModelCard, ModelWish
from bunet.models.passes.compile import Compiled
from bunet.models.printable import MAX_PEER_TEXT
from bunet.models.program import Program
from bunet.protocols.registry import LayerWeights


class StoreError(UsageError):
    """Models that cannot be served together; the message names their files."""


@dataclass(frozen=True)
class Offer:
    """What Bob answers a request with: the public program, what the model is, and his commitment to its weights.

    The last two are None for a model of a local run, which nobody has to be told about.
    """

    program: Program
    card: ModelCard | None = None
    commitment: str | None = None


class CompiledStore:
    """Serves compiled models as they are; a request picks one by slice shape, format, read-out, and what the model is."""

    def __init__(self, models: Sequence[Compiled], files: Sequence[str] = ()) -> None:
        """files: what messages call the models. Raises StoreError where two cannot be told apart by any request."""
        if not models:
            raise ValueError("a store needs at least one model")
        self._models = list(models)
        self._offers = [Offer(model.program, model.card, model.commitment) for model in models]
        names = list(files) or [f"model {number}" for number in range(1, len(models) + 1)]
        told: dict[object, str] = {}
        for offer, name in zip(self._offers, names, strict=True):
            wish = None if offer.card is None else ModelWish.of(offer.card)
            facts = (wish, _facts(offer.program))
            if facts in told:
                raise StoreError(
                    f"{told[facts]} and {name} cannot be told apart, both are {describe(offer)}: serve one of them, or "
                    "compile one with another --name or --version"
                )
            told[facts] = name

    def offer(self, shape: tuple[int, int, int], format: str | None, readout: str | None, wish: ModelWish) -> Offer:
        """The one model that fits; PeerError with the reason where there is none, or more than one."""
        fitting = [
            offer
            for offer in self._offers
            if offer.program.input.type.shape == shape
            and format in (None, str(offer.program.format))
            and readout in (None, offer.program.output.attributes["kind"])
            and wish.fits(offer.card)
        ]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = "--target, --model NAME[@VERSION] or --format"
            raise PeerError(_listed(f"{len(fitting)} of Bob's models fit: ", fitting, f"; say which with {names}"))
        wanted = [f"{shape[0]}x{shape[1]}x{shape[2]} slices", str(wish)]
        wanted += [f"format {format}" if format else "", f"read-out {readout}" if readout else ""]
        raise PeerError(_listed(f"Bob does not serve {', '.join(filter(None, wanted))}; he serves ", self._offers))

    def weights(self, program: Program) -> Mapping[str, LayerWeights]:
        for model in self._models:
            if model.program is program:
                return {name: LayerWeights(w.weight, w.bias) for name, w in model.weights.items()}
        raise LocalError("no weights for this program")

    def lines(self) -> list[str]:
        """What is served, a line for each model."""
        return [f"{offer.card or 'a model without a name'}; {_size(offer.program)}" for offer in self._offers]


def describe(offer: Offer) -> str:
    """Such as `infection along z (infection-z@1), 5x128x128, format 8.4, read-out argmax`."""
    return ("" if offer.card is None else f"{offer.card.short}, ") + _size(offer.program)


def _size(program: Program) -> str:
    shape, format, readout = _facts(program)
    return f"{'x'.join(map(str, shape))}, format {format}, read-out {readout}"


def _facts(program: Program) -> tuple[tuple[int, int, int], str, str]:
    return program.input.type.shape, str(program.format), str(program.output.attributes["kind"])


def _listed(before: str, offers: Iterable[Offer], after: str = "") -> str:
    """One sentence with as many models as a peer may say, so that both sides read the same."""
    parts = [describe(offer) for offer in offers]
    for shown in range(len(parts), -1, -1):
        left = len(parts) - shown
        told = parts[:shown] + ([f"{left} more" if shown else f"{left} models"] if left else [])
        sentence = before + "; ".join(told) + after
        if len(sentence) <= MAX_PEER_TEXT:
            return sentence
    return sentence
