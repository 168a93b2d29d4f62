"""`bunet bob`, `bunet alice`, `bunet keygen`: the two parties on one or two machines."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bunet.experiments.alice import masks, warnings
from bunet.experiments.one_line import say
from bunet.experiments.options import (
    FieldOption,
    IntensityOption,
    OtOption,
    SeriesOption,
    UsageError,
    chosen_field_of_view,
    chosen_intensity,
    chosen_link,
    chosen_protocols,
    operand_format,
    ot_extension,
    slice_range,
    slice_size,
    writable_parent,
)
from bunet.experiments.predict import mask_files
from bunet.experiments.storage.apart import check_apart
from bunet.experiments.storage.results import environment, write_json
from bunet.experiments.storage.run_folder import RunFolder, digest_of
from bunet.models.commitment import COMMITMENT
from bunet.models.model_card import ModelCard, ModelCardError, ModelWish, parse_model
from bunet.models.passes import compile as compiling
from bunet.models.passes.compile import Compiled, quantise_input
from bunet.models.program import Program
from bunet.models.volumes import formats
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing import slices
from bunet.net import keys, zeromq
from bunet.parties import alice as alice_party
from bunet.parties import bob as bob_party
from bunet.parties import input_range, outcomes
from bunet.parties.console import RunConsole
from bunet.parties.engine.scheduler import SliceJob
from bunet.parties.events import Event, Failed, Note, SessionFinished, SessionStarted, SliceFinished
from bunet.parties.input_slices import InputSlices
from bunet.parties.local.allocator import keep_freed_memory
from bunet.parties.run_options import MAX_IN_FLIGHT, RunOptions
from bunet.parties.session.handshake import Request, Terms
from bunet.parties.session.run import Hooks
from bunet.parties.store import CompiledStore

LinkOption = Annotated[str, typer.Option("--link", help="Emulated link: a preset, or `loopback` for none.")]
BandwidthOption = Annotated[str | None, typer.Option("--bandwidth", help="Instead of a preset, such as 200Mbit.")]
RttOption = Annotated[str | None, typer.Option("--rtt", help="With --bandwidth, such as 20ms.")]
CoresOption = Annotated[int, typer.Option("--cores", min=1, help="Threads that compute.")]


DIGEST = re.compile(r"[0-9a-f]{64}")


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
    link: LinkOption = "loopback",
    bandwidth: BandwidthOption = None,
    rtt: RttOption = None,
    cores: CoresOption = 1,
    sessions: Annotated[
        int, typer.Option("--sessions", min=1, max=64, help="Clients served at the same time; each has threads of its own.")
    ] = bob_party.MAX_SESSIONS,
    once: Annotated[bool, typer.Option("--once", help="Serve one session, then end.")] = False,
) -> None:
    """Serve compiled models to any Alice that is allowed, until interrupted.

    Examples:

      bunet compile --weights demo-relu --size 128 --format 8.4 --out lesion.model

      bunet bob --model lesion.model

      bunet bob --model lesion.model --listen tcp://0.0.0.0:7010 --key bob.key --allow clients.allow
    """
    keep_freed_memory()
    store = CompiledStore([_named(path) for path in model], [str(path) for path in model])
    chosen = chosen_link(link, bandwidth, rtt)
    pair = keys.KeyPair.load(key) if key else None
    allowed = keys.load_allowed(allow) if allow else None
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with zeromq.Listener(listen, pair, allowed) as listener:
        service = bob_party.Service(store, RunOptions(link=chosen, cores=cores), Hooks(say_plainly))
        try:
            say(f"Bob listens at {listener.address}" + ("" if pair else " (loopback, not encrypted)"))
            if allowed is not None and not allowed:
                say(f"warning: {allow} lists no client: nobody will be served")
            for path, line in zip(model, store.lines(), strict=True):
                say(f"{path}: {line}")
            bob_party.serve(listener, service, once=once, stop=stop, sessions=sessions)
        except KeyboardInterrupt:
            say("Bob stops.")


def _named(path: Path) -> Compiled:
    """A compiled model that says what it is and has a salt to commit under; UsageError for any other."""
    compiled = compiling.load(path)
    if compiled.card is None or compiled.salt is None:
        raise UsageError(f"--model {path} does not say which model it is: make it with `bunet compile`")
    return compiled


def alice(
    volume: Annotated[
        Path, typer.Option("--volume", help=".npz (key array or ct), .npy, NIfTI, or the folder of a DICOM series.")
    ],
    series: SeriesOption = None,
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
    intensity: IntensityOption = "auto",
    field_of_view: FieldOption = "auto",
    format: Annotated[str | None, typer.Option("--format", help="Insist on this operand format.")] = None,
    relu: Annotated[str | None, typer.Option("--relu", help="Protocol of ReLU layers: gc-sign or gc.")] = None,
    protocol: Annotated[list[str] | None, typer.Option("--protocol", help="OPERATION=NAME or LAYER=NAME.")] = None,
    ot: OtOption = "iknp",
    link: LinkOption = "loopback",
    bandwidth: BandwidthOption = None,
    rtt: RttOption = None,
    in_flight: Annotated[int, typer.Option("--in-flight", min=1, max=MAX_IN_FLIGHT, help="Slices that interleave.")] = 1,
    cores: CoresOption = 1,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for the mask; a run that was cut off goes on here, other slices are added.")
    ] = Path("result"),
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the run's document to this file.")] = None,
) -> None:
    """Have slices of a volume segmented by Bob; he sees neither them nor the result.

    Each finished slice is written at once; the same command goes on where it stopped, with the same model. The mask lies on the
    volume's own grid and has its format; slices that were asked for earlier with the same --out are in it too.

    Examples:

      bunet alice --volume ct.npz --slices 20:24

      bunet alice --volume ct.npz --target infection --model infection-z@1

      bunet alice --volume ct.npz --connect tcp://bob:7010 --key alice.key --server bob.key.pub
    """
    keep_freed_memory()
    chosen = chosen_link(link, bandwidth, rtt)
    overrides = chosen_protocols(protocol or [])
    if relu:
        overrides["relu"] = relu
    ot_extension(ot)
    wish = ModelWish(marks, axis, *(parse_model(model) if model is not None else (None, None)))
    if format is not None:
        format = str(operand_format(format))
    height_width = None if size is None else slice_size("--size", size, multiple=1)
    square = size is not None and "x" not in size.lower()
    if json_file is not None:
        writable_parent("--json", json_file)
    results = masks.paths(out, volume, formats.kind_of(volume))
    check_apart([volume], out, [*results, *[json_file] * bool(json_file)])
    pair = keys.KeyPair.load(key) if key else None
    server_key = keys.load_public(server) if server else None
    loaded = formats.load(volume, chosen_intensity(intensity), series, chosen_field_of_view(field_of_view), size is not None)
    mask_files.check_writable(loaded.stored)
    for remark in loaded.remarks():
        say(remark)
    array = loaded.volume
    positions = range(*slice_range(which, slices.slice_count(array, axis), axis))
    source = SliceSource.of(array, axis, height_width[0] if height_width and square else height_width, loaded.crop)
    frame = source.frame  # slices beside the body are sent too: how many there are would tell Bob how large it is
    (height, width), (rows, columns) = frame.fit.size, frame.padded
    identity = {
        "volume": digest_of(array),
        "axis": axis,
        "size": f"{height}x{width} in {rows}x{columns}",
        "crop": None if frame.crop is None else frame.crop.as_list(),
        "format": format,
        "server": server_key,
        "protocols": overrides,
        "ot": ot,
        "wish": asdict(wish),
    }
    with SliceFolder(out, identity) as folder:
        begun = folder.noted is not None
        masks.check_places(out, volume, loaded.stored, folder.model.target if begun else marks, begun, json_file)
        earlier = warnings.read(out) if begun else None

        def write_masks() -> None:
            masks.write_masks(out, volume, loaded, frame, positions, folder.model, str(folder.commitment), say)

        todo = [k for k in positions if not folder.has(k)]
        resumed = [k for k in positions if folder.has(k)]
        if resumed:
            say(f"{len(resumed)} of {len(positions)} slices are done already in {out}")
        if not todo:
            write_masks()
            if json_file is not None:
                say(f"nothing was left to run, so there is no document of it: {json_file} is not written")
            return

        got: list[tuple[Terms, Mapping[str, float]]] = []

        def agreed(terms: Terms, beyond: Mapping[str, float]) -> None:
            got.append((terms, beyond))
            if terms.card is not None and not begun:
                masks.check_places(out, volume, loaded.stored, terms.card.target, begun, json_file)
            for sentence in warnings.of_intensity(terms.card, loaded.rule):
                console(Note("alice", sentence))
            looked_at = [f"{axis}{k}" for k in todo]
            warnings.keep(out, input_range.limit_of(terms.program), looked_at, beyond, earlier)

        def slice_at(program: Program, k: int) -> np.ndarray:
            return quantise_input(program, source.image(todo[k]))

        def keep(job: SliceJob, result: np.ndarray) -> None:
            folder.belongs_to(got[0][0])
            folder.write(job.index, result)

        request = Request(
            source.shape,
            len(todo),
            RunOptions(link=chosen, in_flight=in_flight, cores=cores, protocols=overrides, settings={"ot": ot}),
            format,
            "argmax",
            folder.digest,
            folder.commitment,
            committed=True,
            model=folder.wish or wish,
        )
        with RunConsole("alice", bandwidth_bps=chosen.bandwidth_bps) as console:
            alice_party.run(
                lambda: zeromq.connect(connect, pair, server_key),
                request,
                InputSlices([(axis, k) for k in todo], slice_at, frame.fit.size),
                keep,
                Hooks(console),
                agreed,
            )
        write_masks()
        if json_file is not None:
            run = {
                **identity,
                "height": rows,
                "width": columns,
                "slices": len(todo),
                "in_flight": in_flight,
                "cores": cores,
                "asked_slices": list(positions),
                "resumed_slices": resumed,
                **served(got[0][0]),
                "input_beyond_calibration": dict(got[0][1]),
            }
            document = console.ledger.document(link=chosen.describe(), environment=environment(cores), run=run)
            write_json(json_file, document)


def served(terms: Terms) -> dict[str, Any]:
    """What Bob said of his model, for documents."""
    return {"model": None if terms.card is None else terms.card.to_document(), "commitment": terms.commitment}


def say_plainly(event: Event) -> None:
    """A service's log: one line for each session and slice, none for layers."""
    if isinstance(event, SessionStarted):
        say(f"session: {event.slices} slices, format {event.format}, program {event.digest[:12]}")
    elif isinstance(event, SliceFinished):
        say(f"slice {event.slice + 1} finished after {event.seconds:.1f} s")
    elif isinstance(event, SessionFinished):
        say(f"session finished after {event.seconds:.1f} s")
    elif isinstance(event, Note):
        say(event.text)
    elif isinstance(event, Failed):
        say(event.message, err=True)


