"""Volumes from DICOM series: a folder with one file for each slice, or one multi-frame file, through pydicom (the extra
`clinical`).

A series is taken only as a whole: all slices must lie at equal steps, none may be there twice. What cannot be seen from the
files is a slice that is missing at either end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bunet.models.volumes.dicom import folder, geometry
from bunet.models.volumes.dicom.folder import CT
from bunet.models.volumes.dicom.geometry import Stack
from bunet.models.volumes.dicom.library import pydicom_for, quiet
from bunet.models.volumes.dicom.pixels import Padding, decoded, dtype_of, rescale_remarks
from bunet.models.volumes.dicom.slice import Slice
from bunet.models.volumes.unpacked import kept
from bunet.models.volumes.volume import DICOM, Volume, VolumeError


def read_series(path: Path, series: str | None = None) -> Volume:
    """The DICOM series of a folder (or of one multi-frame file), in Hounsfield units where its scanner gives them (rescale
    slope, intercept); pixels that the header calls padding become -1024 HU in a CT.

    series: the number of the one that is wanted, a `folder.Series.label`; needed where a folder holds several. Sorted by
    position along the slices' normal, whatever the files are called. Decoded once to the disk, one slice at a time: whole
    numbers (uint8, int16 or int32) where slope and intercept are whole, float32 otherwise. `Volume.files`: the series' files.
    Raises VolumeError in one sentence that names the file: no DICOM image, several series, slices of another size or
    orientation, twice in one place, missing, or encoded in a way that is not installed here. Nothing of a patient is in it.
    """
    pydicom = pydicom_for(path)
    with quiet():
        selected, notes = folder.choose(folder.find(pydicom, path), series)
        slices, scouts = folder.slices_of(selected)
        if path.is_file() and len(slices) == 1:
            raise VolumeError(f"{path}: is one slice: give the folder of its series")
        try:
            stack, left = _stack(slices)
        except VolumeError as error:  # a slice that is missing may be one of what was left out
            raise VolumeError("; ".join([str(error), *notes])) from error
        if count := left + scouts:
            notes.append(f"{count} scout{'s' * (count > 1)} (images of another plane or size) in its series left out")
        notes += rescale_remarks(stack.slices)
        padding = Padding(selected.modality == CT)
        dtype, shape = dtype_of(stack.slices, padding), stack.slices[0].shape
        try:
            array = kept(decoded(pydicom, stack.slices, dtype, padding), dtype, (len(stack.slices), *shape))
        except OSError as error:
            raise VolumeError(f"{path}: cannot be unpacked to the disk ({error.strerror or error})") from error
    files = tuple(dict.fromkeys(each.path for each in stack.slices))
    notes += [*stack.remarks, *padding.remarks()]
    volume = Volume.of_file(array, stack.affine, DICOM, path)
    return replace(volume, notes=tuple(notes), files=files, modality=selected.modality)


def _stack(slices: Sequence[Slice]) -> tuple[Stack, int]:
    """(the stack, how many single images of another size or plane were left out of it).

    They are left out only where the others are whole without them: else one of them is a slice that is damaged.
    """
    rest, single = geometry.apart(slices)
    if single and len(rest) > folder.FEW:
        try:
            geometry.check_alike(rest)
            return geometry.stacked(rest), len(single)
        except VolumeError:
            pass
    geometry.check_alike(slices)
    return geometry.stacked(slices), 0
