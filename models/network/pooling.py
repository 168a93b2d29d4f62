"""Whether a weight file's network was trained with average or maximum pooling: its batch norms tell.

A published weight file does not say how it pools. Each norm remembers mean and variance of its input in training, and
a maximum shifts both; the pooling under which the network reproduces them on slices of the same kind is the one it was
trained with. The distance is the Kullback-Leibler divergence of two normal distributions, averaged over channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bunet.models.network import reference
from bunet.models.network.architecture import NORM_EPSILON, POOLINGS
from bunet.models.network.fold import Folded, fold
from bunet.models.network.graph import FloatNode, lower
from bunet.models.network.weights import FloatWeights

CLEAR = 0.8  # the better distance must be below this share of the other


def distances(weights: FloatWeights, images: Sequence[np.ndarray]) -> dict[str, float]:
    """Of each pooling, in nats, on slices (in_channels, H, W) like those of the training; on others they mislead.

    Raises ValueError without a slice.
    """
    if not images:
        raise ValueError("pooling cannot be told without a slice")
    return {pooling: _distance(weights, pooling, images) for pooling in POOLINGS}


def decide(measured: Sequence[Mapping[str, float]]) -> str | None:
    """The pooling of networks that were trained alike, from the `distances` of each; None where they do not tell."""
    mean = {pooling: float(np.mean([each[pooling] for each in measured])) for pooling in POOLINGS}
    best, other = sorted(mean, key=lambda pooling: mean[pooling])
    return best if np.isfinite(mean[best]) and mean[best] < CLEAR * mean[other] else None


def _distance(weights: FloatWeights, pooling: str, images: Sequence[np.ndarray]) -> float:
    """Mean divergence over the channels of all norms below the first pooling."""
    architecture = replace(weights.architecture, pooling=pooling)
    graph = lower(architecture)
    folded = fold(graph, weights.tensors)
    sums: dict[str, np.ndarray] = {}

    def watch(node: FloatNode, value: np.ndarray) -> None:
        if node.norm and node.level:
            wide = _before_norm(node, value.astype(np.float64), weights, folded[node.name])
            moments = np.stack([wide.mean(axis=(1, 2)), (wide**2).mean(axis=(1, 2))])
            sums[node.norm] = sums.get(node.norm, 0) + moments / len(images)

    with np.errstate(over="ignore", invalid="ignore"):  # the wrong pooling may overflow a network of squares
        for image in images:
            reference.forward(graph, folded, image, watch)
        distances = [_divergence(weights, norm, *moments) for norm, moments in sums.items()]
    return float(np.mean(np.concatenate(distances)))


def _before_norm(node: FloatNode, value: np.ndarray, weights: FloatWeights, folded: Folded) -> np.ndarray:
    """What the norm saw: the folded convolution's output with scale and shift undone."""
    scale = weights.tensors[f"{node.norm}.weight"] / np.sqrt(weights.tensors[f"{node.norm}.running_var"] + NORM_EPSILON)
    safe = np.where(scale == 0, 1, scale)
    return np.asarray((value - folded.bias[:, None, None]) / safe[:, None, None])


def _divergence(weights: FloatWeights, norm: str, mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Of the measured normal from the remembered one, by channel."""
    variance = np.maximum(square - mean**2, 0) + NORM_EPSILON
    remembered = weights.tensors[f"{norm}.running_var"].astype(np.float64) + NORM_EPSILON
    off = (mean - weights.tensors[f"{norm}.running_mean"]) ** 2
    return np.asarray(0.5 * (np.log(remembered / variance) + (variance + off) / remembered - 1))
