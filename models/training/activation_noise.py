"""What training does so that a network survives quantisation: uniform noise, and a price on peaks.

What is modelled, and what is not, of an integer program at `8.4` (`passes/widths.py`), whose operands have 12 bits:

- Rounding. Truncation rounds an operand to one of its two neighbours on the grid, with chances in proportion: unbiased,
  with a variance of 1/6 of the squared step on average. Noise that is uniform over a width s has s^2/12. The width of
  2^-4 is the step of a literal `8.4`, range +-128. Binary points are calibrated for each tensor: activations up to 16
  fit +-32, a step of 2^-6, at which the noise deviates 2.8 times as much as the rounding. Training so prepares for
  tensors with ranges up to about four times larger too, and for both roundings of a deep layer's input.
- Range. Nothing is clipped in the program: beyond twice the calibrated range an operand wraps, which no training makes
  harmless. So peaks have a price (`excess`): up to 8, the usual limit, activations keep a step of 2^-7. Weights whose
  largest activation on the validation exceeds 32 are taken for want of others only, and a square network's values are
  cut there while it trains (`cap`), so that they stay finite until the price has brought them down.
- Weights are rounded too, once, to 11 or 12 bits of each convolution's largest; that is small beside the noise, and not
  modelled.

Gradients pass the noise unchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bunet.models.network.unet import Square

PLACES = 1 << 16


class Noise:
    """Uniform noise in [-step/2, step/2], cut from one long row at a place drawn for each tensor (fresh noise is slow).

    largest: elements of the largest tensor it will be added to; a step of 0 adds nothing.
    """

    def __init__(self, step: float, largest: int, seed: int) -> None:
        self.step, self.seed = step, seed
        generator = torch.Generator().manual_seed(seed)
        self.row = step * (torch.rand(largest + PLACES if step else 0, generator=generator) - 0.5)
        self.rng = np.random.default_rng(seed)

    def start(self, step: int) -> None:
        """Forget the past: the places of this training step follow from (seed, step) alone."""
        self.rng = np.random.default_rng([self.seed, step, 1])

    def add(self, tensor: Tensor) -> Tensor:
        """The tensor (dense, of any layout) with noise."""
        if not self.step:
            return tensor
        place = int(self.rng.integers(PLACES))
        row = self.row[place : place + tensor.numel()].to(tensor.dtype)
        return tensor + row.as_strided(tensor.shape, tensor.stride())


class Activations:
    """Within the context, watches the output of every activation of a model; given noise, also adds it to each.

    cap: what is passed on is cut there, so that squares of squares stay finite while the price brings them down.
    """

    def __init__(self, model: nn.Module, noise: Noise | None = None, cap: float | None = None) -> None:
        self.modules = [m for m in model.modules() if isinstance(m, (nn.ReLU, Square))]
        self.noise, self.cap = noise, cap
        self.outputs: list[Tensor] = []
        self.handles: list[Any] = []

    def __enter__(self) -> Activations:
        self.handles = [module.register_forward_hook(self._seen) for module in self.modules]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()
        self.outputs.clear()

    def _seen(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        self.outputs.append(output)
        if self.cap is not None:
            output = output.clamp(max=self.cap)
        return output if self.noise is None else self.noise.add(output)

    def peak(self) -> float:
        """Largest activation since the last call."""
        largest = max((float(output.detach().amax()) for output in self.outputs), default=0.0)
        self.outputs.clear()
        return largest

    def excess(self, limit: float) -> Tensor:
        """Sum over the layers of the mean square by which activations exceed the limit, and 1/100 of the largest.

        With a cap, far above the limit the square goes over into a line: few and huge values must not drown the rest.
        """
        total = torch.zeros(())
        for output in self.outputs:
            if float(output.detach().amax()) > limit:
                over = torch.relu(output.float() - limit)
                square = over.square() if self.cap is None else over.square() / (1 + over / limit)
                total = total + square.mean() + 0.01 * over.amax()
        return total
