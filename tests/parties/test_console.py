"""The console, drawn to recorded terminals of several sizes."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pytest
from rich.console import Console

from bunet.parties.console import PLAIN_EVERY_S, RunConsole, columns_for
from bunet.parties.events import (
    Event,
    Failed,
    LayerFinished,
    LayerPlan,
    LayerStarted,
    Note,
    SessionFinished,
    SessionStarted,
    SetupFinished,
    SliceFinished,
    SliceStarted,
    Traffic,
)
from bunet.parties.words import counted, duration, mebibytes, number, rate, shorten

WIDTHS = (60, 80, 120)
MIB = 1 << 20


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_thing_is_no_plural() -> None:
    assert [counted(n, "slice") for n in (0, 1, 2)] == ["0 slices", "1 slice", "2 slices"]


def plan(levels: int = 5) -> tuple[LayerPlan, ...]:
    """As long as a real one: 20 layers a level."""
    lines = [LayerPlan("input", "input", "local", (5, 128, 128), 12)]
    for level in range(1, levels + 1):
        for half in ("encoder", "decoder"):
            for k in (1, 2):
                name = f"{half}{level}"
                lines.append(LayerPlan(f"{name}.conv{k}", "conv", "pahe-coefficient", (16, 8, 8), 20, MIB, 2 * MIB, 2))
                lines.append(LayerPlan(f"{name}.conv{k}.truncate", "truncate", "local", (16, 8, 8), 14))
                lines.append(LayerPlan(f"{name}.relu{k}", "relu", "gc-sign", (16, 8, 8), 14, 3 * MIB, MIB, 3))
                lines.append(LayerPlan(f"{name}.relu{k}.extend", "extend", "ot", (16, 8, 8), 20, MIB, MIB, 2))
    lines.append(LayerPlan("readout", "readout", "argmax", (1, 128, 128), 12, 10, 10, 2))
    return tuple(lines)


def finished(role: str, number_: int, layer: int, line: LayerPlan, seconds: float = 0.5) -> LayerFinished:
    sent, received = (line.alice_bytes, line.bob_bytes) if role == "alice" else (line.bob_bytes, line.alice_bytes)
    return LayerFinished(
        role, number_, layer, line.name, line.operation, line.protocol, seconds, 0.25, sent, received, line.rounds
    )


def until(layer: int) -> list[Event]:
    """Two slices: the first has ended, the second stands at `layer`."""
    lines = plan()
    events: list[Event] = [
        SessionStarted("alice", "ab", "8.4", lines, "lan", 2, 2),
        SetupFinished("alice", 1.5, MIB, 2 * MIB, 4),
        SliceStarted("alice", 0, "z", 11),
    ]
    for k, line in enumerate(lines):
        events += [LayerStarted("alice", 0, k, line.name), finished("alice", 0, k, line), finished("bob", 0, k, line)]
    events += [SliceFinished("alice", 0, "z", 11, 42.0), SliceStarted("alice", 1, "z", 13)]
    for k, line in enumerate(lines[: layer + 1]):
        events.append(LayerStarted("alice", 1, k, line.name))
        if k < layer:
            events.append(finished("alice", 1, k, line))
    return events


def the_rest(layer: int) -> list[Event]:
    lines = plan()
    events: list[Event] = [finished("alice", 1, k, line) for k, line in enumerate(lines) if k >= layer]
    return [
        *events,
        SliceFinished("alice", 1, "z", 13, 43.0),
        SessionFinished("bob", 90.0, 1, 2, 3 << 30),
        SessionFinished("alice", 90.0, 700 * MIB, 800 * MIB, 1 << 30),
    ]


def recorded(width: int, height: int = 24, terminal: bool = True) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=terminal,
        color_system=None,
        highlight=False,
        legacy_windows=False,
        _environ={"TERM": "xterm"},
    )


def written(console: Console) -> str:
    """All that a console has written to its buffer."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def drawn(width: int, height: int, events: list[Event]) -> list[str]:
    clock = Clock()
    console = recorded(width, height)
    view = RunConsole(console=console, clock=clock, bandwidth_bps=3e9)
    for event in events:
        clock.now += 0.05
        view(event)
    options = console.options.update(width=width)
    return ["".join(segment.text for segment in line) for line in console.render_lines(view, options, pad=False)]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("height", [24, 50])
