"""Experiment files in YAML, read strictly, so that a typing error does not become a silent default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from bunet.experiments.sweep.facts import name_of
from bunet.experiments.sweep.grid import Grid, LinkSetting, SweepConfig
from bunet.experiments.sweep.points import Point
from bunet.models.errors import UsageError
from bunet.models.printable import printable


class ConfigError(UsageError):
    """An experiment file that cannot be run; one sentence with the file and the path of the key."""


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
