"""Small programs with random integer weights for whole-system tests."""

import numpy as np

from bunet.models import weights as weight_files
from bunet.models.architecture import Architecture
from bunet.models.compile import Compiled, compile_model


def small(
    size: int = 16, features: int = 2, format: str = "8.4", seed: int = 0, readout: str = "argmax", **architecture
) -> Compiled:
    """A compiled U-Net of depth 2 with seeded random weights, calibrated on the slices that `slices` makes."""
    shape = Architecture(features=features, depth=2, **architecture)
    weights = weight_files.seeded(shape, seed)
    return compile_model(weights, size, size, format, calibration(shape, size, seed), readout)


def calibration(shape: Architecture, size: int, seed: int) -> list[np.ndarray]:
    return [weight_files.seeded_slice(shape, size, size, 1000 + seed + k) for k in range(3)]


def slices(compiled: Compiled, count: int, seed: int = 0) -> np.ndarray:
    """Quantised inputs, int64 (count, channels, height, width)."""
    from bunet.models.compile import quantise_input

    channels, height, width = compiled.program.input.type.shape
    shape = Architecture(in_channels=channels)
    images = [weight_files.seeded_slice(shape, height, width, 1000 + seed + k) for k in range(count)]
    return np.stack([quantise_input(compiled.program, image) for image in images])
