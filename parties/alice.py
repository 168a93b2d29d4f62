"""Alice's process: connect, agree, run her slices, keep the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from bunet.net.channel import QueueChannel
from bunet.net.clock import RealClock
from bunet.net.frame import Control
from bunet.net.link import Link
from bunet.net.shaper import Shaper
from bunet.parties import input_range, warmup
from bunet.parties.engine.scheduler import SliceJob
from bunet.parties.events import Failed, Note, Subscriber
from bunet.parties.input_slices import InputSlices
from bunet.parties.session import handshake
from bunet.parties.session.handshake import Request, Terms
from bunet.parties.session.run import Hooks, OnResult, Session, run_session
from bunet.protocols import registry
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Role

UNPREPARED = "Alice cannot prepare her slices, and ends the session"


def run(
    connect: Callable[[], QueueChannel],
    request: Request,
    slices: InputSlices,
    on_result: OnResult,
    hooks: Hooks,
    agreed: Callable[[Terms, Mapping[str, float]], None] | None = None,
) -> tuple[Terms, float]:
    """One session as Alice; returns what was agreed and the seconds of the timed part.

    slices: as many as request.slices. on_result: gets each slice's read-out as it comes in. agreed: is told, before anything
    of a slice is sent, what was agreed on and which share of each slice's values is beyond calibration (`input_range`); what it
    raises ends the session. Raises a BunetError with one sentence; Failed has been emitted.
    """
    emit = hooks.emit
    with connected(connect, request.run.link, emit) as channel:
        registry.load()  # an installed package that cannot be loaded is hers: nothing that Bob would be told of
        terms = handshake.ask(channel, request)
        session = Session.of(Role.ALICE, terms, request.run)
        if terms.card is not None:
            emit(Note("alice", f"Bob serves {terms.card}"))
        try:
            beyond = input_range.check(terms.program, slices, emit)
            if agreed is not None:
                agreed(terms, beyond)
        except Exception:
            handshake.refuse(channel, UNPREPARED)  # and not why: that is of her files
            raise
        warmup.compile_kernels(session.layers, emit, Role.ALICE)
        handshake.await_kernels(channel)
        tensor = terms.program.input.type
        jobs = (
            SliceJob(k, axis, index, Share.of(slices.at(terms.program, k).astype(np.uint64), tensor))
            for k, (axis, index) in enumerate(slices.labels)
        )
        finished = run_session(session, channel, jobs, on_result, hooks)
    return terms, finished.seconds


@contextmanager
def connected(connect: Callable[[], QueueChannel], link: Link, emit: Subscriber) -> Iterator[Shaper]:
    """A channel to Bob for whatever kind of session, which ends with Alice's good-bye.

    What goes wrong is emitted as Failed and raised.
    """
    channel: Shaper | None = None
    try:
        channel = Shaper(connect(), link, RealClock())
        yield channel
        channel.send(Control("bye", {}))
    except Exception as error:
        emit(Failed.of("alice", error))
        raise
    finally:
        if channel is not None:
            channel.close()
