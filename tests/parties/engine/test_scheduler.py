"""The scheduler over a memory pair, with little made-up protocols: order, limits, and every way a run can end early."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Never

import numpy as np
import pytest

from bunet.models.errors import PeerError
from bunet.models.program import Format, Node, Program, TensorType
from bunet.net.channel import ChannelError
from bunet.net.frame import Control, Frame
from bunet.parties.engine import mailbox as mailboxes
from bunet.parties.engine.scheduler import Scheduler, SliceJob
from bunet.parties.planner import PlannedLayer, choose
from bunet.parties.run_options import RunOptions
from bunet.parties.session.handshake import Terms
from bunet.parties.session.run import Finished, Hooks, Session, run_session
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context, Role
from bunet.protocols.cost import Cost
from bunet.protocols.random import Random
from bunet.protocols.registry import Layer, Protocol
from bunet.protocols.steps import Receive, Send, Steps, spec
from tests.net.memory import MemoryChannel, memory_pair

TYPE = TensorType((1, 2, 3), 16, 0, 10)
EXPECT = (spec(np.uint32, 1, 2, 3),)
INPUT = Node("input", "input", (), TYPE)


def exchange(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Both send what they hold, and add what they get times a number of this chain's own."""
    factor = np.uint32(ctx.next_stream() % 251 + 1)
    for turn in range(3):
        yield Send(f"half{turn}", (share.values.copy(),))
        (theirs,) = yield Receive(f"half{turn}", EXPECT)
        share = Share.of(share.values + theirs * factor, TYPE)
    return share


