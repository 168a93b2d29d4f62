"""What a person sees of a run: live in a terminal, as plain lines elsewhere, and the per-layer table at the end.

The console is a passive subscriber: it draws what the ledger holds. It fits the terminal it is given, down to 60 columns
and 24 rows: a plan longer than the screen is shown around the layers that are at work.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bunet.models.printable import printable
from bunet.parties.events import (
    Event,
    Failed,
    LayerFinished,
    Note,
    SessionFinished,
    SessionStarted,
    SetupFinished,
    SliceFinished,
    Traffic,
)
from bunet.parties.ledger import LayerTotal, Ledger, SliceRecord
from bunet.parties.words import counted, duration, mebibytes, number, rate, shorten

REFRESH_PER_SECOND = 4
LINK_WINDOW_S = 5.0
LINK_SILENCE_S = 1.0  # parties speak of their traffic a few times a second; where they have not for so long, nothing moves
PLAIN_EVERY_S = 10.0  # between two lines of progress where there is no terminal


@dataclass(frozen=True)
class Column:
    """A column of the layer table: title, width in cells, and its text for a line. Numbers are right-aligned."""

    title: str
    width: int
    text: Callable[[LayerTotal], str]
    left: bool = False


def _name_columns(name: int, protocol: int) -> list[Column]:
    return [
        Column("layer", name, lambda line: shorten(line.name, name), left=True),
        Column("protocol", protocol, lambda line: shorten(line.protocol, protocol), left=True),
    ]


def columns_for(width: int) -> list[Column]:
    """The columns that fit `width` cells, for widths of 60 and more; narrower terminals get those of 60, cut off.

    Seconds and bytes are means over the slices that have finished the layer.
    """
    numbers = [
        Column("comp s", 6, lambda line: number(line.compute_s / (line.slices or 1), bool(line.slices))),
        Column("wait s", 6, lambda line: number(line.wait_s / (line.slices or 1), bool(line.slices))),
        Column("MiB out", 7, lambda line: mebibytes(line.bytes_sent, line.slices)),
        Column("MiB in", 7, lambda line: mebibytes(line.bytes_received, line.slices)),
        Column("rnd", 3, lambda line: str(line.rounds // line.slices) if line.slices else ""),
    ]
    if width < 72:
        return [*_name_columns(14, 10), *numbers]
    if width < 100:
        return [*_name_columns(20, 16), *numbers]
    peer = Column("peer s", 6, lambda line: number(line.peer_compute_s / (line.peer_slices or 1), bool(line.peer_slices)))
    done = Column("slices", 6, lambda line: str(line.slices or ""))
    return [*_name_columns(26, 18), done, numbers[0], peer, *numbers[1:]]


class RunConsole:
    """Subscriber that shows a run. Use as a context manager around the run; `ledger` holds the books.

    view: whose numbers are shown. bandwidth_bps: of the link, for its use in per cent; None or infinite where unlimited.
    console: where to draw (default: standard output). clock: seconds, for elapsed time. above: what the run is part of, asked
    whenever it is shown. Without a terminal that can be redrawn, it prints plain lines: one at the start, one per finished
    slice, one every ten seconds between. How a run failed is left to its caller, who gets the error.
    """

    def __init__(
        self,
        view: str = "alice",
        *,
        bandwidth_bps: float | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        above: Callable[[], str] | None = None,
    ) -> None:
        self._above = above
        self.ledger = Ledger(view)
        self.console = console or Console(highlight=False)
        self._bandwidth = bandwidth_bps if bandwidth_bps and math.isfinite(bandwidth_bps) else None
        self._clock = clock
        # Guards the ledger and what follows. Never held while rich draws or prints: rich has locks of its own, and draws this
        # console while it holds them.
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._begun = clock()
        self._ended: float | None = None
        self._line_at = self._begun
        self._traffic: deque[tuple[float, int, int]] = deque()  # when, bytes that had left and arrived by then

    @property
    def is_live(self) -> bool:
        """Whether the terminal can be redrawn."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    def __enter__(self) -> RunConsole:
        if self.is_live:
            self._live = Live(
                self,
                console=self.console,
                refresh_per_second=REFRESH_PER_SECOND,
                transient=True,
                vertical_overflow="crop",
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, event: Event) -> None:
        with self._lock:
            text = self._take(event)
        if text is not None:
            self.console.print(text, soft_wrap=True)

    def _take(self, event: Event) -> Text | None:
        """Book an event; the line to print of it, if there is one."""
        self.ledger(event)
        now = self._clock()
        viewed = event.role == self.ledger.view
        if isinstance(event, SessionStarted) and viewed:
            self._begun = self._line_at = now
            self._traffic = deque([(now, 0, 0)])
        elif isinstance(event, SessionFinished) and viewed:
            self._ended = now
        elif isinstance(event, Traffic) and viewed:
            self._traffic.append((now, event.sent, event.received))
            while len(self._traffic) > 2 and self._traffic[1][0] <= now - LINK_WINDOW_S:
                self._traffic.popleft()
        if isinstance(event, Note):
            return Text(printable(f"{event.role}: {event.text}"), style="dim")
        if isinstance(event, Failed):
            return None  # whoever started the run raises it, and says it once; the ledger has it
        return self._plain(event, now) if self._live is None and viewed else None

    # -- without a terminal -------------------------------------------------------------------------------------

    def _plain(self, event: Event, now: float) -> Text | None:
        if isinstance(event, SessionStarted):
            return self._headline()
        if isinstance(event, SetupFinished):
            return Text(
                f"set-up in {number(event.seconds)} s: {mebibytes(event.bytes_sent)} MiB out, "
                f"{mebibytes(event.bytes_received)} MiB in, {event.rounds} rounds"
            )
        if isinstance(event, SliceFinished):
            self._line_at = now
            return Text(
                f"slice {event.axis}{event.index} in {number(event.seconds)} s "
                f"({len(self.ledger.done)}/{self.ledger.expected})" + (f"; {self._above()}" if self._above else "")
            )
        if isinstance(event, (LayerFinished, Traffic)) and now - self._line_at >= PLAIN_EVERY_S:
            self._line_at = now
            return Text(f"{100 * self._share():.0f} %, {self._times(now)}; {self._at_work()}; {self._link_text(now)}")
        return None

    # -- live ---------------------------------------------------------------------------------------------------

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.size.height
        with self._lock:
            picture = self.picture(options.max_width, height)
        yield picture

    def picture(self, width: int, height: int) -> RenderableType:
        """The live view, at most `height` rows of `width` cells."""
        now = self._clock()
        whole = [Text(self._above(), style="bold")] if self._above else []
        head = [*whole, self._headline(), self._progress_line(width, now), self._flight_line(), Text(self._link_text(now))]
        for line in head:
            line.no_wrap, line.overflow = True, "ellipsis"
        if self.ledger.session is None:
            return Group(Text("waiting for the other party", style="dim"))
        rows = max(1, height - len(head) - 3)  # the table's head and rule, and one row that the cursor keeps
        return Group(*head, self._window(width, rows))

    def _headline(self) -> Text:
        session = self.ledger.session
        if session is None:
            return Text("")
        text = Text("BUNET ", style="bold")
        text.append(f"{session.role}  ", style="")
        text.append(
            f"format {session.format}, link {session.link}, {counted(session.slices, 'slice')}, {session.in_flight} in flight",
            style="not bold",
        )
        return text

    def _times(self, now: float) -> str:
        elapsed = (self._ended if self._ended is not None else now) - self._begun
        share = self._share()
        if share >= 1.0 or share < 0.01 or self._ended is not None:
            return f"{duration(elapsed)} gone"
        return f"{duration(elapsed)} gone, {duration(elapsed * (1 - share) / share)} left"

    def _share(self) -> float:
        """Of the run's work, 0 to 1: 1 only once every slice has finished, for bytes may all have moved before that."""
        if 0 < self.ledger.expected <= len(self.ledger.done):
            return 1.0
        return min(0.99, self.ledger.progress())

    def _progress_line(self, width: int, now: float) -> Text:
        share = self._share()
        times = f" {100 * share:3.0f} %  {len(self.ledger.done)}/{self.ledger.expected} slices  {self._times(now)}"
        cells = max(8, min(40, width - len(times)))
        full = round(share * cells)
        text = Text("━" * full, style="green")
        return text.append("─" * (cells - full), style="dim").append(times, style="default")

    def _flight_line(self) -> Text:
        if self._ended is not None:
            return Text("the run has ended; its results are being checked", style="dim")
        return Text(self._at_work())

    def _at_work(self) -> str:
        """The slices in flight, each with its layer and how much of that has moved."""
        if self.ledger.setup is None:
            return "set-up: keys and base OTs"
        running = sorted(self.ledger.running, key=lambda record: record.number)
        return "in flight: " + ("  ".join(self._layer_at_work(record) for record in running) or "none")

    def _layer_at_work(self, record: SliceRecord) -> str:
        share = self.ledger.share_of(record)
        return f"{record.axis}{record.index} {record.layer_name}" + f" {100 * share:.0f} %" * (share > 0)

    def _link_text(self, now: float) -> str:
        sent, received = self.ledger.moved()
        out_bps, in_bps = self.link_use(now)
        text = f"out {mebibytes(sent)} MiB {rate(out_bps)}, in {mebibytes(received)} MiB {rate(in_bps)}"
        if self._bandwidth:  # first, so that a narrow terminal does not cut it off
            text = f"link {100 * max(out_bps, in_bps) / self._bandwidth:.0f} %: {text}"
        return text

    def link_use(self, now: float) -> tuple[float, float]:
        """Bits a second (sent, received) over the last seconds, up to when the parties last spoke of their traffic."""
        if len(self._traffic) < 2:
            return 0.0, 0.0
        last = self._traffic[-1]
        end = last[0] if now - last[0] <= LINK_SILENCE_S else now
        first = self._traffic_at(end - LINK_WINDOW_S)
        seconds = max(end - first[0], 1e-3)
        return (last[1] - first[1]) * 8 / seconds, (last[2] - first[2]) * 8 / seconds

    def _traffic_at(self, time_s: float) -> tuple[float, float, float]:
        """(when, bytes that had left, arrived): between two reports evenly; the first one where the time is before it."""
        if time_s >= self._traffic[-1][0]:
            return time_s, *self._traffic[-1][1:]
        for (t0, s0, r0), (t1, s1, r1) in itertools.pairwise(self._traffic):
            if t0 <= time_s < t1:
                part = (time_s - t0) / (t1 - t0)
                return time_s, s0 + part * (s1 - s0), r0 + part * (r1 - r0)
        return self._traffic[0]

    def _window(self, width: int, rows: int) -> Table:
        """The layers that pay for traffic, and those at work; as many as fit, around the farthest slice."""
        active = {record.layer for record in self.ledger.running if record.layer >= 0}
        shown = [n for n in sorted(self.ledger.layers) if n in active or not self._is_quiet(n)]
        if len(shown) > rows:
            focus = max(active, default=shown[-1] if self.ledger.done else shown[0])
            at = max((i for i, n in enumerate(shown) if n <= focus), default=0)
            start = max(0, min(at - (2 * rows) // 3, len(shown) - rows))
            shown = shown[start : start + rows]
        lines = [self.ledger.layers[n] for n in shown]
        return layer_table(lines, width, styles=["bold yellow" if n in active else "" for n in shown])

    def _is_quiet(self, layer: int) -> bool:
        """Whether the layer neither has sent anything nor will, by its stated cost."""
        session = self.ledger.session
        stated = session.plan[layer] if session and layer < len(session.plan) else None
        free = stated is None or (stated.alice_bytes, stated.bob_bytes, stated.rounds) == (0, 0, 0)
        return free and self.ledger.layers[layer].is_local

    # -- the end ------------------------------------------------------------------------------------------------

    def print_table(self) -> None:
        """The per-layer table of all that has run, and the totals; layers without traffic share one line."""
        with self._lock:
            table, totals = final_table(self.ledger, self.console.width), Text(totals_line(self.ledger))
        self.console.print(table, no_wrap=True)
        self.console.print(totals)


def layer_table(lines: Sequence[LayerTotal], width: int, styles: Sequence[str] | None = None) -> Table:
    """One row per line in the columns that fit `width`."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", expand=False)
    columns = columns_for(width)
    for column in columns:
        table.add_column(
            column.title, width=column.width, justify="left" if column.left else "right", no_wrap=True, overflow="ellipsis"
        )
    for index, line in enumerate(lines):
        table.add_row(*(column.text(line) for column in columns), style=styles[index] if styles else "")
    return table


def final_table(ledger: Ledger, width: int) -> Table:
    """Every layer with traffic, one line for the others together, one for the sum. Means per slice."""
    lines = [line for line in ledger.lines if not line.is_local]
    local = [line for line in ledger.lines if line.is_local]
    if local:
        lines.append(LayerTotal.summed(f"{len(local)} more layers" if len(local) > 1 else local[0].name, "local", local))
    lines.append(LayerTotal.summed("a slice", "", ledger.lines))
    return layer_table(lines, width, styles=[*[""] * (len(lines) - 1), "bold"])


def totals_line(ledger: Ledger) -> str:
    """The whole run in a sentence or two, such as `2 slices in 31.2 s: 410 MiB out, 1.3 GiB in, 812 rounds.`"""
    totals = ledger.totals()
    count = len(ledger.done)
    setup = f", {number(ledger.setup.seconds)} s of it set-up" if ledger.setup else ""
    text = (
        f"{counted(count, 'slice')} in {number(totals.seconds)} s{setup}: "
        f"{mebibytes(totals.bytes_sent)} MiB out, {mebibytes(totals.bytes_received)} MiB in, {totals.rounds} rounds."
    )
    peaks = [f"{role.capitalize()} {peak / (1 << 30):.2f} GiB" for role, peak in totals.peak_memory_bytes.items() if peak]
    return f"{text} Peak memory: {', '.join(peaks)}." if peaks else text