@pytest.mark.parametrize("layer", [0, 33, 79])
def test_the_live_view_fits_the_terminal_and_shows_the_layer_at_work(width: int, height: int, layer: int) -> None:
    lines = drawn(width, height, until(layer))
    assert max(len(line.rstrip()) for line in lines) <= width
    assert len(lines) <= height - 1
    text = "\n".join(lines)
    assert shorten(plan()[layer].name, columns_for(width)[0].width) in text
    assert "1/2 slices" in text
    assert "in flight: z13" in text
    assert "left" in text
    assert "link " in text
    assert "comp s" in text
    assert "wait s" in text
    assert "MiB out" in text
    assert "MiB in" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_the_final_table_has_every_layer_with_traffic_and_the_sums(width: int) -> None:
    console = recorded(width)
    view = RunConsole(console=console, clock=Clock())
    for event in [*until(5), *the_rest(5)]:
        view(event)
    console.file = io.StringIO()
    view.print_table()
    lines = written(console).splitlines()
    assert max(len(line.rstrip()) for line in lines[:-4]) <= width
    expected = [line for line in plan() if line.rounds]
    rows = [line for line in lines if any(line.startswith(half) for half in ("enc", "dec", "readout"))]
    assert len(rows) == len(expected)
    conv = next(row for row in rows if row.startswith("enc") and "pahe" in row)
    assert conv.split()[-3:] == ["1.000", "2.000", "2"]
    assert any(line.startswith("21 more layers") for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "2 slices in 90.00 s, 1.50 s of it set-up: 700.0 MiB out, 800.0 MiB in" in text
    assert "Alice 1.00 GiB, Bob 3.00 GiB" in text
    if width >= 100:
        assert "peer s" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_columns_add_up_to_the_width(width: int) -> None:
    columns = columns_for(width)
    assert sum(column.width for column in columns) + len(columns) - 1 <= width


def test_without_a_terminal_lines_are_plain_and_few() -> None:
    clock, console = Clock(), recorded(80, terminal=False)
    with RunConsole(console=console, clock=clock) as view:
        for event in [*until(40), *the_rest(40)]:
            clock.now += 0.1
            view(event)
    text = written(console)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert "8.4" in lines[0]
    assert "set-up in 1.50 s" in lines[1]
    assert "slice z11 in 42.00 s (1/2)" in text
    assert "slice z13 in 43.00 s (2/2)" in text
    assert len(lines) < 12


def test_a_long_layer_shows_signs_of_life_without_a_terminal() -> None:
    clock, console = Clock(), recorded(80, terminal=False)
    view = RunConsole(console=console, clock=clock)
    for event in until(9):
        view(event)
    before = written(console)
    clock.now += PLAIN_EVERY_S + 1
    view(finished("alice", 1, 9, plan()[9]))
    assert "in flight: z13 decoder1.conv1" in written(console)[len(before) :]


def test_notes_are_said_and_failures_left_to_the_caller() -> None:
    console = recorded(80, terminal=False)
    view = RunConsole(console=console, clock=Clock())
    view(Note("bob", "compiling kernels"))
    view(Failed("alice", "the peer is gone", "peer"))
    assert written(console).splitlines() == ["bob: compiling kernels"]
    assert [failure.message for failure in view.ledger.failures] == ["the peer is gone"]


def test_before_the_handshake_there_is_something_to_see() -> None:
    assert drawn(60, 24, []) == ["waiting for the other party"]


@pytest.mark.parametrize(("variable", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_is_respected(variable: dict[str, str], coloured: bool) -> None:
    console = Console(
        file=io.StringIO(),
        width=80,
        height=24,
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
        _environ={"TERM": "xterm-256color", **variable},
        highlight=False,
    )
    view = RunConsole(console=console, clock=Clock())
    for event in until(8):
        view(event)
    console.print(view)
    colours = any(f"\x1b[{code}m" in written(console) for code in ("32", "1;33", "2;32", "33"))
    assert colours is coloured


def test_the_live_view_is_drawn_and_taken_away() -> None:
    console = recorded(80)
    with RunConsole(console=console, clock=Clock()) as view:
        assert view.is_live
        for event in until(12):
            view(event)
    assert "in flight" in written(console)
    view(Note("bob", "after"))
    assert written(console).rstrip().endswith("bob: after")


def slow_run() -> tuple[RunConsole, Clock, Console]:
    """One slice on a link of 8 Mbit/s, at its first convolution (1 MiB out, 2 MiB in)."""
    clock, console = Clock(), recorded(80, terminal=False)
    view = RunConsole(console=console, clock=clock, bandwidth_bps=8e6)
    view(SessionStarted("alice", "ab", "8.4", plan(), "8 Mbit/s", 1, 1))
    view(SetupFinished("alice", 0.0, 0, 0, 1))
    view(SliceStarted("alice", 0, "z", 11))
    view(LayerStarted("alice", 0, 1, "encoder1.conv1"))
    return view, clock, console


def moves(view: RunConsole, clock: Clock, seconds: int, out_bps: float, in_bps: float = 0.0) -> None:
    """A report every quarter of a second, as the scheduler makes them."""
    before = view.ledger.traffic or Traffic("alice", 0, 0, ())
    for quarter in range(1, 4 * seconds + 1):
        clock.now += 0.25
        sent, received = (int(bps / 8 * quarter / 4) for bps in (out_bps, in_bps))
        sent, received = before.sent + sent, before.received + received
        view(Traffic("alice", sent, received, ((0, 1, sent, received),)))


def test_the_link_is_shown_while_bytes_move() -> None:
    view, clock, _ = slow_run()
    moves(view, clock, 1, 8e6)
    assert view.link_use(clock.now) == pytest.approx((8e6, 0.0))
    moves(view, clock, 10, 8e6, 2e6)
    assert view.link_use(clock.now) == pytest.approx((8e6, 2e6), rel=1e-3)
    assert view._link_text(clock.now).startswith("link 100 %: out 10.5 MiB 8.0 Mbit/s, in 2.384 MiB 2.0 Mbit/s")
    moves(view, clock, 2, 0.0)
    assert view.link_use(clock.now)[0] == pytest.approx(8e6 * 3 / 5, rel=1e-3), "of the last five seconds three were used"
    clock.now += 60
    assert view.link_use(clock.now) == (0.0, 0.0)


def test_a_long_layer_gets_on_by_its_bytes() -> None:
    view, clock, _ = slow_run()
    assert view.ledger.progress() == 0
    moves(view, clock, 1, 8e6)
    record = view.ledger.slices[0]
    assert view.ledger.share_of(record) == pytest.approx(1e6 / (3 * MIB))
    assert "in flight: z11 encoder1.conv1 32 %" in view._at_work()
    first = view.ledger.progress()
    stated = sum(line.alice_bytes + line.bob_bytes for line in plan())
    assert first == pytest.approx(1e6 / stated, rel=0.05)
    moves(view, clock, 1, 8e6, 4e6)
    assert first < view.ledger.progress() < 2.6 * first
    moves(view, clock, 9, 8e6)
    assert view.ledger.share_of(record) == 1.0, "never more than the layer"
    before = view.ledger.progress()
    view(finished("alice", 0, 1, plan()[1], seconds=11.0))
    assert view.ledger.progress() >= 0.9 * before


def test_a_report_of_the_other_party_changes_nothing() -> None:
    view, clock, _ = slow_run()
    clock.now += 1
    view(Traffic("bob", 10**6, 10**6, ((0, 1, 10**6, 10**6),)))
    assert view.ledger.progress() == 0
    assert view.link_use(clock.now) == (0.0, 0.0)


def test_without_a_terminal_a_long_layer_is_spoken_of_every_ten_seconds() -> None:
    view, clock, console = slow_run()
    moves(view, clock, 35, 6e5)
    lines = written(console).splitlines()[2:]
    assert len(lines) == 3
    for line, share in zip(lines, (24, 48, 72), strict=True):
        assert f"in flight: z11 encoder1.conv1 {share} %" in line
        assert "link 8 %" in line
        assert " gone" in line


def test_what_is_done_before_the_slices_is_said() -> None:
    clock = Clock()
    view = RunConsole(console=recorded(80, terminal=False), clock=clock)
    view(SessionStarted("alice", "ab", "8.4", plan(), "lan", 1, 1))
    assert view._at_work() == "set-up: keys and base OTs"


@pytest.mark.parametrize(
    ("name", "width", "short"),
    [
        ("encoder1.conv1", 14, "encoder1.conv1"),
        ("encoder1.conv1.truncate", 20, "enc1.conv1.truncate"),
        ("encoder1.conv1.truncate", 14, "enc1.con1.tru"),
        ("pahe-coefficient", 10, "pahe-coef…"),
        ("bottleneck.relu2", 14, "bot.relu2"),
    ],
)
def test_long_names_stay_recognisable(name: str, width: int, short: str) -> None:
    assert shorten(name, width) == short


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (number, 0.0123, "0.012"),
        (number, 1.5, "1.50"),
        (number, 123.4, "123.4"),
        (number, 12345.6, "12346"),
        (mebibytes, 0, "0"),
        (mebibytes, MIB // 2, "0.500"),
        (mebibytes, 12 * MIB, "12.0"),
        (mebibytes, 1 << 31, "2048"),
        (duration, 5.2, "5 s"),
        (duration, 187, "3:07"),
        (duration, 3765, "1:02:45"),
        (rate, 2.5e9, "2.50 Gbit/s"),
        (rate, 4e6, "4.0 Mbit/s"),
        (rate, 900.0, "1 kbit/s"),
    ],
)
def test_figures_are_short(function: Callable[[float], str], value: float, text: str) -> None:
    assert function(value) == text


def test_after_the_end_the_live_view_says_what_it_waits_for() -> None:
    text = "\n".join(drawn(80, 24, [*until(5), *the_rest(5)]))
    assert "the run has ended" in text
    assert "2/2 slices" in text
    assert "left" not in text


def test_until_the_last_slice_has_finished_it_is_not_all_done() -> None:
    """The read-out's bytes have all moved, and it still computes."""
    clock, console = Clock(), recorded(80, terminal=False)
    view = RunConsole(console=console, clock=clock)
    view(SessionStarted("alice", "ab", "8.4", plan(1), "lan", 1, 1))
    view(SliceStarted("alice", 0, "z", 11))
    last = len(plan(1)) - 1
    for k, line in enumerate(plan(1)):
        view(LayerStarted("alice", 0, k, line.name))
        if k < last:
            view(finished("alice", 0, k, line))
    clock.now += 100
    view(Traffic("alice", 10, 10, ((0, last, 10, 10),)))
    assert view.ledger.progress() == pytest.approx(1.0)
    assert (view._share(), view._times(clock.now)) == (0.99, "1:40 gone, 1 s left")
    view(finished("alice", 0, last, plan(1)[last]))
    assert view._share() == 0.99
    view(SliceFinished("alice", 0, "z", 11, 100.0))
    assert (view._share(), view._times(clock.now)) == (1.0, "1:40 gone")


@pytest.mark.timeout(120)
def test_notes_are_printed_while_the_picture_is_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two threads needs the console's lock and rich's: neither may wait for one while it holds the other."""
    monkeypatch.setattr("bunet.parties.console.REFRESH_PER_SECOND", 1000)
    console = recorded(80)
    notes = 400
    view = RunConsole(console=console, clock=Clock())
    for event in until(12):
        view(event)

    def talk() -> None:
        for k in range(notes):
            view(Note("bob", f"note {k}."))

    with view:
        talker = threading.Thread(target=talk, daemon=True)
        talker.start()
        talker.join(60)
        alive = talker.is_alive()
        if alive:
            view._live = None  # `stop` would wait for ever as well
    assert not alive
    assert all(f"bob: note {k}." in written(console) for k in range(notes))
