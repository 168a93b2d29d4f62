"""Weights and images drawn from a seed, for benchmarks and tests without trained weights or a volume; no secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bunet.models.network import reference
from bunet.models.network.architecture import NORM_EPSILON, Architecture
from bunet.models.network.fold import Folded, fold_node
from bunet.models.network.graph import FloatNode, lower
from bunet.models.network.weights import FloatWeights


def seeded_slice(architecture: Architecture, height: int, width: int, seed: int) -> np.ndarray:
    """A smooth image (in_channels, height, width), float32 in [0, 1), for benchmarks and tests without a volume."""
    generator = np.random.default_rng([seed, height, width])
    coarse = generator.random((architecture.in_channels, -(-height // 8) + 1, -(-width // 8) + 1))
    rows, columns = np.arange(height) / 8, np.arange(width) / 8
    y, x = rows.astype(int), columns.astype(int)
    fy, fx = (rows - y)[None, :, None], (columns - x)[None, None, :]
    upper = coarse[:, y][:, :, x] * (1 - fx) + coarse[:, y][:, :, x + 1] * fx
    lower_ = coarse[:, y + 1][:, :, x] * (1 - fx) + coarse[:, y + 1][:, :, x + 1] * fx
    return np.asarray((upper * (1 - fy) + lower_ * fy).astype(np.float32))


def seeded_weights(architecture: Architecture, seed: int = 0) -> FloatWeights:
    """Random weights for benchmarks and tests (no secret): He initialisation, and batch-norm statistics measured on a
    few seeded slices, so that activations stay in range at every depth and about half of the mask is foreground.

    A square activation's norm starts at gamma 1/2, beta 1, as in training.
    """
    generator = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for name, shape in architecture.parameters().items():
        if name.endswith("weight") and len(shape) == 4:
            taps = shape[0] if name.startswith("upconv") else shape[1] * shape[2] * shape[3]
            tensors[name] = generator.normal(0, (2 / taps) ** 0.5, shape).astype(np.float32)
        else:
            tensors[name] = np.zeros(shape, np.float32)
    side = 64 << max(0, architecture.depth - 4)
    images = [seeded_slice(architecture, side, side, seed + offset) for offset in range(3)]
    images.append(np.random.default_rng([seed, 1]).random(images[0].shape, dtype=np.float32))
    _set_statistics(architecture, tensors, images)
    return FloatWeights(architecture, tensors)


def _set_statistics(architecture: Architecture, tensors: dict[str, np.ndarray], images: Sequence[np.ndarray]) -> None:
    squared = {conv: block.activation == "square" for block in architecture.blocks() for conv, _ in block.layers()}
    graph = lower(architecture)
    values: dict[str, list[np.ndarray]] = {graph[0].name: list(images)}
    for node in graph[1:]:
        inputs = list(zip(*(values[name] for name in node.inputs), strict=True))
        if node.norm:
            raw = tensors[f"{node.parameter}.weight"].astype(np.float64)
            z = np.stack([reference.apply(node, Folded(raw, np.zeros(len(raw))), *x) for x in inputs])
            tensors[f"{node.norm}.running_mean"] = z.mean(axis=(0, 2, 3))
            tensors[f"{node.norm}.running_var"] = z.var(axis=(0, 2, 3)) + 0.5 * z.var() + NORM_EPSILON
            tensors[f"{node.norm}.weight"] = np.full(len(raw), 0.5 if squared[node.parameter] else 1.0, np.float32)
            tensors[f"{node.norm}.bias"] = np.full(len(raw), 1.0 if squared[node.parameter] else 0.0, np.float32)
        values[node.name] = [reference.apply(node, _folded(node, tensors), *x) for x in inputs]
    tensors["conv.bias"] = -np.median(np.stack(values[graph[-1].name]), axis=(0, 2, 3)).astype(np.float32)


def _folded(node: FloatNode, tensors: Mapping[str, np.ndarray]) -> Folded | None:
    return fold_node(node, tensors) if node.parameter else None
