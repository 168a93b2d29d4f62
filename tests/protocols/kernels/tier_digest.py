"""Digests of what the AES, bit, extension and share kernels compute, as JSON; run by test_tier.py once a tier."""

import hashlib
import json
from collections.abc import Iterator

import numpy as np

from bunet.protocols.kernels import shares
from bunet.protocols.kernels.machine import tier
from bunet.protocols.kernels.ot import correlated, extension, softspoken
from bunet.protocols.kernels.packing import bits
from bunet.protocols.kernels.symmetric import aes
from bunet.protocols.random import Random


def _encrypt(random: Random) -> Iterator[np.ndarray]:
    schedule = aes.expand_key(random.bytes(16))
    yield schedule
    for blocks in (0, 1, 3, 31, 32, 33, 65, 2049):
        out = np.empty(2 * blocks, np.uint64)
        aes.ctr(schedule, 2**64 - 1, 2**64 - 2, out)
        yield out


def _hash(random: Random) -> Iterator[np.ndarray]:
    key = random.words(2)
    for count in (0, 1, 63, 64, 65, 255, 256, 257, 2500):
        rows = random.words(2 * count).reshape(count, 2)
        out = np.empty_like(rows)
        aes.hash_rows(key, 2**64 - 5, rows, out, first_tile=3)
        yield out


def _bits(random: Random) -> Iterator[np.ndarray]:
    yield bits.transpose(random.words(3 * 256).reshape(3, 128, 2))
    for width in (1, 13, 24, 33, 60, 64):
        values = random.uniform(301, width).astype(np.uint32 if width <= 32 else np.uint64)
        packed = bits.pack(values, width)
        yield packed
        yield bits.unpack(packed, 301, width)


def _extension(random: Random) -> Iterator[np.ndarray]:
    zeros, ones = (aes.expand_interleaved(random.words(256).view(np.uint8).reshape(128, 16)) for _ in range(2))
    delta, key, stream, tweak = random.words(2), random.words(2), np.uint64(2**63 + 7), np.uint64(99)
    for count in (1, 128, 700, 9000):
        message = np.empty((count + 127) // 128 * 256, np.uint64)
        rows, own = np.empty((2, count, 2), np.uint64)
        extension.extend_receiver(zeros, ones, stream, random.words(message.size // 128), message, rows)
        extension.extend_sender(zeros, delta, stream, message, own)
        yield from (message, rows, own)
        for width, dtype in ((17, np.uint32), (61, np.uint64)):
            correlation, choices = random.uniform(count, width).astype(dtype), random.bits(count)
            result, packed = np.empty(count, dtype), np.empty((count * width + 63) // 64 + 1, np.uint64)
            correlated.correct(key, tweak, delta, rows, correlation, width, result, packed)
            data = packed.view(np.uint8)[: bits.packed_bytes(count, width)]
            yield from (result.copy(), data)
            correlated.apply_correction(key, tweak, rows, choices, data, width, result)
            yield result


def _softspoken(random: Random) -> Iterator[np.ndarray]:
    delta, stream = random.words(2), np.uint64(2**62 + 5)
    for k in (2, 4, 8):
        keys = random.words(2 * (128 // k) << k).view(np.uint8).reshape(-1, 16)
        schedules = aes.expand_interleaved(keys).reshape(32 // k, 1 << k, 11, 8)
        for count in (1, 700, 9000):
            message = np.empty((count + 127) // 128 * 256 // k, np.uint64)
            rows, own = np.empty((2, count, 2), np.uint64)
            softspoken.extend_receiver(schedules, stream, random.words(message.size * k // 128), message, rows)
            message.setflags(write=False)
            softspoken.extend_sender(schedules, delta, stream, message, own)
            yield from (message, rows, own)


def _shares(random: Random) -> Iterator[np.ndarray]:
    for small, wide in ((7, 12), (28, 40), (33, 64)):
        values = random.uniform((3, 6, 10), small).astype(np.uint32 if small <= 32 else np.uint64)
        yield shares.shift(values, 5, 1, small)
        yield shares.top_bits(values, 1 << (small - 2), small)
        yield shares.widen(values, random.uniform(values.shape, wide - small), -1, 1 << (small - 2), small, wide)
        yield shares.window_sums(values, wide)
        yield shares.add_to_channels(values, values[:, 0, 0].copy(), wide)


def digests() -> dict[str, str]:
    result = {"tier": tier.TIER}
    for part in (_encrypt, _hash, _bits, _extension, _softspoken, _shares):
        digest = hashlib.sha256()
        for array in part(Random(bytes(range(16)))):
            digest.update(array.tobytes())
        result[part.__name__] = digest.hexdigest()
    return result


if __name__ == "__main__":
    print(json.dumps(digests()))
