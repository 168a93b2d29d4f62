"""`bunet warmup`: every kernel compiled before it is needed, and the folders of earlier versions removed.

What a run compiles depends on its protocols and on whether its shares have up to 32 or more bits. So small networks with
every kind of layer are planned at both, and every protocol of the registry that supports a layer is run once on it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bunet.experiments.settings import RunSettings
from bunet.models.program import Program
from bunet.parties.events import Event
from bunet.parties.planner import STRUCTURAL, PlannedLayer
from bunet.parties.warmup import compile_kernels
from bunet.protocols import registry
from bunet.protocols.context import Role
from bunet.protocols.kernels.machine import tier
from bunet.protocols.ot import extension
from bunet.protocols.registry import Layer

# (operand format, activation, pooling, readout): every operation, with shares of up to 32 and of more bits
NETWORKS = (
    ("8.4", "hybrid", "max", "argmax"),
    ("8.4", "relu", "avg", "logits"),
    ("12.12", "hybrid", "avg", "argmax"),
    ("12.12", "relu", "max", "share"),
    ("8.4", "relu", "avg", "label-share"),
)
_VERSION = re.compile(r"[0-9a-f]{16}")

Compile = Callable[[list[PlannedLayer]], object]
Step = Callable[[str], None]


@dataclass(frozen=True)
class LayerGroup:
    """Layers that compile the same kernels, except for their parameter sets. layers: at least one."""

    operation: str
    protocol: str
    wide: tuple[bool, ...]
    layers: list[PlannedLayer]
    ot: str = extension.DEFAULT

    @property
    def title(self) -> str:
        means = "" if self.ot == extension.DEFAULT else f" by {self.ot}"
        return f"{self.operation} {self.protocol}{means}, {'over 32' if any(self.wide) else 'up to 32'} bits"


def programs() -> list[Program]:
    """The small networks, compiled."""
    from bunet.experiments.calibration import compile_for
    from bunet.experiments.weights_choice import ChosenWeights
    from bunet.models.network.seeded import seeded_weights

    groups = []
    for format, activation, pool, readout in NETWORKS:
        settings = RunSettings(size=32, features=1, activation=activation, pool=pool, format=format)
        random = ChosenWeights(seeded_weights(settings.architecture(), 0), "random", False)
        groups.append(compile_for(settings, random, (32, 32), readout).program)
    return groups


def layer_groups(networks: Sequence[Program]) -> list[LayerGroup]:
    """Every protocol of the registry with every kind of layer of the networks that it supports."""
    groups: dict[tuple[str, str, tuple[bool, ...]], LayerGroup] = {}
    for program in networks:
        for index, node in enumerate(program):
            if node.operation in STRUCTURAL:
                continue
            inputs = program.input_types(node)
            wide = tuple(type_.width > 32 for type_ in (*inputs, node.type))
            for name in registry.names(node.operation):
                layer, protocol = Layer(node, inputs), registry.get(node.operation, name)
                if protocol.supports(layer) is None:
                    group = groups.setdefault((node.operation, name, wide), LayerGroup(node.operation, name, wide, []))
                    group.layers.append(PlannedLayer(index, node, protocol, layer))
    return [*groups.values(), _other_extension(groups.values())]


def _other_extension(groups: Iterable[LayerGroup]) -> LayerGroup:
    """A protocol that takes OTs, by SoftSpoken: its kernels are the same for every protocol and k."""
    group = next(one for one in groups if (one.operation, one.protocol) == ("extend", "ot"))
    first = group.layers[0]
    layer = Layer(first.layer.node, first.layer.inputs, settings={"ot": "softspoken-2"})
    return replace(group, layers=[replace(first, layer=layer)], ot="softspoken-2")


def _compile(layers: list[PlannedLayer]) -> None:
    def ignore(event: Event) -> None:
        pass  # the progress bar says what there is to say

    compile_kernels(layers, ignore, Role.ALICE)


def compile_all(planned: Sequence[LayerGroup], step: Step, compile: Compile = _compile) -> None:
    """Run one layer of each parameter set of each group. step: told each group's title before it is compiled."""
    for group in planned:
        step(group.title)
        compile(group.layers)


# --- the cache -------------------------------------------------------------------------------------------------------


def folder() -> Path:
    """Where this version keeps what it compiled for this tier."""
    return tier.cache_folder(tier.TIER)


def size(path: Path) -> int:
    """Bytes of the files below a folder; 0 if there is none."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def other_versions(current: Path) -> list[Path]:
    """Folders beside that of `current` (.../VERSION/TIER) that hold another version's cache: nothing else is named so."""
    version = current.parent
    if not version.parent.is_dir():
        return []
    return sorted(
        path
        for path in version.parent.iterdir()
        if path != version
        and _VERSION.fullmatch(path.name)
        and path.is_dir()
        and not path.is_symlink()
        and all(child.name in tier.TIERS for child in path.iterdir())
    )


def clear(current: Path) -> tuple[int, int]:
    """Remove the other versions' folders; (how many, bytes). Processes of those versions must not be running."""
    folders = other_versions(current)
    total = sum(map(size, folders))
    for path in folders:
        shutil.rmtree(path)
    return len(folders), total
