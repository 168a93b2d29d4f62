"""Alice's process: connect, agree, run her slices, keep the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from bunet.models.program import Program
from bunet.net.channel import QueueChannel
from bunet.net.clock import RealClock
from bunet.net.frame import Control
from bunet.net.link import Link
from bunet.net.shaper import Shaper
from bunet.parties import input_range, warmup
from bunet.parties.engine.scheduler import SliceJob
from bunet.parties.events import Failed, Note, Subscriber
from bunet.parties.planner import PlannedLayer
from bunet.parties.session import handshake
from bunet.parties.session.handshake import Request, Terms
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Role

UNPREPARED = "Alice cannot prepare her slices, and ends the session"


def run(
    connect: Callable[[], QueueChannel],
    request: Request,
    labels: Sequence[tuple[str, int]],
    slice_at: Callable[[Program, int], np.ndarray],
    on_result: Callable[[SliceJob, Any], None],
    emit: Subscriber,
    *,
    link: Link,
    cores: int = 1,
    agreed: Callable[[Terms, Mapping[str, float]], None] | None = None,
    size: tuple[int, int] | None = None,
    on_layer: Callable[[SliceJob, PlannedLayer, Any], None] | None = None,
    thread_hook: Callable[[], None] | None = None,
) -> tuple[Terms, float]:
    """One session as Alice; returns what was agreed and the seconds of the timed part.

    labels: (axis, index) of each slice, as many as request.slices. slice_at(program, k): the k-th slice, quantised for
    program.input: int64 (channels, height, width). on_result: gets each slice's read-out as it comes in. agreed: is told,
    before anything of a slice is sent, what was agreed on and which share of each slice's values is beyond calibration
    (`input_range`); what it raises ends the session. size: (height, width) of a slice before it was padded, None for all of it.
    Raises a BunetError with one sentence; Failed has been emitted.
    """
    with connected(connect, link, emit) as channel:
        terms = handshake.ask(channel, replace(request, link=link.name))
        layers = handshake.layers_of(terms)
        if terms.card is not None:
            emit(Note("alice", f"Bob serves {terms.card}"))
        try:
            beyond = input_range.check(terms.program, labels, slice_at, emit, size)
            if agreed is not None:
                agreed(terms, beyond)
        except Exception:
            handshake.refuse(channel, UNPREPARED)  # and not why: that is of her files
            raise
        warmup.compile_kernels(layers, emit, Role.ALICE)
        handshake.await_kernels(channel)
        kind = terms.program.input.type
        jobs = (
            SliceJob(k, axis, index, Share.of(slice_at(terms.program, k).astype(np.uint64), kind))
            for k, (axis, index) in enumerate(labels)
        )
        finished = handshake.run(
            Role.ALICE,
            channel,
            terms,
            layers,
            jobs,
            on_result,
            emit,
            link=link.name,
            cores=cores,
            on_layer=on_layer,
            thread_hook=thread_hook,
        )
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
