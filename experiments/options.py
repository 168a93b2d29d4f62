"""What a run on the command line can be told, checked at the border."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bunet.models.network.architecture import ACTIVATIONS
from bunet.models.program import Format, ProgramError
from bunet.models.volumes.content.intensity import RULES
from bunet.models.volumes.labels import values as values_of
from bunet.models.volumes.slicing.slices import MULTIPLE
from bunet.net.link import PRESETS, Link

MIN_SIZE, MAX_SIZE = 16, 1024
DEMO_SIZE = 128  # pixels of the slices that the demo weights were trained on
ACTIVATION_NAMES = tuple(ACTIVATIONS)


class UsageError(Exception):
    """What was asked for makes no sense; one sentence that names the option. The exit status is 2."""


def names(text: str) -> tuple[str, ...]:
    """`a,b` as ("a", "b"); nothing for an empty text."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def one_of(option: str, value: str, known: Sequence[str]) -> str:
    """`value` if it is known; UsageError naming the option and what it takes otherwise."""
    if value not in known:
        raise UsageError(f"{option} {value!r} is not one of {', '.join(known)}")
    return value


def operand_format(text: str) -> Format:
    """Read a format such as 8.4; UsageError otherwise."""
    try:
        return Format.parse(text)
    except ProgramError as error:
        raise UsageError(f"--format: {error}") from error


def label_values(text: str | None) -> tuple[int, ...]:
    """The values of `--label-value`, none where it was not given; UsageError otherwise."""
    try:
        return () if text is None else values_of.parse(text)
    except values_of.LabelError as error:
        raise UsageError(f"--label-value: {error}") from error


def slice_size(option: str, text: str, multiple: int = MULTIPLE) -> tuple[int, int]:
    """(height, width) of `128`, a square, or of `96x128`; UsageError for other texts and sizes that are not taken."""
    first, cross, second = text.strip().lower().partition("x")
    try:
        height = int(first)
        width = int(second) if cross else height
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a number of pixels or HEIGHTxWIDTH, such as 96x128") from None
    for pixels in (height, width):
        if not MIN_SIZE <= pixels <= MAX_SIZE or pixels % multiple:
            kind = f"a multiple of {multiple}" if multiple > 1 else "a number of pixels"
            raise UsageError(f"{option} {' '.join(text.split())}: {pixels} is not {kind} from {MIN_SIZE} to {MAX_SIZE}")
    return height, width


def slice_range(text: str, count: int, axis: str, part: str | None = None, clip: bool = False) -> tuple[int, int]:
    """(start, stop) of `A:B`, either of which may be left out, or of one position; UsageError for what is none of 0:`count`.

    axis: what the slices are along. part: what the sentence shows instead of the text. clip: a range may end behind the last.
    """
    shown = " ".join((text if part is None else part).split())
    first, colon, last = text.strip().partition(":")
    try:
        start = int(first) if first or not colon else 0
        stop = int(last) if last else (count if colon else start + 1)
    except ValueError:
        raise UsageError(f"--slices {shown!r} is not A:B") from None
    if last and 0 <= stop <= start:
        raise UsageError(f"--slices {shown}: A must be below B in A:B, since B is the first that is left out")
    stop = min(stop, count) if clip else stop
    if not 0 <= start < stop <= count:
        raise UsageError(f"--slices {shown}: along {axis} the volume has the slices 0:{count}")
    return start, stop


def chosen_field_of_view(name: str) -> str:
    """A way to treat the field of view that exists (`formats.FIELDS`); UsageError otherwise."""
    from bunet.models.volumes.formats import FIELDS

    return one_of("--field-of-view", name, FIELDS)


def chosen_intensity(name: str) -> str:
    """A rule of intensities that exists, or auto; UsageError otherwise."""
    return one_of("--intensity", name, ("auto", *RULES))


def relu_protocol(name: str) -> str:
    """A protocol that the registry has for ReLU; UsageError otherwise."""
    from bunet.protocols import registry  # loads the kernels: not for every `bunet --help`

    return one_of("--relu", name, sorted(registry.names("relu")))


def ot_extension(name: str) -> str:
    """An OT extension that exists; UsageError otherwise."""
    from bunet.protocols.ot import extension  # loads the kernels: not for every `bunet --help`

    return one_of("--ot", name, extension.KINDS)


def chosen_link(preset: str, bandwidth: str | None, rtt: str | None) -> Link:
    """The link of `--link`, parts of which `--bandwidth` and `--rtt` override; UsageError otherwise."""
    try:
        return Link.choose(preset, bandwidth, rtt)
    except ValueError as error:
        raise UsageError(f"--link: {error}") from error