def relay(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    """Alice speaks, Bob answers: many rounds, so that slices overtake each other."""
    for turn in range(5):
        if ctx.role is Role.ALICE:
            yield Send("there", (share.values.copy(),))
            (values,) = yield Receive("back", EXPECT)
        else:
            (values,) = yield Receive("there", EXPECT)
            values = values * np.uint32(3) + np.uint32(turn)
            yield Send("back", (values,))
        share = Share.of(values, TYPE)
    return share


def planned(*protocols: tuple[Callable[..., Any], Callable[..., Any]]) -> list[PlannedLayer]:
    """The input, then one layer for each (Alice's half, Bob's half) in a row."""
    layers = [PlannedLayer(0, INPUT, None, Layer(INPUT, ()))]
    for index, (alice, bob) in enumerate(protocols, 1):
        node = Node(f"layer{index}", "relu", (layers[-1].node.name,), TYPE)
        protocol = Protocol("relu", "made-up", alice, bob, lambda layer: Cost())
        layers.append(PlannedLayer(index, node, protocol, Layer(node, (TYPE,))))
    return layers


def jobs(count: int) -> list[SliceJob]:
    return [SliceJob(k, "z", k, Share.of(np.arange(6).reshape(1, 2, 3) * (k + 1), TYPE)) for k in range(count)]


def one_side(
    role: Role,
    channel: MemoryChannel,
    layers: list[PlannedLayer],
    count: int,
    in_flight: int = 1,
    cores: int = 1,
    events: list[Any] | None = None,
    **options: Callable[..., Any],
) -> dict[int, np.ndarray]:
    """Run one party's scheduler; returns {slice: its read-out}."""
    results: dict[int, np.ndarray] = {}
    emit = (lambda event: None) if events is None else events.append
    hook = options.pop("thread_hook", None)
    with Scheduler(Context(role, Random()), channel, emit, cores, hook) as scheduler:
        keep = lambda job, value: results.__setitem__(job.slice, value.values)  # noqa: E731
        scheduler.run(layers, jobs(count), in_flight, keep, **options)
    return results


class Beside:
    """The other party in a thread; `result()` raises what it raised."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, **options: Callable[..., Any]) -> None:
        self.value = self.error = None

        def target() -> None:
            try:
                self.value = function(*arguments, **options)
            except Exception as error:
                self.error = error

        self.thread = threading.Thread(target=target, daemon=True)
        self.thread.start()

    def result(self) -> Finished | dict[int, np.ndarray] | None:
        self.thread.join(20)
        assert not self.thread.is_alive(), "the other party hangs"
        if self.error is not None:
            raise self.error
        return self.value


@pytest.fixture
def pair() -> Iterator[tuple[MemoryChannel, MemoryChannel]]:
    alice, bob = memory_pair()
    yield alice, bob
    alice.close()
    bob.close()


LAYERS = planned((exchange, exchange), (relay, relay), (exchange, exchange))


def both(
    layers: list[PlannedLayer], count: int, in_flight: int = 1, cores: int = 1, events: list[Any] | None = None
) -> tuple[dict[int, np.ndarray], Any]:
    alice, bob = memory_pair()
    other = Beside(one_side, Role.BOB, bob, layers, count, in_flight, cores)
    results = one_side(Role.ALICE, alice, layers, count, in_flight, cores, events)
    others = other.result()
    alice.close()
    bob.close()
    return results, others


@pytest.mark.parametrize(("in_flight", "cores"), [(1, 3), (3, 1), (8, 1), (3, 2), (8, 4)])
def test_results_do_not_depend_on_the_order_of_work(in_flight: int, cores: int) -> None:
    events: list[Any] = []
    results, others = both(LAYERS, 8, in_flight, cores, events)
    expected, expected_others = both(LAYERS, 8)
    assert sorted(results) == sorted(others) == list(range(8))
    for k in range(8):
        assert (results[k] == expected[k]).all()
        assert (others[k] == expected_others[k]).all()
    assert not (results[0] == results[1]).all()
    flying = most = 0
    for event in events:
        kind = type(event).__name__
        flying += (kind == "SliceStarted") - (kind == "SliceFinished")
        most = max(most, flying)
    assert most == min(in_flight, 8)


def test_a_run_of_no_slices_ends_at_once() -> None:
    assert both(LAYERS, 0, in_flight=4) == ({}, {})


def patient(ctx: Context, layer: Layer | None, share: Share | None) -> Steps[Share | None]:
    yield Receive("never", EXPECT)
    return share


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [("MAX_UNREAD_FRAMES", 10, "sent 11 messages"), ("MAX_UNREAD_BYTES", 24 * 10, "messages, 0 MiB, before their time")],
)
def test_a_flood_is_cut_off(
    pair: tuple[MemoryChannel, MemoryChannel], monkeypatch: pytest.MonkeyPatch, limit: str, value: int, words: str
) -> None:
    monkeypatch.setattr(mailboxes, limit, value)
    alice, bob = pair
    for step in range(20):  # for a slice that is not running yet
        bob.send(Frame(7, 1, step, 1, "more", (np.zeros((1, 2, 3), np.uint32),)))
    with pytest.raises(PeerError, match=words):
        one_side(Role.ALICE, alice, planned((patient, patient)), 1)


def test_what_has_been_read_no_longer_counts_as_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailboxes, "MAX_UNREAD_FRAMES", 6)
    results, _ = both(LAYERS, 8, in_flight=2)
    assert len(results) == 8


def test_unread_limits_hold_in_the_set_up_too(
    pair: tuple[MemoryChannel, MemoryChannel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "MAX_UNREAD_FRAMES", 10)
    alice, bob = pair
    for step in range(20):
        bob.send(Frame(7, 1, step, 1, "more", (np.zeros(1, np.uint8),)))
    with Scheduler(Context(Role.ALICE, Random()), alice, lambda event: None) as scheduler:
        with pytest.raises(PeerError, match="before their time"):
            scheduler.exchange(lambda ctx: patient(ctx, None, None), 0)


class OurDefect(Exception):
    pass


def test_an_exception_in_a_worker_ends_the_run_with_that_exception(pair: tuple[MemoryChannel, MemoryChannel]) -> None:
    def breaks(ctx: Context, layer: Layer, share: Share) -> Steps[None]:
        yield Send("half0", (share.values,))
        raise OurDefect("made to break")

    alice, bob = pair
    other = Beside(one_side, Role.BOB, bob, planned((exchange, exchange)), 3, 3, 2)
    with pytest.raises(OurDefect, match="made to break") as caught:
        one_side(Role.ALICE, alice, planned((breaks, breaks)), 3, 3, 2)
    assert any(entry.name == "breaks" for entry in caught.traceback), "its traceback is kept"
    alice.close()
    with pytest.raises(PeerError, match="closed"):
        other.result()


def test_an_exception_in_on_layer_ends_the_run(pair: tuple[MemoryChannel, MemoryChannel]) -> None:
    def on_layer(job: SliceJob, layer: PlannedLayer, value: Share) -> Never:
        raise OurDefect("the recorder's disk is full")

    with pytest.raises(OurDefect, match="disk is full"):
        one_side(Role.ALICE, pair[0], planned((patient, patient)), 1, on_layer=on_layer)


def test_an_exception_in_on_result_ends_the_run(pair: tuple[MemoryChannel, MemoryChannel]) -> None:
    def on_result(job: SliceJob, value: Share) -> Never:
        raise OurDefect("the folder is gone")

    with Scheduler(Context(Role.ALICE, Random()), pair[0], lambda event: None) as scheduler:
        with pytest.raises(OurDefect, match="folder is gone"):
            scheduler.run(planned(), jobs(1), 1, on_result)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_failing_thread_hook_does_not_hang(pair: tuple[MemoryChannel, MemoryChannel], cores: int) -> None:
    def hook() -> Never:
        raise OurDefect("no such core")

    started = time.monotonic()
    with pytest.raises(Exception, match=r"no such core|initializer"):
        one_side(Role.ALICE, pair[0], planned((patient, patient)), 3, 3, cores, thread_hook=hook)
    assert time.monotonic() - started < 5


def test_thread_hooks_run_once_in_each_compute_thread(pair: tuple[MemoryChannel, MemoryChannel]) -> None:
    names = []
    alice, bob = pair
    other = Beside(one_side, Role.BOB, bob, LAYERS, 4, 4)
    one_side(Role.ALICE, alice, LAYERS, 4, 4, 2, thread_hook=lambda: names.append(threading.current_thread().name))
    other.result()
    assert 1 <= len(names) == len(set(names)) <= 2
    assert all(name.startswith("compute") for name in names)


@pytest.mark.parametrize("in_setup", [False, True])
def test_an_idle_peer_is_given_up(
    pair: tuple[MemoryChannel, MemoryChannel], monkeypatch: pytest.MonkeyPatch, in_setup: bool
) -> None:
    monkeypatch.setattr(mailboxes, "IDLE_LIMIT_S", 0.2)
    alice, _ = pair
    started = time.monotonic()

    def set_up() -> None:
        with Scheduler(Context(Role.ALICE, Random()), alice, lambda event: None) as scheduler:
            scheduler.exchange(lambda ctx: patient(ctx, None, None), 0)

    def slices() -> None:
        one_side(Role.ALICE, alice, planned((patient, patient)), 2, 2)

    with pytest.raises(PeerError, match="the peer has sent nothing for"):
        (set_up if in_setup else slices)()
    assert 0.2 <= time.monotonic() - started < 5


def test_a_long_computation_is_not_idleness(pair: tuple[MemoryChannel, MemoryChannel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailboxes, "IDLE_LIMIT_S", 0.1)

    def thinks(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
        time.sleep(0.5)
        return share
        yield Receive("never", EXPECT)

    assert len(one_side(Role.ALICE, pair[0], planned((thinks, thinks)), 1)) == 1


def hears(ctx: Context, layer: Layer, share: Share) -> Steps[Share]:
    for _ in range(2):
        yield Receive("word", EXPECT)
    return share


WORD = np.zeros((1, 2, 3), np.uint32)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([Frame(0, 1, 0, 2, "word", (WORD,))], "claims round 2 after 0"),
        ([Frame(0, 1, 0, 1, "word", (WORD,)), Frame(0, 1, 1, 3, "word", (WORD,))], "claims round 3 after 1"),
        ([Frame(0, 1, 0, (1 << 32) - 1, "word", (WORD,))], "claims round 4294967295"),
        ([Frame(0, 1, 1, 1, "word", (WORD,))], "message 1 of 'word' came when 0 was due"),
        ([Frame(0, 1, 0, 1, "word", (WORD,)), Frame(0, 1, 0, 1, "word", (WORD,))], "message 0 of 'word' came when 1"),
        ([Frame(0, 1, 0, 1, "\x1b[2Jw", (WORD,))], r"expected message 'word', the peer sent '\[2Jw'"),
        ([Frame(0, 1, 0, 1, "word", (WORD, WORD))], "expected 1 arrays, the peer sent 2"),
        ([Frame(0, 1, 0, 1, "word", (WORD.astype(np.uint64),))], "the peer sent uint64"),
        ([Control("error", {"message": "no\nmore\x1b[m"})], r"the peer ended the run: no more \[m$"),
        ([Control("error", {})], "no reason given"),
        ([Control("\x07open", {})], "sent 'open' in the middle of the run"),
    ],
)
def test_lies_are_refused(pair: tuple[MemoryChannel, MemoryChannel], frames: list[Frame | Control], words: str) -> None:
    alice, bob = pair
    for frame in frames:
        bob.send(frame)
    with pytest.raises(PeerError, match=words):
        one_side(Role.ALICE, alice, planned((hears, hears)), 1)


def test_rounds_may_repeat_and_grow_by_one(pair: tuple[MemoryChannel, MemoryChannel]) -> None:
    alice, bob = pair
    events: list[Any] = []
    for frame in (Frame(0, 1, 0, 1, "word", (WORD,)), Frame(0, 1, 1, 2, "word", (WORD,))):
        bob.send(frame)
    one_side(Role.ALICE, alice, planned((hears, hears)), 1, events=events)
    assert [e.rounds for e in events if type(e).__name__ == "LayerFinished"] == [0, 2]


def test_a_peer_that_closes_in_mid_run_is_its_fault(pair: tuple[MemoryChannel, MemoryChannel]) -> None:
    alice, bob = pair
    bob.close()
    with pytest.raises(PeerError, match="closed"):
        one_side(Role.ALICE, alice, planned((patient, patient)), 1)


def test_what_had_finished_has_been_delivered(pair: tuple[MemoryChannel, MemoryChannel]) -> None:
    """Three slices go through before the peer leaves; their results stay."""
    alice, bob = pair
    results: dict[Any, Any] = {}

    def leaves() -> None:
        one_side(Role.BOB, bob, LAYERS, 3)
        bob.close()

    other = Beside(leaves)
    with pytest.raises((PeerError, ChannelError)):
        with Scheduler(Context(Role.ALICE, Random()), alice, lambda event: None) as scheduler:
            scheduler.run(LAYERS, jobs(6), 1, lambda job, value: results.__setitem__(job.slice, value))
    other.result()
    assert sorted(results) == [0, 1, 2]


def tiny_terms(slices: int, in_flight: int) -> Terms:
    """Input and its logits: Bob sends his share, Alice has the result and is done long before a slow Bob."""
    program = Program(Format(8, 4), (INPUT, Node("readout", "readout", ("input",), TYPE, {"kind": "logits"})))
    return Terms(program, choose(program), {}, slices, in_flight, "0" * 32)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_an_early_bye_does_not_fail_a_slow_bob(pair: tuple[MemoryChannel, MemoryChannel], in_flight: int) -> None:
    """Bob is still recording his last layers when Alice has everything, says bye and closes."""
    alice, bob = pair
    terms = tiny_terms(3, in_flight)
    results = {}
    left = threading.Event()

    def slow(job: SliceJob, layer: PlannedLayer, value: Share | None) -> None:
        if layer.node.operation == "readout" and job.slice == 2:
            assert left.wait(20)
            time.sleep(0.3)  # her bye is on its way

    def keep(job: SliceJob, value: np.ndarray) -> None:
        results[job.slice] = value

    def side(
        role: Role, channel: MemoryChannel, on_result: Callable[..., Any], on_layer: Callable[..., Any] | None = None
    ) -> Finished:
        session = Session.of(role, terms, RunOptions())
        finished = run_session(session, channel, jobs(3), on_result, Hooks(lambda event: None, on_layer))
        if role is Role.ALICE:
            channel.send(Control("bye", {}))
            channel.close()
            left.set()
        return finished

    other = Beside(side, Role.BOB, bob, lambda job, value: None, slow)
    side(Role.ALICE, alice, keep)
    finished = other.result()
    assert isinstance(finished, Finished)
    assert finished.peer_left
    for k in range(3):
        assert (results[k] == 2 * (k + 1) * np.arange(6).reshape(1, 2, 3)).all()


def test_a_bye_before_its_time_is_the_peers_fault(pair: tuple[MemoryChannel, MemoryChannel]) -> None:
    """Whoever says bye and closes while its messages are still due has broken off; what computes is waited for."""
    alice, bob = pair
    bob.send(Control("bye", {}))
    bob.close()
    finished = []

    def thinks_and_waits(ctx: Context, layer: Layer, share: Share) -> Steps[None]:
        time.sleep(0.3)
        finished.append(True)
        yield Receive("never", EXPECT)

    with pytest.raises(PeerError, match="closed"):
        one_side(Role.ALICE, alice, planned((thinks_and_waits, thinks_and_waits)), 1)
    assert finished == [True]
