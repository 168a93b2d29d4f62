"""What the handshakes put on the wire, byte by byte: a release that changes it must say so by its protocol version."""

import hashlib

import pytest

from bunet.net.frame import Control, encode
from bunet.parties.session import handshake
from bunet.parties.vote import session as vote_session
from tests.fuzz.seeds import REQUEST, VOTE, Recorder, small_offer


def digest(channel: Recorder) -> str:
    """SHA-256 of the parts of every message that was sent, in order."""
    parts = [bytes(part) for message in channel.said for part in encode(message).parts(0.0)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.fixture(autouse=True)
def _no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "software", lambda: "0")


def test_the_frames_of_a_handshake() -> None:
    offer = small_offer()
    opening = handshake.opening(REQUEST.document())
    bob = Recorder(Control("open", opening), Control("ready", {"digest": offer.program.digest()}))
    handshake.answer(bob, lambda *_: offer)  # type: ignore[arg-type]
    alice = Recorder(bob.said[0])
    handshake.ask(alice, REQUEST)  # type: ignore[arg-type]
    assert [message.type for message in (*alice.said, *bob.said)] == ["open", "ready", "accept"]
    assert digest(alice) == "30318e22fe528ca3916732a80d1831d55200ba057307647f8ceb4e6d0e6a5f0e"
    assert digest(bob) == "b79fc9d3d831bfd01f8953a27e5cbd25f136a592242d59c794e4451f8be77164"


def test_the_frames_of_the_handshake_of_a_vote() -> None:
    bob = Recorder(Control("open", handshake.opening({"link": VOTE.run.link.name, **VOTE.document()})))
    vote_session.answer(bob, VOTE)  # type: ignore[arg-type]
    alice = Recorder(bob.said[0])
    vote_session.ask(alice, VOTE)  # type: ignore[arg-type]
    assert digest(alice) == "b47d5a05e8aae3d78de40cb359f3210b6371b102f7f97495a036611510591d00"
    assert digest(bob) == "a67bc9456340ba44477996f6502189b7b7dfa439ad53f64f9e69d73a2f9141ba"
