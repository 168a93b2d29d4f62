"""The pixels of a series' slices: decoded one at a time, rescaled, and padding put to air."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.volumes.dicom import start as dicom_start
from bunet.models.volumes.dicom.apart import Apart
from bunet.models.volumes.dicom.geometry import usual
from bunet.models.volumes.dicom.slice import RESCALE, Slice
from bunet.models.volumes.volume import VolumeError

AIR_HU = -1024
BODY_HU = (-1000.0, 3000.0)  # where air, tissue and bone lie, both ends excluded
DEFLATED = "1.2.840.10008.1.2.1.99"
DECODERS = {  # what pydicom decodes compressed pixels by, by the start of the transfer syntax (PS3.5 10, A.4)
    "1.2.840.10008.1.2.4.20": "pylibjpeg pylibjpeg-openjpeg",  # 201 to 203: high-throughput JPEG 2000
    "1.2.840.10008.1.2.4.8": "pyjpegls",  # 80, 81: JPEG-LS
    "1.2.840.10008.1.2.4.9": "pillow",  # 90, 91: JPEG 2000
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG of 8 bits
    "1.2.840.10008.1.2.4.57": "python-gdcm",  # lossless JPEG, process 14
    "1.2.840.10008.1.2.4.70": "python-gdcm",
}


@dataclass
class Padding:
    """The pixels that the scanner did not see, by the header: counted while the slices are decoded.

    wanted: whether they become air. Of padding that the body has, too (which the standard does not allow), none does.
    """

    wanted: bool
    padded: int = 0
    pixels: int = 0
    body: tuple[float, float] | None = None

    def of(self, each: Slice) -> tuple[int, int] | None:
        """The stored values that become air in this slice; None where there are none."""
        if not self.wanted or each.padding is None:
            return None
        low, high = max(each.padding[0], each.stored[0]), min(each.padding[1], each.stored[1])
        if low > high:
            return None
        least, most = sorted(each.rescale[0] * end + each.rescale[1] for end in (low, high))
        if least < BODY_HU[1] and most > BODY_HU[0]:
            self.body = least, most
            return None
        return low, high

    def remarks(self) -> tuple[str, ...]:
        """What people are told of it, a sentence each."""
        remarks = []
        if self.padded:
            share = 100 * self.padded / self.pixels
            remarks.append(f"{share:.2g} % of its pixels are padding by the header, and taken as air ({AIR_HU} HU)")
        if self.body is not None:
            least, most = self.body
            which = f"{least:g} HU" if least == most else f"{least:g} to {most:g} HU"
            remarks.append(f"its header names {which} as padding, which the body has, too: such pixels stay as they are")
        return tuple(remarks)


def rescale_remarks(slices: Sequence[Slice]) -> list[str]:
    """Sentences of rescaling that differs within a series.

    Slopes, or all intercepts, differ where each slice is scaled for itself, as in PET; some intercepts do not for a reason.
    Raises VolumeError that names a slice without what the others are rescaled by.
    """
    for name in RESCALE:
        without = [each for each in slices if name in each.lacking]
        if without and len(without) < len(slices):
            raise VolumeError(
                f"{without[0].path}: has no {name}, which {len(slices) - len(without)} of the {len(slices)} slices have: copy "
                "the series again"
            )
    slopes, intercepts = zip(*(each.rescale for each in slices), strict=True)
    if len(set(slopes)) > 1 or len(set(intercepts)) in (1, len(slices)):
        return []
    most = usual(intercepts)
    others = [each for each in slices if each.rescale[1] != most]
    return [
        f"WARNING: another RescaleIntercept than {most:g} in {len(others)} of its {len(slices)} slices, such as "
        f"{others[0].path.name} with {others[0].rescale[1]:g}: where that is an error, those are too bright or too dark"
    ]


def dtype_of(slices: Sequence[Slice], padding: Padding) -> np.dtype[Any]:
    """The narrowest of uint8, int16, int32, float32 for every slice's values."""
    if not all(number.is_integer() for each in slices for number in each.rescale):
        return np.dtype(np.float32)
    ends = [each.rescale[0] * end + each.rescale[1] for each in slices for end in each.stored]
    if any(padding.of(each) for each in slices):
        ends.append(AIR_HU)
    for dtype in (np.uint8, np.int16, np.int32):
        if np.iinfo(dtype).min <= min(ends) and max(ends) <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    return np.dtype(np.float32)


