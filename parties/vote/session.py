"""A session that votes: the handshake on the public facts, the keys, and the steps of the vote as its plan.

Alice states what she wants to vote on (`open`), Bob compares it with what he was given and agrees (`accept`) or refuses with a
sentence that ends both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bunet.models.errors import PeerError
from bunet.models.printable import plain
from bunet.models.program import Node, TensorType
from bunet.net.channel import Channel, QueueChannel
from bunet.net.clock import RealClock
from bunet.net.frame import Control
from bunet.net.shaper import Shaper
from bunet.parties import alice
from bunet.parties.bob import await_bye
from bunet.parties.engine.scheduler import SliceJob
from bunet.parties.events import SessionStarted, Subscriber
from bunet.parties.planner import PlannedLayer
from bunet.parties.run_options import RunOptions
from bunet.parties.session import handshake
from bunet.parties.session.run import Hooks, Session, run_session
from bunet.parties.vote import ballots
from bunet.parties.warmup import throwaway_contexts
from bunet.protocols.context import Context, Role
from bunet.protocols.lockstep import lockstep
from bunet.protocols.registry import Layer, Protocol
from bunet.protocols.vote import election
from bunet.protocols.vote.election import Election, Step

FORMAT = "bits"  # what SessionStarted says in place of a program's operand format
OPERATION, PROTOCOL = "vote", "gmw"
_BITS_WIDTH = 2  # as a label's in a program: the signed values 0 and 1


@dataclass(frozen=True)
class VoteTerms:
    """What a party votes on; all of it is public. ballots: names in order. sources: of which runs each ballot is made.

    run: the link and the OT extension of the session. filtered: whether the masks go through the maximum filter.
    """

    shape: tuple[int, int, int]
    ballots: tuple[str, ...]
    sources: Mapping[str, str]
    run: RunOptions
    filtered: bool = True

    @property
    def election(self) -> Election:
        return ballots.election_of(self.shape, self.ballots, self.filtered)

    def document(self) -> dict[str, Any]:
        """What Alice says of it."""
        return {
            "purpose": OPERATION,
            "shape": list(self.shape),
            "ballots": list(self.ballots),
            "sources": dict(self.sources),
            "ot": self.run.ot,
            "filtered": self.filtered,
        }

    def digest(self) -> str:
        """SHA-256 of the facts, hexadecimal."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()


def ask(channel: Channel, terms: VoteTerms) -> None:
    """Alice's half of the handshake; PeerError if Bob refuses, or agreed to something else."""
    handshake.say(channel, "open", handshake.opening({"link": terms.run.link.name, **terms.document()}))
    if handshake.expect(channel, "accept").get("digest") != terms.digest():
        message = "the two parties agreed to different votes (digests differ)"
        handshake.refuse(channel, message)
        raise PeerError(message)


def answer(channel: Channel, terms: VoteTerms) -> None:
    """Bob's half of the handshake; what does not fit is answered with the reason and raised as PeerError."""
    body = handshake.expect(channel, "open")
    try:
        handshake.check_asker(body, terms.run.link.name)
        _check(body, terms)
    except PeerError as error:
        handshake.refuse(channel, str(error))
        raise
    channel.send(Control("accept", {"digest": terms.digest()}))


def _check(body: Mapping[str, Any], terms: VoteTerms) -> None:
    """PeerError unless Alice asks for exactly this vote."""
    expected = terms.document()
    if body.get("purpose") != OPERATION:
        raise PeerError("Alice asks for slices where a vote is due")
    for name, what in (("shape", "regions"), ("ballots", "ballots"), ("ot", "OT extensions"), ("filtered", "filters")):
        if body.get(name) != expected[name]:
            raise PeerError(f"the parties vote on different {what}: Alice {plain(body.get(name))}, Bob {expected[name]}")
    sources = body.get("sources")
    if not isinstance(sources, dict) or sources.keys() != terms.sources.keys():
        raise PeerError("the request is malformed")
    for name, source in terms.sources.items():
        if sources[name] != source:
            raise PeerError(f"the parties' shares of ballot {name} are not of the same runs: make the ballots again")


def plan(terms: VoteTerms) -> list[PlannedLayer]:
    """The vote as layers: the ballots, then a line for each step. They keep the ballots' shape."""
    bits = TensorType(terms.shape, _BITS_WIDTH, 0, 1)
    settings = {"ot": terms.run.ot}
    first = Node("ballots", "input", (), bits)
    layers = [PlannedLayer(0, first, None, Layer(first, (), None, settings))]
    for step in election.steps(terms.election, terms.run.ot):
        node = Node(step.name, OPERATION, (layers[-1].node.name,), bits)
        layers.append(PlannedLayer(len(layers), node, _protocol(step), Layer(node, (bits,), None, settings)))
    return layers


def _protocol(step: Step) -> Protocol:
    def run(ctx: Context, layer: Layer, value: Any) -> Any:
        return step.run(ctx, value)

    return Protocol(OPERATION, PROTOCOL, alice=run, bob=run, cost=lambda layer: step.cost)


def run_alice(
    connect: Callable[[], QueueChannel], terms: VoteTerms, shares: Sequence[np.ndarray], emit: Subscriber
) -> np.ndarray:
    """Alice's side of one vote: the mask, uint8 (Z, H, W). shares: hers of each ballot, uint8 (Z, H, W), in order.

    Raises a BunetError with one sentence; Failed has been emitted.
    """
    with alice.connected(connect, terms.run.link, emit) as channel:
        ask(channel, terms)
        mask, _ = _vote(Role.ALICE, channel, terms, shares, emit)
    return np.asarray(mask)


def run_bob(connected: QueueChannel, terms: VoteTerms, shares: Sequence[np.ndarray], emit: Subscriber) -> None:
    """Bob's side of one vote; he learns nothing. Raises a BunetError with one sentence."""
    channel = Shaper(connected, terms.run.link, RealClock())
    try:
        answer(channel, terms)
        _, alice_left = _vote(Role.BOB, channel, terms, shares, emit)
        if not alice_left:
            await_bye(channel)
    finally:
        channel.close()


def _vote(role: Role, channel: Channel, terms: VoteTerms, shares: Sequence[np.ndarray], emit: Subscriber) -> tuple[Any, bool]:
    """(what this party learns, whether the peer has left) after the handshake."""
    layers, options = plan(terms), terms.run
    compile_kernels(options.ot)
    handshake.await_kernels(channel)
    summaries = tuple(planned.summary for planned in layers)
    opening = SessionStarted(role.value, terms.digest(), FORMAT, summaries, options.link.name, 1, 1)
    results: list[Any] = []
    job = SliceJob(0, OPERATION, 0, list(shares))  # type: ignore[arg-type]
    finished = run_session(
        Session(opening, layers, options.ot), channel, [job], lambda done, result: results.append(result), Hooks(emit)
    )
    return results[0], finished.peer_left


def compile_kernels(ot: str) -> None:
    """Vote on eight voxels with throwaway keys, so that nothing that is timed waits for a compiler."""
    hers, his = throwaway_contexts(ot)
    tiny = Election((2, 2, 2), (3,))
    shares = [np.zeros(tiny.shape, np.uint8)] * 3
    lockstep(election.vote(hers.fork(1, 0), tiny, shares), election.vote(his.fork(1, 0), tiny, shares))
