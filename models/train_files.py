"""Files of a training: weights in half precision with notes on their origin, and checkpoints; nothing is pickled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bunet.models import weights
from bunet.models.architecture import NORM_EPSILON, Architecture
from bunet.models.parabola import carried_over
from bunet.models.train_config import TrainError
from bunet.models.unet import UNet
from bunet.models.weights import FloatWeights, WeightsError


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
    part = path.with_name(path.name + ".part")
    weights.save(FloatWeights(model.architecture, tensors), part, half=True, notes=notes)
    os.replace(part, path)


def load(path: Path, architecture: Architecture | None = None) -> UNet:
    """A model with the weights of a file; given an architecture, with its activations (see models/parabola.py).

    Raises TrainError naming the file where they do not fit.
    """
    try:
        found = weights.load(path)
        if architecture is not None:
            found = carried_over(found, architecture)
    except FileNotFoundError as error:
        raise TrainError(f"{path} does not exist") from error
    except WeightsError as error:
        raise TrainError(f"{path} cannot be started from: {error}") from error
    model = UNet(found.architecture)
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in found.tensors.items()}, strict=False)
    return model.eval()


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write in one move: a reader sees the old file or the new one."""
    part = path.with_name(path.name + ".part")
    save_file(dict(tensors), part, metadata=metadata)
    os.replace(part, path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata; TrainError naming the file where it is absent or something else."""
    try:
        with safe_open(path, framework="pt") as stream:  # type: ignore[no-untyped-call]
            return {name: stream.get_tensor(name) for name in stream.keys()}, dict(stream.metadata() or {})  # noqa: SIM118
    except FileNotFoundError as error:
        raise TrainError(f"{path} does not exist") from error
    except (SafetensorError, OSError) as error:
        raise TrainError(f"{path} is not a safetensors file: {error}") from error
