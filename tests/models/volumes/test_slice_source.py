"""From a volume to what a network sees, and back to the volume's own pixels."""

import numpy as np
import pytest

from bunet.models.volumes.slice_source import SliceFrame, SliceSource
from bunet.models.volumes.slicing.cut import cut, restore
from bunet.models.volumes.slicing.field_of_view import Crop
from bunet.models.volumes.slicing.slices import slice_at

SHAPE = (12, 40, 60)
CROP = Crop((5, 37), (10, 42))
NUMBER = {"z": 0, "y": 1, "x": 2}


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(2).random(SHAPE, dtype=np.float32)


@pytest.mark.parametrize("axis", "xyz")
def test_without_a_crop_slices_are_those_of_training(axis: str, volume: np.ndarray) -> None:
    source = SliceSource.of(volume, axis, 32)
    assert source.shape == (5, 32, 32)
    np.testing.assert_array_equal(source.image(7), cut(volume, axis, 7, 32))
    mask = np.random.default_rng(3).random((32, 32)) > 0.5
    np.testing.assert_array_equal(source.frame.restore(mask), restore(mask, axis, SHAPE))


@pytest.mark.parametrize("axis", "xyz")
def test_at_the_volume_s_own_size_slices_are_padded_and_never_cropped(axis: str, volume: np.ndarray) -> None:
    source = SliceSource.of(volume, axis, None, CROP)
    assert source.frame.crop is None
    own, padded = volume.take(7, NUMBER[axis]), source.image(7)
    height, width = own.shape
    assert padded.shape[1:] == (-(-height // 16) * 16, -(-width // 16) * 16)
    np.testing.assert_array_equal(padded[:, :height, :width], slice_at(volume, axis, 7))
    assert not padded[:, height:].any()
    assert not padded[:, :, width:].any()
    np.testing.assert_array_equal(source.frame.restore(padded[2]), own)


@pytest.mark.parametrize("axis", "xyz")
def test_a_crop_is_cut_out_and_put_back(axis: str, volume: np.ndarray) -> None:
    part = volume[:, 5:37, 10:42]
    source, (start, stop) = SliceSource.of(volume, axis, 64, CROP), CROP.along(axis, SHAPE[NUMBER[axis]])
    inner = SliceSource.of(part, axis, 64)
    middle = 6  # its five slices all lie within
    np.testing.assert_array_equal(source.image(start + middle)[1:4], inner.image(middle)[1:4])
    labels = np.zeros(source.padded, np.uint8)
    labels[: source.frame.fit.size[0], : source.frame.fit.size[1]] = 1
    found = source.frame.restore(labels)
    expected = np.zeros(SHAPE, np.uint8)
    expected[:, 5:37, 10:42] = 1
    np.testing.assert_array_equal(found, expected.take(start + middle, NUMBER[axis]))
    assert source.frame.positions(range(100)) == range(start, stop)


def test_positions_outside_of_a_crop_are_left_out() -> None:
    frame = SliceFrame.of(SHAPE, "x", 32, CROP)
    assert frame.positions(range(0, 60)) == range(10, 42)
    assert frame.positions(range(20, 30)) == range(20, 30)
    for none in (range(0, 8), range(50, 60)):
        assert len(frame.positions(none)) == 0
    assert SliceFrame.of(SHAPE, "z", 32, CROP).positions(range(3, 9)) == range(3, 9)


def test_sizes_that_no_network_takes_are_padded() -> None:
    assert SliceFrame.of(SHAPE, "z", 20).padded == (32, 32)
    assert SliceFrame.of(SHAPE, "z", (20, 33)).padded == (32, 48)
    assert SliceFrame.of(SHAPE, "z", (20, 33)).fit.size == (20, 33)