def chosen_protocols(texts: Sequence[str]) -> dict[str, str]:
    """`--protocol maxpool=gc` given any number of times; UsageError for anything else."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (equals and key.strip() and value.strip()):
            raise UsageError(f"--protocol {text!r} is not OPERATION=PROTOCOL or LAYER=PROTOCOL, such as square=mt")
        found[key.strip()] = value.strip()
    return found


def default_cores() -> int:
    """Half of the processor for each of two local parties."""
    return max(1, len(usable_processors()) // 2)


def usable_processors() -> set[int]:
    """Numbers of the processors that this process may use."""
    try:
        return set(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return set(range(os.cpu_count() or 1))


def writable_parent(option: str, path: Path) -> Path:
    """The path, if a file could be written there; found out before a long run, not after it. UsageError otherwise."""
    parent = path.parent
    possible_folder(option, parent)
    possible_name(option, path)
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder, not a file")
    if not parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {parent}")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"{option} {path}: the folder {parent} cannot be written to")
    return path


def possible_folder(option: str, folder: Path) -> None:
    """UsageError where there cannot be such a folder, because it or one above it is a file, or a name is too long."""
    for step in (folder, *folder.parents):
        if os.path.isdir(step):
            return
        if os.path.lexists(step):
            raise UsageError(f"{option} {step} is {'a file, ' if step.is_file() else ''}not a folder")
        possible_name(option, step)


def possible_name(option: str, path: Path) -> None:
    """UsageError where a path's name is too long for the file that it has until it is whole (`whole.write_whole`)."""
    size, most = len(os.fsencode(path.name)), _longest_name(path.parent) - len("..12345678.part")
    if size > most:
        shown = f"{path.name[:20]}...{path.name[-20:]}"
        raise UsageError(f"{option}: the name {shown} has {size} bytes, and {most} are possible: choose a shorter one")


def _longest_name(folder: Path) -> int:
    """Bytes of a name, by the file system of what is there of the folder."""
    there = next((step for step in (folder, *folder.parents) if os.path.isdir(step)), Path())
    try:
        known = os.pathconf(there, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # not POSIX
        known = -1
    return known if known > 0 else 255


LabelValueOption = Annotated[
    str | None,
    typer.Option("--label-value", metavar="VALUES", help="What is inside, such as 3 or 1,2, where a label has several values."),
]
FeaturesOption = Annotated[int, typer.Option("--features", help="Channels of the first level; doubled at each next one.")]
ActivationOption = Annotated[
    str, typer.Option("--activation", help="relu, square, or hybrid (square on the two finest levels).")
]
ReluOption = Annotated[str, typer.Option("--relu", help="Protocol of the ReLU layers, such as gc-sign or gc.")]
PoolOption = Annotated[str, typer.Option("--pool", help="avg or max.")]
FormatOption = Annotated[str, typer.Option("--format", help="Operand bits INTEGER.FRACTION, such as 8.4, 12.4, 8.8.")]
LinkOption = Annotated[
    str, typer.Option("--link", help=f"Emulated link: {', '.join(PRESETS)}, or BANDWIDTH,RTT such as 200Mbit,20ms.")
]
BandwidthOption = Annotated[str | None, typer.Option("--bandwidth", help="Overrides the link's bandwidth, such as 200Mbit.")]
RttOption = Annotated[str | None, typer.Option("--rtt", help="Overrides the link's round-trip time, such as 20ms.")]
SlicesOption = Annotated[int, typer.Option("--slices", help="How many slices to segment.")]
InFlightOption = Annotated[int, typer.Option("--in-flight", help="Slices that run interleaved.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of random weights and inputs; never of secrets.")]
ProtocolOption = Annotated[
    list[str] | None,
    typer.Option("--protocol", help="OPERATION=PROTOCOL or LAYER=PROTOCOL, such as maxpool=gc; may be repeated."),
]
OtOption = Annotated[
    str, typer.Option("--ot", help="OT extension: iknp, or softspoken-2, -4, -8 for less traffic and more computation.")
]
SeriesOption = Annotated[
    str | None, typer.Option("--series", metavar="N", help="Which series of a DICOM folder that holds several, by its number.")
]
IntensityOption = Annotated[
    str,
    typer.Option("--intensity", help=f"auto, or {', '.join(RULES)}: how values become the network's."),
]
PredictIntensityOption = Annotated[
    str,
    typer.Option("--intensity", help=f"auto (as-is for .pth), or {', '.join(RULES)}: how values become the network's."),
]
FieldOption = Annotated[
    str, typer.Option("--field-of-view", help="auto: slices are cut to a body that is small in them; whole: never.")
]
JsonOption = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the run as one JSON document.")]
VerifyOption = Annotated[bool, typer.Option("--verify/--no-verify", help="Compare every layer with the oracle afterwards.")]
