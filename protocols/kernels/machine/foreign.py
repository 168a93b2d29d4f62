"""Kernels that are not ours, compiled beside ours in one process: for comparing the two, never for a protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Functions that are decorated with njit(cache=True) meanwhile keep what is compiled of them in that folder, for good.

    numba would put it into our own cache or beside their sources, and would not see edits in the files they import.
    """
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A loop over someone's kernels, compiled and not kept, so that Python's calls are not what is timed."""
    made: Callable[..., Any] = numba.njit(nogil=True)(function)
    return made
