"""Bob's process: a service that lives through any client."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bunet.models.errors import BunetError, PeerError
from bunet.models.integers import IntegerWeights
from bunet.models.model_card import ModelWish
from bunet.models.printable import plain
from bunet.models.program import Program
from bunet.net.channel import Channel, QueueChannel
from bunet.net.clock import RealClock
from bunet.net.frame import Control
from bunet.net.shaper import Shaper
from bunet.parties import warmup
from bunet.parties.engine.scheduler import SliceJob
from bunet.parties.events import Failed, Note
from bunet.parties.run_options import MAX_SESSIONS, RunOptions
from bunet.parties.session import handshake
from bunet.parties.session.handshake import Terms
from bunet.parties.session.run import Hooks, OnResult, Session, run_session, zero_input
from bunet.parties.store import Offer
from bunet.protocols import registry
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Role

log = logging.getLogger(__name__)

LISTEN_POLL_S = 0.5


class Store(Protocol):
    """The models that Bob serves and the integer weights of each."""

    def offer(self, shape: tuple[int, int, int], format: str | None, readout: str | None, wish: ModelWish) -> Offer:
        """The model for these slices that is wished for; PeerError with the reason if none is served, or several are."""

    def weights(self, program: Program) -> Mapping[str, IntegerWeights]:
        """Weights by node name."""


class Listening(Protocol):
    def accept(self, timeout_s: float) -> QueueChannel | None: ...


@dataclass
class Service:
    """What every session of a service shares. run: the link and the cores of one session; the rest is Alice's to ask for.

    keep: makes what gets Bob's part of each read-out of a session, for read-outs that leave him one (`parties.shares`).
    """

    store: Store
    run: RunOptions
    hooks: Hooks
    keep: Callable[[Terms], OnResult] | None = None

    def __post_init__(self) -> None:
        """UsageError where an installed protocol package cannot be loaded: met here, before there is a client."""
        registry.load()

    def session(self, connected: QueueChannel) -> None:
        """One client, from its handshake to its bye; raises a BunetError with one sentence."""
        channel = Shaper(connected, self.run.link, RealClock())
        emit = self.hooks.emit
        try:
            terms = handshake.answer(channel, self.store.offer, self.run.link.name)
            if terms.card is not None:
                emit(Note("bob", f"serves {terms.card.short}"))
            session = Session.of(Role.BOB, terms, self.run, self.store.weights(terms.program))
            warmup.compile_kernels(session.layers, emit, Role.BOB)
            handshake.await_kernels(channel)
            tensor = terms.program.input.type
            jobs = (SliceJob(k, "", k, Share.of(zero_input(terms.program), tensor)) for k in range(terms.slices))
            finished = run_session(session, channel, jobs, self.keep(terms) if self.keep else _forget, self.hooks)
            if not finished.peer_left:
                await_bye(channel)
        except BunetError as error:
            handshake.refuse(channel, handshake.told(error, "bob"))
            raise
        finally:
            channel.close()


def _forget(job: SliceJob, result: Any) -> None:
    """Bob learns nothing from a read-out; what he may keep of it is a share."""


def await_bye(channel: Channel) -> None:
    """Alice may still be reading what Bob sent last; leave when she says so, or is gone."""
    try:
        while True:
            message = channel.receive(30.0)
            if message is None or (isinstance(message, Control) and message.type == "bye"):
                return
    except PeerError:
        return


def serve(
    listener: Listening,
    service: Service,
    *,
    once: bool = False,
    stop: threading.Event | None = None,
    sessions: int = MAX_SESSIONS,
) -> None:
    """Accept clients until `stop` is set; each in a thread of its own. A client's fault ends that client only.

    once: serve one session in this thread and return; its error is raised. sessions: at the same time, each with its own
    threads and memory; a further client is refused with a sentence.
    """
    stop = stop or threading.Event()
    places = threading.BoundedSemaphore(sessions)
    threads: list[threading.Thread] = []
    try:
        while not stop.is_set():
            connected = listener.accept(LISTEN_POLL_S)
            if connected is None:
                continue
            if once:
                service.session(connected)
                return
            if not places.acquire(blocking=False):
                handshake.refuse(connected, f"Bob already serves {sessions} sessions: try again later")
                connected.close()
                continue
            thread = threading.Thread(target=_guarded, args=(service, connected, places), name="session", daemon=True)
            thread.start()
            threads = [t for t in threads if t.is_alive()] + [thread]
    finally:
        stop.set()


def _guarded(service: Service, connected: QueueChannel, places: threading.BoundedSemaphore) -> None:
    """One client's thread: every end of its session is an event, and its place is free again."""
    who = plain(connected.peer)
    try:
        service.hooks.emit(Note("bob", f"{who} has connected"))
        service.session(connected)
        service.hooks.emit(Note("bob", f"session of {who} ended; waiting for the next client"))
    except BunetError as error:
        if not isinstance(error, PeerError):  # a defect of ours may be raised as a UsageError, too
            log.exception("a session ended by a fault of this side")
        service.hooks.emit(Failed.of("bob", error, f"session of {who} ended: "))
    except Exception as error:
        log.exception("a session ended with an internal error")
        service.hooks.emit(Failed("bob", f"session of {who} ended with an internal error: {type(error).__name__}: {error}"))
    finally:
        places.release()
