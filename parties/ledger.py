"""What a run cost, added up from its events: per layer, per slice, in total, and as the JSON document.

The ledger is one party's view (`view`); of the other party it keeps the seconds of compute and the peak memory. It is
passive and pure: it holds no clock and writes no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bunet.models.errors import LocalError
from bunet.parties.events import (
    ROLES,
    Event,
    Failed,
    LayerFinished,
    LayerStarted,
    Note,
    SessionFinished,
    SessionStarted,
    SetupFinished,
    SliceFinished,
    SliceStarted,
    Traffic,
)

DOCUMENT_VERSION = 1


class LedgerError(LocalError):
    """A document was asked for of a run that did not end well."""


@dataclass
class LayerTotal:
    """Sums of one layer over the slices that have finished it. peer_*: the other party's seconds and slices."""

    name: str
    operation: str
    protocol: str
    slices: int = 0
    compute_s: float = 0.0
    peer_compute_s: float = 0.0
    peer_slices: int = 0
    wait_s: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    rounds: int = 0

    @property
    def is_local(self) -> bool:
        """Whether the layer has sent and received nothing."""
        return self.bytes_sent == 0 and self.bytes_received == 0 and self.rounds == 0

    def add(self, event: LayerFinished) -> None:
        self.slices += 1
        self.compute_s += event.compute_s
        self.wait_s += event.wait_s
        self.bytes_sent += event.bytes_sent
        self.bytes_received += event.bytes_received
        self.rounds += event.rounds

    @classmethod
    def summed(cls, name: str, protocol: str, parts: Sequence[LayerTotal]) -> LayerTotal:
        """Several layers as one line; its slices are those of the layer that most have finished."""
        return cls(
            name,
            "",
            protocol,
            slices=max((part.slices for part in parts), default=0),
            compute_s=sum(part.compute_s for part in parts),
            peer_compute_s=sum(part.peer_compute_s for part in parts),
            peer_slices=max((part.peer_slices for part in parts), default=0),
            wait_s=sum(part.wait_s for part in parts),
            bytes_sent=sum(part.bytes_sent for part in parts),
            bytes_received=sum(part.bytes_received for part in parts),
            rounds=sum(part.rounds for part in parts),
        )


@dataclass
class SliceRecord:
    """One slice: where it is, what it has done. seconds is None until it has finished."""

    number: int
    axis: str
    index: int
    seconds: float | None = None
    layer: int = -1
    layer_name: str = ""
    layers: dict[int, LayerFinished] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """Totals of the view. Bytes are wire bytes once the session has finished, payload bytes before."""

    seconds: float
    bytes_sent: int
    bytes_received: int
    rounds: int
    peak_memory_bytes: Mapping[str, int | None]


