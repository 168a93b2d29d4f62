"""2.5D slices: offsets, borders, axes, laziness, crops."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.models.volumes.slicing.slices import OFFSETS, crop, slice_at, slice_count


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(1, 14), st.sampled_from("xyz"), st.data())
def test_channels_are_the_offset_slices_and_zero_beyond(z: int, y: int, x: int, axis: str, data: st.DataObject) -> None:
    volume = np.arange(1, 1 + z * y * x, dtype=np.int16).reshape(z, y, x)
    count = slice_count(volume, axis)
    index = data.draw(st.integers(0, count - 1))
    image = slice_at(volume, axis, index)
    assert image.dtype == np.float32
    turned = np.moveaxis(volume, {"z": 0, "y": 1, "x": 2}[axis], 0)
    for channel, offset in enumerate(OFFSETS):
        expected = turned[index + offset] if 0 <= index + offset < count else np.zeros_like(turned[0])
        np.testing.assert_array_equal(image[channel], expected)


def test_a_mapped_volume_is_read_in_place(tmp_path: Path) -> None:
    path = tmp_path / "volume.npy"
    np.save(path, np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    mapped = np.load(path, mmap_mode="r")
    np.testing.assert_array_equal(slice_at(mapped, "x", 1)[2], mapped[:, :, 1])


@pytest.mark.parametrize(
    ("shape", "axis", "index", "message"),
    [
        ((2, 3, 4), "w", 0, "not one of x, y, z"),
        ((2, 3, 4), "z", 2, "outside 0..1"),
        ((2, 3, 4), "z", -1, "outside 0..1"),
        ((3, 4), "z", 0, "has shape"),
    ],
)
def test_bad_arguments_are_named(shape: tuple[int, ...], axis: str, index: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        slice_at(np.zeros(shape), axis, index)


def test_a_crop_is_the_first_rows_and_columns() -> None:
    image = np.arange(2 * 5 * 6).reshape(2, 5, 6)
    np.testing.assert_array_equal(crop(image, 3, 4), image[:, :3, :4])
    with pytest.raises(ValueError, match="cannot cut"):
        crop(np.zeros((4, 4)), 5, 4)
