"""A local run's job: the files that a pair of parties starts from, and what runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bunet.experiments.images import SliceSet
from bunet.experiments.settings import RunSettings
from bunet.models.compiled import Compiled, quantise_input, save_compiled
from bunet.models.files.atomic import write_atomic
from bunet.parties.events import Subscriber
from bunet.parties.local.job import PairJob
from bunet.parties.local.pair import PairResult
from bunet.parties.planner import choose

RunPair = Callable[[PairJob, Subscriber], PairResult]  # `pair.run_pair`, and what stands in its place in tests

RECORDED_PIXELS = 512 * 512  # of the slices whose every layer is kept in memory for verification


def recordable(count: int, height: int, width: int) -> int:
    """How many of `count` slices of a session are recorded for verification: at least one, and what memory has room for."""
    return max(1, min(count, RECORDED_PIXELS // (height * width)))


def write_job(settings: RunSettings, compiled: Compiled, images: SliceSet, folder: Path, verify: bool) -> PairJob:
    """Write model and inputs into `folder`, an existing one; verify: keep what the check against the oracle needs.

    UsageError for protocols that cannot run the program, before a party is started.
    """
    choose(compiled.program, settings.run.protocols)
    model, inputs = folder / "model.safetensors", folder / "inputs.npy"
    save_compiled(compiled, model)
    quantised = np.stack([quantise_input(compiled.program, image) for image in images.images])
    write_atomic(inputs, lambda stream: np.save(stream, quantised))
    height, width = images.padded
    recorded = recordable(len(images.labels), height, width) if verify else 0
    return PairJob(
        model=model,
        inputs=inputs,
        labels=tuple(images.labels),
        folder=folder,
        run=settings.run,
        record=recorded,
    )
