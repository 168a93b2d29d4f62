"""What `bunet alice` writes of the slices that are finished: a mask on the volume's own grid, and what there is to say of it.

A mask is written in the format that the volume came in, at its own pixels and place, zero where no slice is finished; and as
`mask.npz` (key `array`, with its place where it is known). All finished slices of the folder are in it, whichever
command asked for them.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments import mask_files
from bunet.experiments.options import UsageError
from bunet.experiments.predict_cases import one_case
from bunet.experiments.results import write_json
from bunet.models.slice_source import SliceFrame
from bunet.models.volumes import formats
from bunet.models.volumes.slices import axis_number
from bunet.models.volumes.volume import Volume, VolumeError
from bunet.parties import outcomes

DOCUMENT = "result.json"
DOCUMENT_VERSION = 1
COPY = "mask.npz"


def check_free(out: Path, volume: Path) -> None:
    """UsageError where a mask is there already, before anything is run: for a folder that has no run yet."""
    for path in (out / COPY, *sorted(out.glob(f"{glob.escape(one_case(volume, None).name)}_*"))):
        if path.exists():
            raise UsageError(f"--out {out}: {path.name} is there already, of another run: choose another folder")


def finished(folder: Path, frame: SliceFrame) -> list[int]:
    """Positions along the frame's axis whose slices are in the folder."""
    count = frame.volume_shape[axis_number(frame.axis)]
    return [k for k in range(count) if outcomes.path_of(folder, k).exists()]


def mask_of(folder: Path, frame: SliceFrame) -> NDArray[np.uint8]:
    """uint8 of the volume's shape: the finished slices, zero elsewhere. Raises UsageError, DamagedSlice."""
    mask = np.zeros(frame.volume_shape, dtype=np.uint8)
    along = np.moveaxis(mask, axis_number(frame.axis), 0)
    for k in finished(folder, frame):
        try:
            along[k] = frame.restore(outcomes.read(folder, k))
        except VolumeError as error:
            raise UsageError(f"--out {folder} holds slices of another size ({error}): choose another folder") from error
    return mask


def write_masks(
    out: Path, volume: Path, loaded: formats.LoadedVolume, frame: SliceFrame, asked: Sequence[int], target: str,
    say: Callable[[str], None],
) -> None:
    """Write both masks and then DOCUMENT, and say what is in them. asked: the positions that this command was asked for.

    target: of Bob's model.
    """
    mask, done, stored = mask_of(out, frame), finished(out, frame), loaded.stored
    there = [*mask_files.write_masks(stored, {target: mask}, out, one_case(volume, None).name, replace=True), out / COPY]
    formats.write(Volume(mask, stored.affine), out / COPY)
    marked = int(np.take(mask, asked, axis=axis_number(frame.axis)).sum())
    total = frame.volume_shape[axis_number(frame.axis)]
    remarks = loaded.remarks()
    if not mask.any():
        remarks.append("nothing is marked in any slice: the model found nothing, or does not know such a volume")
    document: dict[str, Any] = {
        "version": DOCUMENT_VERSION, "volume": str(volume), "intensity": loaded.rule, "remarks": remarks, "axis": frame.axis,
        "asked_slices": list(asked), "finished_slices": done, "slices": total, "voxels": int(mask.sum()),
        "crop": None if frame.crop is None else frame.crop.as_list(), "files": [path.name for path in there],
    }
    write_json(out / DOCUMENT, document)
    more = f"; with those of earlier commands {len(done)} are in it" if len(done) > len(asked) else ""
    say(f"{len(asked)} slices in {there[0]}, {marked} pixels marked{more}")
    if len(done) < total:
        say(f"  of {total} slices along {frame.axis}, {len(done)} are segmented; the mask is zero in all others")
    for remark in remarks[len(loaded.remarks()) :]:
        say(f"  {remark}")
