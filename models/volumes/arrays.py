"""Volumes in numpy's own files: `.npy`, and `.npz` with the key `array`. No pickle is ever read."""

from __future__ import annotations

import lzma
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bunet.models.files.atomic import write_whole
from bunet.models.printable import reason
from bunet.models.volumes.unpacked import read_to_the_end, unpack
from bunet.models.volumes.volume import NPY, NPZ, Affine, Volume, VolumeError, check_shape, checked_affine, three_axes

KEYS = ("array", "ct", "hu")
AFFINE_KEY, SPACING_KEY = "affine_zyx_to_lps_mm", "spacing_zyx_mm"

LOCAL_HEADER_BYTES = 30  # of a zip member, before its name and its extra field
DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)


def read_npy(path: Path, kinds: str = "iuf") -> Volume:
    """An `.npy` file, memory-mapped; it has no place for spacing and orientation. Raises VolumeError.

    kinds: those of numpy that are taken; with "b" masks of truth values too, which become uint8 of 0 and 1.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(2) == b"PK":
                raise VolumeError(f"{path}: holds an archive, not an array; rename it to .npz")
            stream.seek(0)
            shape, order, kind = _header(stream)
            within = stream.tell()
        check_shape(np.broadcast_to(np.zeros((), kind), three_axes(shape)), f"{path}: ", kinds)
        if within + _bytes(shape, kind) > path.stat().st_size:
            raise EOFError("it ends early")
        array = np.memmap(path, kind, "r", within, shape, order)
    except DAMAGE as error:
        raise VolumeError(f"{path}: not a readable .npy file of plain numbers ({reason(error)})") from error
    return Volume(_plain(array), kind=NPY, source=path, notes=_axes_left_off(path, shape))


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Truth values as bytes, three axes of a volume."""
    array = array.reshape(three_axes(array.shape))
    return array.view(np.uint8) if array.dtype == np.bool_ else array


def _axes_left_off(path: Path, shape: tuple[int, ...]) -> tuple[str, ...]:
    left = three_axes(shape)
    return () if left == shape else (f"{path.name}: of its shape {shape} the axes of length 1 are left off: {left}",)


def read_npz(path: Path, key: str | None = None, kinds: str = "iuf") -> Volume:
    """One array of an `.npz` file: mapped where it lies in the file, or unpacked to the disk if it is compressed.

    key: its name; without it the first of `array`, `ct`, `hu` that is there. Where it lies in the patient is read from
    the key `affine_zyx_to_lps_mm` ((4, 4), `Volume.affine`), or the spacing alone from `spacing_zyx_mm`. Whatever is read is
    held against its checksum first. kinds: as for `read_npy`. Raises VolumeError.
    """
    wanted = KEYS if key is None else (key,)
    with _opened(path) as archive:
        names = _names(archive)
        found = next((name for name in wanted if name in names), None)
        if found is None:
            there = ", ".join(f"`{name}`" for name in names) or "nothing"
            raise VolumeError(f"{path}: no key {' or '.join(f'`{name}`' for name in wanted)}, the file holds {there}")
        held = _member(path, archive, found, kinds)
        array, notes = _plain(held), _axes_left_off(path, held.shape)
        affine = _affine(path, archive, names)
    try:
        return Volume(array, affine, NPZ, source=path, notes=notes, guessed=affine is not None and AFFINE_KEY not in names)
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from error


def keys_of(path: Path) -> list[str]:
    """The names of the arrays in an `.npz` file, in its order. Raises VolumeError."""
    with _opened(path) as archive:
        return _names(archive)


def read_array(path: Path, key: str) -> NDArray[Any]:
    """One array of an `.npz` file, of any shape and kind but Python objects, mapped or unpacked as a volume is, once its
    checksum was found right. Raises VolumeError.
    """
    with _opened(path) as archive:
        if key not in _names(archive):
            raise VolumeError(f"{path}: no key `{key}`")
        return _member(path, archive, key)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():  # a pipe would be waited for
        raise VolumeError(f"{path}: there is no such file" if not path.exists() else f"{path}: is neither a file nor a folder")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DAMAGE as error:
        raise VolumeError(f"{path}: not a readable .npz file of plain numbers ({reason(error)})") from error


