"""A party's only source of secrets: AES-128 in counter mode under a seed from the operating system."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from math import prod

import numpy as np

from bunet.protocols.kernels.symmetric import aes

_BUFFER_BLOCKS = 2048  # small requests are served from a buffer of this many 16-byte blocks
_SMALL_BLOCKS = 256


class Random:
    """A stream of uniform bits, safe to share between threads.

    Without a seed it is keyed by the operating system. A given seed (16 or 32 bytes) makes the same stream on every
    machine: for tests, and to expand public seeds. Requests consume whole 16-byte blocks, each used once.
    """

    def __init__(self, seed: bytes | None = None) -> None:
        if seed is None:
            seed = secrets.token_bytes(32)
        if len(seed) not in (16, 32):
            raise ValueError(f"a seed has 16 or 32 bytes, not {len(seed)}")
        derived = hashlib.blake2b(seed, digest_size=24, person=b"bunet random").digest()
        self._schedule = aes.expand_key(derived[:16])
        self._nonce = np.uint64(int.from_bytes(derived[16:], "little"))
        self._next = 0  # first unused block
        self._buffer = np.empty(0, np.uint64)
        self._taken = 0  # words of the buffer already given out
        self._lock = threading.Lock()
        self._process = os.getpid()

    def words(self, count: int) -> np.ndarray:
        """Uniform uint64 (count,), a fresh writable array."""
        if count < 0:
            raise ValueError(f"cannot draw {count} words")
        blocks = (count + 1) // 2
        if blocks <= _SMALL_BLOCKS:
            self._check_process()
            return self._small(blocks)[:count]
        out = np.empty(2 * blocks, np.uint64)
        aes.ctr(*self.reserve(blocks), out)
        return out[:count]

    def reserve(self, blocks: int) -> tuple[np.ndarray, np.uint64, np.uint64]:
        """(schedule, nonce, first counter) of `aes.ctr` for blocks of two words that a kernel makes: nothing else gets them."""
        self._check_process()
        if blocks < 0:
            raise ValueError(f"cannot reserve {blocks} blocks")
        with self._lock:
            start = self._next
            self._next += blocks
        return self._schedule, self._nonce, np.uint64(start)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("a forked process would repeat its parent's random numbers: spawn it, or use a new Random")

    def _small(self, blocks: int) -> np.ndarray:
        with self._lock:
            end = self._taken + 2 * blocks
            if end > self._buffer.size:
                buffer = np.empty(2 * _BUFFER_BLOCKS, np.uint64)
                aes.ctr(self._schedule, self._nonce, np.uint64(self._next), buffer)
                self._next += _BUFFER_BLOCKS
                self._buffer, self._taken, end = buffer, 0, 2 * blocks
            taken = self._buffer[self._taken : end].copy()
            self._buffer[self._taken : end] = 0
            self._taken = end
        return taken

    def bytes(self, count: int) -> bytes:
        """Uniform bytes."""
        return self.words((count + 7) // 8).view(np.uint8)[:count].tobytes()

    def uniform(self, shape: int | tuple[int, ...], width: int) -> np.ndarray:
        """Uniform integers below 2^width (1..64), uint64 of that shape."""
        if not 1 <= width <= 64:
            raise ValueError(f"width {width} is outside 1..64")
        shape = tuple(shape) if isinstance(shape, tuple) else (int(shape),)
        out = self.words(prod(shape))
        if width < 64:
            out &= np.uint64((1 << width) - 1)
        return out.reshape(shape)

    def bits(self, count: int) -> np.ndarray:
        """Uniform uint8 (count,) of 0 and 1."""
        data = self.words((count + 63) // 64).view(np.uint8)
        return np.unpackbits(data, count=count, bitorder="little")

    def fork(self) -> Random:
        """An independent generator, seeded by the next words of this one."""
        return Random(self.bytes(32))
