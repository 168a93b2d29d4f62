"""Files of a training: weights in half precision with notes on their origin, and checkpoints; nothing is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bunet.models.files import sealed
from bunet.models.network import weights
from bunet.models.network.architecture import NORM_EPSILON, Architecture
from bunet.models.network.unet import UNet
from bunet.models.network.weights import FloatWeights, WeightsError
from bunet.models.training.config import TrainError
from bunet.models.training.parabola import carried_over

CHECKPOINT = sealed.Kind("bunet-training-checkpoint", 3, "a training's checkpoint", "remove it, and train from the start")


def save(model: UNet, path: Path, notes: Mapping[str, Any] | None = None) -> None:
    """Write the weights (`weights.save`, half precision) with every batch norm's variance brought to 1.

    The network stays the same: a convolution without bias and its norm's statistics may be divided by any common
    factor, here the square root of (variance + epsilon). Nothing small is left for half precision to lose.
    """
    tensors = {n: v.detach().float().numpy() for n, v in model.state_dict().items() if not n.endswith("tracked")}
    for block in model.architecture.blocks():
        for conv, norm in block.layers():
            factor = np.sqrt((1.0 - NORM_EPSILON) / (tensors[f"{norm}.running_var"] + NORM_EPSILON))
            tensors[f"{conv}.weight"] = tensors[f"{conv}.weight"] * factor[:, None, None, None]
            tensors[f"{norm}.running_mean"] = tensors[f"{norm}.running_mean"] * factor
            tensors[f"{norm}.running_var"] = np.full_like(factor, 1.0 - NORM_EPSILON)
    weights.save(FloatWeights(model.architecture, tensors), path, half=True, notes=notes)


def load(path: Path, architecture: Architecture | None = None) -> UNet:
    """A model with the weights of a file; given an architecture, with its activations (see models/training/parabola.py).

    Raises TrainError naming the file where they do not fit.
    """
    if not path.is_file():
        raise TrainError(f"{path} does not exist")
    try:
        found = weights.load(path)
        if architecture is not None:
            found = carried_over(found, architecture)
    except WeightsError as error:
        raise TrainError(f"{path} cannot be started from: {error}") from error
    model = UNet(found.architecture)
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in found.tensors.items()}, strict=False)
    return model.eval()


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a checkpoint in one move: a reader sees the old file or the new one."""
    sealed.save(path, CHECKPOINT, {name: tensor.cpu().numpy() for name, tensor in tensors.items()}, metadata)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a checkpoint; TrainError naming the file where it is absent, damaged or something else."""
    try:
        metadata, tensors = sealed.load(path, CHECKPOINT)
    except sealed.SealError as error:
        raise TrainError(*error.args) from error
    return {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, metadata