def _names(archive: zipfile.ZipFile) -> list[str]:
    """But for those that cannot be shown: they are no keys of anybody's, and messages list the keys."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.isprintable()]


def _bytes(shape: tuple[int, ...], kind: np.dtype[Any]) -> int:
    return kind.itemsize * int(np.prod(shape, dtype=object))


def _member(path: Path, archive: zipfile.ZipFile, key: str, kinds: str | None = None) -> NDArray[Any]:
    """An array of an archive, after the whole member was read once and agreed with its checksum; a volume of `kinds` if any."""
    info = archive.getinfo(f"{key}.npy")
    with archive.open(info) as stream:
        shape, order, kind = _header(stream)
        if kinds is not None:
            # before anything is unpacked
            check_shape(np.broadcast_to(np.zeros((), kind), three_axes(shape)), f"{path}: ", kinds)
        if info.compress_type != zipfile.ZIP_STORED:
            return unpack(stream, kind, shape, order)
        within = stream.tell()
        if within + _bytes(shape, kind) > info.file_size:
            raise EOFError(f"`{key}` ends early")
        read_to_the_end(stream)
    if not _bytes(shape, kind):
        return np.empty(shape, kind)
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(LOCAL_HEADER_BYTES)
    name_bytes, extra_bytes = int.from_bytes(local[26:28], "little"), int.from_bytes(local[28:30], "little")
    offset = info.header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes + within
    return np.memmap(path, kind, "r", offset, shape, order)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any]]:
    """(shape, order, kind) of an array in numpy's format, up to its first value. ValueError for anything else."""
    try:
        with warnings.catch_warnings(action="ignore"):  # numpy's, of headers that Python 2 wrote
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, kind = read(stream)
    except (*DAMAGE, SyntaxError, TypeError, IndexError, AttributeError, tokenize.TokenError) as error:
        if isinstance(error, DAMAGE) and not isinstance(error, (ValueError, EOFError)):
            raise  # the file's, not the header's
        raise ValueError(f"no array's header: {reason(error)}") from error
    if kind.hasobject:
        raise ValueError("Python objects, which are not read")
    if any(size < 0 for size in shape):
        raise ValueError(f"no array has shape {shape}")
    return shape, "F" if fortran else "C", kind


def _affine(path: Path, archive: zipfile.ZipFile, names: list[str]) -> Affine | None:
    def small(key: str, shape: tuple[int, ...]) -> Affine:
        array = _member(path, archive, key)
        if array.shape != shape or array.dtype.kind not in "iuf":
            raise ValueError(f"`{key}` is not {shape} numbers")
        return array.astype(np.float64)

    if AFFINE_KEY in names:
        return small(AFFINE_KEY, (4, 4))
    if SPACING_KEY in names:
        z, y, x = small(SPACING_KEY, (3,))
        if not all(step > 0 for step in (z, y, x)):
            raise VolumeError(f"{path}: `{SPACING_KEY}` is {z:g}, {y:g}, {x:g}: spacings are above 0")
        return np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1.0]])
    return None


def write_npy(volume: Volume, path: Path) -> None:
    """The array alone. Raises VolumeError where the volume has a place in the patient, which would be lost."""
    if volume.affine is not None:
        raise VolumeError(f"{path}: an .npy file has no place for spacing and orientation; write .npz or .nii.gz")
    write_whole(path, lambda stream: np.lib.format.write_array(stream, volume.array, allow_pickle=False))


def write_npz(volume: Volume, path: Path) -> None:
    """The array under `array`, (slice, row, column), with its affine, or its spacing, where it has one.

    Bytes (masks) are compressed, a hundredfold as a rule; wider kinds are not, so that the file can be mapped.
    """
    save = np.savez_compressed if volume.array.dtype.itemsize == 1 else np.savez
    extra = {} if volume.affine is None else {AFFINE_KEY: checked_affine(volume.affine)}
    if volume.kind == NPZ and volume.guessed:
        extra = {SPACING_KEY: np.array(volume.spacing)}  # what nobody told stays untold
    write_whole(path, lambda stream: save(stream, array=volume.array, **extra))  # type: ignore[arg-type]
