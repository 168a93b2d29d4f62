"""Training of the U-Net on synthetic chests: lesion against background, cross entropy and soft Dice, cosine rate.

What is trained here is quantised later, so training prepares for it: activations above `activation_limit` are
penalised, uniform noise of one unit in the last place of a fixed-point format (`noise_step`) is added to the input
and to every activation, weight decay holds the batch norms' gammas, and those are clamped. A square network starts
best from a trained ReLU network (`initial`): each ReLU is replaced by the parabola nearest to it under the normalised
distribution.

Everything is drawn from (seed, step), so a run that is resumed from its checkpoint equals one that was never
interrupted (same machine, same number of threads). Checkpoints are safetensors, metrics are JSON lines; nothing is
pickled.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bunet.models import weights
from bunet.models.activation_noise import Activations, Noise
from bunet.models.architecture import NORM_EPSILON, Architecture
from bunet.models.parabola import carried_over
from bunet.models.train_config import SEEDS_A_RUN, TrainConfig, TrainError, TrainProgress, TrainResult
from bunet.models.unet import UNet
from bunet.models.volumes import synthetic
from bunet.models.volumes.slices import slice_at
from bunet.models.volumes.synthetic import SyntheticVolume
from bunet.models.weights import FloatWeights, WeightsError

CHECKPOINT_VERSION = 1
GAMMA_LIMIT = 2.0
PEAK_LIMIT = 4.0  # times the activation limit
BORDER_SHARE = 0.25  # with squares: of the slices are near the first or last, whose zeros beyond the border stand out
LESION_SHARE = 0.75  # of the training slices are drawn from those that show a lesion
BACKGROUND, LESION = 0, 1


def train(
    config: TrainConfig, progress: Callable[[TrainProgress], None] | None = None, resume: bool = False
) -> TrainResult:
    """Train, evaluating every `evaluate_every` steps; writes weights (best so far), checkpoint and metrics each time.

    resume: continue from the checkpoint if there is one (it must be of the same configuration). Raises TrainError with
    one sentence for a checkpoint or starting weights that do not fit, OSError where the files cannot be written.
    """
    torch.set_num_threads(config.threads)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    run = _Run(config)
    if resume and config.checkpoint.exists():
        run.restore()
    else:
        config.metrics.unlink(missing_ok=True)
    earlier = run.seconds
    losses: list[float] = []
    stopped = False
    while run.step < config.steps and not stopped:
        losses.append(run.advance())
        if run.step % config.evaluate_every and run.step != config.steps:
            continue
        dice, peak = evaluate(run.model, run.validation)
        run.seconds = earlier + time.perf_counter() - began
        report = TrainProgress(run.step, config.steps, float(np.mean(losses)), dice, peak, run.seconds)
        losses.clear()
        # A model that overflows any format on some slice is kept only for want of another.
        score = dice - (peak > PEAK_LIMIT * config.activation_limit)
        if score > run.best_score:
            run.best_score, run.best_dice, run.best_step = score, dice, run.step
            save(run.model, config.output)
        stopped = bool(config.patience) and run.step - run.best_step >= config.patience * config.evaluate_every
        with config.metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(report)) + "\n")
        run.keep()
        if progress is not None:
            progress(report)
    return TrainResult(config.output, run.best_dice, run.best_step, run.seconds, stopped and run.step < config.steps)


def evaluate(model: UNet, volumes: Sequence[SyntheticVolume]) -> tuple[float, float]:
    """(Dice of the lesion class, pooled over all axial slices of the volumes; largest activation on the way)."""
    overlap = predicted = true = 0
    peak = 0.0
    model.eval()
    with torch.no_grad(), Activations(model) as activations:
        for volume in volumes:
            for start in range(0, volume.volume.shape[0], 8):
                rows = range(start, min(start + 8, volume.volume.shape[0]))
                batch = np.stack([slice_at(volume.volume, "z", k) for k in rows])
                found = model(torch.from_numpy(batch)).argmax(dim=1).numpy() == LESION
                label = volume.lesion[rows.start : rows.stop]
                overlap += int((found & label).sum())
                predicted += int(found.sum())
                true += int(label.sum())
                peak = max(peak, activations.peak())
    return (2 * overlap / (predicted + true) if predicted + true else 1.0), peak


def save(model: UNet, path: Path) -> None:
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
    weights.save(FloatWeights(model.architecture, tensors), part, half=True)
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


class _Run:
    """The state of a training: model, optimiser, step and the best Dice so far, and the data."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.model = UNet(config.architecture) if config.initial is None else load(config.initial, config.architecture)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.rate, weight_decay=config.weight_decay)
        first = synthetic.TRAINING_SEEDS.start + SEEDS_A_RUN * config.seed
        self.seeds = [first + k for k in range(config.volumes)]
        self.squares = "square" in config.architecture.level_activations()
        self.cache: dict[int, SyntheticVolume] = {}
        self.validation = [
            synthetic.generate(config.size, config.slices, seed)
            for seed in synthetic.VALIDATION_SEEDS[: config.validation_volumes]
        ]
        largest = 2 * config.batch * max(config.architecture.features, 5) * config.size**2
        self.noise = Noise(config.noise_step, largest, config.seed)
        self.step, self.best_step, self.best_score, self.best_dice, self.seconds = 0, 0, -2.0, 0.0, 0.0

    def advance(self) -> float:
        """One optimiser step; returns its loss."""
        config, model = self.config, self.model
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate * _schedule(self.step, config.steps)
        images, labels = self.batch()
        self.noise.start(self.step)
        model.train()
        if self.step >= config.settled_from:
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        settled = self.step >= config.settled_from
        count = len(images)
        if self.squares and settled:
            images = torch.cat([images, wild(images, np.random.default_rng([config.seed, self.step, 2]))])
        cap = PEAK_LIMIT * config.activation_limit if self.squares else None
        with Activations(model, self.noise, cap) as activations:
            images = self.noise.add(images.contiguous(memory_format=torch.channels_last))
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.mixed):
                logits = model(images)
            loss = segmentation_loss(logits[:count].float(), labels)
            total = loss + 0.1 * activations.excess(config.activation_limit)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.weight.clamp_(-GAMMA_LIMIT, GAMMA_LIMIT)
        self.step += 1
        return float(loss.detach())

    def batch(self) -> tuple[Tensor, Tensor]:
        """Slices (batch, 5, size, size) with mirroring and shifts of brightness and contrast; labels (batch, size,
        size).
        """
        rng = np.random.default_rng([self.config.seed, self.step])
        images, labels = [], []
        for _ in range(self.config.batch):
            volume = self.volume(int(rng.integers(len(self.seeds))))
            count = volume.volume.shape[0]
            rows = np.flatnonzero(volume.lesion.any(axis=(1, 2)))
            if rows.size == 0 or rng.uniform() > LESION_SHARE:
                rows = np.arange(count)
            if self.squares and rng.uniform() < BORDER_SHARE:
                rows = np.r_[: min(5, count), max(0, count - 5) : count]
            k = int(rng.choice(rows))
            image, label = slice_at(volume.volume, "z", k), volume.lesion[k]
            if rng.uniform() < 0.5:
                image, label = image[:, :, ::-1], label[:, ::-1]
            if rng.uniform() < 0.5:
                image = image[::-1]  # slice order runs either way in the wild
            inside = image.any(axis=(1, 2), keepdims=True)  # slices beyond the border stay zero
            image = inside * (image * rng.uniform(0.93, 1.07) + rng.uniform(-0.03, 0.03))
            images.append(np.ascontiguousarray(image, dtype=np.float32))
            labels.append(np.ascontiguousarray(label, dtype=np.int64))
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))

    def volume(self, index: int) -> SyntheticVolume:
        if index not in self.cache:
            self.cache[index] = synthetic.generate(self.config.size, self.config.slices, self.seeds[index])
        return self.cache[index]

    def keep(self) -> None:
        """Write the checkpoint in one move: a reader sees the old one or the new one."""
        tensors = {f"model.{k}": v.detach().contiguous() for k, v in self.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v.detach().contiguous() for k, v in state.items()}
        state = {name: getattr(self, name) for name in ("step", "best_step", "best_score", "best_dice", "seconds")}
        metadata = {
            "version": str(CHECKPOINT_VERSION), "config": self.config.fingerprint(), "state": json.dumps(state),
        }
        _write(tensors, self.config.checkpoint, metadata)

    def restore(self) -> None:
        path = self.config.checkpoint
        tensors, metadata = _read(path)
        if metadata.get("version") != str(CHECKPOINT_VERSION):
            raise TrainError(f"{path} is not a training checkpoint of version {CHECKPOINT_VERSION}")
        if metadata.get("config") != self.config.fingerprint():
            raise TrainError(f"{path} belongs to a training with other settings; remove it or train without resuming")
        try:
            self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
            optimizer = self.optimizer.state_dict()
            states: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith("optimizer."):
                    _, index, key = name.split(".", 2)
                    states.setdefault(int(index), {})[key] = value
            self.optimizer.load_state_dict(optimizer | {"state": states})
            state = json.loads(metadata["state"])
            self.step, self.best_step = int(state["step"]), int(state["best_step"])
            self.best_score, self.best_dice = float(state["best_score"]), float(state["best_dice"])
            self.seconds = float(state["seconds"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise TrainError(f"{path} is not a whole training checkpoint: {error}") from error


def wild(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Images like no synthetic chest: sharpened, stretched, speckled; (n, c, h, w) in [0, 1] to the same.

    They have no labels. Squares must merely stay bounded on them, as they must on scanners that no generator knows.
    """
    found = []
    for image in images:
        blurred = nn.functional.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)
        image = image + rng.uniform(0.0, 4.0) * (image - blurred)
        middle = rng.uniform(0.1, 0.8)
        image = middle + rng.uniform(0.7, 3.0) * (image - middle)
        speckle = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
        image = image + rng.uniform(0.0, 0.15) * speckle
        present = torch.from_numpy((rng.uniform(size=(len(image), 1, 1)) > 0.1).astype(np.float32))
        found.append(present * image.clamp(0.0, 1.0))
    return torch.stack(found)


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy plus 1 - soft Dice of the lesion class over the batch. logits (n, 2, h, w), labels (n, h, w) of
    0, 1.
    """
    entropy = nn.functional.cross_entropy(logits, labels)
    lesion = logits.softmax(dim=1)[:, LESION]
    truth = (labels == LESION).to(lesion.dtype)
    dice = (2 * (lesion * truth).sum() + 1) / (lesion.sum() + truth.sum() + 1)
    return entropy + 1 - dice


def _schedule(step: int, steps: int) -> float:
    """Rate relative to its top: linear over the first twentieth, then half a cosine down to a hundredth."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _write(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    part = path.with_name(path.name + ".part")
    save_file(dict(tensors), part, metadata=metadata)
    os.replace(part, path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as stream:  # type: ignore[no-untyped-call]
            return {name: stream.get_tensor(name) for name in stream.keys()}, dict(stream.metadata() or {})  # noqa: SIM118
    except FileNotFoundError as error:
        raise TrainError(f"{path} does not exist") from error
    except (SafetensorError, OSError) as error:
        raise TrainError(f"{path} is not a safetensors file: {error}") from error


def held_out(config: TrainConfig, count: int) -> Iterator[SyntheticVolume]:
    """Test volumes of the training's size, of seeds that neither training nor validation draws."""
    for seed in synthetic.TEST_SEEDS[:count]:
        yield synthetic.generate(config.size, config.slices, seed)
