"""`bunet bob`, `bunet alice`, `bunet keygen`: the two parties on one or two machines."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bunet.experiments.options import OtOption, UsageError, chosen_link, chosen_protocols, ot_extension
from bunet.experiments.results import environment, write_json, write_mask, write_whole
from bunet.models import compile as compiling
from bunet.models.compile import CompileError, quantise_input
from bunet.models.program import Program, ProgramError
from bunet.models.volumes import formats, slices
from bunet.net import keys, zeromq
from bunet.net.channel import ChannelError
from bunet.parties import alice as alice_party
from bunet.parties import bob as bob_party
from bunet.parties.allocator import keep_freed_memory
from bunet.parties.console import RunConsole
from bunet.parties.errors import PeerError, RunError
from bunet.parties.events import Event, Failed, Note, SessionFinished, SessionStarted, SliceFinished
from bunet.parties.scheduler import SliceJob
from bunet.parties.session import Request
from bunet.parties.store import CompiledStore

LinkOption = Annotated[str, typer.Option("--link", help="Emulated link: a preset, or `loopback` for none.")]
BandwidthOption = Annotated[str | None, typer.Option("--bandwidth", help="Instead of a preset, such as 200Mbit.")]
RttOption = Annotated[str | None, typer.Option("--rtt", help="With --bandwidth, such as 20ms.")]
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
    pair = keys.keygen(path, name)
    typer.echo(f"secret key: {path} (keep it; mode 0600)\npublic key: {path}.pub\n{pair.public}")


def bob(
    model: Annotated[list[Path], typer.Option("--model", help="Compiled model (`bunet compile`); may be repeated.")],
    listen: Annotated[str, typer.Option("--listen", help="tcp://HOST:PORT")] = "tcp://127.0.0.1:7010",
    key: Annotated[Path | None, typer.Option("--key", help="Bob's key file (required off loopback).")] = None,
    allow: Annotated[Path | None, typer.Option("--allow", help="Allow-list of client public keys.")] = None,
    link: LinkOption = "loopback",
    bandwidth: BandwidthOption = None,
    rtt: RttOption = None,
    cores: CoresOption = 1,
    once: Annotated[bool, typer.Option("--once", help="Serve one session, then end.")] = False,
) -> None:
    """Serve compiled models to any Alice that is allowed, until interrupted.

    Examples:

      bunet compile --weights demo-relu --size 128 --format 8.4 --out lung.model

      bunet bob --model lung.model

      bunet bob --model lung.model --listen tcp://0.0.0.0:7010 --key bob.key --allow clients.allow
    """
    keep_freed_memory()
    store = CompiledStore([compiling.load(path) for path in model])
    chosen = chosen_link(link, bandwidth, rtt)
    pair = keys.KeyPair.load(key) if key else None
    allowed = keys.load_allowed(allow) if allow else None
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with zeromq.Listener(listen, pair, allowed) as listener:
        typer.echo(f"Bob listens at {listener.address}" + ("" if pair else " (loopback, not encrypted)"))
        service = bob_party.Service(store, chosen, say_plainly, cores)
        try:
            bob_party.serve(listener, service, once=once, stop=stop)
        except KeyboardInterrupt:
            typer.echo("Bob stops.")


def alice(
    volume: Annotated[Path, typer.Option("--volume", help=".npz (key array or ct) or .npy, (slices, rows, columns).")],
    connect: Annotated[str, typer.Option("--connect", help="tcp://HOST:PORT of Bob")] = "tcp://127.0.0.1:7010",
    key: Annotated[Path | None, typer.Option("--key", help="Alice's key file (required off loopback).")] = None,
    server: Annotated[Path | None, typer.Option("--server", help="Bob's public key file (.pub).")] = None,
    axis: Annotated[str, typer.Option("--axis", help="x, y or z.")] = "z",
    which: Annotated[str, typer.Option("--slices", help="A:B, positions along the axis.")] = ":",
    size: Annotated[int | None, typer.Option("--size", help="Resample slices to this many pixels first.")] = None,
    format: Annotated[str | None, typer.Option("--format", help="Insist on this operand format.")] = None,
    relu: Annotated[str | None, typer.Option("--relu", help="Protocol of ReLU layers: gc-sign or gc.")] = None,
    protocol: Annotated[list[str] | None, typer.Option("--protocol", help="OPERATION=NAME or LAYER=NAME.")] = None,
    ot: OtOption = "iknp",
    link: LinkOption = "loopback",
    bandwidth: BandwidthOption = None,
    rtt: RttOption = None,
    in_flight: Annotated[int, typer.Option("--in-flight", min=1, max=64, help="Slices that interleave.")] = 1,
    cores: CoresOption = 1,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the masks; a run that was cut off goes on here.")
    ] = Path("result"),
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the run's document to this file.")] = None,
) -> None:
    """Have slices of a volume segmented by Bob; he sees neither them nor the result.

    Each finished slice is written at once; the same command goes on where it stopped.

    Examples:

      bunet alice --volume ct.npz --slices 20:24

      bunet alice --volume ct.npz --connect tcp://bob:7010 --key alice.key --server bob.key.pub
    """
    keep_freed_memory()
    chosen = chosen_link(link, bandwidth, rtt)
    overrides = chosen_protocols(protocol or [])
    if relu:
        overrides["relu"] = relu
    array = formats.load(volume).volume
    if size is not None:
        array = formats.resample(array, size)
    positions = _positions(which, slices.slice_count(array, axis))
    folder = SliceFolder(out, {"volume": str(volume.resolve()), "axis": axis, "size": size, "format": format})
    todo = [k for k in positions if not folder.has(k)]
    if len(todo) < len(positions):
        typer.echo(f"{len(positions) - len(todo)} of {len(positions)} slices are done already in {out}")
    if todo:
        pair = keys.KeyPair.load(key) if key else None
        server_key = keys.load_public(server) if server else None
        height, width = slices.slice_at(array, axis, todo[0]).shape[1:]
        padded = slices.pad(slices.slice_at(array, axis, todo[0])).shape
        request = Request(
            padded, len(todo), in_flight, format, "argmax", folder.digest, choices=overrides,
            settings={"ot": ot_extension(ot)},
        )

        def slice_at(program: Program, k: int) -> np.ndarray:
            folder.belongs_to(program)
            return quantise_input(program, slices.pad(slices.slice_at(array, axis, todo[k])))

        def keep(job: SliceJob, result: np.ndarray) -> None:
            folder.write(job.index, slices.crop(result, height, width))

        with RunConsole("alice", bandwidth_bps=chosen.bandwidth_bps) as console:
            alice_party.run(
                lambda: zeromq.connect(connect, pair, server_key), request, [(axis, k) for k in todo],
                slice_at, keep, console, link=chosen, cores=cores,
            )
        if json_file is not None:
            document = console.ledger.document(link=chosen.describe(), environment=environment(cores))
            write_json(json_file, document)
    mask = folder.assemble(axis, positions)
    typer.echo(f"{len(positions)} slices in {out}/mask.npz, {int(mask.sum())} pixels marked")


def say_plainly(event: Event) -> None:
    """A service's log: one line for each session and slice, none for layers."""
    if isinstance(event, SessionStarted):
        typer.echo(f"session: {event.slices} slices, format {event.format}, program {event.digest[:12]}")
    elif isinstance(event, SliceFinished):
        typer.echo(f"slice {event.slice + 1} finished after {event.seconds:.1f} s")
    elif isinstance(event, SessionFinished):
        typer.echo(f"session finished after {event.seconds:.1f} s")
    elif isinstance(event, Note):
        typer.echo(event.text)
    elif isinstance(event, Failed):
        typer.echo(event.message, err=True)


