"""What a run of a pair is asked for, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bunet.experiments.checks import MAX_SIZE, MIN_SIZE, max_in_flight, one_of, operand_format, ot_extension, relu_protocol
from bunet.models.errors import UsageError as UsageError
from bunet.models.network.architecture import ACTIVATIONS, POOLINGS, Architecture, ArchitectureError
from bunet.models.volumes.slicing.slices import AXES, MULTIPLE
from bunet.net.link import PRESETS, Link

DEMO_SIZE = 128  # pixels of the slices that the demo weights were trained on
ACTIVATION_NAMES = tuple(ACTIVATIONS)


@dataclass(frozen=True)
class RunSettings:
    """One run of a pair, checked (UsageError).

    size: pixels of a square slice. features: channels of the first level. relu: protocol of the ReLU layers. protocols:
    further protocol choices by operation or layer name. format: operand bits. slices: how many. cores: of each party.
    ot: the OT extension.
    """

    size: int = 128
    features: int = 16
    activation: str = "relu"
    relu: str = "gc-sign"
    pool: str = "avg"
    format: str = "8.4"
    link: Link = PRESETS["lan"]
    slices: int = 1
    in_flight: int = 1
    axis: str = "z"
    seed: int = 0
    cores: int = 1
    protocols: Mapping[str, str] = field(default_factory=dict)
    ot: str = "iknp"

    def __post_init__(self) -> None:
        self.architecture()
        if not MIN_SIZE <= self.size <= MAX_SIZE or self.size % MULTIPLE:
            raise UsageError(f"--size {self.size} is not a multiple of {MULTIPLE} from {MIN_SIZE} to {MAX_SIZE}")
        limits = (("slices", 1, 4096), ("in_flight", 1, max_in_flight()), ("cores", 1, 4096), ("seed", 0, 2**32 - 1))
        for name, low, high in limits:
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"--{name.replace('_', '-')} must be a whole number from {low} to {high}, not {value}")
        one_of("--axis", self.axis, tuple(AXES))
        operand_format(self.format)
        relu_protocol(self.relu)
        ot_extension(self.ot)

    def architecture(self) -> Architecture:
        """The U-Net that is asked for."""
        one_of("--pool", self.pool, POOLINGS)
        one_of("--activation", self.activation, ACTIVATION_NAMES)
        try:
            return Architecture(features=self.features, activation=self.activation, pooling=self.pool)
        except ArchitectureError as error:
            raise UsageError(f"--features: {error}") from error

    def choices(self) -> dict[str, str]:
        """Protocol by operation or layer name, for the planner."""
        return {"relu": self.relu, **self.protocols}

    def public(self) -> dict[str, str]:
        """Public settings that both parties' protocols go by."""
        return {"ot": self.ot}

    def document(self) -> dict[str, Any]:
        """What was asked for, for JSON documents; the link stands beside it."""
        return {
            "size": self.size,
            "features": self.features,
            "activation": self.activation,
            "pool": self.pool,
            "format": self.format,
            "protocols": self.choices(),
            "ot": self.ot,
            "slices": self.slices,
            "in_flight": self.in_flight,
            "axis": self.axis,
            "seed": self.seed,
            "cores": self.cores,
        }
