"""The handshake: what does not fit ends both sides with the same sentence."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Never

import pytest

from bunet.models.compiled import Compiled
from bunet.models.errors import LocalError, PeerError
from bunet.models.integers import IntegerWeights
from bunet.models.model_card import ModelCard, ModelWish
from bunet.models.printable import MAX_PEER_TEXT
from bunet.models.program import Program
from bunet.net.frame import Control
from bunet.parties import alice as alice_party
from bunet.parties import bob as bob_party
from bunet.parties import warmup
from bunet.parties.input_slices import InputSlices
from bunet.parties.run_options import RunOptions
from bunet.parties.session import handshake as session
from bunet.parties.session.handshake import Request
from bunet.parties.session.run import Hooks
from bunet.parties.store import CompiledStore, Offer, StoreError
from tests.net.memory import MemoryChannel
from tests.parties import handshake
from tests.parties.programs import CARD, named, small

COMPILED = small()
SHAPE = COMPILED.program.input.type.shape
GOOD = Request(SHAPE, 2)


INFECTION, LUNG = named(COMPILED), named(COMPILED, salt=bytes(31) + b"1", target="lung", name="lung", version="3")
OTHER_WEIGHTS = named(small(seed=1))
BOTH = CompiledStore([INFECTION, LUNG])


def wanting(request: Request = GOOD, **fields: str) -> Request:
    return replace(request, model=ModelWish(**fields))


def shake(request: Request, store: CompiledStore | None = None, spoil: Callable[..., Any] | None = None) -> tuple[Any, Any]:
    """Run both halves of the handshake; returns (Alice's outcome, Bob's outcome)."""
    offers = (store or CompiledStore([COMPILED])).offer
    return handshake.shake(
        lambda channel: session.ask(channel, request),
        lambda channel: session.answer(spoil(channel) if spoil else channel, offers),
    )


def test_both_sides_agree() -> None:
    hers, his = shake(GOOD)
    assert hers == his
    assert hers.program == COMPILED.program
    assert hers.session == GOOD.session
    assert hers.protocols


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (replace(GOOD, shape=(5, 32, 32)), "Bob does not serve 5x32x32 slices"),
        (replace(GOOD, format="12.4"), "Bob does not serve 5x16x16 slices, format 12.4"),
        (replace(GOOD, readout="logits"), "read-out logits"),
        (replace(GOOD, digest="00"), "different programs"),
        (replace(GOOD, run=RunOptions(protocols={"relu": "magic"})), "no protocol 'magic' for relu"),
        (replace(GOOD, run=RunOptions(protocols={"nonsense": "gc"})), "neither an operation nor a layer"),
        (replace(GOOD, slices=0), "0 slices"),
    ],
)
def test_a_mismatch_ends_both_sides_with_one_sentence(request_: Request, sentence: str) -> None:
    hers, his = shake(request_)
    assert isinstance(hers, PeerError)
    assert isinstance(his, PeerError)
    assert sentence in str(hers)
    assert str(hers) == str(his)


@pytest.mark.parametrize(
    ("wish", "served"),
    [
        ({"target": "infection"}, INFECTION),
        ({"target": "lung"}, LUNG),
        ({"name": "lung"}, LUNG),
        ({"name": "lung", "version": "3", "axis": "z"}, LUNG),
        ({"version": "1"}, INFECTION),
    ],
)
def test_alice_gets_the_model_that_she_asks_for(wish: dict[str, Any], served: Compiled) -> None:
    hers, his = shake(wanting(**wish), BOTH)
    assert hers == his
    assert (hers.card, hers.commitment) == (served.card, served.commitment)
    assert his.program is served.program, "whose weights Bob uses"


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"axis": "x"}, "Bob does not serve 5x16x16 slices, axis x; he serves infection along z (small@1), 5x16x16, format"),
        ({"target": "liver"}, "Bob does not serve 5x16x16 slices, target liver; he serves"),
        ({"target": "lung", "version": "1"}, "Bob does not serve 5x16x16 slices, target lung, version 1; he serves"),
        ({"name": "small", "version": "2"}, "Bob does not serve 5x16x16 slices, model small version 2; he serves"),
        (
            {"axis": "z"},
            "2 of Bob's models fit: infection along z (small@1), 5x16x16, format 8.4, read-out argmax; lung along z (lung@3), "
            "5x16x16, format 8.4, read-out argmax; say which with --target, --model NAME[@VERSION] or --format",
        ),
    ],
)
def test_no_other_model_is_served_and_none_of_several(wish: dict[str, Any], sentence: str) -> None:
    hers, his = shake(wanting(**wish), BOTH)
    assert isinstance(hers, PeerError)
    assert sentence in str(hers)
    assert str(hers) == str(his)


def test_a_model_without_a_name_is_for_those_who_want_nothing() -> None:
    hers, his = shake(GOOD)
    assert (hers.card, hers.commitment) == (his.card, his.commitment) == (None, None)
    hers, his = shake(wanting(axis="z"))
    assert (
        str(hers) == str(his) == ("Bob does not serve 5x16x16 slices, axis z; he serves 5x16x16, format 8.4, read-out argmax")
    )
    hers, his = shake(replace(GOOD, committed=True))
    assert type(hers) is PeerError
    assert str(hers) == str(his)
    assert "does not commit to its weights" in str(hers)


def test_a_long_list_of_models_is_the_same_sentence_at_both_sides() -> None:
    many = CompiledStore([named(COMPILED, target=f"{k} " + "x" * 60, name="y" * 64, version=str(k)) for k in range(9)])
    wishes: tuple[dict[str, Any], ...] = (
        {"axis": "z"},
        {"axis": "x"},
        {"axis": "x", "target": "t" * 64, "name": "n" * 64, "version": "v" * 64},
    )
    for wish in wishes:
        hers, his = shake(wanting(**wish), many)
        assert str(hers) == str(his)
        assert len(str(hers)) <= MAX_PEER_TEXT + 3
    hers, _ = shake(wanting(axis="z"), many)
    assert str(hers).endswith("; 8 more; say which with --target, --model NAME[@VERSION] or --format")


def test_models_that_cannot_be_told_apart_are_not_served() -> None:
    for same in ([INFECTION, OTHER_WEIGHTS], [INFECTION, INFECTION], [COMPILED, COMPILED]):
        with pytest.raises(StoreError, match=r"^a.model and b.model cannot be told apart, both are .*5x16x16, format 8.4"):
            CompiledStore(same, ["a.model", "b.model"])
    others = [named(small(32)), named(small(format="8.8")), named(small(readout="logits")), named(COMPILED, version="2")]
    served = CompiledStore([INFECTION, *others, named(COMPILED, axis="x"), LUNG])
    assert len(served.lines()) == 7
    assert served.lines()[0] == (
        "infection along z, `small` version 1, trained at 16 pixels, values window -1250..250 HU on 0..1; 5x16x16, format 8.4, "
        "read-out argmax"
    )


def test_a_resumed_run_goes_on_with_the_same_weights_only() -> None:
    first, _ = shake(GOOD, CompiledStore([INFECTION]))
    again = replace(GOOD, digest=first.program.digest(), commitment=first.commitment)
    restarted = named(small())
    hers, his = shake(again, CompiledStore([restarted]))
    assert hers == his
    other = named(Compiled(COMPILED.program, changed(COMPILED.weights)))
    compiled_again = named(COMPILED, salt=b"1" * 32)
    for served in (other, compiled_again):
        hers, his = shake(again, CompiledStore([served]))
        assert type(his) is PeerError
        assert str(hers) == str(his)
        assert "Bob's weights are not those that this run began with (commitments differ" in str(hers)


def changed(weights: Mapping[str, IntegerWeights]) -> dict[str, IntegerWeights]:
    """The same program's weights with one bias that is another."""
    name = next(iter(weights))
    layer = weights[name]
    return {**weights, name: IntegerWeights(layer.weight, layer.bias + 1)}


