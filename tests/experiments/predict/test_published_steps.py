"""`bunet predict` on the published layout against the published steps, written down here from the published text alone.

Nothing of BUNET is used but its command: no axis names, slices, ensembles or models of ours. Axes are numpy's: the model X
takes array[i, :, :], Y array[:, i, :], Z array[:, :, i], each with rows and columns in the order that is left. Each axis has a
network of its own, and the array three different sizes, so that any two axes that stand for one another show.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.experiments.command_line import Bunet  # noqa: E402

SHAPE = (32, 48, 64)
OFFSETS = (-5, -2, 0, 2, 5)
LETTERS = ("X", "Y", "Z")


class Block(nn.Module):
    """Two of: 3x3 convolution without a bias, batch norm, ReLU."""

    def __init__(self, name: str, taken: int, given: int) -> None:
        super().__init__()
        self.name = name
        for number, channels in ((1, taken), (2, given)):
            self.add_module(f"{name}conv{number}", nn.Conv2d(channels, given, kernel_size=3, padding=1, bias=False))
            self.add_module(f"{name}norm{number}", nn.BatchNorm2d(given))

    def forward(self, image: Any) -> Any:
        for number in (1, 2):
            convolved = self.get_submodule(f"{self.name}conv{number}")(image)
            image = torch.relu(self.get_submodule(f"{self.name}norm{number}")(convolved))
        return image


class PublishedNet(nn.Module):
    """5 input channels, 2 outputs, 16 features; max pooling, as the published float model has it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder1, self.encoder2 = Block("enc1", 5, 16), Block("enc2", 16, 32)
        self.encoder3, self.encoder4 = Block("enc3", 32, 64), Block("enc4", 64, 128)
        self.bottleneck = Block("bottleneck", 128, 256)
        self.upconv4, self.decoder4 = nn.ConvTranspose2d(256, 128, kernel_size=2, stride=2), Block("dec4", 256, 128)
        self.upconv3, self.decoder3 = nn.ConvTranspose2d(128, 64, kernel_size=2, stride=2), Block("dec3", 128, 64)
        self.upconv2, self.decoder2 = nn.ConvTranspose2d(64, 32, kernel_size=2, stride=2), Block("dec2", 64, 32)
        self.upconv1, self.decoder1 = nn.ConvTranspose2d(32, 16, kernel_size=2, stride=2), Block("dec1", 32, 16)
        self.conv = nn.Conv2d(16, 2, kernel_size=1)

    def forward(self, image: Any) -> Any:
        first = self.encoder1(image)
        second = self.encoder2(nn.functional.max_pool2d(first, 2))
        third = self.encoder3(nn.functional.max_pool2d(second, 2))
        fourth = self.encoder4(nn.functional.max_pool2d(third, 2))
        deep = self.bottleneck(nn.functional.max_pool2d(fourth, 2))
        deep = self.decoder4(torch.cat((self.upconv4(deep), fourth), dim=1))
        deep = self.decoder3(torch.cat((self.upconv3(deep), third), dim=1))
        deep = self.decoder2(torch.cat((self.upconv2(deep), second), dim=1))
        deep = self.decoder1(torch.cat((self.upconv1(deep), first), dim=1))
        return self.conv(deep)


def plane(array: np.ndarray, letter: str, i: int) -> np.ndarray:
    """What lies at position i of the axis; zeros beyond the array."""
    length = array.shape[0] if letter == "X" else array.shape[1] if letter == "Y" else array.shape[2]
    inside = 0 <= i < length
    at = i if inside else 0
    found = array[at, :, :] if letter == "X" else array[:, at, :] if letter == "Y" else array[:, :, at]
    return found if inside else np.zeros_like(found)


def five_channels(array: np.ndarray, letter: str, i: int) -> Any:
    return torch.from_numpy(np.stack([plane(array, letter, i + offset) for offset in OFFSETS]).astype(np.float32))[None]


def probabilities(net: nn.Module, array: np.ndarray, letter: str) -> np.ndarray:
    """Of class 1, float32 of the array's shape."""
    found = np.zeros(array.shape, np.float32)
    net.eval()
    with torch.no_grad():
        if letter == "X":
            for i in range(array.shape[0]):
                found[i, :, :] = torch.softmax(net(five_channels(array, letter, i)), dim=1)[0, 1].numpy()
        elif letter == "Y":
            for i in range(array.shape[1]):
                found[:, i, :] = torch.softmax(net(five_channels(array, letter, i)), dim=1)[0, 1].numpy()
        else:
            for i in range(array.shape[2]):
                found[:, :, i] = torch.softmax(net(five_channels(array, letter, i)), dim=1)[0, 1].numpy()
    return found


