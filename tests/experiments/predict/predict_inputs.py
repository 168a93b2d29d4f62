"""Small cases and random published models for the tests of `bunet predict`."""

from pathlib import Path

import numpy as np
import torch

from bunet.models.network import weights as weight_files
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_weights
from bunet.models.network.unet import from_weights

SIZE = 16


def cube(seed: int = 0, size: int = SIZE) -> np.ndarray:
    """A smooth volume in [0, 1], float32 (size, size, size)."""
    generator = np.random.default_rng(seed)
    volume: np.ndarray = generator.random((size, size, size)).astype(np.float32)
    for axis in range(3):
        volume = (volume + np.roll(volume, 1, axis) + np.roll(volume, -1, axis)) / 3
    return (volume - volume.min()) / (volume.max() - volume.min())


def publish(folder: Path, seed: int, features: int = 2, bias: float = 0.3) -> None:
    """best_model-X.pth, -Y, -Z with random weights under the published names, and a published file's other keys."""
    folder.mkdir(parents=True)
    for number, axis in enumerate("XYZ"):
        architecture = Architecture(features=features, pooling="max")
        model = from_weights(seeded_weights(architecture, seed + number))
        with torch.no_grad():
            model.conv.bias[1] += bias  # three axes seldom agree by chance
        torch.save({"epoch": 3, "state_dict": model.state_dict()}, folder / f"best_model-{axis}.pth")


def published_case(folder: Path, name: str, volume: np.ndarray, label: np.ndarray | None = None) -> None:
    """ID/ID.npz and ID/ID_label.npz."""
    (folder / name).mkdir(parents=True)
    np.savez(folder / name / f"{name}.npz", array=volume)
    if label is not None:
        np.savez(folder / name / f"{name}_label.npz", array=label)


def script(volume: np.ndarray, infection: Path, lung: Path) -> tuple[np.ndarray, np.ndarray]:
    """(infection, lung) masks by the published script's steps, written down independently of the product's code."""
    torch.set_num_threads(1)  # small layers, and other processes want the other cores
    masks = {}
    for target, folder in (("infection", infection), ("lung", lung)):
        total = np.zeros(volume.shape, np.float32)
        for number, axis in enumerate("XYZ"):  # array axes, as published
            state = torch.load(folder / f"best_model-{axis}.pth", weights_only=True)["state_dict"]
            model = from_weights(
                weight_files.FloatWeights(
                    Architecture(features=state["conv.weight"].shape[1], pooling="max"),
                    {k: v.numpy() for k, v in state.items() if "num_batches" not in k},
                )
            )
            along = np.moveaxis(volume, number, 0)
            padded = np.concatenate([np.zeros_like(along[:5]), along, np.zeros_like(along[:5])])
            found = np.moveaxis(total, number, 0)
            for k in range(len(along)):
                image = np.stack([padded[k + 5 + offset] for offset in (-5, -2, 0, 2, 5)])
                with torch.no_grad():
                    found[k] += torch.softmax(model(torch.from_numpy(image)[None])[0], 0)[1].numpy()
        above = torch.from_numpy((total > 2).astype(np.float32))[None, None]
        masks[target] = torch.nn.functional.max_pool3d(above, 3, 1, 1)[0, 0].numpy() > 0
    return masks["infection"] & masks["lung"], masks["lung"]
