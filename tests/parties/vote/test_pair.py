"""A vote of two parties: what Alice gets, what the books say, and what ends both with one sentence."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console

from bunet.models.errors import LocalError, PeerError, UsageError
from bunet.net.frame import Control
from bunet.net.link import PRESETS, Link
from bunet.parties.console import RunConsole
from bunet.parties.events import ROLES, Event, LayerFinished, SessionStarted
from bunet.parties.run_options import RunOptions
from bunet.parties.session import handshake
from bunet.parties.session.handshake import Request
from bunet.parties.store import CompiledStore
from bunet.parties.vote import ballots
from bunet.parties.vote import session as vote_session
from bunet.parties.vote.job import OT, VoteJob
from bunet.parties.vote.pair import run_vote
from bunet.parties.vote.session import VoteTerms
from bunet.protocols.vote import election
from tests.net.memory import MemoryChannel
from tests.parties.handshake import shake
from tests.parties.programs import small
from tests.protocols.vote.test_election import in_the_clear
from tests.protocols.vote.test_gates import shared

SHAPE = (5, 6, 7)
NAMES = ("infection-x", "infection-y", "infection-z", "lung-x", "lung-z")
TERMS = VoteTerms(SHAPE, NAMES, {name: name for name in NAMES}, RunOptions(settings={"ot": "softspoken-4"}))


def ignore(event: Event) -> None:
    """Of events."""


def cast(folder: Path, names: tuple[str, ...] = NAMES, source: str = "one run", seed: int = 0) -> tuple[VoteJob, np.ndarray]:
    """Random ballots as files of both parties: (job, ballots in the clear)."""
    clear = (np.random.default_rng(seed).random((len(names), *SHAPE)) < 0.2).astype(np.uint8)
    for name, ballot in zip(names, clear, strict=True):
        for role, share in zip(("alice", "bob"), shared(ballot), strict=True):
            ballots.write(folder / role, name, share, source)
    shares = {role: folder / role for role in ROLES}
    return VoteJob(folder=folder, shares=shares, shape=SHAPE, ballots=names), clear


def test_two_processes_open_the_clear_rules_mask_and_keep_books(tmp_path: Path) -> None:
    job, clear = cast(tmp_path)
    events: list[Any] = []
    console = RunConsole(console=Console(file=open(tmp_path / "console", "w"), width=100))  # noqa: SIM115

    def emit(event: Event) -> None:
        events.append(event)
        console(event)

    link = Link(1e9, 2e-3)
    with console:
        mask = run_vote(job.model_copy(update={"run": RunOptions(link=link, settings={"ot": OT})}), emit)
    assert mask.dtype == np.uint8
    facts = ballots.election_of(SHAPE, NAMES)
    np.testing.assert_array_equal(mask, in_the_clear(facts, clear))
    assert stat.S_IMODE((tmp_path / "mask.npy").stat().st_mode) == 0o600

    steps = election.steps(facts, job.run.ot)
    started = [e for e in events if isinstance(e, SessionStarted)]
    assert [e.role for e in started] == ["alice", "bob"] or [e.role for e in started] == ["bob", "alice"]
    assert started[0].plan == started[1].plan
    assert [line.name for line in started[0].plan] == ["ballots", *(step.name for step in steps)]
    finished = {(e.role, e.name): e for e in events if isinstance(e, LayerFinished)}
    for step in steps:
        hers, his = finished["alice", step.name], finished["bob", step.name]
        assert (hers.operation, hers.protocol) == ("vote", "gmw")
        stated = (step.cost.alice_bytes, step.cost.bob_bytes)
        assert (hers.bytes_sent, hers.bytes_received) == (his.bytes_received, his.bytes_sent) == stated
        assert max(hers.rounds, his.rounds) == step.cost.rounds

    document = console.ledger.document(link={"name": link.name}, environment={})
    assert json.loads(json.dumps(document))["format"] == "bits"
    assert [layer["name"] for layer in document["slices"][0]["layers"]] == [line.name for line in started[0].plan]
    console.print_table()
    console.console.file.close()
    text = (tmp_path / "console").read_text()
    assert "maximum-z" in text
    assert "gmw" in text


def test_an_earlier_mask_is_never_taken_for_this_votes(tmp_path: Path) -> None:
    job, _ = cast(tmp_path, ("lung-x",))
    np.save(tmp_path / "mask.npy", np.zeros(SHAPE, np.uint8))
    (tmp_path / "bob" / "lung-x.ballot").unlink()
    with pytest.raises(LocalError, match=r"ballot .*bob/lung-x.ballot: there is no such file"):
        run_vote(job, ignore)
    assert not (tmp_path / "mask.npy").exists()


def test_a_ballot_of_alices_that_is_damaged_is_one_sentence(tmp_path: Path) -> None:
    job, _ = cast(tmp_path, ("lung-x",))
    (tmp_path / "alice" / "lung-x.ballot").write_bytes(b"nonsense")
    with pytest.raises(LocalError, match=r"^Alice: ballot .*alice/lung-x.ballot is damaged"):
        run_vote(job, ignore)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("infection",), "not named GROUP-AXIS"),
        (("../x-x",), "not named GROUP-AXIS"),
        (("a-x", "b-x", "a-y"), "do not stand together"),
        (("a-x", "a-x"), "named twice"),
        (("a-x", "b-x", "c-x"), "one or two groups"),
        ((), "one or two groups"),
    ],
)
def test_names_that_make_no_vote_are_refused(tmp_path: Path, names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        run_vote(VoteJob(folder=tmp_path, shape=SHAPE, ballots=names), ignore)


def test_an_extension_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="setting ot=ferret is not one of iknp"):
        VoteJob(folder=tmp_path, shape=SHAPE, ballots=NAMES, run={"settings": {"ot": "ferret"}})  # type: ignore[arg-type]


def test_ballots_are_the_owners_alone_and_keep_their_source(tmp_path: Path) -> None:
    bits = np.zeros(SHAPE, np.uint8)
    ballots.write(tmp_path / "shares", "lung-x", bits, "a run")
    assert stat.S_IMODE((tmp_path / "shares").stat().st_mode) == 0o700
    for path in (tmp_path / "shares").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read, source = ballots.read(tmp_path / "shares", "lung-x", SHAPE)
    np.testing.assert_array_equal(read, bits)
    assert source == "a run"
    for wrong, sentence in ((bits + 2, "other values"), (bits[1:], "is not uint8"), (bits.astype(np.int8), "is not uint8")):
        ballots.write(tmp_path / "shares", "lung-x", wrong)
        with pytest.raises(UsageError, match=sentence):
            ballots.read(tmp_path / "shares", "lung-x", SHAPE)


def test_both_sides_agree_on_a_vote() -> None:
    assert shake(lambda c: vote_session.ask(c, TERMS), lambda c: vote_session.answer(c, TERMS)) == (None, None)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"filtered": False}, "different filters: Alice False, Bob True"),
        ({"shape": (5, 6, 8)}, r"different regions: Alice \[5, 6, 8\], Bob \[5, 6, 7\]"),
        ({"ballots": NAMES[:3]}, "different ballots"),
        ({"sources": {**TERMS.sources, "lung-x": "another run"}}, "ballot lung-x are not of the same runs"),
        ({"sources": {**TERMS.sources, "infection-x": 3}}, "ballot infection-x are not of the same runs"),
        ({"sources": {}}, "malformed"),
        ({"sources": {**TERMS.sources, "heart-x": "a run"}}, "malformed"),
        ({"run": RunOptions(settings={"ot": "iknp"})}, "different OT extensions"),
        ({"run": TERMS.run.model_copy(update={"link": PRESETS["wan"]})}, "emulates the link 'wan'"),
    ],
)
def test_a_vote_on_something_else_ends_both_with_one_sentence(changes: dict[str, Any], sentence: str) -> Never:
    other = replace(TERMS, **changes)
    hers, his = shake(lambda c: vote_session.ask(c, other), lambda c: vote_session.answer(c, TERMS))
    assert isinstance(hers, PeerError)
    assert isinstance(his, PeerError)
    assert str(hers) == str(his)
    with pytest.raises(PeerError, match=sentence):
        raise hers


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"version": "0.0.0"}, "versions differ"),
        ({"protocol": 1}, "versions differ"),
        ({"security": None}, "security levels differ"),
        ({"purpose": None}, "slices where a vote is due"),
        ({"shape": "no"}, "different regions"),
        ({"shape": None}, "different regions"),
        ({"ballots": 3}, "different ballots"),
        ({"sources": 3}, "malformed"),
        ({"sources": ["infection-x"]}, "malformed"),
        ({"ot": ["iknp"]}, "different OT extensions"),
    ],
)
def test_bob_refuses_a_malformed_request(body: dict[str, Any], sentence: str) -> None:
    class Spoiled:
        def __init__(self, inner: MemoryChannel) -> None:
            self.inner = inner

        def send(self, message: Control) -> None:
            spoiled = message.type == "open"
            self.inner.send(Control("open", {**message.body, **body}) if spoiled else message)

        def receive(self, timeout_s: float | None = None) -> Any:
            return self.inner.receive(timeout_s)

    hers, his = shake(lambda c: vote_session.ask(Spoiled(c), TERMS), lambda c: vote_session.answer(c, TERMS))  # type: ignore[arg-type]
    assert isinstance(hers, PeerError)
    assert str(hers) == str(his)
    assert sentence in str(his)


def test_alice_does_not_go_on_with_a_bob_who_agreed_to_something_else() -> None:
    def agree(channel: MemoryChannel) -> None:
        handshake.expect(channel, "open")
        channel.send(Control("accept", {"digest": "00"}))
        handshake.expect(channel, "warm")

    hers, his = shake(lambda c: vote_session.ask(c, TERMS), agree)
    assert type(hers) is PeerError
    assert str(hers) == str(his)


def test_a_vote_and_a_run_of_slices_do_not_meet() -> None:
    compiled = small()
    store = CompiledStore([compiled])
    hers, his = shake(lambda c: vote_session.ask(c, TERMS), lambda c: handshake.answer(c, store.offer))
    assert str(hers) == str(his) == "the request is malformed"
    request = Request(compiled.program.input.type.shape, 1)
    hers, his = shake(lambda c: handshake.ask(c, request), lambda c: vote_session.answer(c, TERMS))
    assert str(hers) == str(his) == "Alice asks for slices where a vote is due"
