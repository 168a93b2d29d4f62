"""`bunet bob`, `bunet alice`, `bunet keygen`: the two parties on one or two machines."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from bunet.experiments import checks
from bunet.experiments.commands import options as o
from bunet.experiments.one_line import say
from bunet.experiments.settings import run_options
from bunet.experiments.storage.places import writable_parent
from bunet.models.compiled import Compiled, load_compiled
from bunet.models.errors import UsageError
from bunet.models.model_card import ModelWish, parse_model
from bunet.net import keys
from bunet.parties.events import Event, Failed, Note, SessionFinished, SessionStarted, SliceFinished
from bunet.parties.local.allocator import keep_freed_memory
from bunet.parties.run_options import MAX_IN_FLIGHT, MAX_SESSIONS, RunOptions
from bunet.parties.words import counted
from bunet.protocols.defaults import OT

CoresOption = Annotated[int, typer.Option("--cores", min=1, help="Threads that compute.")]


def register(app: typer.Typer) -> None:
    """Add the three commands to the command line."""
    app.command("bob")(bob)
    app.command("alice")(alice)
    app.command("keygen")(keygen)


def keygen(
    path: Annotated[Path, typer.Argument(help="Where to write the key file; FILE.pub gets the public half.")],
    name: Annotated[str, typer.Option("--name", help="Label in allow-lists.")] = "",
) -> None:
    """Make a CURVE key pair.

    Bob appends his clients' .pub files to an allow-list; Alice needs Bob's .pub file.

    Example: bunet keygen hospital.key --name "St. Mary radiology"
    """
    writable_parent("the key file", path)
    pair = keys.keygen(path, name)
    say(f"secret key: {path} (keep it; mode 0600)")
    say(f"public key: {path}.pub")
    say(pair.public)
    say(f"fingerprint: {keys.fingerprint(pair.public)} (whoever gets the public key sees it by `bunet fingerprint`)")


def bob(
    model: Annotated[list[Path], typer.Option("--model", help="Compiled model (`bunet compile`); may be repeated.")],
    listen: Annotated[str, typer.Option("--listen", help="tcp://HOST:PORT")] = "tcp://127.0.0.1:7010",
    key: Annotated[Path | None, typer.Option("--key", help="Bob's key file (required off loopback).")] = None,
    allow: Annotated[Path | None, typer.Option("--allow", help="Allow-list of client public keys.")] = None,
    link: o.LinkOption = "loopback",
    bandwidth: o.BandwidthOption = None,
    rtt: o.RttOption = None,
    cores: CoresOption = 1,
    sessions: Annotated[
        int, typer.Option("--sessions", min=1, max=64, help="Clients served at the same time; each has threads of its own.")
    ] = MAX_SESSIONS,
    once: Annotated[bool, typer.Option("--once", help="Serve one session, then end.")] = False,
) -> None:
    """Serve compiled models to any Alice that is allowed, until interrupted.

    Examples:

      bunet compile --weights demo-relu --size 128 --format 8.4 --out lesion.model

      bunet bob --model lesion.model

      bunet bob --model lesion.model --listen tcp://0.0.0.0:7010 --key bob.key --allow clients.allow
    """
    from bunet.net import zeromq
    from bunet.parties.bob import Service, serve  # loads the kernels: not for every `bunet --help`
    from bunet.parties.session.run import Hooks
    from bunet.parties.store import CompiledStore

    keep_freed_memory()
    store = CompiledStore([_named(path) for path in model], [str(path) for path in model])
    pair = keys.KeyPair.load(key) if key else None
    allowed = keys.load_allowed(allow) if allow else None
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with zeromq.Listener(listen, pair, allowed) as listener:
        service = Service(store, RunOptions(link=checks.link(link, bandwidth, rtt), cores=cores), Hooks(say_plainly))
        try:
            say(f"Bob listens at {listener.address}" + ("" if pair else " (loopback, not encrypted)"))
            if allowed is not None and not allowed:
                say(f"warning: {allow} lists no client: nobody will be served")
            for path, line in zip(model, store.lines(), strict=True):
                say(f"{path}: {line}")
            serve(listener, service, once=once, stop=stop, sessions=sessions)
        except KeyboardInterrupt:
            say("Bob stops.")


def _named(path: Path) -> Compiled:
    """A compiled model that says what it is and has a salt to commit under; UsageError for any other."""
    compiled = load_compiled(path)
    if compiled.card is None or compiled.salt is None:
        raise UsageError(f"--model {path} does not say which model it is: make it with `bunet compile`")
    return compiled


def alice(
    volume: Annotated[
        Path, typer.Option("--volume", help=".npz (key array or ct), .npy, NIfTI, or the folder of a DICOM series.")
    ],
    series: o.SeriesOption = None,
    connect: Annotated[str, typer.Option("--connect", help="tcp://HOST:PORT of Bob")] = "tcp://127.0.0.1:7010",
    key: Annotated[Path | None, typer.Option("--key", help="Alice's key file (required off loopback).")] = None,
    server: Annotated[Path | None, typer.Option("--server", help="Bob's public key file (.pub).")] = None,
    axis: Annotated[str, typer.Option("--axis", help="x, y or z: Bob's model must be of this axis.")] = "z",
    marks: Annotated[
        str | None, typer.Option("--target", help="What Bob's model must mark, such as infection or lung.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME[@VERSION]", help="Insist on this model of Bob's.")
    ] = None,
    which: Annotated[str, typer.Option("--slices", help="A:B, positions along the axis.")] = ":",
    size: Annotated[
        str | None, typer.Option("--size", help="Bring slices to this many pixels, or stretch them to HEIGHTxWIDTH.")
    ] = None,
    intensity: o.IntensityOption = "auto",
    field_of_view: o.FieldOption = "auto",
    format: Annotated[str | None, typer.Option("--format", help="Insist on this operand format.")] = None,
    relu: o.OptionalReluOption = None,
    protocol: o.ProtocolOption = None,
    ot: o.OtOption = OT,
    link: o.LinkOption = "loopback",
    bandwidth: o.BandwidthOption = None,
    rtt: o.RttOption = None,
    in_flight: Annotated[int, typer.Option("--in-flight", min=1, max=MAX_IN_FLIGHT, help="Slices that interleave.")] = 1,
    cores: CoresOption = 1,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the mask; a run that was cut off goes on here, other slices are added.")
    ] = Path("result"),
    json_file: o.JsonOption = None,
) -> None:
    """Have slices of a volume segmented by Bob; he sees neither them nor the result.

    Each finished slice is written at once; the same command goes on where it stopped, with the same model. The mask lies on the
    volume's own grid and has its format; slices that were asked for earlier with the same --out are in it too.

    Examples:

      bunet alice --volume ct.npz --slices 20:24

      bunet alice --volume ct.npz --target infection --model infection-z@1

      bunet alice --volume ct.npz --connect tcp://bob:7010 --key alice.key --server bob.key.pub
    """
    from bunet.experiments.alice.session import AliceRequest, segment
    from bunet.models.volumes.reading import VolumeReading

    keep_freed_memory()
    protocols = checks.protocols(protocol or [])
    if relu:
        protocols["relu"] = relu
    wish = ModelWish(marks, axis, *(parse_model(model) if model is not None else (None, None)))
    height_width = None if size is None else checks.slice_size("--size", size, multiple=1)
    square = size is not None and "x" not in size.lower()
    if json_file is not None:
        writable_parent("--json", json_file)
    request = AliceRequest(
        volume=volume,
        out=out,
        connect=connect,
        wish=wish,
        run=run_options(
            link=checks.link(link, bandwidth, rtt), in_flight=in_flight, cores=cores, relu=None, protocols=protocols, ot=ot
        ),
        axis=axis,
        pair=keys.KeyPair.load(key) if key else None,
        server=keys.load_public(server) if server else None,
        slices=which,
        size=height_width[0] if height_width and square else height_width,
        reading=VolumeReading(series, checks.intensity(intensity), checks.field_of_view(field_of_view)),
        format=None if format is None else str(checks.operand_format(format)),
        json=json_file,
    )
    segment(request, say)


def say_plainly(event: Event) -> None:
    """A service's log: one line for each session and slice, none for layers."""
    if isinstance(event, SessionStarted):
        say(f"session: {counted(event.slices, 'slice')}, format {event.format}, program {event.digest[:12]}")
    elif isinstance(event, SliceFinished):
        say(f"slice {event.slice + 1} finished after {event.seconds:.1f} s")
    elif isinstance(event, SessionFinished):
        say(f"session finished after {event.seconds:.1f} s")
    elif isinstance(event, Note):
        say(event.text)
    elif isinstance(event, Failed):
        say(event.message, err=True)
