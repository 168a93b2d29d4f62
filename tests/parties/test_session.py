"""The handshake: what does not fit ends both sides with the same sentence."""

from dataclasses import replace

import pytest

from bunet.net.frame import Control
from bunet.parties import session
from bunet.parties.errors import PeerError
from bunet.parties.session import Request
from bunet.parties.store import CompiledStore
from tests.parties import handshake
from tests.parties.programs import small

COMPILED = small()
SHAPE = COMPILED.program.input.type.shape
GOOD = Request(SHAPE, 2, 1)


def shake(request, store=None, spoil=None):
    """Run both halves of the handshake; returns (Alice's outcome, Bob's outcome)."""
    programs = (store or CompiledStore([COMPILED])).program
    return handshake.shake(
        lambda channel: session.ask(channel, request),
        lambda channel: session.answer(spoil(channel) if spoil else channel, programs),
    )


def test_both_sides_agree():
    hers, his = shake(GOOD)
    assert hers == his
    assert hers.program == COMPILED.program
    assert hers.session == GOOD.session
    assert hers.chosen["bottleneck.relu1"] == "gc-sign" if "bottleneck.relu1" in hers.chosen else hers.chosen


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (replace(GOOD, shape=(5, 32, 32)), "Bob does not serve 5x32x32 slices"),
        (replace(GOOD, format="12.4"), "Bob does not serve 5x16x16 slices, format 12.4"),
        (replace(GOOD, readout="logits"), "read-out logits"),
        (replace(GOOD, digest="00"), "different programs"),
        (replace(GOOD, choices={"relu": "magic"}), "no protocol 'magic' for relu"),
        (replace(GOOD, choices={"nonsense": "gc"}), "neither an operation nor a layer"),
        (replace(GOOD, settings={"ot": "ferret"}), "setting ot=ferret is not one of iknp, softspoken-2"),
        (replace(GOOD, settings={"to": "iknp"}), "no setting 'to'; known are garbler, ot"),
        (replace(GOOD, slices=0), "0 slices"),
        (replace(GOOD, in_flight=1000), "1000 in flight"),
    ],
)
def test_a_mismatch_ends_both_sides_with_one_sentence(request_, sentence):
    hers, his = shake(request_)
    assert isinstance(hers, PeerError)
    assert isinstance(his, PeerError)
    assert sentence in str(hers)
    assert str(hers) == str(his)


class Spoiled:
    """A channel whose incoming control messages are changed on the way."""

    def __init__(self, inner, kind, **changes):
        self.inner, self.kind, self.changes = inner, kind, changes

    def send(self, message):
        self.inner.send(message)

    def receive(self, timeout_s=None):
        message = self.inner.receive(timeout_s)
        if isinstance(message, Control) and message.kind == self.kind:
            return Control(message.kind, {**message.body, **self.changes})
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
        ("ready", {"digest": "00"}, "different programs"),
    ],
)
def test_bob_refuses_what_he_cannot_trust(kind, changes, sentence):
    _, his = shake(GOOD, spoil=lambda channel: Spoiled(channel, kind, **changes))
    assert isinstance(his, PeerError)
    assert sentence in str(his)
