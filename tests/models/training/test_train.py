"""Training: reproducible, resumable, learning, and clear about what it cannot do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.models.errors import UsageError
from bunet.models.network.architecture import Architecture
from bunet.models.network.fold import fold
from bunet.models.network.graph import lower
from bunet.models.network.weights import FloatWeights
from bunet.models.passes.calibrate import calibrate
from bunet.models.training.config import TrainProgress

torch = pytest.importorskip("torch")

from typing import Never  # noqa: E402

from bunet.models.network import weights  # noqa: E402
from bunet.models.network.unet import Square, UNet  # noqa: E402
from bunet.models.training import train as training  # noqa: E402
from bunet.models.training.activation_noise import Activations, Noise  # noqa: E402
from bunet.models.training.augment import wild  # noqa: E402
from bunet.models.training.config import TrainConfig, TrainError  # noqa: E402
from bunet.models.training.files import load, save  # noqa: E402
from bunet.models.training.ranges import calibration_rows  # noqa: E402
from bunet.models.training.score import score  # noqa: E402
from bunet.models.training.sources import SyntheticSource, chest_batches  # noqa: E402
from bunet.models.training.train import segmentation_loss, train  # noqa: E402
from bunet.models.volumes import synthetic  # noqa: E402
from tests.models.held_out import TEST_SEEDS  # noqa: E402

TINY = Architecture(features=2, depth=2)


def config(tmp_path: Path, name: str = "w", **changes: float | Architecture | Path) -> TrainConfig:
    arguments: dict[str, Any] = {
        "output": tmp_path / f"{name}.safetensors",
        "architecture": TINY,
        "size": 32,
        "slices": 6,
        "volumes": 2,
        "validation_volumes": 1,
        "steps": 4,
        "batch": 2,
        "evaluate_every": 2,
        "threads": 1,
    }
    return TrainConfig(**(arguments | changes))


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    reports: list[TrainProgress] = []
    whole = train(config(tmp_path, "whole"), reports.append)
    assert [r.step for r in reports] == [2, 4]

    def interrupt(report: TrainProgress) -> Never:
        raise KeyboardInterrupt

    broken = config(tmp_path, "broken")
    with pytest.raises(KeyboardInterrupt):
        train(broken, interrupt)
    resumed = train(broken, resume=True)
    assert (whole.dice, whole.step) == (resumed.dice, resumed.step)
    first, second = weights.load(whole.output).tensors, weights.load(resumed.output).tensors
    assert all(np.array_equal(first[name], second[name]) for name in first)
    header, *lines = [json.loads(line) for line in broken.metrics.read_text().splitlines()]
    assert header["run"]["source"] == "synthetic"
    assert [line["step"] for line in lines] == [2, 4]
    assert [line["loss"] for line in lines] == [r.loss for r in reports]
    with pytest.raises(TrainError, match="other settings"):
        train(config(tmp_path, "broken", rate=1e-4), resume=True)


def test_training_learns_and_its_file_is_the_model(tmp_path: Path) -> None:
    losses = []
    settings = config(tmp_path, steps=60, evaluate_every=20, batch=4, rate=1e-2, volumes=3)
    result = train(settings, lambda r: losses.append(r.loss))
    assert losses[-1] < 0.8 * losses[0]
    chests = [synthetic.generate(settings.size, settings.slices, seed) for seed in TEST_SEEDS[:2]]
    model = load(result.output)
    counts, peak = score(model, chest_batches(chests, "z", "infection"))
    assert 0 <= counts.dice <= 1
    assert peak > 0
    assert weights.load(result.output).architecture == TINY


def test_saving_leaves_the_network_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = UNet(TINY)
    image = torch.rand(4, 5, 16, 16)
    for _ in range(5):
        model(image)
    model.eval()
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    with torch.no_grad():
        np.testing.assert_allclose(again(image).numpy(), model(image).numpy(), atol=2e-2)
    tensors = weights.load(tmp_path / "m.safetensors").tensors
    assert all((np.abs(v - 1) < 1e-3).all() for k, v in tensors.items() if k.endswith("running_var"))


def test_squares_start_from_relu_weights(tmp_path: Path) -> None:
    save(UNet(TINY), tmp_path / "relu.safetensors")
    square = Architecture(features=2, depth=2, activation="square,relu,relu")
    result = train(config(tmp_path, architecture=square, initial=tmp_path / "relu.safetensors", steps=2))
    assert weights.load(result.output).architecture == square


def test_settled_norms_keep_their_statistics(tmp_path: Path) -> None:
    assert config(tmp_path, steps=10).settled_from == 10
    assert config(tmp_path, steps=10, architecture=Architecture(features=2, depth=2, activation="square")).settled_from == 5
    assert config(tmp_path, steps=10, settle=0.2).settled_from == 8
    run = training._Run(config(tmp_path, steps=2, settle=0.5))
    before = run.model.bottleneck.bottlenecknorm1.running_mean.clone()
    run.advance()
    moving = run.model.bottleneck.bottlenecknorm1.running_mean.clone()
    run.advance()
    assert not torch.equal(before, moving)
    assert torch.equal(moving, run.model.bottleneck.bottlenecknorm1.running_mean)


def test_the_ranges_of_training_slices_are_noted_at_the_end(tmp_path: Path) -> None:
    settings = config(tmp_path)
    train(settings)
    found = weights.load(settings.output)
    graph = lower(TINY)
    notes = weights.read_notes(settings.output)
    images = SyntheticSource(settings).calibration()
    assert notes["calibration_slices"] == len(images) == 2 * settings.slices
    assert notes["ranges"] == calibrate(graph, fold(graph, found.tensors), images)
    assert notes["validation_dice"] >= 0
    # a finished training of an earlier version makes up for them, and leaves all else as it is
    tensors = {name: tensor.astype(np.float16) for name, tensor in found.tensors.items()}
    bare = {name: value for name, value in notes.items() if name not in ("ranges", "calibration_slices")}
    weights.save(FloatWeights(TINY, tensors), settings.output, half=True, notes=bare)
    train(settings, resume=True)
    assert weights.read_notes(settings.output) == notes
    again = weights.load(settings.output).tensors
    assert all(np.array_equal(again[name], tensor) for name, tensor in found.tensors.items())
    settings.output.unlink()
    with pytest.raises(TrainError, match=r"no weight file .*w\.safetensors"):
        train(settings, resume=True)


def test_ranges_are_measured_with_and_without_the_target() -> None:
    shows = [np.arange(10, 60), np.array([3]), np.array([], int)]
    rows = calibration_rows(shows, [100, 30, 8], seed=0)
    assert rows == calibration_rows(shows, [100, 30, 8], seed=0) != calibration_rows(shows, [100, 30, 8], seed=1)
    assert len(set(rows)) == len(rows)
    assert [sum(number == k for number, _ in rows) for k in range(3)] == [32, 30, 8]
    inside = sum(10 <= k < 60 for number, k in rows if number == 0)
    assert 16 <= inside < 32


def test_no_progress_ends_early(tmp_path: Path) -> None:
    settings = config(tmp_path, steps=40, evaluate_every=1, patience=2, rate=1e-12)
    result = train(settings)
    assert result.stopped_early
    assert len(settings.metrics.read_text().splitlines()) < 40


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be a positive"),
        ({"rate": 0.0}, "rate must be positive"),
        ({"seed": -1}, "seed must not be negative"),
        ({"seed": 10**6}, "is not below"),
        ({"settle": 1.5}, "settle must be a share"),
        ({"volumes": 1001}, "at most 1000"),
        ({"size": 30}, "does not divide"),
        ({"architecture": Architecture(in_channels=3)}, "5 input channels"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config(tmp_path, **changes)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"nowhere.safetensors does not exist"):
        train(config(tmp_path, initial=tmp_path / "nowhere.safetensors"))
    (tmp_path / "w.checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(TrainError, match="not a training's checkpoint: remove it, and train from the start"):
        train(config(tmp_path), resume=True)
    save(UNet(Architecture(features=3, depth=2)), tmp_path / "other.safetensors")
    with pytest.raises(TrainError, match="cannot be started from"):
        train(config(tmp_path, initial=tmp_path / "other.safetensors"))


def test_the_loss_is_smallest_where_the_answer_is_right() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, :2] = 1
    right = torch.stack([1.0 - labels, labels.float()], dim=1) * 20
    assert segmentation_loss(right, labels) < 0.01
    assert segmentation_loss(-right, labels) > 2
    assert 0.5 < segmentation_loss(0 * right, labels) < 2


def test_noise_is_uniform_repeatable_and_peaks_have_a_price() -> None:
    noise = Noise(0.5, 20000, seed=1)
    noise.start(3)
    first = noise.add(torch.zeros(2, 100, 100))
    noise.start(3)
    assert torch.equal(first, noise.add(torch.zeros(2, 100, 100)))
    assert float(first.abs().max()) <= 0.25
    assert float(first.var()) == pytest.approx(0.25 / 12, rel=0.05)
    assert torch.equal(Noise(0.0, 10, 1).add(torch.ones(3)), torch.ones(3))
    with Activations(torch.nn.Sequential(torch.nn.ReLU())) as seen:
        seen.modules[0](torch.tensor([1.0, 10.0]))
        assert float(seen.excess(8.0)) == pytest.approx(2.0 + 0.02)
        assert float(seen.excess(10.0)) == 0
        assert seen.peak() == 10


def test_wild_images_stay_in_range_and_differ() -> None:
    images = torch.rand(3, 5, 16, 16, generator=torch.Generator().manual_seed(0))
    first = wild(images, np.random.default_rng(1))
    assert first.shape == images.shape
    assert 0 <= float(first.min()) < float(first.max()) <= 1
    assert not torch.equal(first, images)
    assert torch.equal(first, wild(images, np.random.default_rng(1)))


def test_a_cap_keeps_squares_of_squares_finite_and_their_price_too() -> None:
    model = torch.nn.Sequential(Square(), Square(), Square(), Square(), Square())
    start = torch.tensor([1e8], requires_grad=True)
    with Activations(model, cap=32.0) as seen:
        assert model(start).item() == 32.0
        price = seen.excess(8.0)
    price.backward()
    assert torch.isfinite(price)
    assert 0 < start.grad.item() < float("inf")


def test_training_on_squares_runs_through_its_settled_half(tmp_path: Path) -> None:
    square = Architecture(features=2, depth=2, activation="square,square,relu")
    reports: list[TrainProgress] = []
    train(config(tmp_path, architecture=square, steps=6), reports.append)
    assert all(np.isfinite([r.loss, r.peak]).all() for r in reports)
