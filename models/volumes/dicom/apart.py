"""Pixels decoded in a process of their own: GDCM ends the whole process on some damaged data (an uncaught C++ exception).

The child is this module, run by the same Python. A line of JSON asks it for frames of a file (`path`, `frames`); for each it
answers with a line of JSON (`kind`, `shape`, or `damaged`) and the frame's bytes. Where it dies, the file was damaged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bunet.models.errors import UsageError
from bunet.models.volumes.dicom.library import quiet

DAMAGED_PIXELS = "its pixels are damaged"
DAMAGED = (b"corrupt", b"premature")  # what libjpeg prints of data that it decodes to something all the same


class DamagedPixels(UsageError):
    """A decoder finds, or dies of, damaged pixels."""


def is_damage(said: bytes) -> bool:
    """Whether what a decoder printed means that its data are damaged."""
    text = said.lower()
    return any(word in text for word in DAMAGED)


class Apart:
    """The child, started when it is first needed and ended on leaving."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()

    def frames(self, path: Path, frames: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Frames of a file, in the order asked for. Raises DamagedPixels, OSError where no process can be started."""
        if self._child is None:
            command = [sys.executable, "-P", "-m", __name__]  # -P: no module of the folder that we happen to be in
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps({"path": os.fspath(path.resolve()), "frames": list(frames)}).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError as error:
            raise DamagedPixels(DAMAGED_PIXELS) from error
        for _ in frames:
            answer = json.loads(self._child.stdout.readline() or b'{"damaged": true}')
            if answer.get("damaged"):
                raise DamagedPixels(DAMAGED_PIXELS)
            kind, shape = np.dtype(answer["kind"]), tuple(answer["shape"])
            data = self._child.stdout.read(kind.itemsize * int(np.prod(shape)))
            yield np.frombuffer(data, kind).reshape(shape)


def serve(asked: IO[bytes], answers: IO[bytes]) -> None:
    """The child's side, until nothing more is asked."""
    import pydicom

    for line in asked:
        request = json.loads(line)
        with quiet() as said:
            try:
                for frame in pydicom.pixels.iter_pixels(
                    request["path"], indices=request["frames"], raw=True, decoding_plugin="gdcm"
                ):
                    if is_damage(said()):
                        raise DamagedPixels(DAMAGED_PIXELS)
                    answers.write(json.dumps({"kind": frame.dtype.str, "shape": frame.shape}).encode() + b"\n")
                    answers.write(np.ascontiguousarray(frame).data)
                    answers.flush()
            except Exception:  # whatever a decoder raises; its text may quote the file
                answers.write(b'{"damaged": true}\n')
                answers.flush()


def _leave_no_core() -> None:
    """No image of the memory, with a patient's pixels in it, on the disk when a decoder dies."""
    try:
        import resource
    except ImportError:  # not on Unix
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _leave_no_core()
    with os.fdopen(os.dup(1), "wb") as kept:
        os.dup2(2, 1)  # what libraries print must not stand among the answers
        serve(sys.stdin.buffer, kept)
