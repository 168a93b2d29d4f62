"""How well a network finds its target: on batches of slices and on whole cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from bunet.models.metrics import Agreement, agreement
from bunet.models.network.unet import UNet
from bunet.models.training.activation_noise import Activations
from bunet.models.training.cases import Bools, Case
from bunet.models.training.sources import EVALUATED_TOGETHER, Batch
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing.field_of_view import Crop
from bunet.models.volumes.slicing.slices import Floats, axis_number, slice_count

TARGET = 1


def score(model: UNet, batches: Iterable[Batch]) -> tuple[Agreement, float]:
    """(counts pooled over all slices, largest activation on the way)."""
    counts, peak = Agreement(), 0.0
    model.eval()
    with torch.no_grad(), Activations(model) as activations:
        for images, labels in batches:
            counts += agreement(_mask(model, images), labels)
            peak = max(peak, activations.peak())
    return counts, peak


def segment(
    model: UNet, volume: Floats, axis: str, size: int, progress: Callable[[int], None] | None = None, crop: Crop | None = None
) -> Bools:
    """The mask of a whole volume from its slices along one axis, of the volume's shape; as `predict` cuts and puts back.

    size: the network's slices. crop: what they are cut to (`slice_source`); outside of it nothing is marked. progress is told
    how many slices are done.
    """
    source = SliceSource.of(volume, axis, size, crop)
    positions = source.frame.positions(range(slice_count(volume, axis)))
    mask = np.zeros(volume.shape, dtype=np.bool_)
    along = np.moveaxis(mask, axis_number(axis), 0)
    model.eval()
    with torch.no_grad():
        for start in range(0, len(positions), EVALUATED_TOGETHER):
            rows = positions[start : start + EVALUATED_TOGETHER]
            masks = _mask(model, np.stack([source.image(k) for k in rows]))
            along[rows.start : rows.stop] = [source.frame.restore(each) for each in masks]
            if progress is not None:
                progress(start + len(rows))
    return mask


def case_figures(case: Case, mask: Bools, target: str) -> dict[str, Any]:
    """Dice, volume overlap, sensitivity of a mask against the case's label, None where both are empty; for infection also the
    infected share of the lung, found and true, each None where the case has no lung mask.
    """
    counts = agreement(mask, case.label)
    figures: dict[str, Any] = {
        "case": case.name,
        "slices": len(case.volume),
        **counts.known(),
        "found_voxels": counts.found,
        "true_voxels": counts.true,
    }
    if target == "infection":
        lung = 0 if case.lung is None else int(case.lung.sum())
        inside = 0 if case.lung is None else int((mask & case.lung).sum())
        figures["infected_share"] = inside / lung if lung else None
        figures["infected_share_true"] = counts.true / lung if lung else None
    return figures


def _mask(model: UNet, images: Floats) -> Bools:
    return np.asarray(model(torch.from_numpy(images)).argmax(dim=1).numpy() == TARGET)
