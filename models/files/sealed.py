"""Our own files: arrays and texts with a kind, a version and a checksum, which is verified whenever one is read.

They are safetensors files. Their metadata holds `kind`, `version`, and `sha256` over everything else: the other metadata, and
the names, kinds, shapes and bytes of all arrays. What was flipped, cut off or exchanged is refused, never computed with. The
checksum finds damage; it is no signature, whoever can write the file can seal it again.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from bunet.models.errors import UsageError
from bunet.models.files import json_text
from bunet.models.files.atomic import write_whole
from bunet.models.files.git_lfs import ADVICE, is_pointer

KIND, VERSION, CHECKSUM = "kind", "version", "sha256"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Kind:
    """A kind of file. name: as it stands in the file. what: as messages call it, such as "a weight file". remedy: of the errors
    of a damaged file. older: likewise of one of an earlier version, if that is something else.
    """

    name: str
    version: int
    what: str
    remedy: str
    older: str = ""


class SealError(UsageError):
    """A file that is not whole, or not of the kind that was asked for; the message names it and says what to do."""


def save(
    path: str | Path,
    kind: Kind,
    arrays: Mapping[str, NDArray[Any]],
    texts: Mapping[str, str] | None = None,
    mode: int | None = None,
) -> None:
    """Write a file that appears whole or not at all. arrays: of numbers. mode: as for `write_whole`, whose errors it raises."""
    clean = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}
    metadata = {**(texts or {}), KIND: kind.name, VERSION: str(kind.version)}
    metadata[CHECKSUM] = checksum(metadata, clean)
    data = to_bytes(clean, metadata)
    length = int.from_bytes(data[:8], "little")
    # The library leaves the metadata in an order of chance; the same contents are to be the same bytes.
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)

    def write(stream: IO[bytes]) -> None:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.write(memoryview(data)[8 + length :])

    write_whole(Path(path), write, mode=mode)


def load(path: str | Path, kind: Kind, mapped: bool = False) -> tuple[dict[str, str], Arrays]:
    """(texts, arrays) as `save` got them. mapped: leave the arrays on the disk, once they were found to be whole.

    Raises SealError in one sentence.
    """
    path = Path(path)
    metadata, arrays = _read(path, kind)
    if mapped:
        arrays = _mapped(path, arrays, kind)  # what is verified below is what the caller gets, not an earlier reading of it
    if metadata.get(KIND) == kind.name and CHECKSUM in metadata and metadata.get(VERSION) != str(kind.version):
        older = kind.older or kind.remedy
        raise SealError(f"{path} is of version {metadata.get(VERSION, '')[:9]!r}, not {kind.version}", older)
    if CHECKSUM not in metadata and metadata.get(KIND, "").startswith(kind.name):
        raise SealError(f"{path} is of an earlier version, which has no checksum", kind.older or kind.remedy)
    if metadata.get(KIND) != kind.name:
        raise SealError(f"{path} is damaged or not {kind.what}, its metadata does not say {kind.name!r}", kind.remedy)
    if metadata[CHECKSUM] != checksum(metadata, arrays):
        raise SealError(f"{path} is damaged, its checksum differs", kind.remedy)
    return {name: text for name, text in metadata.items() if name not in (KIND, VERSION, CHECKSUM)}, arrays


def checksum(metadata: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over all metadata but the checksum, and over all arrays, in the order of their names."""
    names = sorted(arrays)
    header = {
        "metadata": {name: text for name, text in metadata.items() if name != CHECKSUM},
        "arrays": [[name, arrays[name].dtype.str, list(arrays[name].shape)] for name in names],
    }
    known = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode())
    for name in names:
        known.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return known.hexdigest()


def read_earlier(path: str | Path, kind: Kind) -> tuple[dict[str, str], Arrays]:
    """(all metadata, arrays), nothing being verified: for converting files of earlier versions. Raises SealError."""
    return _read(Path(path), kind)


def _read(path: Path, kind: Kind) -> tuple[dict[str, str], Arrays]:
    if not path.is_file():
        raise SealError(f"{path}: there is no such file" if not path.exists() else f"{path} is not a file")
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise SealError(f"{path} cannot be read: {error.strerror or error}") from error
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, OverflowError, MemoryError) as error:
        if is_pointer(path):
            raise SealError(f"{path} {ADVICE}") from error
        # Of its own errors some are not SafetensorErrors, such as those of kinds that numpy has not.
        raise SealError(f"{path} is damaged or not {kind.what}", kind.remedy) from error


def _mapped(path: Path, arrays: Arrays, kind: Kind) -> Arrays:
    """The same arrays where they lie in the file, all in one mapping of it: a length of 8 bytes, the header, then all bytes."""
    try:
        with path.open("rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        length = int.from_bytes(data[:8], "little")
        header = json_text.parse(data[8 : 8 + length])
        starts = {name: 8 + length + header[name]["data_offsets"][0] for name in arrays}
        return {
            name: np.frombuffer(data, array.dtype, array.size, starts[name]).reshape(array.shape) if array.size else array
            for name, array in arrays.items()
        }
    except (OSError, ValueError, TypeError, LookupError, OverflowError) as error:  # it has changed since it was read
        raise SealError(f"{path} is damaged or not {kind.what}", kind.remedy) from error
