"""Slices at the network's size: the same rule for images, labels and masks on their way back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing.cut import cut, cut_label, fitted, restore
from bunet.models.volumes.slicing.field_of_view import whole
from bunet.models.volumes.slicing.slices import slice_at

AXES = ("z", "y", "x")


@pytest.mark.parametrize("axis", AXES)
def test_a_cube_of_the_network_s_size_is_left_as_it_is(axis: str) -> None:
    volume = np.random.default_rng(0).random((16, 16, 16), dtype=np.float32)
    assert np.array_equal(cut(volume, axis, 3, 16), slice_at(volume, axis, 3))
    label = volume > 0.5
    assert np.array_equal(cut_label(label, axis, 3, 16), label.take(3, axis=AXES.index(axis)))
    assert np.array_equal(restore(label[3], axis, label.shape), label[3])


def test_pixels_stay_square_and_the_slice_axis_is_stretched() -> None:
    shape = (40, 81, 128)
    assert fitted(shape, "z", 128) == (81, 128)
    assert fitted(shape, "y", 128) == (128, 128)
    assert fitted(shape, "x", 128) == (128, 81)
    assert fitted((40, 162, 256), "x", 128) == (128, 81)
    assert fitted((300, 128, 128), "y", 64) == (64, 64)


@given(st.tuples(*[st.integers(3, 40)] * 3), st.sampled_from(AXES), st.sampled_from((16, 32)), st.integers(0, 2**32 - 1))
def test_shapes_fit_and_a_mask_comes_back_in_the_volume_s(shape: tuple[int, int, int], axis: str, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    volume = rng.random(shape, dtype=np.float32)
    index = int(rng.integers(shape[AXES.index(axis)]))
    image = cut(volume, axis, index, size)
    assert image.shape == (5, size, size)
    assert image.dtype == np.float32
    assert 0 <= image.min() <= image.max() <= 1
    height, width = fitted(shape, axis, size)
    assert not image[:, height:].any()
    assert not image[:, :, width:].any()
    label = cut_label(volume > 0.5, axis, index, size)
    assert label.shape == (size, size)
    flat = slice_at(volume, axis, index)[0]
    assert restore(label, axis, shape).shape == flat.shape


def test_a_label_lies_over_its_image() -> None:
    volume = np.zeros((30, 24, 32), np.float32)
    volume[10:20, 6:12, 8:24] = 1
    for axis, index in (("z", 15), ("y", 8), ("x", 10)):
        image, label = cut(volume, axis, index, 64)[2], cut_label(volume > 0, axis, index, 64)
        assert label.any()
        assert (image[label] >= 0.4).all()
        assert (image[~label] <= 0.6).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fitted((3, 4), "z", 16), "3 axes"),
        (lambda: fitted((3, 4, 0), "z", 16), "3 axes"),
        (lambda: fitted((3, 4, 5), "w", 16), "axis 'w'"),
        (lambda: fitted((3, 4, 5), "z", 0), "0 pixels"),
        (lambda: cut(np.zeros((3, 4, 5)), "z", 3, 16), "slice 3 is outside"),
        (lambda: cut_label(np.zeros((3, 4, 5)), "z", -1, 16), "slice -1 is outside"),
        (lambda: restore(np.zeros((4, 5)), "z", (3, 4, 5)), "not one of a square slice"),
    ],
)
def test_what_cannot_be_is_named(call: Callable[..., Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_training_cuts_pixels_that_are_not_square_as_prediction_does() -> None:
    volume = np.random.default_rng(4).random((12, 20, 60), dtype=np.float32)
    for axis in "xyz":
        source = SliceSource.of(volume, axis, 32, whole(volume.shape, (2.0, 1.0)))
        np.testing.assert_array_equal(cut(volume, axis, 7, 32, (2.0, 1.0)), source.image(7))
        label = cut_label(np.ones(volume.shape, bool), axis, 7, 32, (2.0, 1.0))
        assert (label.any(axis=1).sum(), label.any(axis=0).sum()) == source.frame.fit.size
