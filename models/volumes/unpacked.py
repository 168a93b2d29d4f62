"""Files on the disk for what a file does not let us map: compressed arrays, and values that must be rescaled first.

Such a file has no name (it is gone with the last array on it, and nobody else can open it) in the folder that
`tempfile` chooses, `TMPDIR` where that is set. A volume is written there once, slice by slice, and mapped from then on.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.files.disk_space import SCRATCH, explaining_full_scratch

CHUNK = 1 << 20


def unpack(stream: IO[bytes] | gzip.GzipFile, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> NDArray[Any]:
    """The array whose bytes come next in `stream`, mapped from the disk. order: "C" or "F".

    The stream is read to its end, where zip and gzip keep their checksums, and so raises its own error where they differ.
    Raises EOFError where the stream ends before the array does, DiskFull where it does not fit on the disk.
    """
    missing = dtype.itemsize * int(np.prod(shape, dtype=object))
    if not missing:
        read_to_the_end(stream)
        return np.empty(shape, dtype)
    with _scratch_file() as scratch:
        while missing:
            chunk = stream.read(min(CHUNK, missing))
            if not chunk:
                raise EOFError(f"it ends {missing} bytes early")
            scratch.write(chunk)
            missing -= len(chunk)
        read_to_the_end(stream)
        scratch.flush()
        return np.memmap(scratch, dtype, "r", shape=shape, order="F" if order == "F" else "C")


def read_to_the_end(stream: IO[bytes] | gzip.GzipFile) -> None:
    """Read what is left, for the checksum that is compared at the end."""
    while stream.read(CHUNK):
        pass


def kept(images: Iterable[NDArray[Any]], dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """(slices, rows, columns) = shape, mapped from the disk; images: the slices, taken one at a time. Raises DiskFull."""
    with _scratch_file() as scratch:
        for image in images:
            scratch.write(np.ascontiguousarray(image, dtype=dtype).data)
        scratch.flush()
        return np.memmap(scratch, dtype, "r", shape=shape)


@contextmanager
def _scratch_file() -> Iterator[IO[bytes]]:
    with explaining_full_scratch(), tempfile.TemporaryFile(prefix=SCRATCH) as stream:
        yield stream
