"""Experiment files: a grid of runs in YAML, read strictly, so that a typing error does not become a silent default."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from bunet.experiments.options import MAX_SIZE, MIN_SIZE, UsageError
from bunet.experiments.settings import RELU, RunSettings, run_options
from bunet.experiments.sweep.facts import DETAILS, name_of
from bunet.models.printable import printable
from bunet.models.program import Format
from bunet.models.volumes.content.intensity import RULES
from bunet.models.volumes.labels import values as label_values
from bunet.models.volumes.slicing.slices import MULTIPLE
from bunet.net.link import Link
from bunet.parties.run_options import MAX_IN_FLIGHT


class ConfigError(ValueError):
    """An experiment file that cannot be run; one sentence with the file and the path of the key."""


def _format(value: Any) -> str:
    if isinstance(value, float):  # YAML reads 8.10 as 8.1, another format
        raise ValueError('write a format in quotes, such as "8.4"')
    if not isinstance(value, str):
        raise ValueError('a format is text such as "8.4"')
    return str(Format.parse(value))


def _size(value: int) -> int:
    if isinstance(value, int) and value % MULTIPLE:
        raise ValueError(f"{value} is not a multiple of {MULTIPLE}")
    return value


def _in_flight(value: int) -> int:
    if isinstance(value, int) and value > MAX_IN_FLIGHT:
        raise ValueError(f"at most {MAX_IN_FLIGHT} slices can be in flight, not {value}")
    return value


def _label_value(value: int | str | None) -> int | str | None:
    if value is not None:
        label_values.parse(value)
    return value


def _rule(value: str) -> str:
    if value not in ("auto", *RULES):
        raise ValueError(f"{value!r} is not one of auto, {', '.join(RULES)}")
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
        self.link()
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
InFlight = Annotated[int, Field(ge=1), BeforeValidator(_in_flight)]
FormatText = Annotated[str, BeforeValidator(_format)]
Size = Annotated[int, Field(ge=MIN_SIZE, le=MAX_SIZE), BeforeValidator(_size)]
Features = Annotated[int, Field(ge=1, le=256)]
LinkEntry = Annotated[LinkSetting, BeforeValidator(_preset)]
Activation = Literal["relu", "square", "hybrid"]
Pool = Literal["avg", "max"]
Ot = Literal["iknp", "softspoken-2", "softspoken-4", "softspoken-8"]


class Grid(_Strict):
    """What is varied: every combination of one entry of each list is a point."""

    links: Annotated[list[LinkEntry], Field(min_length=1)] = [LinkSetting(preset="lan")]
    protocols: Annotated[list[dict[str, str]], Field(min_length=1)] = [{"relu": "gc-sign"}]
    ot: Annotated[list[Ot], Field(min_length=1)] = ["iknp"]
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
    intensity: Annotated[str, AfterValidator(_rule)] = "auto"
    field_of_view: Literal["auto", "whole"] = "auto"
    weights: str | dict[Activation, str] | None = None
    axis: Literal["x", "y", "z"] = "z"
    grid: Grid = Grid()

    @property
    def label_values(self) -> tuple[int, ...]:
        return () if self.label_value is None else label_values.parse(self.label_value)

    def points(self, data: Mapping[str, PointData] | None = None) -> Iterator[Point]:
        """Every point of the grid, links innermost: a compiled model is made once for all links.

        data: volume and weights by activation (`sweep_data.chosen_data`); nothing for random ones. Raises UsageError for
        settings that do not fit together.
        """
        for combination in itertools.product(*(getattr(self.grid, entries) for entries in VARIED)):
            chosen = dict(zip(VARIED.values(), combination, strict=True))
            entry, protocols, ot, in_flight = (chosen.pop(key) for key in ("link", "protocols", "ot", "in_flight"))
            about = (data or {}).get(chosen["activation"])
            relu, others = protocols.get("relu", RELU), {key: name for key, name in protocols.items() if key != "relu"}
            link = entry.link()
            run = run_options(link=link, in_flight=in_flight, cores=self.cores, relu=relu, protocols=others, ot=ot)
            axis = "z" if about is None else about.axis
            settings = RunSettings(**chosen, slices=self.slices, seed=self.seed, axis=axis, run=run)
            yield Point(settings, entry.name or link.name, dict(sorted(protocols.items())), self.verify, about)


@dataclass(frozen=True)
class PointData:
    """A volume, its label where it is another file, and trained weights. digest: of what these hold, not of their names.

    label_values: what is inside of the label; none for what it tells. series, intensity (a rule), field_of_view: how the volume
    is read, as `formats.load`.
    """

    volume: Path
    truth: Path | None
    weights: str
    axis: str
    digest: str
    label_values: tuple[int, ...] = ()
    series: str | None = None
    intensity: str = "auto"
    field_of_view: str = "auto"


# What of its settings tells a point, in the order of the table's columns; what else they may hold follows.
_ORDER = ("protocols", "ot", "format", "in_flight", "size", "features", "activation", "pool", "slices", "seed", "cores")


@dataclass(frozen=True)
class Point:
    """One run of a sweep. link_name: what the file calls its link. protocols: those that the file names, no default."""

    settings: RunSettings
    link_name: str
    protocols: Mapping[str, str]
    verify: bool
    data: PointData | None = None

    def describe(self) -> dict[str, Any]:
        """What tells this point from others, JSON-able: every setting and every field, whatever there will be."""
        link = self.settings.run.link.describe()
        asked = self.settings.document()
        asked["protocols"] = dict(self.protocols)
        axis = asked.pop("axis")  # of random images it means nothing
        found = {"link": self.link_name, **{key: link[key] for key in DETAILS["link"]}}
        found |= {key: asked.pop(key) for key in _ORDER} | asked
        composed = ("settings", "link_name", "protocols", "data")
        found |= {field.name: getattr(self, field.name) for field in fields(self) if field.name not in composed}
        if self.data is not None:
            found |= {
                "volume": self.data.volume.name,
                "weights": self.data.weights,
                "axis": axis,
                "data": self.data.digest,
            }
            if self.data.label_values:
                found["label_value"] = ",".join(map(str, self.data.label_values))
            usual = {"series": None, "intensity": "auto", "field_of_view": "auto"}
            found |= {name: getattr(self.data, name) for name in usual if getattr(self.data, name) != usual[name]}
        return found

    def identity(self) -> str:
        """Equal points have equal identities, whatever the link and the files are called; 16 hexadecimal digits."""
        facts = self.describe()
        for name in ("link", "volume", "weights"):
            facts.pop(name, None)
        if facts["ot"] == "iknp":  # points that were run before there was a choice keep their identity
            del facts["ot"]
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class _UniqueKeys(yaml.SafeLoader):
    """YAML without silently overwritten keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float, bool)) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key if isinstance(key, (str, int, float, bool)) else id(key_node))
        return super().construct_mapping(node, deep)


