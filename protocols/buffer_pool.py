"""Memory for large messages, used again once nobody refers to it.

A party that streams gigabytes in messages of a few MiB spends as long in page faults as in garbling if every message
is new memory from the operating system. A message may not be written after it was sent, since it travels without
copy; so a buffer comes back only when the last array (or memoryview) of it is gone.
"""

from __future__ import annotations

import weakref
from collections import deque
from math import prod

import numpy as np

BUFFER_BYTES = 2 << 20
_KEPT = 32  # buffers kept for later: 64 MiB a process
_LINE_BYTES = 64

_free: deque[bytearray] = deque(maxlen=_KEPT)  # an allocator's free list; append and pop are atomic


def lend(shape: tuple[int, ...]) -> np.ndarray:
    """An uninitialised C-contiguous uint64 array that starts at a cache line; above BUFFER_BYTES it is not pooled.

    It may hold what an earlier message held: write all of it before it is sent.
    """
    nbytes = 8 * prod(shape)
    if nbytes > BUFFER_BYTES:
        memory = bytearray(nbytes + _LINE_BYTES)
        pooled = False
    else:
        pooled = True
        try:
            memory = _free.pop()
        except IndexError:
            memory = bytearray(BUFFER_BYTES + _LINE_BYTES)
    words = np.frombuffer(memory, np.uint64)  # every view of it has it, not the memory, as its base
    if pooled:
        weakref.finalize(words, _free.append, memory).atexit = False
    skip = -(words.ctypes.data >> 3) % (_LINE_BYTES // 8)
    return words[skip : skip + nbytes // 8].reshape(shape)
