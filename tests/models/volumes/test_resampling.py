"""Volumes and masks at other sizes, slices at the network's size and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.models.volumes.slicing.resampling import SliceFit, resample, resample_mask
from bunet.models.volumes.slicing.slices import axis_number, slice_at
from bunet.models.volumes.volume import VolumeError

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))


def test_reduction_by_whole_factors_is_the_mean_of_blocks() -> None:
    volume = np.random.default_rng(0).random((2, 8, 12))
    small = resample(volume, (4, 4))
    np.testing.assert_allclose(small[1, 2, 3], volume[1, 4:6, 9:12].mean(), rtol=1e-6)
    np.testing.assert_array_equal(resample(volume, (8, 12)), volume.astype(np.float32))


@pytest.mark.parametrize("size", [3, 5, 17, (6, 20)])
def test_bilinear_keeps_linear_images_between_the_pixel_centres(size: int | tuple[int, int]) -> None:
    rows, columns = (size, size) if isinstance(size, int) else size
    y, x = np.mgrid[0:8, 0:11].astype(np.float32)
    out = resample((2 * y + 3 * x)[None], size)[0]
    at_y = np.clip((np.arange(rows) + 0.5) * 8 / rows - 0.5, 0, 7)
    at_x = np.clip((np.arange(columns) + 0.5) * 11 / columns - 0.5, 0, 10)
    np.testing.assert_allclose(out, 2 * at_y[:, None] + 3 * at_x, rtol=1e-5, atol=1e-5)


def test_resampling_refuses_nothing_and_flat_arrays() -> None:
    with pytest.raises(VolumeError, match="cannot resample"):
        resample(np.zeros((1, 4, 4)), 0)
    with pytest.raises(VolumeError, match="has shape"):
        resample(np.zeros((4, 4)), 2)
    with pytest.raises(VolumeError, match="0x4x4"):
        resample_mask(np.zeros((1, 4, 4)), (0, 4, 4))


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES)
def test_trilinear_keeps_linear_volumes_between_the_voxel_centres(
    source: tuple[int, int, int], target: tuple[int, int, int]
) -> None:
    volume = np.indices(source).astype(np.float32)
    volume = 2 * volume[0] - 3 * volume[1] + 5 * volume[2]

    def centres(theirs: int, ours: int) -> np.ndarray:  # a mean of blocks hits the same places
        return np.clip((np.arange(ours) + 0.5) * theirs / ours - 0.5, 0, theirs - 1)

    z, y, x = (centres(theirs, ours) for theirs, ours in zip(source, target, strict=True))
    expected = 2 * z[:, None, None] - 3 * y[:, None] + 5 * x
    np.testing.assert_allclose(resample(volume, target), expected, rtol=1e-5, atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, st.sampled_from([np.uint8, np.bool_, np.int16]))
def test_every_voxel_of_a_mask_has_the_label_of_the_nearest(
    source: tuple[int, int, int], target: tuple[int, int, int], kind: type[np.generic]
) -> None:
    labels = np.random.default_rng(0).integers(0, 2, source).astype(kind)
    out = resample_mask(labels, target)
    assert out.dtype == labels.dtype
    assert out.shape == target
    for index in np.ndindex(target):
        nearest = tuple(int((i + 0.5) * a / b) for i, a, b in zip(index, source, target, strict=True))
        assert out[index] == labels[nearest]


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_enlarged_by_whole_factors_and_back_is_the_same_mask(source: tuple[int, int, int], a: int, b: int, c: int) -> None:
    labels = np.random.default_rng(1).integers(0, 9, source).astype(np.uint8)
    large = resample_mask(labels, (source[0] * a, source[1] * b, source[2] * c))
    np.testing.assert_array_equal(resample_mask(large, source), labels)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40)), st.sampled_from("xyz"), st.data())
def test_fitting_slices_pads_and_masks_come_back_exactly(shape: tuple[int, int, int], axis: str, data: st.DataObject) -> None:
    volume = np.random.default_rng(2).random(shape, dtype=np.float32)
    fit = SliceFit.along(axis, shape)
    index = data.draw(st.integers(0, shape[axis_number(axis)] - 1))
    channels = slice_at(volume, axis, index)
    image = fit.image(channels)
    assert image.shape[1] % 16 == image.shape[2] % 16 == 0
    np.testing.assert_array_equal(image[:, : fit.shape[0], : fit.shape[1]], channels)
    assert image.sum() == pytest.approx(channels.sum(), rel=1e-4, abs=1e-6)
    np.testing.assert_array_equal(fit.mask(image[2]), np.take(volume, index, axis=axis_number(axis)))


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("size", [32, 20, (48, 7), None])
def test_a_whole_mask_comes_back_in_the_volumes_shape(axis: str, size: int | tuple[int, int] | None) -> None:
    shape = (24, 30, 33)
    number = axis_number(axis)
    inside = np.linalg.norm((np.indices(shape) + 0.5) / np.reshape(shape, (3, 1, 1, 1)) - 0.5, axis=0) < 0.35
    fit = SliceFit.along(axis, shape, size)
    back = np.empty(shape, np.uint8)
    for k in range(shape[number]):
        image = fit.image(slice_at(inside.astype(np.float32), axis, k))
        assert image.shape == (5, *fit.padded)
        where: list[slice | int] = [slice(None)] * 3
        where[number] = k
        back[tuple(where)] = fit.mask((image[2] > 0.5).astype(np.uint8))
    wrong = (back != inside).mean()
    assert wrong == 0 if size is None else wrong < 0.06


def test_fitting_refuses_other_slices() -> None:
    fit = SliceFit.along("y", (4, 5, 6), 8)
    assert (fit.shape, fit.size, fit.padded) == ((4, 6), (8, 8), (16, 16))
    with pytest.raises(VolumeError, match="4x6 was expected"):
        fit.image(np.zeros((5, 4, 5)))
    with pytest.raises(VolumeError, match="16x16 was expected"):
        fit.mask(np.zeros((8, 8)))
    with pytest.raises(VolumeError, match="cannot fit"):
        SliceFit.along("y", (4, 5, 6), 0)
    with pytest.raises(ValueError, match="not one of"):
        SliceFit.along("w", (4, 5, 6))
