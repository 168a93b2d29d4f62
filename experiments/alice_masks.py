"""What `bunet alice` writes of the slices that are finished: a mask on the volume's own grid, and what there is to say of it.

A mask is written in the format that the volume came in, at its own pixels and place, zero where no slice is finished; and as
`mask.npz` (key `array`, with its place where it is known). All finished slices of the folder are in it, whichever
command asked for them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.options import UsageError
from bunet.experiments.predict_cases import mask_path, one_case, write_mask
from bunet.experiments.results import write_json
from bunet.models.slice_source import SliceFrame
from bunet.models.volumes import formats
from bunet.models.volumes.slices import axis_number
from bunet.models.volumes.volume import DICOM, Volume, VolumeError
from bunet.parties import outcomes

DOCUMENT = "result.json"
DOCUMENT_VERSION = 1
COPY = "mask.npz"


def paths_of(out: Path, volume: Path, stored: Volume) -> list[Path]:
    """The mask in the volume's format, and COPY."""
    return [mask_path(out, one_case(volume, None).name, "mask", stored), out / COPY]


def check_free(out: Path, volume: Path, stored: Volume) -> None:
    """UsageError where a mask is there already, before anything is run: for a folder that has no run yet."""
    for path in paths_of(out, volume, stored):
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
    out: Path, volume: Path, loaded: formats.LoadedVolume, frame: SliceFrame, asked: Sequence[int], say: Callable[[str], None]
) -> None:
    """Write both masks and then DOCUMENT, and say what is in them. asked: the positions that this command was asked for."""
    mask, done, stored = mask_of(out, frame), finished(out, frame), loaded.stored
    there = paths_of(out, volume, stored)
    _replace(stored, mask, there[0])
    formats.write(Volume(mask, stored.affine), there[1])
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


def _replace(stored: Volume, mask: NDArray[np.uint8], path: Path) -> None:
    """Also where a series of fewer slices is there: this folder's run wrote it."""
    if stored.kind == DICOM and path.is_dir():
        new = path.with_name("mask-unfinished")
        shutil.rmtree(new, ignore_errors=True)
        write_mask(stored, mask, new)
        shutil.rmtree(path)
        new.rename(path)
        return
    write_mask(stored, mask, path)