def load(path: Path) -> SweepConfig:
    """Read and check an experiment file; ConfigError with one sentence for everything that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    return parse(text, str(path))


def parse(text: str, source: str) -> SweepConfig:
    """`load` of a text; `source` is how messages call it."""
    try:
        document = yaml.load(text, _UniqueKeys)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{source}{place}: not valid YAML: {problem}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: is nested too deeply") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:  # of a value that its tag does not fit
        raise ConfigError(f"{source}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{source}: an experiment file is a mapping with `name` and `grid`")
    try:
        config = SweepConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_sentence(error)}") from error
    _check_protocols(config, source)
    _check_apart(config, source)
    return config


def _check_protocols(config: SweepConfig, source: str) -> None:
    """Operations must have the protocols named for them; layer names are checked when the program is known."""
    from bunet.models.program import OPERATIONS
    from bunet.protocols import registry

    for index, choice in enumerate(config.grid.protocols):
        for operation, name in choice.items():
            known = registry.names(operation) if operation in OPERATIONS else None
            if known is None and "." not in operation:
                raise ConfigError(
                    f"{source}: grid.protocols[{index}].{operation}: no such operation; known are {', '.join(OPERATIONS)}"
                )
            if known is not None and name not in known:
                raise ConfigError(
                    f"{source}: grid.protocols[{index}].{operation}: no protocol {name!r}; known are "
                    f"{', '.join(known) or 'none'}"
                )


def _check_apart(config: SweepConfig, source: str) -> None:
    """No two combinations may be one run: one of them would be left out."""
    known: dict[str, Point] = {}
    try:
        points = list(config.points())
    except UsageError as error:
        raise ConfigError(f"{source}: {error}") from error
    for point in points:
        other = known.setdefault(point.identity(), point)
        if other is not point:
            first, second = name_of(other.describe()), name_of(point.describe())
            raise ConfigError(
                f"{source}: grid: a point stands twice: {first}"
                if first == second
                else f"{source}: grid: two points are one and the same run: {first}; and {second}"
            )


def _sentence(error: ValidationError) -> str:
    """The first thing that pydantic found, as `grid.linkz: unknown key; known are ...`."""
    # An unknown key is likelier the cause than what is missing because of it.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    steps = list(first["loc"])
    where = _path(steps)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 and first["type"] == "extra_forbidden" else ""
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key; known are {', '.join(_known(steps[:-1]))}{more}"
    if first["type"] == "missing":
        return f"{where}: this key is missing"
    if first["type"] == "too_short":
        return f"{where}: the list is empty"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}"


def _known(steps: Sequence[Any]) -> Sequence[str]:
    if steps[:1] == ["grid"]:
        model: type[BaseModel] = LinkSetting if len(steps) > 1 else Grid
    else:
        model = SweepConfig
    return list(model.model_fields)


def _path(steps: Sequence[Any]) -> str:
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return printable(text) or "the file"