@pytest.mark.parametrize(
    ("offer", "request_", "sentence"),
    [
        (
            Offer(COMPILED.program, ModelCard("lung", "z", "l"), "0" * 64),
            wanting(target="infection"),
            "Alice asks for target infection, Bob's model is lung along z (l@1)",
        ),
        (Offer(COMPILED.program), wanting(axis="z"), "Alice asks for axis z, Bob's model is without a name"),
        (Offer(COMPILED.program, CARD, "1" * 64), replace(GOOD, commitment="0" * 64), "commitments differ"),
        (Offer(COMPILED.program, CARD), replace(GOOD, committed=True), "does not commit to its weights"),
    ],
)
def test_alice_checks_what_bob_says_he_serves(offer: Offer, request_: Request, sentence: str) -> None:
    def careless(channel: MemoryChannel) -> Any:
        """A Bob who serves whatever he has, and does not look at what is expected of him."""
        return session.answer(Spoiled(channel, "open", commitment=None), lambda *request: offer)  # type: ignore[arg-type]

    hers, his = handshake.shake(lambda channel: session.ask(channel, request_), careless)
    assert type(hers) is PeerError
    assert type(his) is PeerError
    assert sentence in str(hers)
    assert str(hers) == str(his)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": 7},
        {"model": {}},
        {"model": {**CARD.to_document(), "size": "128"}},
        {"commitment": "xyz"},
        {"commitment": 7},
        {"model": {**CARD.to_document(), "name": "\u202ename"}},
        {"program": 7},
    ],
)
def test_alice_refuses_an_answer_that_is_malformed(changes: dict[str, Any]) -> None:
    hers, his = handshake.shake(
        lambda channel: session.ask(Spoiled(channel, "accept", **changes), GOOD),  # type: ignore[arg-type]
        lambda channel: session.answer(channel, CompiledStore([INFECTION]).offer),
    )
    assert isinstance(hers, PeerError)
    assert str(hers).startswith("what Bob answers is malformed: ")
    assert str(hers) == str(his)


