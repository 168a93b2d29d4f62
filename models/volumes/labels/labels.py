"""Labels of volumes: where they are found, that they fit, and which of their voxels are inside (`values`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes import arrays, formats
from bunet.models.volumes.labels import values as values_of
from bunet.models.volumes.labels.values import LabelError, listed
from bunet.models.volumes.volume import NPZ, SeveralSeries, Volume, VolumeError

Bools = NDArray[np.bool_]

# Keys of an `.npz`, the first that is there. A file that is a label may have the published key too.
KEYS = {"infection": ("infection", "lesion", "label", "mask"), "lung": ("lung_derived", "lung")}
FILE_KEYS = (*KEYS["infection"], "array")
TAKEN = "biuf"  # numpy's `dtype.kind` of a label
APART = 0.5  # voxels that a label may lie from its volume


@dataclass(frozen=True, eq=False)
class Label:
    """mask: bool, of the volume's shape. file: where it was read. key: of an `.npz`, else None. inside: the values that are;
    none for an empty label that nobody was asked about. voxels: of each value. notes: what people should know, a sentence each.
    """

    mask: Bools
    file: Path
    key: str | None
    inside: tuple[int, ...]
    voxels: Mapping[int, int]
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """For JSON documents."""
        voxels = {str(value): count for value, count in self.voxels.items()}
        return {"file": str(self.file), "key": self.key, "inside": list(self.inside), "voxels": voxels}

    def describe(self) -> str:
        """Such as `label.npz, key infection: value 1 is inside, 12 of 4096 voxels`."""
        key = "" if self.key is None else f", key `{self.key}`"
        values = f"value {listed(self.inside)} is" if len(self.inside) == 1 else f"values {listed(self.inside)} are"
        inside = f"{values} inside, " if self.inside else ""
        return f"{self.file.name}{key}: {inside}{int(self.mask.sum())} of {self.mask.size} voxels"

    def remarks(self) -> list[str]:
        """What every command that reads a label says of it, a line each."""
        return [f"label {self.describe()}", *self.notes]


def read(path: Path, volume: Volume, asked: Sequence[int] = ()) -> Label:
    """A label's file, or the folder of a DICOM series; asked: the values that are inside, none for what the label tells.

    Raises LabelError or VolumeError in one sentence that names the file: not readable, of another shape than the volume, in
    another place where both tell theirs, or values that are no label (`values`).
    """
    key = None
    if path.suffix.lower() == ".npz" and path.is_file():
        key, beside = _found(path, FILE_KEYS)
        notes = (f"{path}: `{key}` is taken for the label, and not {_quoted(beside)}",) if beside else ()
    else:
        notes = ()
    try:
        stored = formats.read_volume(path, key, TAKEN)
    except SeveralSeries as error:
        raise LabelError(error.elsewhere) from error
    named = f"{path}: the label"
    notes = (*notes, *(f"{named}: {note}" for note in stored.notes))
    return _label(stored, path, key, volume, asked, named, (*notes, *_check_place(stored, volume, named)))


def inside(path: Path, volume: Volume, target: str = "infection", asked: Sequence[int] = ()) -> Label:
    """The label of `target` (of KEYS) that a volume's own `.npz` file holds. Raises as `read`, and where there is none."""
    key, _ = _found(path, KEYS[target])
    return _label(formats.read_volume(path, key, TAKEN), path, key, volume, asked, f"{path}: `{key}`", ())


def lung_of(path: Path, volume: Volume) -> Label | None:
    """The lung that a volume's own `.npz` file holds beside its label, None where there is none. Raises as `read`.

    `--label-value` speaks of the label, so nobody says what is inside here: values 1 and 2 are the two lungs.
    """
    if not set(KEYS["lung"]) & set(arrays.keys_of(path)):
        return None
    key, _ = _found(path, KEYS["lung"])
    stored, name = formats.read_volume(path, key, TAKEN), f"{path}: `{key}`"
    two = {0, *values_of.LUNGS}.issuperset(values_of.count(stored.array, name))
    return _label(stored, path, key, volume, values_of.LUNGS if two else (), name, ())


