"""pydicom, which is an extra, and what it is not to say: nothing of a patient reaches standard error through it."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bunet.models.volumes.volume import VolumeError

Header = Any  # pydicom.Dataset, which is there only where the extra is


def pydicom_for(path: Path) -> Any:
    """The module pydicom, or a VolumeError that says how to get it."""
    try:
        import pydicom
    except ImportError as error:
        raise VolumeError(f"{path}: DICOM series need the extra `clinical`: pip install 'bunet[clinical]'") from error
    return pydicom


@contextmanager
def quiet() -> Iterator[None]:
    """Whatever reads or writes DICOM runs in here: no warning, log or print of a library is seen.

    pydicom warns of malformed elements and quotes their values, such as a name; the decoders of compressed pixels print on
    standard error from C, past Python's warnings. Nested uses are fine; other threads are silenced meanwhile, too.
    """
    logger = logging.getLogger("pydicom")
    level = logger.level
    with warnings.catch_warnings(), _unseen_stderr(), _unchecked_values():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
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
def _unseen_stderr() -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # it is closed: nothing is seen anyway
        yield
        return
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
