"""What happened, as typed events. Console, ledger and trace are passive subscribers; protocols hold no timers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from bunet.models.errors import LocalError, PeerError

ROLES = ("alice", "bob")  # as events and files name the parties


@dataclass(frozen=True)
class LayerPlan:
    """One line of the plan: which protocol runs a node. bytes and rounds are the stated cost of one slice."""

    name: str
    operation: str
    protocol: str
    shape: tuple[int, int, int]
    width: int
    alice_bytes: int = 0
    bob_bytes: int = 0
    rounds: int = 0


@dataclass(frozen=True)
class SessionStarted:
    """After the handshake. link: the emulated link as text. slices: how many will run."""

    role: str
    digest: str
    format: str
    plan: tuple[LayerPlan, ...]
    link: str
    slices: int
    in_flight: int


@dataclass(frozen=True)
class SetupFinished:
    """Keys and base OTs are exchanged."""

    role: str
    seconds: float
    bytes_sent: int
    bytes_received: int
    rounds: int


@dataclass(frozen=True)
class SliceStarted:
    role: str
    slice: int
    axis: str
    index: int


@dataclass(frozen=True)
class LayerStarted:
    role: str
    slice: int
    layer: int
    name: str


@dataclass(frozen=True)
class LayerFinished:
    """compute_s: seconds this party computed. wait_s: the layer's other seconds. Payload bytes, this party's view."""

    role: str
    slice: int
    layer: int
    name: str
    operation: str
    protocol: str
    compute_s: float
    wait_s: float
    bytes_sent: int
    bytes_received: int
    rounds: int


@dataclass(frozen=True)
class SliceFinished:
    role: str
    slice: int
    axis: str
    index: int
    seconds: float


@dataclass(frozen=True)
class SessionFinished:
    """seconds: from the first set-up message to the last result, compilation excluded. Wire bytes, headers included."""

    role: str
    seconds: float
    bytes_sent: int
    bytes_received: int
    peak_memory_bytes: int


@dataclass(frozen=True)
class Traffic:
    """Bytes on the move, a few times a second: payload of this session that has left and arrived so far, set-up included.

    layers: (slice, layer, left, arrived) of layers that have moved some and not ended.
    """

    role: str
    sent: int
    received: int
    layers: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class Note:
    """Something a person should read, such as 'compiling kernels'."""

    role: str
    text: str


@dataclass(frozen=True)
class Failed:
    """The run ended here. fault: 'here' or 'peer', as the class of the error says."""

    role: str
    message: str
    fault: str = "here"

    @classmethod
    def of(cls, role: str, error: Exception, before: str = "") -> Failed:
        """What happened to a party. before: what precedes the sentence."""
        sentence = str(error) or type(error).__name__
        return cls(role, before + sentence, "peer" if isinstance(error, PeerError) else "here")

    def error(self) -> LocalError | PeerError:
        """What whoever started the party raises: of the same fault, and it says whose sentence it is."""
        error = PeerError if self.fault == "peer" else LocalError
        return error(f"{self.role.capitalize()}: {self.message}")


Event = (
    SessionStarted
    | SetupFinished
    | SliceStarted
    | LayerStarted
    | LayerFinished
    | SliceFinished
    | SessionFinished
    | Traffic
    | Note
    | Failed
)
Subscriber = Callable[[Event], None]

_CLASSES: dict[str, type[Event]] = {
    event_class.__name__: event_class
    for event_class in (
        SessionStarted,
        SetupFinished,
        SliceStarted,
        LayerStarted,
        LayerFinished,
        SliceFinished,
        SessionFinished,
        Traffic,
        Note,
        Failed,
    )
}


def to_document(event: Event) -> dict[str, Any]:
    """A JSON-able dictionary with the event's class under `event`."""
    return {"event": type(event).__name__, **asdict(event)}


def from_document(document: dict[str, Any]) -> Event:
    """The inverse of `to_document`; raises ValueError on what is no event."""
    fields = dict(document)
    try:
        event_class = _CLASSES[fields.pop("event")]
        if event_class is SessionStarted:
            fields["plan"] = tuple(LayerPlan(**{**line, "shape": tuple(line["shape"])}) for line in fields["plan"])
        if event_class is Traffic:
            fields["layers"] = tuple((slice_, layer, sent, received) for slice_, layer, sent, received in fields["layers"])
        return event_class(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an event: {error}") from error
