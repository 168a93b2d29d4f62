import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.protocols.kernels.packing import bits


def random_values(count: int, width: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 2**64, count, np.uint64) >> np.uint64(64 - width)
    return values.astype(np.uint32 if width <= 32 else np.uint64)


def packed_one_by_one(values: np.ndarray, width: int) -> bytes:
    number = sum(int(value) << (i * width) for i, value in enumerate(values))
    return number.to_bytes(bits.packed_bytes(values.size, width), "little")


@pytest.mark.parametrize("width", range(1, 65))
def test_packing_and_back(width: int) -> None:
    for count in (0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 130):
        values = random_values(count, width, count)
        packed = bits.pack(values, width)
        assert packed.dtype == np.uint8
        assert packed.flags.c_contiguous
        assert packed.tobytes() == packed_one_by_one(values, width)
        packed.setflags(write=False)
        back = bits.unpack(packed, count, width)
        assert back.dtype == values.dtype
        assert (back == values).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 64), st.integers(0, 3000), st.integers(0, 9), st.integers(0, 2**32))
def test_packing_from_any_address(width: int, count: int, shift: int, seed: int) -> None:
    values = random_values(count, width, seed)
    packed = bits.pack(values, width)
    moved = np.zeros(packed.size + shift, np.uint8)
    moved[shift:] = packed
    assert (bits.unpack(moved[shift:], count, width) == values).all()


@pytest.mark.parametrize("width", [5, 20, 32])
def test_a_wider_kind_packs_the_same(width: int) -> None:
    values = random_values(77, width, 1)
    assert (bits.pack(values.astype(np.uint64), width) == bits.pack(values, width)).all()


def test_bad_arguments() -> None:
    values = np.arange(10, dtype=np.uint32)
    for width in (0, 65, -3):
        with pytest.raises(ValueError, match=r"outside 1\.\.64"):
            bits.pack(values, width)
        with pytest.raises(ValueError, match=r"outside 1\.\.64"):
            bits.unpack(np.zeros(8, np.uint8), 1, width)
    with pytest.raises(ValueError, match="does not fit in 3 bits"):
        bits.pack(values, 3)
    with pytest.raises(ValueError, match="uint32 or uint64"):
        bits.pack(values.astype(np.int64), 8)
    packed = bits.pack(values, 5)
    for data, count in ((packed[:-1], 10), (packed, 12), (packed, 8), (packed, -1), (packed.view(np.int8), 10)):
        with pytest.raises(ValueError, match="values of 5 bits are uint8"):
            bits.unpack(data, count, 5)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_transpose(count: int) -> None:
    tiles = np.random.default_rng(count).integers(0, 2**64, (count, 128, 2), np.uint64)
    result = bits.transpose(tiles)

    def matrix(x: np.ndarray) -> np.ndarray:
        return np.unpackbits(x.view(np.uint8).reshape(count, 128, 16), axis=2, bitorder="little")

    assert (matrix(result) == matrix(tiles).transpose(0, 2, 1)).all()
    with pytest.raises(ValueError, match="a tile is"):
        bits.transpose(tiles.reshape(-1))
