"""Training of the U-Net: lesion or lung against background, cross entropy and soft Dice, cosine rate.

Slices come from synthetic chests or from cases of real CT (`sources`). What is trained here is quantised later,
so training prepares for it: activations above `activation_limit` are penalised, uniform noise (`noise_step`, see
`activation_noise`) is added to the input and to every activation, weight decay holds the batch norms' gammas, and those
are clamped. A square network starts best from a trained ReLU network (`initial`): each ReLU is replaced by the parabola
nearest to it under the normalised distribution.

Everything is drawn from (seed, step), so a run that is resumed from its checkpoint equals one that was never
interrupted (same machine, same number of threads). Checkpoints are safetensors, metrics are JSON lines; nothing is
pickled.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bunet.models.files import json_text
from bunet.models.files.atomic import write_atomic
from bunet.models.files.disk_space import explaining_full_disk
from bunet.models.network.unet import UNet
from bunet.models.training.activation_noise import Activations, Noise
from bunet.models.training.augment import wild
from bunet.models.training.config import TrainConfig, TrainError, TrainProgress, TrainResult
from bunet.models.training.files import load, read_tensors, save, write_tensors
from bunet.models.training.ranges import has_ranges, note_ranges
from bunet.models.training.score import TARGET, score
from bunet.models.training.sources import has_squares, source_of

GAMMA_LIMIT = 2.0
PEAK_LIMIT = 4.0  # times the activation limit


def train(
    config: TrainConfig,
    progress: Callable[[TrainProgress], None] | None = None,
    resume: bool = False,
    tick: Callable[[int, float], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> TrainResult:
    """Train, evaluating every `evaluate_every` steps; writes weights (best so far), checkpoint and metrics each time.

    The metrics file starts with a line `{"run": ...}` that says what is trained on what; a line for each evaluation
    follows. At the end the ranges of the best weights on training slices are added to their notes (`ranges`); a
    finished training that lacks them makes up for it when it is resumed. progress is told each evaluation, tick each
    step (its number) with its loss. resume: continue from the checkpoint if there is one (it must be of the same
    configuration). say: gets what there is to know of the data, a line each. Raises TrainError with one sentence for data, a
    checkpoint or starting weights that do not fit, OSError where the files cannot be written.
    """
    torch.set_num_threads(config.threads)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    run = _Run(config)
    for remark in run.source.remarks:
        say(remark)
    if resume and config.checkpoint.exists():
        run.restore()
    _cut_metrics(config, run.step, run.notes())
    earlier = run.seconds
    losses: list[float] = []
    while run.step < config.steps and not run.stuck():
        losses.append(run.advance())
        if tick is not None:
            tick(run.step, losses[-1])
        if run.step % config.evaluate_every and run.step != config.steps:
            continue
        dice, peak = run.validate()
        run.seconds = earlier + time.perf_counter() - began
        report = TrainProgress(run.step, config.steps, float(np.mean(losses)), dice, peak, run.seconds)
        losses.clear()
        # A model that overflows any format on some slice is kept only for want of another.
        mark = dice - (peak > PEAK_LIMIT * config.activation_limit)
        if mark > run.best_score:
            run.best_score, run.best_dice, run.best_step = mark, dice, run.step
            save(run.model, config.output, run.notes() | {"step": run.step, "validation_dice": round(dice, 4)})
        with explaining_full_disk(config.metrics.parent), config.metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(report)) + "\n")
        run.keep()
        if progress is not None:
            progress(report)
    if run.best_step and not has_ranges(config.output):
        note_ranges(config.output, run.source.calibration())
    return TrainResult(config.output, run.best_dice, run.best_step, run.seconds, run.step < config.steps)


def _cut_metrics(config: TrainConfig, step: int, notes: dict[str, Any]) -> None:
    """Leave the first line and the evaluations up to `step`: one after it is made again, as its checkpoint was not kept."""
    lines = [json.dumps({"run": notes})]
    if step and config.metrics.exists():
        try:
            text = config.metrics.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]  # the last line may be cut off
            earlier = [json_text.parse(line) for line in whole.splitlines()[1:]]
            lines += [json.dumps(line) for line in earlier if line["step"] <= step]
        except (ValueError, KeyError, TypeError) as error:
            raise TrainError(f"{config.metrics} is not this training's metrics file: {error}") from error
    write_atomic(config.metrics, lambda stream: stream.write("".join(line + "\n" for line in lines).encode()))


class _Run:
    """The state of a training: model, optimiser, step and the best Dice so far, and the data."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.model = UNet(config.architecture) if config.initial is None else load(config.initial, config.architecture)
        self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.rate, weight_decay=config.weight_decay)
        self.source = source_of(config)
        self.squares = has_squares(config)
        largest = 2 * config.batch * max(config.architecture.features, 5) * config.size**2
        self.noise = Noise(config.noise_step, largest, config.seed)
        self.step, self.best_step, self.best_score, self.best_dice, self.seconds = 0, 0, -2.0, 0.0, 0.0

    def advance(self) -> float:
        """One optimiser step; returns its loss."""
        config, model = self.config, self.model
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate * _schedule(self.step, config.steps)
        images, labels = self.source.batch(self.step)
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

    def validate(self) -> tuple[float, float]:
        """(mean Dice over the validation's groups, largest activation on them)."""
        scores = [score(self.model, group) for group in self.source.validation()]
        return float(np.mean([counts.dice for counts, _ in scores])), max(peak for _, peak in scores)

    def stuck(self) -> bool:
        """Whether patience has run out."""
        config = self.config
        return bool(config.patience) and self.step - self.best_step >= config.patience * config.evaluate_every

    def notes(self) -> dict[str, Any]:
        """What the weights' file and the metrics say of this training."""
        config = self.config
        initial = None if config.initial is None else config.initial.name
        names = ("target", "axis", "size", "seed", "steps", "batch", "rate", "mixed")
        return {name: getattr(config, name) for name in names} | {"initial": initial} | self.source.notes()

    def keep(self) -> None:
        """Write the checkpoint in one move: a reader sees the old one or the new one."""
        tensors = {f"model.{k}": v.detach().contiguous() for k, v in self.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v.detach().contiguous() for k, v in state.items()}
        state = {name: getattr(self, name) for name in ("step", "best_step", "best_score", "best_dice", "seconds")}
        metadata = {"config": self.config.fingerprint(), "state": json.dumps(state)}
        write_tensors(tensors, self.config.checkpoint, metadata)

    def restore(self) -> None:
        path = self.config.checkpoint
        tensors, metadata = read_tensors(path)
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
            state = json_text.parse(metadata["state"])
            self.step, self.best_step = int(state["step"]), int(state["best_step"])
            self.best_score, self.best_dice = float(state["best_score"]), float(state["best_dice"])
            self.seconds = float(state["seconds"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise TrainError(f"{path} is not a whole training checkpoint: {error}") from error


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy plus 1 - soft Dice of the target over the batch. logits (n, 2, h, w), labels (n, h, w) of
    0, 1.
    """
    entropy = nn.functional.cross_entropy(logits, labels)
    probability = logits.softmax(dim=1)[:, TARGET]
    truth = (labels == TARGET).to(probability.dtype)
    dice = (2 * (probability * truth).sum() + 1) / (probability.sum() + truth.sum() + 1)
    return entropy + 1 - dice


def _schedule(step: int, steps: int) -> float:
    """Rate relative to its top: linear over the first twentieth, then half a cosine down to a hundredth."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
