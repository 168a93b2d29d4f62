"""Runs a plan for many slices over one channel.

Each slice is a chain of layer protocols (generators). Up to `in_flight` chains interleave: one computes while another
waits for the network. Later layers go first, so that memory stays bounded and finished slices come out early. Messages
carry (slice, layer, step) and are matched by it, and every layer's correlations are numbered by (slice, layer): the
order of work never changes a result.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bunet.models.errors import PeerError
from bunet.models.printable import plain
from bunet.models.program import Node
from bunet.net.channel import Channel
from bunet.net.frame import Frame
from bunet.parties.engine.mailbox import Mailbox
from bunet.parties.engine.meter import LayerMeter, TrafficMeter
from bunet.parties.events import Event, LayerFinished, LayerStarted, SliceFinished, SliceStarted, Subscriber
from bunet.parties.planner import PlannedLayer
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context, Role
from bunet.protocols.steps import ProtocolError, Receive, Send, Steps, check_arrays

# Slice number of a session's set-up messages; slices proper are below it.
SETUP_SLICE = (1 << 24) - 1


@dataclass(frozen=True)
class SliceJob:
    """One slice to run. input: this party's share of it. axis, index: where it lies, for the reader of events."""

    slice: int
    axis: str
    index: int
    input: Share


OnLayer = Callable[[SliceJob, PlannedLayer, Any], None]


@dataclass
class _Chain:
    """One slice on its way through the plan: the running generator, where it stands, what it waits for."""

    job: SliceJob
    position: int = -1
    steps: Steps[Any] | None = None
    waiting: Receive | None = None
    values: dict[str, Share] = field(default_factory=dict)
    meter: LayerMeter = field(default_factory=LayerMeter)
    started: float = 0.0
    busy: bool = False
    result: Any = None
    finished: bool = False

    @property
    def key(self) -> tuple[int, int]:
        return self.job.slice, self.position


