"""The 2D U-Net in torch: for training and for reading published weight files. No party process needs it.

Square activations are y = x^2 with no scale of their own, exactly what the integer program computes. Batch norm stands
before every activation, so a scale would only be absorbed by the next norm. What makes them trainable is where they
start: gamma 1/2 and beta 1 give (1 + n/2)^2 = 1 + n + n^2/4, nearly the identity for a normalised n, so that magnitudes
do not square from layer to layer.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bunet.models.files.git_lfs import ADVICE, is_pointer
from bunet.models.network.architecture import NORM_EPSILON, Architecture, ArchitectureError, Block
from bunet.models.network.weights import FloatWeights, WeightsError
from bunet.models.volumes.arrays import DAMAGE

SQUARE_GAMMA = 0.5
SQUARE_BETA = 1.0

FIRST = "encoder1.enc1conv1.weight"  # the name by which a U-Net is known, whatever stands before it
WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+")  # of DataParallel and of torch.compile, before every name
SAVE_AGAIN = "save it again with `torch.save({'state_dict': model.state_dict()}, FILE)`"


class Square(nn.Module):
    """y = x^2, elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x


class UNet(nn.Module):
    """Logits (batch, out_channels, height, width) of slices (batch, in_channels, height, width), float.

    Parameters are named as published. Height and width must divide by 2^depth (ArchitectureError). In the decoder the
    upsampled channels come first and the skipped ones second.
    """

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = architecture = architecture or Architecture()
        for block in architecture.blocks():
            self.add_module(block.name, _double_convolution(block))
        for up in architecture.upconvs():
            self.add_module(up.name, nn.ConvTranspose2d(up.in_channels, up.out_channels, kernel_size=2, stride=2))
        self.conv = nn.Conv2d(architecture.features, architecture.out_channels, kernel_size=1)
        self.pool: nn.Module = nn.AvgPool2d(2) if architecture.pooling == "avg" else nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        self.architecture.check_size(x.shape[-2], x.shape[-1])
        depth = self.architecture.depth
        skips = []
        for level in range(1, depth + 1):
            x = self.get_submodule(f"encoder{level}")(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for level in range(depth, 0, -1):
            x = self.get_submodule(f"upconv{level}")(x)
            x = torch.cat((x, skips.pop()), dim=1)
            x = self.get_submodule(f"decoder{level}")(x)
        return self.conv(x)


def _double_convolution(block: Block) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in (1, 2):
        inputs = block.in_channels if index == 1 else block.out_channels
        norm = nn.BatchNorm2d(block.out_channels, eps=NORM_EPSILON)
        if block.activation == "square":
            nn.init.constant_(norm.weight, SQUARE_GAMMA)
            nn.init.constant_(norm.bias, SQUARE_BETA)
        layers[f"{block.prefix}conv{index}"] = nn.Conv2d(inputs, block.out_channels, 3, padding=1, bias=False)
        layers[f"{block.prefix}norm{index}"] = norm
        layers[f"{block.prefix}{block.activation}{index}"] = nn.ReLU() if block.activation == "relu" else Square()
    return nn.Sequential(layers)


def from_weights(weights: FloatWeights) -> UNet:
    """The torch network with these weights, in evaluation mode."""
    model = UNet(weights.architecture)
    state = model.state_dict()
    state.update({name: torch.from_numpy(tensor.copy()) for name, tensor in weights.tensors.items()})
    model.load_state_dict(state)
    return model.eval()


def to_weights(model: UNet) -> FloatWeights:
    """The network's parameters and batch-norm statistics as checked numpy arrays."""
    return _from_state(model.architecture, model.state_dict())


def read_checkpoint(
    path: str | Path, activation: str = "relu", pooling: str = "max", say: Callable[[str], None] = lambda text: None
) -> FloatWeights:
    """Read a published weight file: a torch file that holds a dictionary with key `state_dict`, or the state_dict itself, or
    a dictionary with one state_dict under any other key.

    Tensors of any float kind become float32; the prefixes that DataParallel and torch.compile put before names are left off,
    and any other that all names share, such as `model.`. say: gets a sentence of another key or prefix.
    Sizes are read off the tensors; activation and pooling are not in such a file and must be told. Nothing in the file
    is executed. Raises WeightsError naming the file and the tensor.
    """
    if not Path(path).is_file():
        raise WeightsError(f"no weight file {path}")
    if is_pointer(Path(path)):
        raise WeightsError(f"{path} {ADVICE}")
    _check_members(Path(path))
    state = _without_prefix(path, _state_of(path, _loaded(path), say), say)
    try:
        features, in_channels = state[FIRST].shape[:2]
        depth = sum(1 for name in state if name.startswith("upconv") and name.endswith(".weight"))
        out_channels = state["conv.weight"].shape[0]
        architecture = Architecture(features, in_channels, depth, out_channels, activation, pooling)
        return _from_state(architecture, state)
    except KeyError as error:
        raise WeightsError(f"{path} is not of a U-Net: its state_dict lacks {error}") from error
    except (ArchitectureError, WeightsError, ValueError, IndexError) as error:
        raise WeightsError(f"{path}: {error}") from error


def _check_members(path: Path) -> None:
    """torch reads the members of its archives past their checksums. Files of the format before that one have none."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except DAMAGE as error:
        raise WeightsError(f"{path} is not a readable torch file: {error}") from error
    if damaged is not None:
        raise WeightsError(
            f"{path} is damaged: the checksum of its member {damaged!r} differs (or it was saved with compute_crc32=False: "
            f"then {SAVE_AGAIN} without)"
        )


def _loaded(path: str | Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's, of its own old formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own text advises to load it without the check, which is just what must not be done.
        unknown = re.search(r"GLOBAL (\S+)", str(error))
        what = f"names {unknown[1]}, which is no tensor" if unknown else "is no plain dictionary of tensors"
        raise WeightsError(
            f"{path} {what}: a weight file holds tensors only, so nothing of it was loaded; {SAVE_AGAIN}"
        ) from error
    except Exception as error:
        raise WeightsError(f"{path} is not a torch file of weights") from error


def _is_state(document: Any) -> bool:
    return isinstance(document, Mapping) and bool(document) and all(isinstance(each, Tensor) for each in document.values())


def _state_of(path: str | Path, document: Any, say: Callable[[str], None]) -> dict[str, Tensor]:
    """The tensors of a state_dict by their published names, as torch's wrappers leave them."""
    state = document.get("state_dict", document) if isinstance(document, Mapping) else None
    if isinstance(document, Mapping) and "state_dict" not in document and not _is_state(document):
        keys = [key for key, value in document.items() if _is_state(value)]
        if len(keys) > 1:
            named = " and ".join(repr(key) for key in keys)
            raise WeightsError(f"{path} holds several dictionaries of tensors, {named}, and none 'state_dict': {SAVE_AGAIN}")
        if keys:
            state = document[keys[0]]
            say(f"{path}: the weights are those under its key {keys[0]!r}")
    if not isinstance(state, Mapping) or not _is_state(state):
        raise WeightsError(f"{path} is no dictionary of tensors and has none under the key 'state_dict': {SAVE_AGAIN}")
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        plain = WRAPPERS.sub("", str(name))
        if plain in found:
            raise WeightsError(f"{path} holds tensor {plain!r} twice, with and without a prefix")
        found[plain] = tensor
    return found


def _without_prefix(path: str | Path, state: dict[str, Tensor], say: Callable[[str], None]) -> dict[str, Tensor]:
    """Without what stands before every name, of a class that held the network; as it is where that leaves no U-Net."""
    firsts = [name for name in state if name.endswith(f".{FIRST}")]
    if FIRST in state or len(firsts) != 1:
        return state
    prefix = firsts[0].removesuffix(FIRST)
    if not all(name.startswith(prefix) for name in state):
        return state
    say(f"{path}: the names of its tensors begin with {prefix!r}, which is left off")
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _from_state(architecture: Architecture, state: Mapping[str, Tensor]) -> FloatWeights:
    return FloatWeights(architecture, {n: _array(n, t) for n, t in state.items() if not n.endswith("num_batches_tracked")})


def _array(name: str, tensor: Tensor) -> np.ndarray:
    try:
        tensor = tensor.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:  # sparse, quantised, without values
        raise WeightsError(f"tensor {name!r} is of a kind that is not read: {tensor.dtype}, {tensor.layout}") from error
