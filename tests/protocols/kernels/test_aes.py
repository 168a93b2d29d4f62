"""AES in counter mode and the tweakable hash, block by block; the standards' values are held in tests/vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.kernels.symmetric import aes

KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")


def encrypt(key: bytes, block: bytes) -> bytes:
    """One block, as the counter block that it is."""
    out = np.empty(2, np.uint64)
    aes.ctr(aes.expand_key(key), int.from_bytes(block[8:], "little"), int.from_bytes(block[:8], "little"), out)
    return out.tobytes()


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(1, 150))
def test_counter_mode_is_block_by_block(nonce: int, counter: int, count: int) -> None:
    out = np.empty(2 * count, np.uint64)
    aes.ctr(aes.expand_key(KEY), nonce, counter, out)
    for i in {0, count // 2, count - 1}:
        block = ((counter + i) % 2**64).to_bytes(8, "little") + nonce.to_bytes(8, "little")
        assert out[2 * i : 2 * i + 2].tobytes() == encrypt(KEY, block)


def test_interleaved_schedules() -> None:
    keys = np.arange(128 * 16, dtype=np.uint64).astype(np.uint8).reshape(128, 16)
    keys[:, 3] = np.arange(128)
    schedules = aes.expand_interleaved(keys)
    assert schedules.shape == (32, 11, 8)
    for i in (0, 1, 6, 127):
        own = schedules[i // 4, :, 2 * (i % 4) : 2 * (i % 4) + 2]
        assert (own.reshape(22) == aes.expand_key(keys[i].tobytes())).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(1, 600), st.integers(0, 2**32))
def test_hash_of_rows(tweak: int, first_tile: int, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    key = random.integers(0, 2**64, 2, np.uint64)
    rows = random.integers(0, 2**64, (count, 2), np.uint64)
    out = np.empty_like(rows)
    aes.hash_rows(key, tweak, rows, out, first_tile)
    for i in {0, count // 3, count - 1}:
        low, high = (int(x) for x in rows[i])
        sigma = high.to_bytes(8, "little") + (low ^ high).to_bytes(8, "little")
        tile = first_tile + i // aes.TILE
        own = (int(key[0]) ^ tile).to_bytes(8, "little") + (int(key[1]) ^ tweak).to_bytes(8, "little")
        assert out[i].tobytes() == xor(encrypt(own, sigma), sigma)
    aes.hash_rows(key, tweak, rows, rows, first_tile)  # in place
    assert (rows == out).all()


def test_bad_arguments() -> None:
    schedule, out = aes.expand_key(KEY), np.empty(4, np.uint64)
    with pytest.raises(ValueError, match="16 bytes, not 15"):
        aes.expand_key(bytes(15))
    with pytest.raises(ValueError, match="even size"):
        aes.ctr(schedule, 0, 0, out[:3])
    with pytest.raises(ValueError, match="even size"):
        aes.ctr(schedule, 0, 0, out[::2])
    with pytest.raises(ValueError, match="schedule"):
        aes.ctr(schedule[:4], 0, 0, out)
    rows = out.reshape(2, 2)
    with pytest.raises(ValueError, match="differ in shape"):
        aes.hash_rows(out[:2], 0, rows, rows[:1])
    with pytest.raises(ValueError, match="rows must be"):
        aes.hash_rows(out[:2], 0, out, out)
    with pytest.raises(ValueError, match="hash key"):
        aes.hash_rows(out, 0, rows, rows)
    with pytest.raises(ValueError, match="keys must be"):
        aes.expand_interleaved(np.zeros((3, 16), np.uint8))
