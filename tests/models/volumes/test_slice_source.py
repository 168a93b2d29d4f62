"""From a volume to what a network sees, and back: the same rule for images, labels and masks on their way back."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bunet.models.volumes.slice_source import SliceFrame, SliceSource
from bunet.models.volumes.slicing.field_of_view import Crop, uncropped
from bunet.models.volumes.slicing.slices import slice_at
from bunet.models.volumes.volume import VolumeError

SHAPE = (12, 40, 60)
CROP = Crop((5, 37), (10, 42))
NUMBER = {"z": 0, "y": 1, "x": 2}


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(2).random(SHAPE, dtype=np.float32)


@pytest.mark.parametrize("axis", "xyz")
def test_a_cube_of_the_network_s_size_is_left_as_it_is(axis: str) -> None:
    volume = np.random.default_rng(0).random((16, 16, 16), dtype=np.float32)
    source, label = SliceSource.of(volume, axis, 16), volume > 0.5
    np.testing.assert_array_equal(source.image(3), slice_at(volume, axis, 3))
    np.testing.assert_array_equal(source.label(label, 3), label.take(3, axis=NUMBER[axis]))
    np.testing.assert_array_equal(source.frame.restore(label[3]), label[3])


def test_pixels_stay_square_and_the_slice_axis_is_stretched() -> None:
    for shape, axis, size, fitted in (
        ((40, 81, 128), "z", 128, (81, 128)),
        ((40, 81, 128), "y", 128, (128, 128)),
        ((40, 81, 128), "x", 128, (128, 81)),
        ((40, 162, 256), "x", 128, (128, 81)),
        ((300, 128, 128), "y", 64, (64, 64)),
    ):
        assert SliceFrame.of(shape, axis, size).fit.size == fitted


@given(st.tuples(*[st.integers(3, 40)] * 3), st.sampled_from("xyz"), st.sampled_from((16, 32)), st.integers(0, 2**32 - 1))
def test_shapes_fit_and_a_mask_comes_back_in_the_volume_s(shape: tuple[int, ...], axis: str, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    volume = rng.random(shape, dtype=np.float32)
    index = int(rng.integers(shape[NUMBER[axis]]))
    source = SliceSource.of(volume, axis, size)
    image, (height, width) = source.image(index), source.frame.fit.size
    assert image.shape == source.shape == (5, size, size)
    assert image.dtype == np.float32
    assert 0 <= image.min() <= image.max() <= 1
    assert not image[:, height:].any()
    assert not image[:, :, width:].any()
    label = source.label(volume > 0.5, index)
    assert label.shape == (size, size)
    assert label.dtype == np.bool_
    assert source.frame.restore(label).shape == slice_at(volume, axis, index)[0].shape


def test_a_label_lies_over_its_image() -> None:
    volume = np.zeros((30, 24, 32), np.float32)
    volume[10:20, 6:12, 8:24] = 1
    for axis, index in (("z", 15), ("y", 8), ("x", 10)):
        source = SliceSource.of(volume, axis, 64)
        image, label = source.image(index)[2], source.label(volume > 0, index)
        assert label.any()
        assert (image[label] >= 0.4).all()
        assert (image[~label] <= 0.6).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SliceFrame.of((3, 4), "z", 16), "3 axes"),
        (lambda: SliceFrame.of((3, 4, 0), "z", 16), "3 axes"),
        (lambda: SliceFrame.of((3, 4, 5), "w", 16), "axis 'w'"),
        (lambda: SliceFrame.of((3, 4, 5), "z", 0), "0 pixels"),
        (lambda: SliceSource.of(np.zeros((3, 4, 5)), "z", 16).image(3), "slice 3 is outside"),
        (lambda: SliceSource.of(np.zeros((3, 4, 5)), "z", 16).label(np.zeros((3, 4, 5)), -1), "slice -1 is outside"),
        (lambda: SliceFrame.of((3, 4, 5), "z", 16).restore(np.zeros((4, 5))), "a slice of 16x16 was expected"),
    ],
)
def test_what_cannot_be_is_named(call: Callable[[], object], words: str) -> None:
    with pytest.raises((ValueError, VolumeError), match=words):
        call()


def test_pixels_that_are_not_square_become_so_in_images_and_labels() -> None:
    volume = np.random.default_rng(4).random((12, 20, 60), dtype=np.float32)
    for axis, fitted in (("x", (32, 21)), ("y", (32, 32)), ("z", (21, 32))):
        source = SliceSource.of(volume, axis, 32, uncropped(volume.shape, (2.0, 1.0)))
        label = source.label(np.ones(volume.shape, bool), 7)
        assert (label.any(axis=1).sum(), label.any(axis=0).sum()) == source.frame.fit.size == fitted


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