def widened(mask: np.ndarray) -> np.ndarray:
    """The maximum over 3x3x3 voxels."""
    padded = np.zeros(tuple(n + 2 for n in mask.shape), bool)
    padded[1:-1, 1:-1, 1:-1] = mask
    found = np.zeros_like(mask)
    for z in range(3):
        for y in range(3):
            for x in range(3):
                found |= padded[z : z + mask.shape[0], y : y + mask.shape[1], x : x + mask.shape[2]]
    return found


def three_axes(folder: Path, array: np.ndarray, files: tuple[str, str, str] = LETTERS) -> np.ndarray:
    """The sum of the axes' probabilities. files: which file each axis X, Y, Z takes."""
    total = np.zeros(array.shape, np.float32)
    for letter, file in zip(LETTERS, files, strict=True):
        net = PublishedNet()
        net.load_state_dict(torch.load(folder / f"best_model-{file}.pth", weights_only=True)["state_dict"])
        total += probabilities(net, array, letter)
    return total


def published_mask(infection: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """uint8, of the sums of both targets' axes."""
    return widened(infection > 2).astype(np.uint8) * widened(lung > 2).astype(np.uint8)


def write_models(folder: Path, array: np.ndarray, seed: int) -> None:
    """A network for each axis, whose batch norms remember this array, and of which three seldom agree by chance."""
    folder.mkdir()
    for number, letter in enumerate(LETTERS):
        torch.manual_seed(seed + number)
        net = PublishedNet()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # running statistics are plain means
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.3, 0.5)
        images = torch.cat([five_channels(array, letter, i) for i in range(array.shape[number])])
        net.train()
        with torch.no_grad():
            net(images)
            net.eval()
            logits = net(images)
            apart = logits[:, 1] - logits[:, 0]
            net.conv.weight *= 1.2 / apart.std()
            net.conv.bias.zero_()
            logits = net(images)
            net.conv.bias[1] = -0.3 - float((logits[:, 1] - logits[:, 0]).mean())
        torch.save({"epoch": 1, "state_dict": net.state_dict()}, folder / f"best_model-{letter}.pth")


def normalised_ct() -> np.ndarray:
    """A smooth array of mean 0 and deviation 1, float32: most of it lies outside of 0 to 1."""
    array = np.random.default_rng(9).random(SHAPE)
    for _ in range(2):
        for axis in range(3):
            array = array + np.roll(array, 1, axis) + np.roll(array, -1, axis)
    return ((array - array.mean()) / array.std()).astype(np.float32)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * int(((first > 0) & (second > 0)).sum()) / (int((first > 0).sum()) + int((second > 0).sum()))


def predict(bunet: Bunet, given: Path, infection: str, lung: str, out: Path) -> np.ndarray:
    """What `bunet predict` writes, asked as the published script is."""
    result = bunet("predict", "--model_infection_dir", str(given / infection), "--model_lung_dir", str(given / lung),
        "--test_data_dir", str(given / "TEST"), "--float", "--out", str(out))  # fmt: skip
    assert result.status == 0, result.error
    with np.load(out / "ID_prediction.npz") as archive:
        return archive["array"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small layers, and other processes want the other cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of the published layout; the label is the mask by the published steps."""
    place, array = tmp_path_factory.mktemp("published"), normalised_ct()
    write_models(place / "INF", array, 100)
    write_models(place / "LUNG", array, 300)
    (place / "TEST" / "ID").mkdir(parents=True)
    np.savez(place / "TEST" / "ID" / "ID.npz", array=array)
    infection, lung = three_axes(place / "INF", array), three_axes(place / "LUNG", array)
    np.savez(place / "TEST" / "ID" / "ID_label.npz", array=published_mask(infection, lung))
    for total in (infection, lung):  # no voxel may hang on the rounding of float32
        assert np.abs(total - 2).min() > 3e-6
    return place


def blind_mask(given: Path) -> np.ndarray:
    with np.load(given / "TEST" / "ID" / "ID_label.npz") as archive:
        return archive["array"]


def test_the_mask_is_that_of_the_published_steps(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    blind = blind_mask(given)
    assert 0.05 < blind.mean() < 0.9
    found = predict(bunet, given, "INF", "LUNG", tmp_path)
    assert found.shape == SHAPE
    assert dice(found, blind) == 1.0
    np.testing.assert_array_equal(found, blind)
    (score,) = json.loads((tmp_path / "ID" / "result.json").read_text())["scores"]
    assert (score["against"], score["dice"]) == ("label", 1.0)


def test_exchanged_axes_would_show(given: Path) -> None:
    totals = [three_axes(given / folder, normalised_ct(), ("Z", "Y", "X")) for folder in ("INF", "LUNG")]
    assert dice(published_mask(*totals), blind_mask(given)) < 0.9