class Ledger:
    """Subscriber that keeps the books of one run.

    view: whose bytes, seconds and slices are booked, `alice` or `bob`. Events of the other party are welcome.
    """

    def __init__(self, view: str = "alice") -> None:
        if view not in ROLES:
            raise ValueError(f"view {view!r} is not alice or bob")
        self.view = view
        self.session: SessionStarted | None = None
        self.setup: SetupFinished | None = None
        self.slices: dict[int, SliceRecord] = {}
        self.layers: dict[int, LayerTotal] = {}
        self.ended: dict[str, SessionFinished] = {}
        self.traffic: Traffic | None = None  # the latest
        self.failures: list[Failed] = []
        self.notes: list[Note] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Failed):
            self.failures.append(event)
        elif isinstance(event, Note):
            self.notes.append(event)
        elif isinstance(event, SessionFinished):
            self.ended[event.role] = event
        elif event.role != self.view:
            # The plan is the same at both parties, and the view may hear of it from the peer first.
            if isinstance(event, SessionStarted) and self.session is None:
                self._open(event)
            elif isinstance(event, LayerFinished):
                line = self._line(event)
                line.peer_compute_s += event.compute_s
                line.peer_slices += 1
        elif isinstance(event, SessionStarted):
            self._open(event)
        elif isinstance(event, Traffic):
            self.traffic = event
        elif isinstance(event, SetupFinished):
            self.setup = event
        elif isinstance(event, SliceStarted):
            self._slice(event.slice, event.axis, event.index)
        elif isinstance(event, SliceFinished):
            self._slice(event.slice, event.axis, event.index).seconds = event.seconds
        elif isinstance(event, LayerStarted):
            record = self._slice(event.slice)
            record.layer, record.layer_name = event.layer, event.name
        elif isinstance(event, LayerFinished):
            self._slice(event.slice).layers[event.layer] = event
            self._line(event).add(event)

    def _open(self, event: SessionStarted) -> None:
        self.session = event
        for number, line in enumerate(event.plan):
            self.layers.setdefault(number, LayerTotal(line.name, line.operation, line.protocol))

    def _slice(self, number: int, axis: str = "", index: int = -1) -> SliceRecord:
        record = self.slices.setdefault(number, SliceRecord(number, axis, index))
        if axis:
            record.axis, record.index = axis, index
        return record

    def _line(self, event: LayerFinished) -> LayerTotal:
        return self.layers.setdefault(event.layer, LayerTotal(event.name, event.operation, event.protocol))

    @property
    def lines(self) -> list[LayerTotal]:
        """The layers in the order of the plan."""
        return [self.layers[number] for number in sorted(self.layers)]

    @property
    def running(self) -> list[SliceRecord]:
        """Slices that have started and not finished."""
        return [record for record in self.slices.values() if record.seconds is None]

    @property
    def done(self) -> list[SliceRecord]:
        """Finished slices, in the order of their numbers."""
        return [self.slices[number] for number in sorted(self.slices) if self.slices[number].seconds is not None]

    @property
    def expected(self) -> int:
        """How many slices the session runs; what is known so far where it has not said."""
        return max(self.session.slices if self.session else 0, len(self.slices))

    def payload(self) -> tuple[int, int]:
        """Payload bytes (sent, received), set-up included."""
        sent = sum(line.bytes_sent for line in self.layers.values()) + (self.setup.bytes_sent if self.setup else 0)
        received = sum(line.bytes_received for line in self.layers.values())
        return sent, received + (self.setup.bytes_received if self.setup else 0)

    def moved(self) -> tuple[int, int]:
        """Payload bytes (sent, received) that have left and arrived, those of unfinished layers with them."""
        sent, received = self.payload()
        if self.traffic is None or self.ended.get(self.view) is not None:
            return sent, received
        # What a finished layer has sent may still be on its way; what it has received is here.
        return self.traffic.sent, max(received, self.traffic.received)

    def share_of(self, record: SliceRecord) -> float:
        """Share of the layer at which a slice stands, 0 to 1: bytes that have moved over those that its plan states."""
        if self.traffic is None or self.session is None or not 0 <= record.layer < len(self.session.plan):
            return 0.0
        line = self.session.plan[record.layer]
        moved = sum(
            left + arrived
            for number, layer, left, arrived in self.traffic.layers
            if (number, layer) == (record.number, record.layer)
        )
        stated = line.alice_bytes + line.bob_bytes  # 0 of a local layer; what a peer sends for one all the same is no progress
        return min(1.0, moved / stated) if stated else 0.0

    def totals(self) -> Totals:
        """Totals so far; seconds are those of the finished session, 0 before."""
        sent, received = self.payload()
        rounds = sum(line.rounds for line in self.layers.values()) + (self.setup.rounds if self.setup else 0)
        end = self.ended.get(self.view)
        if end is not None:
            sent, received = end.bytes_sent, end.bytes_received
        memory = {role: self.ended[role].peak_memory_bytes if role in self.ended else None for role in ROLES}
        return Totals(end.seconds if end else 0.0, sent, received, rounds, memory)

    def progress(self) -> float:
        """Share of the whole run's work that is done, 0 to 1, weighed by what the layers have cost so far.

        A layer at work counts by the share of its stated bytes that have moved. One that no slice has finished yet weighs its
        stated bytes, at the bytes per second of those that have.
        """
        if self.session is None or not self.session.plan or not self.expected:
            return 0.0
        stated = [float(line.alice_bytes + line.bob_bytes) for line in self.session.plan]
        base = max(max(stated), 1.0) * 1e-3  # a local layer is cheap, not free
        weights = [value + base for value in stated]
        known = {n: t for n, t in self.layers.items() if t.slices and n < len(weights)}
        if known:
            seconds = {n: (t.compute_s + t.wait_s) / t.slices for n, t in known.items()}
            rate = sum(seconds.values()) / sum(weights[n] for n in known)
            weights = [seconds.get(n, weight * rate) for n, weight in enumerate(weights)]
        whole = sum(weights) * self.expected
        finished = sum(weights[n] * t.slices for n, t in known.items())
        finished += sum(weights[r.layer] * self.share_of(r) for r in self.running if r.layer not in r.layers and r.layer >= 0)
        return min(1.0, finished / whole) if whole > 0 else 0.0

    def document(
        self,
        *,
        link: Mapping[str, Any],
        environment: Mapping[str, Any],
        dice: Mapping[str, float | None] | None = None,
        verified: bool | None = None,
        run: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The run as a JSON document of version 1 (docs/documents.md lists its keys).

        dice: of the secure mask against the float model (`float`) and against the truth (`truth`), null where unknown.
        run: what was asked for, such as format, size and slices in flight. Raises LedgerError where the run failed or has
        unfinished slices: a document never makes part of a run look whole.
        """
        if self.failures:
            raise LedgerError(f"the run failed: {self.failures[0].message}")
        if self.session is None or self.view not in self.ended:
            raise LedgerError("the run did not finish")
        if len(self.done) != self.expected:
            raise LedgerError(f"only {len(self.done)} of {self.expected} slices finished")
        setup = self.setup
        return {
            "version": DOCUMENT_VERSION,
            "view": self.view,
            "link": dict(link),
            "format": self.session.format,
            "program": self.session.digest,
            "run": dict(run or {}),
            "plan": [{**asdict(line), "shape": list(line.shape)} for line in self.session.plan],
            "dice": {"float": None, "truth": None, **(dice or {})},
            "verified": verified,
            "setup": {
                "seconds": setup.seconds if setup else 0.0,
                "bytes_sent": setup.bytes_sent if setup else 0,
                "bytes_received": setup.bytes_received if setup else 0,
                "rounds": setup.rounds if setup else 0,
            },
            "slices": [_slice_document(record) for record in self.done],
            "totals": asdict(self.totals()),
            "environment": dict(environment),
        }


def _slice_document(record: SliceRecord) -> dict[str, Any]:
    return {
        "axis": record.axis,
        "index": record.index,
        "seconds": record.seconds,
        "layers": [_layer_document(record.layers[number]) for number in sorted(record.layers)],
    }


def _layer_document(event: LayerFinished) -> dict[str, Any]:
    return {
        "name": event.name,
        "operation": event.operation,
        "protocol": event.protocol,
        "compute_s": event.compute_s,
        "wait_s": event.wait_s,
        "bytes_sent": event.bytes_sent,
        "bytes_received": event.bytes_received,
        "rounds": event.rounds,
    }