def beside(path: Path | None, volume: Volume, asked: Sequence[int] = ()) -> tuple[Label | None, tuple[str, ...]]:
    """(the label of a volume that was read, what to say of it and of labels that were passed over, a line each).

    path: the label's file, or None for the one inside the volume's own `.npz`, where there is one. A label that nobody asked
    for and that is none is passed over with a word; one of which values were asked for raises as `read` does.
    """
    own = volume.source if volume.file_format == NPZ and volume.source is not None else None
    keys = arrays.keys_of(own) if own is not None else ()
    held = [key for keys_of_target in KEYS.values() for key in keys_of_target if key in keys]
    if path is not None:
        label = read(path, volume, asked)
        unused = held if own is not None and path.resolve() != own.resolve() else []
        return label, (*label.remarks(), *_unused(own, unused, f"the label is {path.name}"))
    if own is None or not set(KEYS["infection"]) & set(held):
        return None, _unused(own, held, "it is no label of an infection")
    try:
        label = inside(own, volume, "infection", asked)
    except VolumeError as error:
        if asked:
            raise
        return None, (f"not used as a label: {error}",)
    return label, (*label.remarks(), *_unused(own, [key for key in held if key != label.key], f"the label is `{label.key}`"))


def _unused(own: Path | None, keys: Sequence[str], why: str) -> tuple[str, ...]:
    return (f"{_quoted(keys)} of {own.name} is not used: {why}",) if keys and own is not None else ()


def _quoted(keys: Sequence[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def _found(path: Path, keys: Sequence[str]) -> tuple[str, list[str]]:
    """(the first key that is there, the others)."""
    there = arrays.keys_of(path)
    present = [key for key in keys if key in there]
    if not present:
        wanted = " or ".join(f"`{key}`" for key in keys)
        raise LabelError(f"{path}: no key {wanted}, the file holds {_quoted(there) or 'nothing'}")
    return present[0], present[1:]


def _label(
    stored: Volume, path: Path, key: str | None, volume: Volume, asked: Sequence[int], name: str, notes: tuple[str, ...]
) -> Label:
    if stored.shape != volume.shape:
        volume_name = "the volume" if volume.source is None else f"the volume {volume.source.name}"
        raise LabelError(f"{name} has shape {stored.shape}, {volume_name} {volume.shape}")
    voxels = values_of.count(stored.array, name)
    values, further = values_of.inside_of(voxels, asked, name, path)
    return Label(values_of.mask_of(stored.array, values, name), path, key, values, voxels, (*notes, *further))


def _check_place(label: Volume, volume: Volume, name: str) -> tuple[str, ...]:
    """LabelError where both tell their place in the patient, and it is not the same to APART voxels."""
    volume_name = "the volume" if volume.source is None else f"the volume {volume.source.name}"
    if label.shape != volume.shape or not (_placed(label) or _placed(volume)):
        return ()
    if not (_placed(label) and _placed(volume)):
        which = volume_name if _placed(label) else name.removeprefix(f"{label.source}: ")
        return (f"{name} was not checked to lie where {volume_name} does: {which} does not tell its place in the patient",)
    off = _farthest(label, volume)
    if off > APART:
        raise LabelError(f"{name} lies elsewhere than {volume_name}, by {off:.3g} voxels")
    return ()


def _placed(volume: Volume) -> bool:
    """Whether its place is known: an `.npz` with the spacing alone starts at 0, 0, 0 and runs along the patient's axes."""
    if volume.affine is None:
        return False
    turned = volume.affine[:3, [2, 1, 0]]
    return volume.file_format != NPZ or bool(volume.affine[:3, 3].any() or (turned - np.diag(np.diag(turned))).any())


def _farthest(label: Volume, volume: Volume) -> float:
    """How far the corners of two grids of the same shape lie apart, in the volume's shortest steps."""
    assert label.affine is not None
    assert volume.affine is not None
    assert volume.spacing is not None
    corners = np.array([[*corner, 1] for corner in product(*((0, n - 1) for n in volume.shape))]).T
    apart = ((label.affine - volume.affine) @ corners)[:3]
    return float(np.linalg.norm(apart, axis=0).max() / min(volume.spacing))
