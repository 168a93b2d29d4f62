"""The grid of an experiment file: its keys, what each may hold, and the points that it makes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from bunet.experiments import checks
from bunet.experiments.bench.data import CtData
from bunet.experiments.settings import RunSettings, run_options
from bunet.experiments.sweep.points import Point
from bunet.models.errors import UsageError
from bunet.models.program import Format
from bunet.models.volumes.labels import values as label_values
from bunet.net.link import Link
from bunet.protocols.defaults import DEFAULTS, OT

T = TypeVar("T")
_OPTION = re.compile(r"^--[a-z-]+:? ")


def _said(check: Callable[[], T]) -> T:
    """What a check gives; its UsageError as the ValueError of which pydantic makes a sentence with the key's path.

    That stands in place of the option, which nobody gave.
    """
    try:
        return check()
    except UsageError as error:
        raise ValueError(_OPTION.sub("", str(error))) from error


def _checked(check: Callable[[str], str]) -> AfterValidator:
    """A validator of `checks`: the one of the option that says the same on the command line."""
    return AfterValidator(lambda value: _said(lambda: check(value)))


def _format(value: Any) -> str:
    if isinstance(value, float):  # YAML reads 8.10 as 8.1, another format
        raise ValueError('write a format in quotes, such as "8.4"')
    if not isinstance(value, str):
        raise ValueError('a format is text such as "8.4"')
    return str(_said(lambda: Format.parse(value)))


def _size(value: int) -> int:
    return _said(lambda: checks.square_size(value))


def _in_flight(value: int) -> int:
    return _said(lambda: run_options(in_flight=value)).in_flight


def _label_value(value: int | str | None) -> int | str | None:
    if value is not None:
        _said(lambda: label_values.parse(value))
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LinkSetting(_Strict):
    """A link: a preset, parts of which may be overridden, or bandwidth and round-trip time. A bare text is a preset."""

    preset: str | None = None
    bandwidth: str | None = None
    rtt: str | None = None
    jitter: str | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _check(self) -> LinkSetting:
        if self.preset is None and (self.bandwidth is None or self.rtt is None):
            raise ValueError("a link needs a preset, or a bandwidth and an rtt")
        _said(self.link)
        return self

    def link(self) -> Link:
        return Link.choose(self.preset or "loopback", self.bandwidth, self.rtt, self.jitter)


def _preset(value: Any) -> Any:
    if isinstance(value, str):
        return {"preset": value}
    if not isinstance(value, (dict, LinkSetting)):
        raise ValueError("a link is a preset's name, or a mapping with bandwidth and rtt")
    return value


Positive = Annotated[int, Field(ge=1)]
InFlight = Annotated[int, AfterValidator(_in_flight)]
FormatText = Annotated[str, BeforeValidator(_format)]
Size = Annotated[int, AfterValidator(_size)]
Features = Annotated[int, Field(ge=1, le=256)]
LinkEntry = Annotated[LinkSetting, BeforeValidator(_preset)]
Activation = Annotated[str, _checked(checks.activation)]
Pool = Annotated[str, _checked(checks.pooling)]
Ot = Annotated[str, _checked(checks.ot_extension)]


class Grid(_Strict):
    """What is varied: every combination of one entry of each list is a point."""

    links: Annotated[list[LinkEntry], Field(min_length=1)] = [LinkSetting(preset="lan")]
    protocols: Annotated[list[dict[str, str]], Field(min_length=1)] = [{"relu": DEFAULTS["relu"]}]
    ot: Annotated[list[Ot], Field(min_length=1)] = [OT]
    formats: Annotated[list[FormatText], Field(min_length=1)] = ["8.4"]
    in_flight: Annotated[list[InFlight], Field(min_length=1)] = [1]
    sizes: Annotated[list[Size], Field(min_length=1)] = [128]
    features: Annotated[list[Features], Field(min_length=1)] = [16]
    activations: Annotated[list[Activation], Field(min_length=1)] = ["relu"]
    pools: Annotated[list[Pool], Field(min_length=1)] = ["avg"]

    @field_validator("links")
    @classmethod
    def _named_apart(cls, links: list[LinkSetting]) -> list[LinkSetting]:
        names: dict[str, Link] = {}
        for entry in links:
            link = entry.link()
            name = entry.name or link.name
            if names.setdefault(name, link) != link:
                raise ValueError(f"{name!r} is the name of two different links")
        return links


# What each list of the grid is called in a point, outermost first: a compiled model is made once for all links.
VARIED = {
    "sizes": "size",
    "features": "features",
    "activations": "activation",
    "pools": "pool",
    "formats": "format",
    "protocols": "protocols",
    "ot": "ot",
    "in_flight": "in_flight",
    "links": "link",
}


class SweepConfig(_Strict):
    """One experiment file. slices, seed, cores, verify hold for every point; cores is of each party.

    weights: a weight file or the name of committed ones, for the whole grid or by activation; without them weights and
    images are random. volume, truth: files of CT and its label, with environment variables; the command line may give
    them instead. axis: of the slices that are cut from the volume. label_value: what is inside of the label, such as 3 or
    "1,2", where it has several values. series, intensity (a rule), field_of_view: of the volume, as `formats.load`.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    title: str = ""
    slices: Positive = 1
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    cores: Positive = 1
    verify: bool = True
    volume: str | None = None
    truth: str | None = None
    label_value: Annotated[int | str | None, AfterValidator(_label_value)] = None
    series: int | str | None = None
    intensity: Annotated[str, _checked(checks.intensity)] = "auto"
    field_of_view: Annotated[str, _checked(checks.field_of_view)] = "auto"
    weights: str | dict[Activation, str] | None = None
    axis: Annotated[str, _checked(checks.axis)] = "z"
    grid: Grid = Grid()

    @property
    def label_values(self) -> tuple[int, ...]:
        return () if self.label_value is None else label_values.parse(self.label_value)

    def points(self, data: Mapping[str, CtData] | None = None) -> Iterator[Point]:
        """Every point of the grid, links innermost: a compiled model is made once for all links.

        data: volume and weights by activation (`sweep.data.chosen_data`); nothing for random ones. Raises UsageError for
        settings that do not fit together.
        """
        for combination in itertools.product(*(getattr(self.grid, entries) for entries in VARIED)):
            chosen = dict(zip(VARIED.values(), combination, strict=True))
            entry, protocols, ot, in_flight = (chosen.pop(key) for key in ("link", "protocols", "ot", "in_flight"))
            about = (data or {}).get(chosen["activation"])
            link = entry.link()
            run = run_options(link=link, in_flight=in_flight, cores=self.cores, protocols=protocols, ot=ot)
            axis = "z" if about is None else about.axis
            settings = RunSettings(**chosen, slices=self.slices, seed=self.seed, axis=axis, run=run)
            yield Point(settings, entry.name or link.name, dict(sorted(protocols.items())), self.verify, about)
