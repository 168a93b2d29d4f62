"""pydicom, which is an extra, and what it is not to say: nothing of a patient reaches standard error through it."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bunet.models import extras
from bunet.models.volumes.volume import VolumeError

Header = Any  # pydicom.Dataset, which is there only where the extra is
Said = Callable[[], bytes]  # what was printed on standard error since the last call


def pydicom_for(path: Path) -> Any:
    """The module pydicom, or a VolumeError that says how to get it."""
    try:
        import pydicom
    except ImportError as error:
        raise VolumeError(f"{path}: DICOM series need the extra `clinical`: {extras.how('clinical')}") from error
    return pydicom


@contextmanager
def quiet() -> Iterator[Said]:
    """Whatever reads or writes DICOM runs in here: no warning, log or print of a library is seen.

    pydicom warns of malformed elements and quotes their values, such as a name; the decoders of compressed pixels print on
    standard error from C, past Python's warnings. What they print is often all that they do about damage: the function that
    is given returns it. Nested uses are fine; other threads are silenced meanwhile, too.
    """
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), _unseen_stderr() as said, _unchecked_values():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield said
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _unchecked_values() -> Iterator[None]:
    """Elements are read as they are: those that matter are checked here, and no other is of our concern."""
    try:
        from pydicom import config
    except ImportError:  # `pydicom_for` says so
        yield
        return
    before = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    try:
        yield
    finally:
        config.settings.reading_validation_mode = before


@contextmanager
def _unseen_stderr() -> Iterator[Said]:
    try:
        before = os.dup(2)
    except OSError:  # it is closed: nothing is seen anyway
        yield lambda: b""
        return
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
        with _scratch_file() as scratch:
            os.dup2(scratch.fileno(), 2)
            read = 0

            def said() -> bytes:
                nonlocal read
                text = os.pread(scratch.fileno(), 1 << 16, read)  # leaves its end where it is
                read += len(text)
                return text

            yield said
    finally:
        os.dup2(before, 2)
        os.close(before)


def _scratch_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(prefix="bunet-")
    except OSError:  # no folder for it, or a full one: others will say so
        return open(os.devnull, "r+b")
