"""One record of a run, checked once and handed whole: `predict` and `sweep` compose what is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from bunet.experiments import checks
from bunet.models.errors import UsageError
from bunet.models.network.architecture import Architecture, ArchitectureError
from bunet.net.link import PRESETS, Link
from bunet.parties.run_options import RunOptions
from bunet.protocols.defaults import DEFAULTS, OT

DEMO_SIZE = 128  # pixels of the slices that the demo weights were trained on


def run_options(
    *,
    link: Link = PRESETS["lan"],
    in_flight: int = 1,
    cores: int = 1,
    relu: str | None = DEFAULTS["relu"],
    protocols: Mapping[str, str] | None = None,
    ot: str = OT,
) -> RunOptions:
    """How both parties run; UsageError naming the option that is wrong.

    relu: protocol of the ReLU layers, None for no choice. protocols: further choices by operation or layer name. ot: the OT
    extension.
    """
    choices = {**({} if relu is None else {"relu": checks.relu_protocol(relu)}), **(protocols or {})}
    checks.ot_extension(ot)
    try:
        return RunOptions(link=link, in_flight=in_flight, cores=cores, protocols=choices, settings={"ot": ot})
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{option} {first['msg'].removeprefix('Value error, ')}") from error


@dataclass(frozen=True)
class RunSettings:
    """One run of a pair, checked (UsageError).

    size: pixels of a square slice. features: channels of the first level. format: operand bits. slices: how many. seed: of
    random weights and inputs. run: how both parties run.
    """

    size: int = 128
    features: int = 16
    activation: str = "relu"
    pool: str = "avg"
    format: str = "8.4"
    slices: int = 1
    axis: str = "z"
    seed: int = 0
    run: RunOptions = field(default_factory=run_options)

    def __post_init__(self) -> None:
        self.architecture()
        checks.square_size(self.size)
        for name, low, high in (("slices", 1, 4096), ("seed", 0, 2**32 - 1)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"--{name} must be a whole number from {low} to {high}, not {value}")
        checks.axis(self.axis)
        checks.operand_format(self.format)

    def architecture(self) -> Architecture:
        """The U-Net that is asked for."""
        checks.pooling(self.pool)
        checks.activation(self.activation)
        try:
            return Architecture(features=self.features, activation=self.activation, pooling=self.pool)
        except ArchitectureError as error:
            raise UsageError(f"--features: {error}") from error

    def document(self) -> dict[str, Any]:
        """What was asked for, for JSON documents; the link stands beside it."""
        return {
            "size": self.size,
            "features": self.features,
            "activation": self.activation,
            "pool": self.pool,
            "format": self.format,
            **self.run.choices(),
            "slices": self.slices,
            "axis": self.axis,
            "seed": self.seed,
            **self.run.pace(),
        }
