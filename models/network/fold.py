"""Fold batch norm, as it is at inference, into the convolution before it.

The norm computes gamma (z - mean) / sqrt(var + eps) + beta, which is a scale and a shift of each output channel. The
mean's 1/4 of average pooling needs no weights at all: the integer program sums four and says `frac + 2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bunet.models.network.architecture import NORM_EPSILON
from bunet.models.network.graph import FloatNode


@dataclass(frozen=True)
class Folded:
    """A convolution with nothing after it: weight float64 (O, C, k, k) or (C, O, 2, 2), bias float64 (O,)."""

    weight: np.ndarray
    bias: np.ndarray


def fold(graph: tuple[FloatNode, ...], tensors: Mapping[str, np.ndarray]) -> dict[str, Folded]:
    """Folded convolutions by node name. `tensors`: see Architecture.parameters."""
    return {node.name: fold_node(node, tensors) for node in graph if node.parameter}


def fold_node(node: FloatNode, tensors: Mapping[str, np.ndarray]) -> Folded:
    """The folded convolution of one node."""
    weight = tensors[f"{node.parameter}.weight"].astype(np.float64)
    if not node.norm:
        return Folded(weight, tensors[f"{node.parameter}.bias"].astype(np.float64))
    gamma, beta, mean, var = (
        tensors[f"{node.norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(var + NORM_EPSILON)
    return Folded(weight * scale[:, None, None, None], beta - mean * scale)
