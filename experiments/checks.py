"""Argument checks: what an option's text means, or a UsageError in one sentence that names the option."""

from __future__ import annotations

from collections.abc import Sequence

from bunet.models.errors import UsageError
from bunet.models.network.architecture import ACTIVATIONS, POOLINGS
from bunet.models.program import Format, ProgramError
from bunet.models.volumes.content.intensity import RULES
from bunet.models.volumes.labels import values
from bunet.models.volumes.slicing.slices import AXES, MULTIPLE
from bunet.net.link import Link

MIN_SIZE, MAX_SIZE = 16, 1024


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
        return () if text is None else values.parse(text)
    except values.LabelError as error:
        raise UsageError(f"--label-value: {error}") from error


def _misfit(pixels: int, multiple: int) -> str | None:
    """What is wrong with a side of a slice, None where the network takes it."""
    if MIN_SIZE <= pixels <= MAX_SIZE and pixels % multiple == 0:
        return None
    wanted = f"a multiple of {multiple}" if multiple > 1 else "a number of pixels"
    return f"{pixels} is not {wanted} from {MIN_SIZE} to {MAX_SIZE}"


def square_size(pixels: int) -> int:
    """The side of square slices that the network takes; UsageError otherwise."""
    if misfit := _misfit(pixels, MULTIPLE):
        raise UsageError(f"--size {misfit}")
    return pixels


def slice_size(option: str, text: str, multiple: int = MULTIPLE) -> tuple[int, int]:
    """(height, width) of `128`, a square, or of `96x128`; UsageError for other texts and sizes that are not taken."""
    first, cross, second = text.strip().lower().partition("x")
    try:
        height = int(first)
        width = int(second) if cross else height
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a number of pixels or HEIGHTxWIDTH, such as 96x128") from None
    for pixels in (height, width):
        if misfit := _misfit(pixels, multiple):
            raise UsageError(f"{option} {' '.join(text.split())}: {misfit}")
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
        raise UsageError(f"--slices {shown!r} is not A:B or one number") from None
    if last and 0 <= stop <= start:
        raise UsageError(f"--slices {shown}: A must be below B in A:B, since B is the first that is left out")
    stop = min(stop, count) if clip else stop
    if not 0 <= start < stop <= count:
        raise UsageError(f"--slices {shown}: along {axis} the volume has the slices 0:{count}")
    return start, stop


def field_of_view(name: str) -> str:
    """A way to treat the field of view that exists (`formats.FIELDS`); UsageError otherwise."""
    from bunet.models.volumes.formats import FIELDS

    return one_of("--field-of-view", name, FIELDS)


def axis(name: str) -> str:
    """An axis that slices can be perpendicular to; UsageError otherwise."""
    return one_of("--axis", name, tuple(AXES))


def activation(name: str) -> str:
    """An activation that the network has; UsageError otherwise."""
    return one_of("--activation", name, ACTIVATIONS)


def pooling(name: str) -> str:
    """A pooling that the network has; UsageError otherwise."""
    return one_of("--pool", name, POOLINGS)


def intensity(name: str) -> str:
    """A rule of intensities that exists, or auto; UsageError otherwise."""
    return one_of("--intensity", name, ("auto", *RULES))


def relu_protocol(name: str) -> str:
    """A protocol that the registry has for ReLU; UsageError otherwise."""
    from bunet.protocols import registry  # loads the kernels: not for every `bunet --help`

    return one_of("--relu", name, registry.names("relu"))


def ot_extension(name: str) -> str:
    """An OT extension that exists; UsageError otherwise."""
    from bunet.protocols.ot import extension  # loads the kernels: not for every `bunet --help`

    return one_of("--ot", name, extension.NAMES)


def link(preset: str, bandwidth: str | None, rtt: str | None) -> Link:
    """The link of `--link`, parts of which `--bandwidth` and `--rtt` override; UsageError otherwise."""
    try:
        return Link.choose(preset, bandwidth, rtt)
    except UsageError as error:
        raise UsageError(f"--link: {error}") from error


def protocols(texts: Sequence[str]) -> dict[str, str]:
    """`--protocol maxpool=gc` given any number of times; UsageError for anything else."""
    choices: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (equals and key.strip() and value.strip()):
            raise UsageError(f"--protocol {text!r} is not OPERATION=PROTOCOL or LAYER=PROTOCOL, such as square=mt")
        choices[key.strip()] = value.strip()
    return choices