def decoded(pydicom: Any, slices: Sequence[Slice], dtype: np.dtype[Any], padding: Padding) -> Iterator[NDArray[Any]]:
    """The slices' values, one array at a time. Raises VolumeError."""
    with Apart() as apart:
        for path, frames in groupby(slices, key=lambda each: each.path):
            ordered = list(frames)
            for each, stored in zip(ordered, _stored(pydicom, ordered, apart), strict=True):
                if stored.shape != each.shape:
                    raise VolumeError(f"{path}: holds pixels of shape {stored.shape}, its header says {each.shape}")
                yield _values(each, stored, padding).astype(dtype)


def _values(each: Slice, stored: NDArray[Any], padding: Padding) -> NDArray[Any]:
    slope, intercept = each.rescale
    values = stored if each.rescale == (1.0, 0.0) else stored.astype(np.float64) * slope + intercept
    ends = padding.of(each)
    padding.pixels += stored.size
    if ends is None:
        return values
    where = (stored >= ends[0]) & (stored <= ends[1])
    changed = where & (values != AIR_HU)
    padding.padded += int(np.count_nonzero(changed))
    return np.where(changed, AIR_HU, values)


def _stored(pydicom: Any, slices: Sequence[Slice], apart: Apart) -> Iterator[NDArray[Any]]:
    """The pixels of slices of one file."""
    path, syntax = slices[0].path, None
    indices = [each.frame for each in slices]
    try:
        bare = not dicom_start.has_prefix(path)
        meta = dicom_start.read(pydicom, path).file_meta if bare else pydicom.filereader.read_file_meta_info(path)
        syntax = meta.get("TransferSyntaxUID")
        whole = bare or len(slices) == 1 or syntax == DEFLATED  # else frames are read from the file where they lie
        plugin = _plugin(pydicom, syntax)
        if plugin == "gdcm":
            yield from apart.frames(path, indices)
        else:
            source = dicom_start.read(pydicom, path, pixels=True) if whole else path
            yield from pydicom.pixels.iter_pixels(source, indices=indices, raw=True, decoding_plugin=plugin)
    except Exception as error:  # pydicom lets through whatever its parts raise; their texts quote the file's values
        raise VolumeError(
            f"{path}: its pixels ({_syntax_name(pydicom, syntax)}) cannot be decoded here{_reason(pydicom, syntax, error)}"
        ) from error


def _plugin(pydicom: Any, syntax: Any) -> str:
    """The decoder of compressed pixels that pydicom shall use, "" for its own choice.

    GDCM's comes last, and never after another failed (`apart`).
    """
    available = pydicom.pixels.get_decoder(syntax).available_plugins
    return next((name for name in available if name != "gdcm"), "gdcm" if available else "")


def _syntax_name(pydicom: Any, syntax: Any) -> str:
    name = pydicom.uid.UID_dictionary.get(str(syntax))
    return name[0] if name else "of an unknown encoding"


def _reason(pydicom: Any, syntax: Any, error: Exception) -> str:
    """Why, and what helps."""
    try:
        decoder = pydicom.pixels.get_decoder(syntax)
    except Exception:
        return ": BUNET reads no such encoding"
    if syntax.is_encapsulated and not decoder.is_available:
        packages = next((packages for start, packages in DECODERS.items() if str(syntax).startswith(start)), None)
        if packages is None:
            return ": BUNET reads no such encoding"
        return f": its decoder is not installed: pip install {packages}"
    if isinstance(error, MemoryError | OSError):
        return f" ({type(error).__name__})"
    return ": they are missing, incomplete or damaged"
