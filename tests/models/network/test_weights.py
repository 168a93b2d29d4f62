"""Architecture, weight files and the float network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from bunet.models.errors import UsageError
from bunet.models.metrics import agreement
from bunet.models.network import reference, weights
from bunet.models.network.architecture import Architecture, ArchitectureError
from bunet.models.network.fold import fold
from bunet.models.network.graph import lower
from bunet.models.network.seeded import seeded_slice, seeded_weights
from bunet.models.network.weights import FloatWeights, WeightsError
from bunet.models.passes import calibrate

SMALL = Architecture(features=2, in_channels=3, depth=2)


def test_published_parameter_names() -> None:
    shapes = Architecture().parameters()
    assert shapes["encoder1.enc1conv1.weight"] == (16, 5, 3, 3)
    assert shapes["encoder4.enc4norm2.running_var"] == (128,)
    assert shapes["bottleneck.bottleneckconv2.weight"] == (256, 256, 3, 3)
    assert shapes["upconv4.weight"] == (256, 128, 2, 2)
    assert shapes["decoder4.dec4conv1.weight"] == (128, 256, 3, 3)
    assert shapes["conv.weight"] == (2, 16, 1, 1)
    assert sum(int(np.prod(s)) for n, s in shapes.items() if "running" not in n) == 1_942_882


def test_levels_of_activations() -> None:
    assert Architecture(activation="hybrid").level_activations() == ("square", "square", "relu", "relu", "relu")
    assert Architecture(depth=1, activation="relu,square").level_activations() == ("relu", "square")


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": 0},
        {"features": 2.0},
        {"depth": 9},
        {"activation": "tanh"},
        {"activation": "relu,relu"},
        {"pooling": "sum"},
        {"in_channels": True},
    ],
)
def test_wrong_architectures_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArchitectureError, match=next(iter(wrong))):
        Architecture(**wrong)


def test_wrong_sizes_and_texts_are_refused() -> None:
    with pytest.raises(ArchitectureError, match="divide by 16"):
        Architecture().check_size(128, 120)
    for text in ("", "[]", '{"depht": 3}', '{"depth": 99}'):
        with pytest.raises(ArchitectureError):
            Architecture.from_json(text)
    assert Architecture.from_json(SMALL.to_json()) == SMALL


@pytest.mark.parametrize("half", [False, True])
def test_a_file_gives_back_what_was_saved(tmp_path: Path, half: bool) -> None:
    original = seeded_weights(SMALL, 1)
    path = tmp_path / "w.safetensors"
    weights.save(original, path, half=half)
    loaded = weights.load(path)
    assert loaded.architecture == SMALL
    for name, tensor in original.tensors.items():
        assert loaded.tensors[name].dtype == np.float32
        np.testing.assert_allclose(loaded.tensors[name], tensor, rtol=1e-3 if half else 0, atol=1e-6 if half else 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("upconv1.bias"), "lack tensor 'upconv1.bias'"),
        (lambda t: t.update({"extra": np.zeros(1, np.float32)}), "hold tensor 'extra'"),
        (lambda t: t.update({"conv.bias": np.zeros(3, np.float32)}), r"'conv.bias' has shape \(3,\)"),
        (lambda t: t.update({"conv.bias": np.zeros(2, np.int64)}), "'conv.bias' holds int64"),
        (lambda t: t.update({"conv.bias": np.array([0, np.nan], np.float32)}), "'conv.bias' holds values"),
        (lambda t: t["encoder1.enc1norm1.running_var"].fill(-1), "negative variance"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: Callable[..., Any], message: str) -> None:
    tensors = {name: tensor.copy() for name, tensor in seeded_weights(SMALL).tensors.items()}
    change(tensors)
    with pytest.raises(WeightsError, match=message):
        FloatWeights(SMALL, tensors)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(WeightsError):
        weights.load(path)
    path.write_bytes(b"not a weight file at all")
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        weights.load(path)
    tensors = dict(seeded_weights(SMALL).tensors)
    save_file(tensors, path)
    with pytest.raises(WeightsError, match="metadata"):
        weights.load(path)
    tensors["conv.bias"] = np.full(2, 1e6, np.float32)
    with pytest.raises(WeightsError, match=r"'conv\.bias' holds values beyond half"):
        weights.save(FloatWeights(SMALL, tensors), path, half=True)


@pytest.mark.parametrize("activation", ["relu", "square", "hybrid"])
def test_seeded_weights_are_reproducible_and_stay_in_range(activation: str) -> None:
    architecture = Architecture(features=4, activation=activation)
    first, second = seeded_weights(architecture, 3), seeded_weights(architecture, 3)
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name])
    graph = lower(architecture)
    image = seeded_slice(architecture, 64, 32, 99)
    assert image.shape == (5, 64, 32)
    assert 0 <= image.min() < image.max() < 1
    ranges = calibrate.calibrate(graph, fold(graph, first.tensors), [image])
    assert 0.05 < min(ranges.values()) <= max(ranges.values()) < 500


def test_calibration_refuses_slices_that_do_not_fit() -> None:
    model = reference.FloatModel(seeded_weights(SMALL))
    for slices, message in (
        ([], "at least one"),
        ([np.zeros((2, 8, 8))], "shape"),
        ([np.zeros((3, 8, 6))], "divide by 4"),
        ([np.full((3, 8, 8), np.inf)], "not finite"),
    ):
        with pytest.raises(UsageError, match=message):
            calibrate.calibrate(model.graph, model.folded, slices)


@pytest.mark.parametrize("activation", ["relu", "hybrid"])
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_folded_numpy_network_equals_the_unfolded_torch_one(activation: str, pooling: str) -> None:
    torch = pytest.importorskip("torch")
    from bunet.models.network.unet import from_weights

    architecture = Architecture(features=3, activation=activation, pooling=pooling)
    original = seeded_weights(architecture, 4)
    model = from_weights(original)
    image = seeded_slice(architecture, 32, 48, 5)
    with torch.no_grad():
        expected = model(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(reference.FloatModel(original).logits(image), expected, atol=1e-4)
    for name, tensor in original.tensors.items():
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), tensor)


def test_published_checkpoints_are_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from bunet.models.network.unet import from_weights, read_checkpoint

    original = seeded_weights(SMALL, 2)
    path = tmp_path / "best_model-X.pth"
    torch.save({"state_dict": from_weights(original).state_dict(), "epoch": 3}, path)
    loaded = read_checkpoint(path, "relu", "avg")
    assert loaded.architecture == SMALL
    np.testing.assert_array_equal(loaded.tensors["upconv2.weight"], original.tensors["upconv2.weight"])
    torch.save({"weights": 1}, path)
    with pytest.raises(WeightsError, match="state_dict"):
        read_checkpoint(path)
    state = from_weights(original).state_dict()
    del state["decoder2.dec2conv1.weight"]
    torch.save({"state_dict": state}, path)
    with pytest.raises(WeightsError, match=r"lack tensor 'decoder2\.dec2conv1\.weight'"):
        read_checkpoint(path)


def test_dice() -> None:
    a, b = np.zeros((2, 3)), np.zeros((2, 3))
    assert agreement(a, b).dice == 1.0
    a[0, :2] = 1
    assert agreement(a, b).dice == 0.0
    b[0, 1:] = 7
    assert agreement(a, b).dice == 0.5
    with pytest.raises(ValueError, match="shapes"):
        agreement(a, b[:1])


def test_notes_travel_with_the_weights(tmp_path: Path) -> None:
    model = seeded_weights(SMALL)
    path = tmp_path / "w.safetensors"
    weights.save(model, path)
    assert weights.read_notes(path) == {}
    weights.save(model, path, half=True, notes={"axis": "y", "test": ["a", "b"]})
    assert weights.read_notes(path) == {"axis": "y", "test": ["a", "b"]}
    assert weights.load(path).architecture == SMALL
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not a weight file"):
        weights.read_notes(path)
    with pytest.raises(WeightsError, match="no weight file"):
        weights.read_notes(tmp_path / "nowhere")
