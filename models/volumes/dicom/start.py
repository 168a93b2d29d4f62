"""How a DICOM file begins, and reading its header however it does.

A file has a preamble and a header of its own before the data set (PS3.10 7.1); old archives and exports wrote the data set
alone, which starts with group 0008 (or with the header's group 0002) and tells its encoding by its first element only. Such a
file is taken where it reads as an image: its name or first bytes are not proof enough.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bunet.models.volumes.dicom.library import Header
from bunet.models.volumes.volume import VolumeError

PREAMBLE, PREFIX = 128, b"DICM"  # PS3.10 7.1
GROUPS = (b"\x08\x00", b"\x02\x00")  # little endian
LONGEST = 1024  # bytes of a first element
IMAGE = ("Rows", "Columns", "BitsAllocated")


def has_prefix(path: Path) -> bool:
    """Whether a file says that it is DICOM. Raises VolumeError."""
    return _start(path)[PREAMBLE:] == PREFIX


def is_bare(path: Path) -> bool:
    """Whether a file begins as a data set does that has no preamble. Raises VolumeError."""
    start = _start(path)
    if start[:2] not in GROUPS or len(start) < 8 or start[3] != 0:
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or int.from_bytes(start[4:8], "little") <= LONGEST


def is_cut(path: Path) -> bool:
    """Whether a file ends within an empty preamble. Raises VolumeError."""
    start = _start(path)
    return 0 < len(start) < PREAMBLE + len(PREFIX) and not any(start[:PREAMBLE]) and PREFIX.startswith(start[PREAMBLE:])


def read(pydicom: Any, path: Path, pixels: bool = False) -> Header:
    """A file's data set, without its pixels unless they are wanted. One that has no preamble is given the transfer syntax that
    it was read by. Raises whatever pydicom does.
    """
    bare = not has_prefix(path)
    data = pydicom.dcmread(path, stop_before_pixels=not pixels, force=bare)
    if bare and "TransferSyntaxUID" not in data.file_meta:
        implicit, little = data.original_encoding
        explicit = pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian if implicit else explicit
    return data


def read_bare(pydicom: Any, path: Path) -> Header:
    """The header of an image without a preamble. Raises VolumeError where it is none."""
    try:
        header = read(pydicom, path)
        if all(name in header for name in IMAGE):
            return header
    except Exception as error:  # pydicom lets through whatever its parts raise; their texts quote the file's values
        raise _no_header(path) from error
    raise _no_header(path)


def _no_header(path: Path) -> VolumeError:
    return VolumeError(
        f"{path}: has no DICOM header (DICM), and is no whole image without it: write it again, such as by dcmconv or dcm2dcm"
    )


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(PREAMBLE + len(PREFIX))
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read ({error.strerror})") from error
