"""Everything of a session after the handshake but the good-bye: keys, slices, what it cost."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bunet.models.integers import IntegerWeights
from bunet.models.program import Program
from bunet.net.channel import Channel
from bunet.parties.engine.scheduler import OnLayer, Scheduler, SliceJob
from bunet.parties.events import SessionFinished, SessionStarted, Subscriber
from bunet.parties.planner import PlannedLayer, pahe_names, plan
from bunet.parties.run_options import RunOptions
from bunet.parties.session import keys
from bunet.parties.session.handshake import Terms, refuse, told
from bunet.protocols.context import Context, Role
from bunet.protocols.ot import extension
from bunet.protocols.random import Random

OnResult = Callable[[SliceJob, Any], None]


@dataclass(frozen=True)
class Hooks:
    """Who is told what while a party runs.

    emit: events. on_layer: every layer's result (this party's shares), for local verification only. thread_hook: runs first in
    each thread that computes.
    """

    emit: Subscriber
    on_layer: OnLayer | None = None
    thread_hook: Callable[[], None] | None = None


@dataclass(frozen=True)
class Session:
    """What a party runs, of a program or not. opening: the first event. ot: the OT extension. cores: threads that compute."""

    opening: SessionStarted
    layers: list[PlannedLayer]
    ot: str
    cores: int = 1

    @property
    def role(self) -> Role:
        return Role(self.opening.role)

    @classmethod
    def of(cls, role: Role, terms: Terms, options: RunOptions, weights: Mapping[str, IntegerWeights] | None = None) -> Session:
        """The agreed program's. options: this party's link and cores; the rest is agreed. weights: Bob's, by node name."""
        program = terms.program
        layers = plan(program, terms.protocols, terms.settings, weights)
        summaries = tuple(planned.summary for planned in layers)
        opening = SessionStarted(
            role.value,
            program.digest(),
            str(program.format),
            summaries,
            options.link.name,
            terms.slices,
            terms.in_flight,
        )
        return cls(opening, layers, extension.of(terms.settings), options.cores)


@dataclass(frozen=True)
class Finished:
    """seconds: from the first message to the last result. peer_left: the peer has said good-bye already."""

    seconds: float
    peer_left: bool


def run_session(session: Session, channel: Channel, jobs: Iterable[SliceJob], on_result: OnResult, hooks: Hooks) -> Finished:
    """Exchange keys and run every job; on_result gets each slice's read-out as it finishes.

    Raises a BunetError; the peer has then been told (`told`), as far as it still listens.
    """
    role = session.role
    hooks.emit(session.opening)
    started = time.perf_counter()
    context = Context(role, Random())
    try:
        with Scheduler(context, channel, hooks.emit, session.cores, hooks.thread_hook) as scheduler:
            keys.exchange(scheduler, session.ot, pahe_names(session.layers), hooks.emit)
            layers = [planned.prepared() for planned in session.layers]
            scheduler.run(layers, jobs, session.opening.in_flight, on_result, hooks.on_layer)
            seconds = time.perf_counter() - started
            counters = channel.counters
            peer_left = scheduler.said_bye
    except Exception as error:
        refuse(channel, told(error, role.value))
        raise
    hooks.emit(SessionFinished(role.value, seconds, counters.wire_bytes_sent, counters.wire_bytes_received, peak_memory()))
    return Finished(seconds, peer_left)


def peak_memory() -> int:
    """This process's peak resident bytes.

    Linux carries getrusage's figure over from the parent that started the process, so /proc is asked first.
    """
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def zero_input(program: Program) -> np.ndarray:
    """Bob's share of Alice's slice: zeros, for Alice's share is the slice itself and never leaves her unencrypted."""
    return np.zeros(program.input.type.shape, np.int64)
