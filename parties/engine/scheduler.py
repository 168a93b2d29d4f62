"""Runs a plan for many slices over one channel.

Each slice is a chain of layer protocols (generators). Up to `in_flight` chains interleave: one computes while another
waits for the network. Later layers go first, so that memory stays bounded and finished slices come out early. Messages
carry (slice, layer, step) and are matched by it, and every layer's correlations are numbered by (slice, layer): the
order of work never changes a result.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bunet.models.errors import PeerError
from bunet.models.printable import plain
from bunet.net.channel import Channel
from bunet.net.frame import Control, Frame
from bunet.parties.engine.meter import TrafficMeter
from bunet.parties.engine.program import structural
from bunet.parties.events import LayerFinished, LayerStarted, SliceFinished, SliceStarted, Subscriber
from bunet.parties.planner import PlannedLayer
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context, Role
from bunet.protocols.lockstep import check_arrays
from bunet.protocols.steps import ProtocolError, Receive, Send, Steps

# Slice number of a session's set-up messages; slices proper are below it.
SETUP_SLICE = (1 << 24) - 1
# Unread frames that a peer may have outstanding before it is cut off; protocols window their streams far below this.
MAX_UNREAD_FRAMES = 100_000
MAX_UNREAD_BYTES = 2 << 30
# Nothing arrives and nothing computes for so long: the peer's process lives, but its protocol does not.
IDLE_LIMIT_S = 600.0


@dataclass(frozen=True)
class SliceJob:
    """One slice to run. input: this party's share of it. axis, index: where it lies, for the reader of events."""

    slice: int
    axis: str
    index: int
    input: Share


@dataclass
class _Meter:
    """What one layer of one slice has used so far."""

    started: float = 0.0
    compute_s: float = 0.0
    sent: int = 0
    received: int = 0
    sent_messages: int = 0
    received_messages: int = 0
    round: int = 0  # of the last message read
    rounds: int = 0  # of the farthest message either way


@dataclass
class _Chain:
    """One slice on its way through the plan: the running generator, where it stands, what it waits for."""

    job: SliceJob
    position: int = -1
    steps: Steps[Any] | None = None
    waiting: Receive | None = None
    values: dict[str, Share] = field(default_factory=dict)
    meter: _Meter = field(default_factory=_Meter)
    started: float = 0.0
    busy: bool = False
    result: Any = None
    finished: bool = False