@dataclass(frozen=True)
class _Work:
    """What every chain of a run goes through. last_use: by node, the number of the last layer that takes it."""

    layers: list[PlannedLayer]
    last_use: dict[str, int]
    on_layer: OnLayer | None


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
        self._pool = ThreadPoolExecutor(cores, "compute", initializer=thread_hook)
        self._cores = cores
        self._traffic = TrafficMeter(context.role.value, channel)
        self._mailbox: Mailbox[tuple[_Chain, Exception | None]] = Mailbox(channel, self._traffic, self._emit)

    def __enter__(self) -> Scheduler:
        self._mailbox.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._mailbox.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._mailbox.join()

    @property
    def said_bye(self) -> bool:
        """Whether the peer has everything that it was to get."""
        return self._mailbox.said_bye

    # -- set-up -------------------------------------------------------------------------------------------------

    def exchange(self, make: Callable[[Context], Steps[Any]], layer: int) -> tuple[Any, LayerMeter]:
        """Run one generator by itself on the set-up chain; returns (its result, what it used)."""
        context = self.context.fork(SETUP_SLICE, layer)
        chain = _Chain(SliceJob(SETUP_SLICE, "", 0, None), layer)  # type: ignore[arg-type]
        chain.meter.started = time.perf_counter()
        chain.steps = make(context)
        value: Any = None
        try:
            while True:
                chain.waiting = self._run_segment(chain, value)
                if chain.waiting is None:
                    self._traffic.ended(chain.key)
                    return chain.result, chain.meter
                while not self._mailbox.has(chain.key):
                    self._mailbox.wait()
                    if self._mailbox.left is not None:
                        raise self._mailbox.left
                value = self._take(chain)
        except ProtocolError as error:
            raise PeerError(f"set-up: {error}") from error

    # -- slices -------------------------------------------------------------------------------------------------

    def run(
        self,
        layers: list[PlannedLayer],
        jobs: Iterable[SliceJob],
        in_flight: int,
        on_result: Callable[[SliceJob, Any], None],
        on_layer: OnLayer | None = None,
    ) -> None:
        """Run every job; on_result gets each slice's read-out as it finishes, in this thread.

        on_layer sees every layer's result (this party's shares); only local verification asks for it.
        Raises PeerError when the peer is at fault or gone; what had finished has been delivered.
        """
        work = _Work(layers, {name: planned.index for planned in layers for name in planned.node.inputs}, on_layer)
        waiting_jobs = iter(jobs)
        chains: list[_Chain] = []
        while True:
            self._start_slices(chains, waiting_jobs, in_flight)
            if not chains:
                return
            self._dispatch(chains, work)
            busy = any(chain.busy for chain in chains)
            if self._mailbox.left is not None and not busy:
                raise self._mailbox.left
            report = self._mailbox.wait(busy)
            if report is None:
                continue
            chain, error = report
            chain.busy = False
            if error is not None:
                raise error
            if chain.finished:
                chains.remove(chain)
                seconds = time.perf_counter() - chain.started
                on_result(chain.job, chain.result)
                job = chain.job
                self._emit(SliceFinished(self.context.role.value, job.slice, job.axis, job.index, seconds))

    def _start_slices(self, chains: list[_Chain], jobs: Iterator[SliceJob], in_flight: int) -> None:
        while len(chains) < in_flight and (job := next(jobs, None)) is not None:
            chains.append(_Chain(job, started=time.perf_counter()))
            self._emit(SliceStarted(self.context.role.value, job.slice, job.axis, job.index))

    def _dispatch(self, chains: list[_Chain], work: _Work) -> None:
        """Give idle workers the chains that can move, the farthest first."""
        busy = sum(chain.busy for chain in chains)
        for chain in sorted(chains, key=lambda c: (-c.position, c.job.slice)):
            if busy >= self._cores:
                return
            if chain.busy or (chain.waiting is not None and not self._mailbox.has(chain.key)):
                continue
            try:
                value = self._take(chain) if chain.waiting is not None else None
            except ProtocolError as error:
                raise PeerError(f"{work.layers[chain.position].node.name}: {error}") from error
            chain.busy = True
            busy += 1
            future = self._pool.submit(self._work, chain, work, value)
            future.add_done_callback(self._report_broken_pool)

    def _report_broken_pool(self, future: Future[None]) -> None:
        """`_work` reports its own errors; this is for a pool whose threads could not start."""
        if not future.cancelled() and (error := future.exception()) is not None:
            self._mailbox.fail(error)

    def _take(self, chain: _Chain) -> tuple[np.ndarray, ...]:
        """The chain's next message, checked against what it waits for."""
        frame, meter = self._mailbox.take(chain.key), chain.meter
        wanted, chain.waiting = chain.waiting, None
        assert wanted is not None
        if frame.step != meter.received_messages:
            raise ProtocolError(f"message {frame.step} of {wanted.tag!r} came when {meter.received_messages} was due")
        check_arrays(wanted.tag, wanted.expect, plain(frame.tag), frame.arrays)
        if frame.round > meter.rounds + 1:
            raise ProtocolError(f"{wanted.tag}: the peer claims round {frame.round} after {meter.rounds}")
        meter.count_received(frame)
        return frame.arrays

    def _work(self, chain: _Chain, work: _Work, value: Any) -> None:
        """Worker: advance the chain until it waits for a message or ends."""
        error: Exception | None = None
        try:
            self._advance(chain, work, value)
        except ProtocolError as broken:
            error = PeerError(f"{work.layers[chain.position].node.name}: {broken}")
        except Exception as broken:  # carry it to the session's thread, with its traceback
            error = broken
        self._mailbox.post((chain, error))

    def _advance(self, chain: _Chain, work: _Work, value: Any) -> None:
        while True:
            if chain.steps is not None:
                chain.waiting = self._run_segment(chain, value)
                if chain.waiting is not None:
                    return
                value = None
                self._finish_layer(chain, work)
            if chain.position + 1 == len(work.layers):
                chain.finished = True
                chain.values.clear()
                return
            chain.position += 1
            self._start_layer(chain, work.layers[chain.position])

    def _start_layer(self, chain: _Chain, planned: PlannedLayer) -> None:
        node, context = planned.node, self.context
        self._emit(LayerStarted(context.role.value, chain.job.slice, planned.index, node.name))
        chain.meter = LayerMeter(started=time.perf_counter())
        inputs = [chain.values[name] for name in node.inputs]
        chain.steps = layer_steps(context, chain.job.slice, planned, chain.job.input, inputs)

    def _finish_layer(self, chain: _Chain, work: _Work) -> None:
        planned = work.layers[chain.position]
        node, meter, job = planned.node, chain.meter, chain.job
        chain.steps = None
        chain.values[node.name] = chain.result
        if work.on_layer is not None:
            work.on_layer(job, planned, chain.result)
        for name in node.inputs:
            if work.last_use.get(name) == planned.index:
                chain.values.pop(name, None)
        self._traffic.ended(chain.key)
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

    def _run_segment(self, chain: _Chain, value: Any) -> Receive | None:
        """Resume the generator and send what it sends; returns what it waits for, or None at its end."""
        assert chain.steps is not None
        meter, (slice_, layer) = chain.meter, chain.key
        begun = time.perf_counter()
        try:
            step = chain.steps.send(value)
            while isinstance(step, Send):
                frame = Frame(slice_, layer, meter.sent_messages, meter.round + 1, step.tag, step.arrays)
                meter.count_sent(step.nbytes)
                self._traffic.sent(chain.key, step.nbytes)
                self._channel.send(frame)
                step = chain.steps.send(None)
            return step
        except StopIteration as stop:
            chain.result = stop.value
            return None
        finally:
            meter.compute_s += time.perf_counter() - begun

    def _emit(self, event: Event) -> None:
        with self._emit_lock:
            self._emit_unlocked(event)


def layer_steps(context: Context, slice_: int, planned: PlannedLayer, given: Share, inputs: list[Share]) -> Steps[Any]:
    """This party's half of a layer. given: its share of the slice, for the input node.

    context: of the session. Only a protocol gets a fork of it: forks draw from its randomness.
    """
    if planned.protocol is None:
        return _structural(planned.node, given, inputs)
    half = planned.protocol.alice if context.role is Role.ALICE else planned.protocol.bob
    steps: Steps[Any] = half(context.fork(slice_, planned.index), planned.layer, *inputs)
    return steps


def _structural(node: Node, given: Share, inputs: list[Share]) -> Steps[Share]:
    """input and concat as generators, so that every node runs alike; neither sends anything."""
    if node.operation == "input":
        return given
    if node.operation == "concat":
        return Share.of(np.concatenate([share.values for share in inputs]), node.type)
    raise ValueError(f"{node.name}: operation {node.operation!r} has no protocol")
    yield  # a generator that never yields
