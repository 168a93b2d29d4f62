"""What a U-Net looks like, without its numbers: sizes, activations, pooling, names and shapes of its parameters.

The parameter names are the published ones (`encoder1.enc1conv1.weight`, ..., `conv.bias`). This file needs neither
torch nor numpy: a party that only compiles or runs a program learns the network from here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from bunet.models.errors import UsageError
from bunet.models.files import json_text

ACTIVATIONS = ("relu", "square", "hybrid")
POOLINGS = ("avg", "max")
HYBRID_SQUARE_LEVELS = 2
NORM_EPSILON = 1e-5


class ArchitectureError(UsageError):
    """An architecture outside what the network family allows."""


@dataclass(frozen=True)
class Architecture:
    """The family of U-Nets.

    features: channels of the first level, doubled at each next one. in_channels: channels of the input slice.
    depth: number of poolings. out_channels: classes. pooling: `avg` or `max`.
    activation: `relu`, `square` (y = x^2), `hybrid` (square on the two highest-resolution levels, ReLU below), or a
    comma-separated list with one of relu, square for each level from the highest resolution to the bottleneck.
    """

    features: int = 16
    in_channels: int = 5
    depth: int = 4
    out_channels: int = 2
    activation: str = "relu"
    pooling: str = "avg"

    def __post_init__(self) -> None:
        limits = {"features": (1, 256), "in_channels": (1, 64), "depth": (1, 6), "out_channels": (1, 64)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ArchitectureError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
        if self.pooling not in POOLINGS:
            raise ArchitectureError(f"pooling {self.pooling!r} is not one of {', '.join(POOLINGS)}")
        self.level_activations()

    def level_activations(self) -> tuple[str, ...]:
        """`relu` or `square` for each level, depth + 1 of them, the bottleneck last; encoder and decoder share it."""
        levels = self.depth + 1
        if self.activation == "hybrid":
            return tuple("square" if level < HYBRID_SQUARE_LEVELS else "relu" for level in range(levels))
        if self.activation in ("relu", "square"):
            return (self.activation,) * levels
        parts = tuple(str(self.activation).split(","))
        if len(parts) != levels or not set(parts) <= {"relu", "square"}:
            raise ArchitectureError(
                f"activation {self.activation!r} is not one of {', '.join(ACTIVATIONS)} "
                f"nor a comma-separated list of {levels} times relu or square"
            )
        return parts

    def blocks(self) -> tuple[Block, ...]:
        """The double convolutions in the order of execution: encoders, bottleneck, decoders."""
        widths = [self.features << level for level in range(self.depth + 1)]
        activations = self.level_activations()
        found = []
        channels = self.in_channels
        for level in range(self.depth):
            name, prefix = f"encoder{level + 1}", f"enc{level + 1}"
            found.append(Block(name, prefix, level, channels, widths[level], activations[level]))
            channels = widths[level]
        found.append(Block("bottleneck", "bottleneck", self.depth, channels, widths[-1], activations[-1]))
        for level in reversed(range(self.depth)):
            name, prefix = f"decoder{level + 1}", f"dec{level + 1}"
            found.append(Block(name, prefix, level, 2 * widths[level], widths[level], activations[level]))
        return tuple(found)

    def upconvs(self) -> tuple[Upconv, ...]:
        """The transposed convolutions in the order of execution, the deepest first."""
        return tuple(
            Upconv(f"upconv{level + 1}", level, self.features << (level + 1), self.features << level)
            for level in reversed(range(self.depth))
        )

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the float model, in the state dictionary's naming."""
        shapes: dict[str, tuple[int, ...]] = {}
        for block in self.blocks():
            for index, (conv, norm) in enumerate(block.layers()):
                inputs = block.in_channels if index == 0 else block.out_channels
                shapes[f"{conv}.weight"] = (block.out_channels, inputs, 3, 3)
                for part in ("weight", "bias", "running_mean", "running_var"):
                    shapes[f"{norm}.{part}"] = (block.out_channels,)
        for up in self.upconvs():
            shapes[f"{up.name}.weight"] = (up.in_channels, up.out_channels, 2, 2)
            shapes[f"{up.name}.bias"] = (up.out_channels,)
        shapes["conv.weight"] = (self.out_channels, self.features, 1, 1)
        shapes["conv.bias"] = (self.out_channels,)
        return shapes

    def check_size(self, height: int, width: int) -> None:
        """ArchitectureError unless the slice can be halved `depth` times."""
        step = 1 << self.depth
        if height < step or width < step or height % step or width % step:
            raise ArchitectureError(f"a slice of {height}x{width} does not divide by {step}: {self.depth} poolings")

    def to_json(self) -> str:
        """Canonical text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Read what `to_json` wrote; ArchitectureError on anything else."""
        try:
            document = json_text.parse(text)
            return cls(**document)
        except (TypeError, ValueError) as error:
            raise ArchitectureError(f"not an architecture: {error}") from error


@dataclass(frozen=True)
class Block:
    """A double convolution: conv 3x3, batch norm, activation, twice."""

    name: str
    prefix: str
    level: int
    in_channels: int
    out_channels: int
    activation: str

    def layers(self) -> Iterator[tuple[str, str]]:
        """Full names of the two (conv, norm) pairs, such as (encoder1.enc1conv1, encoder1.enc1norm1)."""
        for index in (1, 2):
            yield f"{self.name}.{self.prefix}conv{index}", f"{self.name}.{self.prefix}norm{index}"


@dataclass(frozen=True)
class Upconv:
    """A transposed 2x2 convolution of stride 2, up to resolution `level`."""

    name: str
    level: int
    in_channels: int
    out_channels: int
