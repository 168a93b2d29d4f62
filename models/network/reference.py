"""The float network in numpy, folded: what the secure result is compared with, and what calibration watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bunet.models import integers
from bunet.models.network.fold import Folded, fold
from bunet.models.network.graph import FloatNode, lower
from bunet.models.network.weights import FloatWeights

Watch = Callable[[FloatNode, np.ndarray], None]


def forward(
    graph: tuple[FloatNode, ...], folded: Mapping[str, Folded], image: np.ndarray, watch: Watch | None = None
) -> np.ndarray:
    """Logits (out_channels, H, W) float32 of one slice (in_channels, H, W); `watch` sees every node with its output."""
    last_use = {name: node.name for node in graph for name in node.inputs}
    alive: dict[str, np.ndarray] = {}
    value = np.asarray(image, dtype=np.float32)
    for node in graph:
        inputs = [alive[name] for name in node.inputs]
        value = apply(node, folded.get(node.name), *inputs) if inputs else value
        alive[node.name] = value
        if watch:
            watch(node, value)
        for name in node.inputs:
            if last_use[name] == node.name:
                del alive[name]
    return value


def apply(node: FloatNode, folded: Folded | None, *inputs: np.ndarray) -> np.ndarray:
    """One operation in float32."""
    x = inputs[0]
    if node.operation in ("conv", "conv_transpose"):
        assert folded is not None
        linear = integers.conv if node.operation == "conv" else integers.conv_transpose
        return linear(x, folded.weight.astype(np.float32)) + folded.bias.astype(np.float32)[:, None, None]
    if node.operation == "relu":
        return np.asarray(np.maximum(x, 0))
    if node.operation == "square":
        return np.asarray(x * x)
    if node.operation == "concat":
        return np.concatenate(inputs)
    channels, height, width = x.shape
    windows = x.reshape(channels, height // 2, 2, width // 2, 2)
    return np.asarray(windows.mean(axis=(2, 4)) if node.operation == "avgpool" else windows.max(axis=(2, 4)))


class FloatModel:
    """A folded float network, ready to be applied to slices."""

    def __init__(self, weights: FloatWeights) -> None:
        self.graph = lower(weights.architecture)
        self.folded = fold(self.graph, weights.tensors)

    def logits(self, image: np.ndarray) -> np.ndarray:
        """float32 (out_channels, H, W) of a slice (in_channels, H, W)."""
        return forward(self.graph, self.folded, image)

    def label(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H, W): the class of the largest logit, the first one where they are equal."""
        return np.asarray(self.logits(image).argmax(axis=0).astype(np.uint8))
