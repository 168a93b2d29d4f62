"""The handshake of a session: what both sides agree on before anything is computed.

Alice asks (`open`), Bob answers with what the model is, the public program and plan, and a commitment to his weights (`accept`)
or a reason (`error`), Alice confirms the program's digest (`ready`). A mismatch ends both sides with the same sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from bunet.models.commitment import COMMITMENT
from bunet.models.errors import BunetError, PeerError, UsageError
from bunet.models.files.disk_space import DiskFull
from bunet.models.model_card import ModelCard, ModelCardError, ModelWish
from bunet.models.printable import plain
from bunet.models.program import Format, Program, ProgramError
from bunet.net.channel import Channel, ChannelError
from bunet.net.frame import Control, Frame
from bunet.parties.planner import check_settings, choose
from bunet.parties.run_options import MAX_IN_FLIGHT, RunOptions
from bunet.parties.store import Offer
from bunet.protocols.random import Random
from bunet.protocols.security import DECLARED

PROTOCOL_VERSION = 3
HANDSHAKE_TIMEOUT_S = 60.0
COMPILE_TIMEOUT_S = 900.0
MAX_SLICES = 1 << 20
Offers = Callable[[tuple[int, int, int], str | None, str | None, ModelWish], Offer]

DIFFERENT_PROGRAMS = "the two parties hold different programs (digests differ)"
DIFFERENT_WEIGHTS = (
    "Bob's weights are not those that this run began with (commitments differ; a model that is compiled again has another): "
    "serve the model file of then, or choose another --out"
)


def software() -> str:
    return version("bunet")


def new_session() -> str:
    """A number that no other session has, as text."""
    return Random().bytes(16).hex()


@dataclass(frozen=True)
class Request:
    """What Alice asks for. format None: whatever Bob's model has.

    run: the protocols, settings and slices in flight that she asks for, and what she emulates: each party delays what it sends,
    so both must emulate the same link. model: what she wants of it. committed: whether she insists on being told what it is and
    on a commitment to its weights. digest: the program's, and commitment: that to the weights, if Alice holds an expectation of
    them. session: names this session on the disks of both; a new one for each.
    """

    shape: tuple[int, int, int]
    slices: int
    run: RunOptions = field(default_factory=RunOptions)
    format: str | None = None
    readout: str | None = None
    digest: str | None = None
    commitment: str | None = None
    committed: bool = False
    model: ModelWish = field(default_factory=ModelWish)
    session: str = field(default_factory=new_session)

    def document(self) -> dict[str, Any]:
        """What Alice says of it; the keys are the wire's."""
        return {
            "shape": list(self.shape),
            "slices": self.slices,
            "in_flight": self.run.in_flight,
            "format": self.format,
            "readout": self.readout,
            "digest": self.digest,
            "commitment": self.commitment,
            "committed": self.committed,
            "model": asdict(self.model),
            "link": self.run.link.name,
            "session": self.session,
            "choices": dict(self.run.protocols),
            "settings": dict(self.run.settings),
        }

    @classmethod
    def from_document(cls, body: Mapping[str, Any]) -> Request:
        """What an `open` of Alice's asks for; PeerError where it cannot be.

        Of the link she tells the name alone, which `check_asker` compares; run.link is not hers.
        """
        try:
            channels, height, width = (int(size) for size in body["shape"])
            slices, in_flight = int(body["slices"]), int(body["in_flight"])
            protocols = {str(k): str(v) for k, v in body["choices"].items()}
            settings = {str(k): str(v) for k, v in body["settings"].items()}
            wanted, readout = body.get("format"), body.get("readout")
            session = str(body["session"])
            wish, commitment = ModelWish.from_document(body["model"]), _commitment(body["commitment"])
        except (ModelCardError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise PeerError("the request is malformed") from None
        if not all(value is None or isinstance(value, str) for value in (wanted, readout)):
            raise PeerError("the request is malformed")
        if not re.fullmatch("[0-9a-f]{32}", session):  # it becomes part of file names
            raise PeerError("the request is malformed")
        if not (1 <= slices <= MAX_SLICES and 1 <= in_flight <= MAX_IN_FLIGHT):
            raise PeerError(
                f"{slices} slices with {in_flight} in flight: 1 to {MAX_SLICES} and 1 to {MAX_IN_FLIGHT} are served"
            )
        try:
            check_settings(settings)
        except UsageError as error:  # hers
            raise PeerError(str(error)) from None
        return cls(
            (channels, height, width),
            slices,
            RunOptions(in_flight=in_flight, protocols=protocols, settings=settings),
            wanted,
            readout,
            body.get("digest"),
            commitment,
            bool(body.get("committed")),
            wish,
            session,
        )


@dataclass(frozen=True)
class Terms:
    """What both parties agreed on. card, commitment: what Bob says of the model, None in a local run."""

    program: Program
    protocols: Mapping[str, str]
    settings: Mapping[str, str]
    slices: int
    in_flight: int
    session: str
    card: ModelCard | None = None
    commitment: str | None = None


def refuse(channel: Channel, message: str) -> None:
    """Tell the peer why, as far as it still listens."""
    with suppress(ChannelError):
        channel.send(Control("error", {"message": message}))


def told(error: Exception, role: str) -> str:
    """What the peer is told of a failure: all of what concerns it, and nothing of this side's files."""
    if isinstance(error, PeerError):
        return str(error)
    if isinstance(error, DiskFull):
        return f"the disk of {role} is full"
    if isinstance(error, BunetError):
        return f"{role} cannot go on, and ends the session"
    return f"{role} ended with an internal error"


def opening(document: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an `open`, of whatever kind of session: what `check_asker` looks at, then the document."""
    return {"version": software(), "protocol": PROTOCOL_VERSION, "security": asdict(DECLARED), **document}


def ask(channel: Channel, request: Request) -> Terms:
    """Alice's half of the handshake. Raises PeerError if Bob refuses, or if his answer does not fit."""
    say(channel, "open", opening(request.document()))
    answer = expect(channel, "accept")
    try:
        program = Program.from_json(_text(answer, "program"))
        protocols = {str(k): str(v) for k, v in answer["chosen"].items()}
        settings = {str(k): str(v) for k, v in answer["settings"].items()}
        offer = Offer(program, _card(answer["model"]), _commitment(answer["commitment"]))
    except (ProgramError, ModelCardError, KeyError, AttributeError, TypeError) as error:
        malformed = plain(f"what Bob answers is malformed: {error}")
        refuse(channel, malformed)
        raise PeerError(malformed) from None
    reason = _mismatch(request, offer, protocols, settings)
    if reason:
        refuse(channel, reason)
        raise PeerError(reason)
    say(channel, "ready", {"digest": program.digest()})
    return _agreed(offer, protocols, request)


def answer(
    channel: Channel,
    offers: Offers,
    link: str = "loopback",
) -> Terms:
    """Bob's half of the handshake. offers: (shape, format, readout, wish) -> Offer, PeerError if he does not serve it.

    A request that he cannot serve is answered with the reason and raised as PeerError: the fault is the asker's.
    """
    body = expect(channel, "open")
    try:
        terms = _terms(body, offers, link)
    except PeerError as error:  # what is this side's fault is said by `told`
        reason = plain(error)  # as Alice will read it
        refuse(channel, reason)
        raise PeerError(reason) from None
    channel.send(
        Control(
            "accept",
            {
                "program": terms.program.to_json(),
                "chosen": dict(terms.protocols),
                "settings": dict(terms.settings),
                "version": software(),
                "protocol": PROTOCOL_VERSION,
                "commitment": terms.commitment,
                "model": None if terms.card is None else terms.card.to_document(),
            },
        )
    )
    ready = expect(channel, "ready")
    if ready.get("digest") != terms.program.digest():
        refuse(channel, DIFFERENT_PROGRAMS)
        raise PeerError(DIFFERENT_PROGRAMS)
    return terms


def check_asker(body: Mapping[str, Any], link: str) -> None:
    """PeerError unless the one who sent this `open` runs the same software at the same levels and emulates the same link."""
    if body.get("protocol") != PROTOCOL_VERSION or body.get("version") != software():
        raise PeerError(
            f"versions differ: Alice runs bunet {plain(body.get('version'))} (protocol {plain(body.get('protocol'))}), "
            f"Bob runs bunet {software()} (protocol {PROTOCOL_VERSION})"
        )
    if body.get("security") != asdict(DECLARED):
        raise PeerError(f"security levels differ: Alice asks for {plain(body.get('security'))}, Bob has {asdict(DECLARED)}")
    if body.get("link") != link:
        raise PeerError(f"Alice emulates the link {plain(body.get('link'))!r}, Bob {link!r}: give both the same --link")


def _terms(body: dict[str, Any], offers: Offers, link: str) -> Terms:
    check_asker(body, link)
    request = Request.from_document(body)
    offer = offers(request.shape, request.format, request.readout, request.model)
    if request.digest is not None and request.digest != offer.program.digest():
        raise PeerError(DIFFERENT_PROGRAMS)
    if request.commitment is not None and request.commitment != offer.commitment:
        raise PeerError(DIFFERENT_WEIGHTS)
    try:
        protocols = choose(offer.program, request.run.protocols)
    except UsageError as error:  # hers: no program is served that the defaults cannot run
        raise PeerError(str(error)) from None
    return _agreed(offer, protocols, request)


def _agreed(offer: Offer, protocols: Mapping[str, str], request: Request) -> Terms:
    run = request.run
    return Terms(
        offer.program,
        protocols,
        run.settings,
        request.slices,
        run.in_flight,
        request.session,
        offer.card,
        offer.commitment,
    )


def _card(document: object) -> ModelCard | None:
    return None if document is None else ModelCard.from_document(document)


def _commitment(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and COMMITMENT.fullmatch(value)):
        raise TypeError("the commitment is not 64 hexadecimal digits")
    return value


def _mismatch(request: Request, offer: Offer, protocols: Mapping[str, str], settings: Mapping[str, str]) -> str | None:
    program = offer.program
    if program.input.type.shape != tuple(request.shape):
        return f"Alice's slices are {tuple(request.shape)}, Bob's program takes {program.input.type.shape}"
    if request.format is not None and str(program.format) != str(Format.parse(request.format)):
        return f"Alice asks for format {request.format}, Bob's program has {program.format}"
    if request.readout is not None and program.output.attributes["kind"] != request.readout:
        return f"Alice asks for read-out {request.readout}, Bob's program has {program.output.attributes['kind']}"
    if not request.model.fits(offer.card):
        return f"Alice asks for {request.model}, Bob's model is {offer.card.short if offer.card else 'without a name'}"
    if request.digest is not None and request.digest != program.digest():
        return DIFFERENT_PROGRAMS
    if request.commitment is not None and request.commitment != offer.commitment:
        return DIFFERENT_WEIGHTS
    if request.committed and (offer.card is None or offer.commitment is None):
        return "Bob does not say which model he serves, or does not commit to its weights: compile it with `bunet compile`"
    try:
        planned = choose(program, request.run.protocols)
    except UsageError as error:  # Bob has agreed to a plan that cannot be
        return str(error)
    if dict(protocols) != planned or dict(settings) != dict(request.run.settings):
        return "the two parties hold different plans"
    return None


def _text(body: dict[str, Any], key: str) -> str:
    value = body[key]
    if not isinstance(value, str):
        raise ProgramError(f"{key} is not text")
    return value


def await_kernels(channel: Channel) -> None:
    """Both parties say that their kernels are compiled, so that neither's timed part holds the other's compiler."""
    say(channel, "warm", {})
    expect(channel, "warm", COMPILE_TIMEOUT_S)


def say(channel: Channel, name: str, body: dict[str, Any]) -> None:
    """Send a message of the handshake. A peer that has refused and closed is no error yet: what it said is still to be read."""
    with suppress(ChannelError):
        channel.send(Control(name, body))


def expect(channel: Channel, name: str, timeout_s: float = HANDSHAKE_TIMEOUT_S) -> dict[str, Any]:
    """The next control message of the handshake; anything else is the peer's fault."""
    message = channel.receive(timeout_s)
    if message is None:
        raise PeerError(f"the peer was silent for {timeout_s:.0f} s where {name!r} was due")
    if isinstance(message, Frame):
        raise PeerError(f"the peer sent data where {name!r} was due")
    if message.type == "error":
        raise PeerError(plain(message.body.get("message", "the peer refused without a reason")))
    if message.type != name:
        raise PeerError(f"the peer sent {plain(message.type)!r} where {name!r} was due")
    return message.body
