"""How large each tensor of the float network becomes on given slices, and the check of ranges that come from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bunet.models.errors import UsageError
from bunet.models.network import reference
from bunet.models.network.fold import Folded
from bunet.models.network.graph import FloatNode

LARGEST_RANGE = float(np.finfo(np.float32).max)  # the float network computes in float32


def calibrate(graph: tuple[FloatNode, ...], folded: Mapping[str, Folded], slices: Sequence[np.ndarray]) -> dict[str, float]:
    """Largest |x| of every node's output, by node name, over slices (in_channels, H, W) float.

    No margin is added here. Slices may be of another size than the one compiled for. Raises UsageError where there is
    no slice, where one has the wrong shape or is not finite, or where the network overflows on one.
    """
    if not len(slices):
        raise UsageError("calibration needs at least one slice")
    step = 1 << max(node.level for node in graph)
    ranges = {node.name: 0.0 for node in graph}

    def watch(node: FloatNode, value: np.ndarray) -> None:
        ranges[node.name] = max(ranges[node.name], float(np.abs(value).max()))

    for index, image in enumerate(slices):
        if image.ndim != 3 or image.shape[0] != graph[0].channels:
            raise UsageError(f"calibration slice {index} has shape {image.shape}, not ({graph[0].channels}, H, W)")
        if image.shape[1] % step or image.shape[2] % step or not image.size:
            raise UsageError(f"calibration slice {index} has shape {image.shape}; its sides must divide by {step}")
        if not np.isfinite(image).all():
            raise UsageError(f"calibration slice {index} holds values that are not finite")
        with np.errstate(over="ignore", invalid="ignore"):  # it is said below, in one sentence
            reference.forward(graph, folded, image, watch)
    wild = [name for name, value in ranges.items() if not np.isfinite(value)]
    if wild:
        raise UsageError(f"the float network overflows at {wild[0]}")
    return ranges


def checked_ranges(graph: tuple[FloatNode, ...], ranges: Any) -> dict[str, float]:
    """`ranges` as `calibrate` gives them for this graph, for what was read from a file.

    Raises UsageError, naming the node, unless every node of the graph and nothing else has a finite number that is
    not negative.
    """
    if not isinstance(ranges, Mapping):
        raise UsageError("calibrated ranges are not a table of nodes and numbers")
    names = [node.name for node in graph]
    for name in names:
        if name not in ranges:
            raise UsageError(f"calibrated ranges lack node {name!r}")
    for name in ranges:
        if name not in names:
            raise UsageError(f"calibrated ranges have node {name!r}, which this network does not")
    for name in names:
        value = ranges[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LARGEST_RANGE:
            raise UsageError(f"calibrated range of node {name!r} is {value!r}, not a number from 0 to {LARGEST_RANGE:g}")
    return {name: float(ranges[name]) for name in names}
