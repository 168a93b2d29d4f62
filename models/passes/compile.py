"""From float weights to what the parties run: a program, and Bob's integers. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bunet.models.compiled import Compiled, CompileError
from bunet.models.network.fold import fold
from bunet.models.network.graph import lower
from bunet.models.network.weights import FloatWeights
from bunet.models.passes.calibrate import calibrate, checked_ranges
from bunet.models.passes.emit import emit
from bunet.models.passes.widths import choose_widths
from bunet.models.program import LABELS, READOUTS, Format

MAX_SIDE = 4096


def compile_model(
    weights: FloatWeights,
    height: int,
    width: int,
    format: Format | str,
    calibration: Sequence[np.ndarray] | Mapping[str, float],
    readout: str = "argmax",
) -> Compiled:
    """Fold, calibrate, choose widths, round: the program for slices of (height, width).

    calibration: float slices (in_channels, H, W) like those that will come, of any size the network takes, or what
    `calibrate` found on such (the `ranges` in a weight file's notes). Beyond twice (`8.4`, `8.8`) or four times (`12.4`)
    their largest values tensors may wrap (see passes/widths.py).
    Raises CompileError (size, readout), ProgramError (format), UsageError (calibration).
    """
    format = Format.parse(format) if isinstance(format, str) else format
    if readout not in READOUTS:
        raise CompileError(f"readout {readout!r} is not one of {', '.join(READOUTS)}")
    if readout in LABELS and weights.architecture.out_channels != 2:
        raise CompileError(f"readout {readout} takes 2 classes, the network has {weights.architecture.out_channels}")
    if max(height, width) > MAX_SIDE:
        raise CompileError(f"a slice of {height}x{width} is larger than {MAX_SIDE} on a side")
    weights.architecture.check_size(height, width)
    graph = lower(weights.architecture)
    folded = fold(graph, weights.tensors)
    if isinstance(calibration, Mapping):
        ranges = checked_ranges(graph, calibration)
    else:
        ranges = calibrate(graph, folded, calibration)
    plan = choose_widths(graph, folded, ranges, format)
    return Compiled(emit(graph, plan, format, height, width, readout), plan.weights)