class SliceFolder(RunFolder):
    """Finished slices of `bunet alice` on disk, each written whole or not at all, and the model they came from."""

    def __init__(self, folder: Path, identity: Mapping[str, object]) -> None:
        super().__init__(folder, identity, command="bunet alice", later=("program", "model", "commitment"))

    def check(self, noted: dict[str, Any]) -> None:
        if not isinstance(noted["program"], str) or not DIGEST.fullmatch(noted["program"]):
            raise UsageError(f"{self.file} names no program: choose another --out")
        if not isinstance(noted["commitment"], str) or not COMMITMENT.fullmatch(noted["commitment"]):
            raise UsageError(f"{self.file} has no commitment to Bob's weights: choose another --out")
        try:
            ModelCard.from_document(noted["model"])
        except ModelCardError as error:
            raise UsageError(f"{self.file} does not name a model ({error}): choose another --out") from error

    @property
    def digest(self) -> str | None:
        return None if self.noted is None else str(self.noted["program"])

    @property
    def commitment(self) -> str | None:
        return None if self.noted is None else str(self.noted["commitment"])

    @property
    def wish(self) -> ModelWish | None:
        """For the model of the slices that are there."""
        return None if self.noted is None else ModelWish.of(self.model)

    @property
    def model(self) -> ModelCard:
        """Of the slices that are there."""
        assert self.noted is not None  # there are slices
        return ModelCard.from_document(self.noted["model"])

    def belongs_to(self, terms: Terms) -> None:
        """Note the model of the first slice; the handshake holds every later session to it."""
        if self.noted is None:
            self.claim(program=terms.program.digest(), **served(terms))

    def has(self, k: int) -> bool:
        return outcomes.path_of(self.folder, k).exists()

    def write(self, k: int, mask: np.ndarray) -> None:
        outcomes.write(self.folder, k, mask.astype(np.uint8))
