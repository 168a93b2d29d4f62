"""What `bunet alice` writes of the slices that are finished: a mask on the volume's own grid, and what there is to say of it.

A mask is written in the format that the volume came in, at its own pixels and place, zero where no slice is finished; and as
`mask.npz` (key `array`, with its place where it is known). All finished slices of the folder are in it, whichever
command asked for them.

A later command replaces the masks, and only those: `result.json` lists the files with the SHA-256 of the values that this run
wrote, and of those that it is about to write, before it does. A mask with other values is somebody else's, or somebody has
corrected it by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.experiments.alice import warnings
from bunet.experiments.alice.folder import SliceFolder
from bunet.experiments.one_line import Say
from bunet.experiments.predict.case_files import one_case
from bunet.experiments.storage import mask_files
from bunet.experiments.storage.results import write_json
from bunet.experiments.storage.run_folder import IDENTITY, LOCK, digest_of
from bunet.models.errors import UsageError
from bunet.models.files import json_text
from bunet.models.volumes import formats
from bunet.models.volumes.slice_source import SliceFrame
from bunet.models.volumes.slicing.slices import axis_number
from bunet.models.volumes.structures import STRUCTURES
from bunet.models.volumes.volume import Volume, VolumeError
from bunet.parties import outcomes
from bunet.parties.words import counted

DOCUMENT = "result.json"
DOCUMENT_VERSION = 2
COPY = "mask.npz"


def paths(out: Path, volume: Path, file_format: str, targets: Sequence[str] = tuple(STRUCTURES)) -> list[Path]:
    """Where masks of these targets go, or of all that are known. file_format: the volume's."""
    return [*mask_files.paths(file_format, targets, out, one_case(volume, None).name), out / COPY]


def check_places(
    out: Path, volume: Path, stored: Volume, target: str | None, begun: bool, json_file: Path | None = None
) -> None:
    """UsageError where this run would write over what it has not written, or --json over what it writes: before it is run.

    target: of the model; where it is not known yet (None), this is asked again once it is. begun: whether the folder has
    slices of this run.
    """
    if json_file is not None:
        masks = paths(out, volume, stored.file_format, list(STRUCTURES) if target is None else [target])
        own = [*masks, *(out / name for name in (IDENTITY, DOCUMENT, warnings.FILE, LOCK))]
        own += [outcomes.path_of(out, k) for k in range(max(stored.array.shape))]
        if any(json_file.resolve().is_relative_to(path.resolve()) for path in own):
            raise UsageError(f"--json {json_file} is where --out keeps its own: choose another file")
    there = paths(out, volume, stored.file_format, [] if target is None else [target])
    if begun:
        return _check_ours(there, stored, _files(_document(out)))
    for path in (*there, out / DOCUMENT):
        if path.exists():
            raise UsageError(f"--out {out}: {path.name} is there already, of another run: choose another folder")


def _check_ours(there: Sequence[Path], stored: Volume, files: Mapping[str, Sequence[str]]) -> None:
    for path in there:
        if path.exists() and mask_files.digest_at(path, stored) not in files.get(path.name, ()):
            raise UsageError(f"{path} holds another mask than this run wrote: move it away")


def _document(out: Path) -> dict[str, Any]:
    """What lies at DOCUMENT, empty where nothing does. Raises UsageError for what this run has not written."""
    path = out / DOCUMENT
    if not path.exists():
        return {}
    try:
        document = json_text.parse(path.read_text(encoding="utf-8"))
        if document["version"] != DOCUMENT_VERSION:
            raise ValueError(f"version {document['version']!r}")
        _files(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not what this run wrote: move it away, and the masks beside it") from error
    return dict(document)


def _files(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """By name, the digests of values that a file of this run may have."""
    return {str(name): [str(digest) for digest in digests] for name, digests in document.get("files", {}).items()}


def finished(folder: Path, frame: SliceFrame) -> list[int]:
    """Positions along the frame's axis whose slices are in the folder."""
    count = frame.volume_shape[axis_number(frame.axis)]
    return [k for k in range(count) if outcomes.path_of(folder, k).exists()]


def mask_of(folder: Path, frame: SliceFrame) -> NDArray[np.uint8]:
    """uint8 of the volume's shape: the finished slices, zero elsewhere, as also in those beside the crop, which show no body
    and are sent for their number's sake. Raises UsageError, SealError.
    """
    mask = np.zeros(frame.volume_shape, dtype=np.uint8)
    along = np.moveaxis(mask, axis_number(frame.axis), 0)
    within = frame.positions(range(len(along)))
    for k in finished(folder, frame):
        try:
            labels = frame.restore(outcomes.read(folder, k))
            along[k] = labels if k in within else 0
        except VolumeError as error:
            raise UsageError(f"--out {folder} holds slices of another size ({error}): choose another folder") from error
    return mask


def write_masks(
    folder: SliceFolder,
    volume: Path,
    loaded: formats.LoadedVolume,
    frame: SliceFrame,
    asked: Sequence[int],
    say: Say,
) -> None:
    """Write both masks and then DOCUMENT, and say what is in them. asked: the positions that this command was asked for.

    Raises UsageError where a mask lies there that this run has not written.
    """
    out, model = folder.folder, folder.model
    mask, done, stored = mask_of(out, frame), finished(out, frame), loaded.stored
    masks, there, earlier = {model.target: mask}, paths(out, volume, stored.file_format, [model.target]), _document(out)
    written = {
        path.name: digest for path, digest in zip(there, [*mask_files.digests(stored, masks), digest_of(mask)], strict=True)
    }
    files = _files(earlier)
    _check_ours(there, stored, files)
    # Said before it is done: who is killed in between may go on.
    claimed = {name: [*(d for d in files.get(name, ()) if d != digest), digest] for name, digest in written.items()}
    write_json(out / DOCUMENT, {**earlier, "version": DOCUMENT_VERSION, "files": {**files, **claimed}})
    mask_files.write_masks(stored, masks, out, one_case(volume, None).name, replace=True)
    formats.write(Volume(mask, stored.affine, guessed=stored.guessed), out / COPY)
    marked = int(np.take(mask, asked, axis=axis_number(frame.axis)).sum())
    total = frame.volume_shape[axis_number(frame.axis)]
    kept = warnings.read(out)
    warned = warnings.of_intensity(model, loaded.rule)
    warned += [] if kept is None else kept.sentences(frame.axis, done)
    if not mask.any():
        warned.append("nothing is marked in any slice: the model found nothing, or does not know such a volume")
    document: dict[str, Any] = {
        "version": DOCUMENT_VERSION,
        "volume": str(volume),
        "intensity": loaded.rule,
        "remarks": [*loaded.remarks(), *warned],
        "model": model.to_document(),
        "commitment": folder.commitment,
        "axis": frame.axis,
        "asked_slices": list(asked),
        "finished_slices": done,
        "slices": total,
        "voxels": int(mask.sum()),
        "input_beyond_calibration": {} if kept is None else kept.of(frame.axis, done),
        "crop": None if frame.crop is None else frame.crop.as_list(),
        "files": {**files, **{name: [digest] for name, digest in written.items()}},
    }
    write_json(out / DOCUMENT, document)
    more = f"; with those of earlier commands {len(done)} are in it" if len(done) > len(asked) else ""
    say(f"{counted(len(asked), 'slice')} in {there[0]}, {counted(marked, 'pixel')} marked{more}")
    if len(done) < total:
        say(f"  of {total} slices along {frame.axis}, {len(done)} are segmented; the mask is zero in all others")
    for sentence in warned:
        say(f"  {sentence}")
