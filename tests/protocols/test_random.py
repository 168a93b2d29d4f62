from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bunet.protocols.random import Random

# Seeds are fixed where a test is statistical, so that it passes always or never; limits are at significance 1e-6.


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2).sum() / expected)


def assert_uniform(symbols: np.ndarray, kinds: int) -> None:
    """Chi-square near its mean kinds - 1, within 4.9 standard deviations sqrt(2 (kinds - 1))."""
    statistic = chi_square(np.bincount(symbols, minlength=kinds))
    assert abs(statistic - (kinds - 1)) < 4.9 * (2 * (kinds - 1)) ** 0.5


def test_bytes_are_uniform_and_uncorrelated() -> None:
    data = np.frombuffer(Random(bytes(16)).bytes(1 << 20), np.uint8)
    assert_uniform(data, 256)
    assert_uniform(data[:-1] ^ data[1:], 256)
    assert_uniform(data[::2].astype(np.uint16) << 8 | data[1::2], 1 << 16)


@pytest.mark.parametrize("width", [1, 5, 8, 24, 33, 64])
def test_uniform_covers_its_range(width: int) -> None:
    values = Random(b"0123456789abcdef").uniform((64, 1024), width)
    assert values.shape == (64, 1024)
    assert values.dtype == np.uint64
    assert int(values.max()) < 1 << width
    top = (values >> np.uint64(max(width - 8, 0))).astype(np.int64).reshape(-1)
    assert_uniform(top, 1 << min(width, 8))
    for bit in range(width):
        ones = int((values >> np.uint64(bit) & np.uint64(1)).sum())
        assert abs(ones - values.size / 2) < 4.9 * values.size**0.5 / 2


def test_bits() -> None:
    bits = Random(bytes(32)).bits(100_001)
    assert bits.dtype == np.uint8
    assert bits.shape == (100_001,)
    assert_uniform(bits, 2)


def test_a_seed_names_a_stream() -> None:
    a, b = Random(bytes(16)), Random(bytes(16))
    for count in (1, 7, 600, 3, 5000, 0, 64):
        assert (a.words(count) == b.words(count)).all()
    assert a.bytes(33) == b.bytes(33)
    assert a.fork().bytes(16) == b.fork().bytes(16)
    assert Random(bytes(16)).bytes(16) != Random(bytes(32)).bytes(16)


def test_no_two_streams_meet() -> None:
    root = Random()
    streams = [root, Random(), root.fork(), root.fork()]
    words = np.concatenate([stream.words(count) for stream in streams for count in (4, 9000, 10)])
    assert np.unique(words).size == words.size


def test_arrays_given_out_are_the_callers_own() -> None:
    random = Random(bytes(16))
    first = random.words(4)
    kept = first.copy()
    later = random.words(4)
    later[:] = 0
    assert (first == kept).all()
    assert not np.array_equal(random.words(4), later)


def test_threads_share_a_generator() -> None:
    random = Random()
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda i: random.words(3 if i % 10 else 2000), range(400)))
    words = np.concatenate(parts)
    assert np.unique(words).size == words.size


def test_a_forked_process_may_not_repeat_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random()
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="spawn it"):
        random.words(1)
    assert Random().words(1).size == 1


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="16 or 32 bytes, not 8"):
        Random(bytes(8))
    with pytest.raises(ValueError, match="width 65"):
        Random().uniform(3, 65)
    with pytest.raises(ValueError, match="cannot draw -1"):
        Random().words(-1)


def test_a_negative_count_does_not_rewind() -> None:
    random = Random(bytes(32))
    for draw in (random.words, random.reserve):
        with pytest.raises(ValueError):
            draw(-512)