WISH = {"target": None, "axis": None, "name": None, "version": None}


class Spoiled:
    """A channel whose incoming control messages are changed on the way."""

    def __init__(self, inner: MemoryChannel, kind: str, **changes: Any) -> None:
        self.inner, self.kind, self.changes = inner, kind, changes

    def send(self, message: Control) -> None:
        self.inner.send(message)

    def receive(self, timeout_s: float | None = None) -> Any:
        message = self.inner.receive(timeout_s)
        if isinstance(message, Control) and message.type == self.kind:
            return Control(message.type, {**message.body, **self.changes})
        return message


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        ("open", {"version": "0.0.0"}, "versions differ"),
        ("open", {"protocol": 99}, "versions differ"),
        ("open", {"security": {"computational": 80, "statistical": 40}}, "security levels differ"),
        ("open", {"shape": "no"}, "request is malformed"),
        ("open", {"choices": []}, "request is malformed"),
        ("open", {"session": "../" * 10}, "request is malformed"),
        ("open", {"session": 7}, "request is malformed"),
        ("open", {"format": 7}, "request is malformed"),
        ("open", {"readout": ["argmax"]}, "request is malformed"),
        ("open", {"model": None}, "request is malformed"),
        ("open", {"model": {"axis": "z"}}, "request is malformed"),
        ("open", {"model": {**WISH, "axis": "w"}}, "request is malformed"),
        ("open", {"model": {**WISH, "target": 7}}, "request is malformed"),
        ("open", {"model": {**WISH, "target": ""}}, "request is malformed"),
        ("open", {"model": {**WISH, "target": "x" * 65}}, "request is malformed"),
        ("open", {"model": {**WISH, "name": "\x1b[31m"}}, "request is malformed"),
        ("open", {"model": {**WISH, "more": "x"}}, "request is malformed"),
        ("open", {"commitment": "0" * 63}, "request is malformed"),
        ("open", {"commitment": 7}, "request is malformed"),
        ("open", {"commitment": "0" * 64}, "commitments differ"),
        ("open", {"settings": {"ot": "ferret"}}, "setting ot=ferret is not one of iknp, softspoken-2"),
        ("open", {"settings": {"to": "iknp"}}, "no setting 'to'; known are garbler, ot"),
        ("open", {"in_flight": 1000}, "1000 in flight"),
        ("ready", {"digest": "00"}, "different programs"),
    ],
)
def test_bob_refuses_what_he_cannot_trust(kind: str, changes: dict[str, Any], sentence: str) -> None:
    _, his = shake(GOOD, spoil=lambda channel: Spoiled(channel, kind, **changes))
    assert isinstance(his, PeerError)
    assert sentence in str(his)


def test_bob_is_told_where_alice_cannot_prepare_her_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sentence that says nothing of her files."""
    why = LocalError("/home/ward/ct.npz: cannot be read")

    def broken(program: Program, k: int) -> Never:
        raise why

    monkeypatch.setattr(warmup, "compile_kernels", lambda *given: 0.0)
    service = bob_party.Service(CompiledStore([COMPILED]), RunOptions(), Hooks(lambda event: None))
    hers, his = handshake.shake(
        lambda channel: alice_party.run(
            lambda: channel,
            GOOD,
            InputSlices([("z", 0), ("z", 1)], broken),
            lambda job, result: None,
            Hooks(lambda event: None),
        ),
        service.session,
    )
    assert hers is why
    assert isinstance(his, PeerError)
    assert str(his) == "Alice cannot prepare her slices, and ends the session"