class Scheduler:
    """One party's side of a session after the handshake. Use as a context manager; it owns the channel's reading end.

    context: the party's context with keys filled in (by `exchange`, before `run`). emit: called from worker threads,
    one event at a time. cores: worker threads that run compute segments. thread_hook: runs first in each of them.
    """

    def __init__(
        self,
        context: Context,
        channel: Channel,
        emit: Subscriber,
        cores: int = 1,
        thread_hook: Callable[[], None] | None = None,
    ) -> None:
        self.context = context
        self._channel = channel
        self._emit_unlocked = emit
        self._emit_lock = threading.Lock()
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._mail: dict[tuple[int, int], deque[Frame]] = {}
        self._unread = self._unread_bytes = 0
        self.said_bye = False
        self._pool = ThreadPoolExecutor(cores, "compute", initializer=thread_hook)
        self._cores = cores
        self._closing = False
        self._traffic = TrafficMeter(context.role.value, channel)
        self._pump = threading.Thread(target=self._read, name="inbox", daemon=True)

    def __enter__(self) -> Scheduler:
        self._pump.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pump.join()

    # -- reading ------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Pump: everything that arrives goes to the inbox, and what moves is told; ends with the channel or the scheduler."""
        try:
            while not self._closing:
                message = self._channel.receive(0.2)
                if isinstance(message, Frame):
                    self._traffic.received(message)
                if message is not None:
                    self._inbox.put(("message", message))
                if (traffic := self._traffic.report()) is not None:
                    self._emit(traffic)
        except Exception as error:  # of the channel or of a subscriber: a run must not wait for a pump that has ended
            self._inbox.put(("failed", error))

    def _file(self, message: Frame | Control) -> None:
        if isinstance(message, Control):
            if message.kind == "error":
                raise PeerError(f"the peer ended the run: {plain(message.body.get('message', 'no reason given'))}")
            if message.kind == "bye":  # Alice has her last result; ours may still be on its way to the inbox
                self.said_bye = True
                return
            raise PeerError(f"the peer sent {plain(message.kind)!r} in the middle of the run")
        self._unread += 1
        self._unread_bytes += message.nbytes
        if self._unread > MAX_UNREAD_FRAMES or self._unread_bytes > MAX_UNREAD_BYTES:
            raise PeerError(f"the peer sent {self._unread} messages, {self._unread_bytes >> 20} MiB, before their time")
        self._mail.setdefault((message.slice, message.layer), deque()).append(message)

    # -- set-up -------------------------------------------------------------------------------------------------

    def exchange(self, make: Callable[[Context], Steps[Any]], layer: int) -> tuple[Any, _Meter]:
        """Run one generator by itself on the set-up chain; returns (its result, what it used)."""
        context = self.context.fork(SETUP_SLICE, layer)
        chain = _Chain(SliceJob(SETUP_SLICE, "", 0, None), layer)  # type: ignore[arg-type]
        chain.meter.started = time.perf_counter()
        chain.steps = make(context)
        value: Any = None
        try:
            while True:
                step = self._run_segment(chain, layer, value)
                if step is None:
                    self._traffic.ended((SETUP_SLICE, layer))
                    return chain.result, chain.meter
                chain.waiting = step
                while not self._mail.get((SETUP_SLICE, layer)):
                    self._file(self._next_message())
                value = self._take(chain, layer)
        except ProtocolError as error:
            raise PeerError(f"set-up: {error}") from error

    def _next_message(self) -> Frame | Control:
        kind, content = self._get()
        if kind == "failed":
            raise content
        return content

    def _get(self, busy: bool = False) -> tuple[str, Any]:
        """The next item of the inbox; PeerError once nothing has come for long and nothing here computes."""
        while True:
            try:
                return self._inbox.get(timeout=IDLE_LIMIT_S)
            except queue.Empty:
                if not busy:
                    raise PeerError(f"the peer has sent nothing for {IDLE_LIMIT_S:.0f} s where its message is due") from None

    # -- slices -------------------------------------------------------------------------------------------------

    def run(
        self,
        layers: list[PlannedLayer],
        jobs: Iterable[SliceJob],
        in_flight: int,
        on_result: Callable[[SliceJob, Any], None],
        on_layer: Callable[[SliceJob, PlannedLayer, Any], None] | None = None,
    ) -> None:
        """Run every job; on_result gets each slice's read-out as it finishes, in this thread.

        on_layer sees every layer's result (this party's shares); only local verification asks for it.
        Raises PeerError when the peer is at fault or gone; what had finished has been delivered.
        """
        last_use = {name: p.index for p in layers for name in p.node.inputs}
        waiting_jobs = iter(jobs)
        chains: list[_Chain] = []
        exhausted = False
        left: PeerError | None = None  # the peer said bye and has closed: only what still computes here may go on
        while True:
            while not exhausted and len(chains) < in_flight:
                job = next(waiting_jobs, None)
                if job is None:
                    exhausted = True
                    break
                chain = _Chain(job, started=time.perf_counter())
                chains.append(chain)
                self._emit(SliceStarted(self.context.role.value, job.slice, job.axis, job.index))
            if not chains:
                return
            self._dispatch(chains, layers, last_use, on_layer)
            busy = any(chain.busy for chain in chains)
            if left is not None and not busy:
                raise left
            kind, content = self._get(busy)
            if kind == "failed":
                if not (self.said_bye and isinstance(content, PeerError)):
                    raise content
                left = content
                continue
            if kind == "message":
                self._file(content)
                continue
            chain, error = content
            chain.busy = False
            if error is not None:
                raise error
            if chain.finished:
                chains.remove(chain)
                seconds = time.perf_counter() - chain.started
                on_result(chain.job, chain.result)
                job = chain.job
                self._emit(SliceFinished(self.context.role.value, job.slice, job.axis, job.index, seconds))

    def _dispatch(self, chains: list[_Chain], layers: list[PlannedLayer], last_use, on_layer) -> None:
        """Give idle workers the chains that can move, the farthest first."""
        busy = sum(chain.busy for chain in chains)
        for chain in sorted(chains, key=lambda c: (-c.position, c.job.slice)):
            if busy >= self._cores:
                return
            if chain.busy or (chain.waiting is not None and not self._mail.get((chain.job.slice, chain.position))):
                continue
            try:
                value = self._take(chain, chain.position) if chain.waiting is not None else None
            except ProtocolError as error:
                raise PeerError(f"{layers[chain.position].node.name}: {error}") from error
            chain.busy = True
            busy += 1
            future = self._pool.submit(self._work, chain, layers, value, last_use, on_layer)
            future.add_done_callback(self._report_broken_pool)

    def _report_broken_pool(self, future: Future[None]) -> None:
        """`_work` reports its own errors; this is for a pool whose threads could not start."""
        if not future.cancelled() and (error := future.exception()) is not None:
            self._inbox.put(("failed", error))

    def _take(self, chain: _Chain, layer: int) -> tuple[np.ndarray, ...]:
        """The chain's next message, checked against what it waits for."""
        key = (chain.job.slice, layer)
        frame = self._mail[key].popleft()
        if not self._mail[key]:
            del self._mail[key]
        self._unread -= 1
        self._unread_bytes -= frame.nbytes
        wanted, chain.waiting = chain.waiting, None
        assert wanted is not None
        if frame.step != chain.meter.received_messages:
            raise ProtocolError(f"message {frame.step} of {wanted.tag!r} came when {chain.meter.received_messages} was due")
        check_arrays(wanted.tag, wanted.expect, plain(frame.tag), frame.arrays)
        if frame.round > chain.meter.rounds + 1:
            raise ProtocolError(f"{wanted.tag}: the peer claims round {frame.round} after {chain.meter.rounds}")
        chain.meter.received_messages += 1
        chain.meter.received += sum(a.nbytes for a in frame.arrays)
        chain.meter.round = max(chain.meter.round, frame.round)
        chain.meter.rounds = max(chain.meter.rounds, frame.round)
        return frame.arrays

    def _work(self, chain: _Chain, layers: list[PlannedLayer], value: Any, last_use, on_layer) -> None:
        """Worker: advance the chain until it waits for a message or ends."""
        error: Exception | None = None
        try:
            self._advance(chain, layers, value, last_use, on_layer)
        except ProtocolError as broken:
            error = PeerError(f"{layers[chain.position].node.name}: {broken}")
        except Exception as broken:  # carry it to the session's thread, with its traceback
            error = broken
        self._inbox.put(("worked", (chain, error)))

    def _advance(self, chain: _Chain, layers: list[PlannedLayer], value: Any, last_use, on_layer) -> None:
        while True:
            if chain.steps is not None:
                step = self._run_segment(chain, chain.position, value)
                if step is not None:
                    chain.waiting = step
                    return
                value = None
                self._finish_layer(chain, layers[chain.position], last_use, on_layer)
            if chain.position + 1 == len(layers):
                chain.finished = True
                chain.values.clear()
                return
            chain.position += 1
            self._start_layer(chain, layers[chain.position])

    def _start_layer(self, chain: _Chain, planned: PlannedLayer) -> None:
        node, context = planned.node, self.context
        self._emit(LayerStarted(context.role.value, chain.job.slice, planned.index, node.name))
        chain.meter = _Meter(started=time.perf_counter())
        inputs = [chain.values[name] for name in node.inputs]
        if planned.protocol is None:
            chain.steps = structural(node, chain.job.input, inputs)
            return
        half = planned.protocol.alice if context.role is Role.ALICE else planned.protocol.bob
        chain.steps = half(context.fork(chain.job.slice, planned.index), planned.layer, *inputs)

    def _finish_layer(self, chain: _Chain, planned: PlannedLayer, last_use, on_layer) -> None:
        node, meter, job = planned.node, chain.meter, chain.job
        chain.steps = None
        chain.values[node.name] = chain.result
        if on_layer is not None:
            on_layer(job, planned, chain.result)
        for name in node.inputs:
            if last_use.get(name) == planned.index:
                chain.values.pop(name, None)
        self._traffic.ended((job.slice, planned.index))
        elapsed = time.perf_counter() - meter.started
        protocol = planned.protocol.name if planned.protocol else "local"
        self._emit(
            LayerFinished(
                self.context.role.value,
                job.slice,
                planned.index,
                node.name,
                node.operation,
                protocol,
                meter.compute_s,
                max(0.0, elapsed - meter.compute_s),
                meter.sent,
                meter.received,
                meter.rounds,
            )
        )

    def _run_segment(self, chain: _Chain, layer: int, value: Any) -> Receive | None:
        """Resume the generator and send what it sends; returns what it waits for, or None at its end."""
        assert chain.steps is not None
        meter = chain.meter
        begun = time.perf_counter()
        try:
            step = chain.steps.send(value)
            while isinstance(step, Send):
                frame = Frame(chain.job.slice, layer, meter.sent_messages, meter.round + 1, step.tag, step.arrays)
                meter.sent_messages += 1
                meter.sent += step.nbytes
                meter.rounds = max(meter.rounds, meter.round + 1)
                self._traffic.sent((chain.job.slice, layer), step.nbytes)
                self._channel.send(frame)
                step = chain.steps.send(None)
            return step
        except StopIteration as stop:
            chain.result = stop.value
            return None
        finally:
            meter.compute_s += time.perf_counter() - begun

    def _emit(self, event: Any) -> None:
        with self._emit_lock:
            self._emit_unlocked(event)