class SliceFolder:
    """Finished slices on disk, each written whole or not at all, and what they belong to."""

    def __init__(self, folder: Path, identity: Mapping[str, object]) -> None:
        self.folder = folder
        self._identity = dict(identity)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "run.json"
        self.digest: str | None = None
        if self._file.exists():
            stored = json.loads(self._file.read_text())
            self.digest = stored.pop("program", None)
            if stored != self._identity:
                changed = sorted(k for k in self._identity if stored.get(k) != self._identity[k])
                raise UsageError(f"--out {folder} holds another run (its {changed[0]} differs): choose another folder")
        elif any(folder.glob("slice-*.npy")):
            raise UsageError(f"--out {folder} holds slices of an unknown run: choose another folder")

    def belongs_to(self, program: Program) -> None:
        """Note the program of the first slice; the handshake holds every later session to it."""
        if self.digest is None:
            self.digest = program.digest()
            write_json(self._file, {**self._identity, "program": self.digest})

    def _path(self, k: int) -> Path:
        return self.folder / f"slice-{k:04d}.npy"

    def has(self, k: int) -> bool:
        return self._path(k).exists()

    def write(self, k: int, mask: np.ndarray) -> None:
        write_whole(self._path(k), lambda stream: np.save(stream, mask.astype(np.uint8)))

    def assemble(self, axis: str, positions: range) -> np.ndarray:
        """All slices as one array in mask.npz (key `array`), in the order of positions."""
        mask = np.stack([np.load(self._path(k), allow_pickle=False) for k in positions])
        write_mask(self.folder / "mask.npz", mask, axis, positions)
        return mask


def _positions(text: str, count: int) -> range:
    first, colon, last = text.partition(":")
    try:
        start = int(first) if first else 0
        stop = int(last) if last else (count if colon else start + 1)
    except ValueError:
        raise UsageError(f"--slices {text!r} is not A:B") from None
    if not 0 <= start < stop <= count:
        raise UsageError(f"--slices {text} is not a range within 0:{count}")
    return range(start, stop)


# What these commands turn into one sentence and a status; everything else is a defect.
FAULTS = (RunError, PeerError, ChannelError, CompileError, ProgramError, keys.BadKey, formats.VolumeError)
