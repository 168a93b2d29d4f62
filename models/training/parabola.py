"""From a trained ReLU network to the start of one with squares: each replaced ReLU becomes the parabola nearest to
it.
"""

from __future__ import annotations

import math

import numpy as np

from bunet.models.network.architecture import Architecture
from bunet.models.network.weights import FloatWeights, WeightsError

LEAST_GAMMA = 1e-3
MOST_RATIO = 2.0  # beyond, a ReLU is nearly dead or nearly linear: some curvature is kept


def carried_over(weights: FloatWeights, architecture: Architecture) -> FloatWeights:
    """The weights under another activation: norms before a ReLU that becomes a square are replaced, all else is kept.

    The two architectures may differ in activation and pooling only, and a square cannot become a ReLU (WeightsError).
    """
    source_architecture = weights.architecture
    if source_architecture.parameters() != architecture.parameters():
        raise WeightsError(f"weights of {source_architecture.to_json()} do not have the sizes of {architecture.to_json()}")
    tensors = dict(weights.tensors)
    for block, source in zip(architecture.blocks(), source_architecture.blocks(), strict=True):
        if (source.activation, block.activation) == ("square", "relu"):
            raise WeightsError(f"{block.name} is trained for squares, which ReLU cannot take over")
        if (source.activation, block.activation) == ("relu", "square"):
            for _, norm in block.layers():
                scale, shift = nearest_square(tensors[f"{norm}.weight"], tensors[f"{norm}.bias"])
                tensors[f"{norm}.weight"], tensors[f"{norm}.bias"] = scale, shift
    return FloatWeights(architecture, tensors)


def nearest_square(gamma: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(a, b) per channel, so that (a n + b)^2 + c is nearest to relu(gamma n + beta) in the mean square, n standard
    normal.

    In Hermite polynomials the coefficients of first and second order are the mean first and second derivatives
    (Stein's lemma): 2ab = gamma Phi(beta/|gamma|), a^2 = |gamma| phi(beta/|gamma|) / 2. The constant c is left out:
    the batch norm after the next convolution removes it, but for the image's border.
    """
    magnitude = np.maximum(np.abs(gamma.astype(np.float64)), LEAST_GAMMA)
    ratio = np.clip(beta / magnitude, -MOST_RATIO, MOST_RATIO)
    density = np.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi)
    share = np.array([0.5 * (1 + math.erf(r / math.sqrt(2))) for r in ratio])
    a = np.sqrt(0.5 * magnitude * density)
    b = magnitude * share / (2 * a)
    return (np.where(gamma < 0, -a, a)).astype(np.float32), b.astype(np.float32)
