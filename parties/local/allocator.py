"""Keeps freed memory in the process: fresh pages cost more than many kernels.

glibc gives large blocks back to the system when they are freed and takes fresh, unmapped ones at the next request; for
arrays of a few hundred KiB to a few MiB, made and dropped all day, the page faults then take longer than the kernels
that fill them (a BFV encryption: 120 us instead of 30). mallopt(3) tells it not to.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

# From <malloc.h>.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_MIB = 1 << 20


def keep_freed_memory() -> None:
    """Set once at the start of a party's process; does nothing where the C library is not glibc."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - AttributeError where this is another C library
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * _MIB)
        libc.mallopt(_M_TRIM_THRESHOLD, 1024 * _MIB)
        libc.mallopt(_M_TOP_PAD, 64 * _MIB)
        libc.mallopt(_M_ARENA_MAX, 1)  # worker threads share the heap that is kept
