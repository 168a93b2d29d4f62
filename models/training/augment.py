"""What training does to slices so that a network meets more than its few cases: each function is seeded by its caller."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bunet.models.volumes.slicing.slices import Floats

Labels = NDArray[np.int64]

MOVED_SHARE = 0.75  # of the slices are turned, scaled and shifted
MOST_TURN = math.radians(12)
MOST_SCALE = 1.15
MOST_SHIFT = 0.08  # of the image's side
GAIN, OFFSET = 0.10, 0.05


def varied(image: Floats, label: Labels, rng: np.random.Generator) -> tuple[Floats, Labels]:
    """A real slice (5, H, W) in [0, 1] and its label (H, W): mirrored, moved, and with other intensities.

    Mirroring is along each of the volume's three axes, that is along rows, columns and the order of the five slices:
    series run caudal to cranial or the reverse, and some have the patient's back at the top.
    """
    for axis in range(3):
        if rng.uniform() < 0.5:
            image = np.flip(image, axis)
            label = label if axis == 0 else np.flip(label, axis - 1)
    if rng.uniform() < MOVED_SHARE:
        image, label = moved(image, label, rng)
    return brightened(image, rng), label


def moved(image: Floats, label: Labels, rng: np.random.Generator) -> tuple[Floats, Labels]:
    """Turned, scaled (each side on its own) and shifted about the image's centre; zeros come in from outside."""
    turn = rng.uniform(-MOST_TURN, MOST_TURN)
    scales = MOST_SCALE ** rng.uniform(-1, 1, size=2)
    shifts = rng.uniform(-2 * MOST_SHIFT, 2 * MOST_SHIFT, size=2)  # the grid's coordinates run from -1 to 1
    matrix = np.array(
        [
            [math.cos(turn) * scales[0], -math.sin(turn) * scales[1], shifts[0]],
            [math.sin(turn) * scales[0], math.cos(turn) * scales[1], shifts[1]],
        ],
        dtype=np.float32,
    )
    grid = nn.functional.affine_grid(torch.from_numpy(matrix)[None], [1, 1, *label.shape], align_corners=False)

    def sampled(values: Floats, mode: str) -> Floats:
        source = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None]
        return np.asarray(nn.functional.grid_sample(source, grid, mode=mode, align_corners=False)[0].numpy())

    return sampled(image, "bilinear"), sampled(label[None].astype(np.float32), "nearest")[0].astype(np.int64)


def brightened(image: Floats, rng: np.random.Generator) -> Floats:
    """Another gain and offset, within [0, 1]; slices beyond the volume's border stay zero."""
    inside = image.any(axis=(1, 2), keepdims=True)
    gain, offset = rng.uniform(1 - GAIN, 1 + GAIN), rng.uniform(-OFFSET, OFFSET)
    return np.asarray(inside * np.clip(image * gain + offset, 0.0, 1.0), dtype=np.float32)


def wild(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Images like no chest of the training: sharpened, stretched, speckled; (n, c, h, w) in [0, 1] to the same.

    They have no labels. Squares must merely stay bounded on them, as they must on scanners that training does not know.
    """
    changed = []
    for image in images:
        blurred = nn.functional.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)
        image = image + rng.uniform(0.0, 4.0) * (image - blurred)
        middle = rng.uniform(0.1, 0.8)
        image = middle + rng.uniform(0.7, 3.0) * (image - middle)
        speckle = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
        image = image + rng.uniform(0.0, 0.15) * speckle
        present = torch.from_numpy((rng.uniform(size=(len(image), 1, 1)) > 0.1).astype(np.float32))
        changed.append(present * image.clamp(0.0, 1.0))
    return torch.stack(changed)
