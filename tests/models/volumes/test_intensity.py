"""Putting volumes on one scale, whole or where they are cut."""

import numpy as np
import pytest

from bunet.models.volumes import synthetic
from bunet.models.volumes.intensity import normalise, otsu, windowed
from bunet.models.volumes.volume import VolumeError


@pytest.fixture(scope="module")
def chest():
    return synthetic.generate(size=64, slices=12, seed=3).volume


def hounsfield(unit):
    return np.round(unit * 1500 - 1250).astype(np.int16)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_hounsfield_units_land_on_the_synthetic_scale(chest, kind):
    back, rule = normalise(hounsfield(chest).astype(kind))
    assert rule == "hu"
    np.testing.assert_allclose(back, chest, atol=1e-3)


def test_stored_values_with_offset_lose_only_what_lies_below_air(chest):
    back, rule = normalise((np.maximum(hounsfield(chest), -1024) + 1024).astype(np.uint16))
    assert rule == "hu+1024"
    np.testing.assert_allclose(back, np.maximum(chest, 226 / 1500), atol=1e-3)


def test_windowed_bytes_land_on_the_synthetic_scale(chest):
    back, rule = normalise(np.round(chest * 255).astype(np.uint8))
    assert rule == "windowed"
    np.testing.assert_allclose(back, chest, atol=3e-3)


def test_slices_scaled_one_by_one_land_near_the_synthetic_scale(chest):
    rng = np.random.default_rng(1)
    hu = np.maximum(hounsfield(chest), -1024).astype(np.float32)
    top = rng.uniform(1200, 1700, size=(len(hu), 1, 1))  # the brightest bone of each slice
    back, rule = normalise(np.clip((hu + 1024) / (top + 1024) * 255, 0, 255).astype(np.uint8))
    assert rule == "tissue"
    inside = (chest > 0.25) & (chest < 0.95)
    error = np.abs(back - np.maximum(chest, 226 / 1500))[inside]
    assert np.median(error) < 0.03


def test_a_rule_can_be_forced_and_must_exist(chest):
    assert normalise(np.zeros((1, 2, 2), np.uint8), "windowed")[1] == "windowed"
    assert normalise(np.zeros((1, 2, 2), np.uint8))[0].max() == 0
    with pytest.raises(VolumeError, match="not one of auto"):
        normalise(chest, "wrong")
    with pytest.raises(VolumeError, match="0 to 255"):
        normalise(chest, "tissue")


def test_otsu_splits_two_heaps():
    counts = np.zeros(256, np.int64)
    counts[[20, 21, 22]] = 100
    counts[[200, 210]] = 50
    assert 22 <= otsu(counts) < 200


@pytest.mark.parametrize("rule", ["tissue", "windowed"])
def test_cutting_and_the_whole_agree_along_every_axis(chest, rule):
    array = np.round(chest * 255).astype(np.uint8)
    lazy, _ = windowed(array, rule)
    whole = np.asarray(lazy)
    assert lazy.dtype == whole.dtype == np.float32
    assert lazy.shape == whole.shape
    assert lazy.ndim == 3
    np.testing.assert_array_equal(np.stack(list(lazy)), whole)
    np.testing.assert_array_equal(lazy[:, 5], whole[:, 5])
    np.testing.assert_array_equal(lazy[2:7, ::-1, 9], whole[2:7, ::-1, 9])
    np.testing.assert_array_equal(lazy[array > 90], whole[array > 90])
    with pytest.raises(ValueError, match="without a copy"):
        np.array(lazy, copy=False)


def test_the_slice_that_is_not_finite_is_named(chest):
    for wrong in (np.nan, np.inf, -np.inf):
        broken = chest.copy()
        broken[4, 3, 2] = wrong
        with pytest.raises(VolumeError, match="slice 4 holds NaN or infinite"):
            windowed(broken)


def test_values_that_are_taken_as_they_are_are_not_clipped():
    array = np.random.default_rng(4).normal(0, 3, (3, 4, 5)).astype(np.float32)
    lazy, rule = windowed(array, "as-is")
    assert rule == "as-is"
    np.testing.assert_array_equal(np.asarray(lazy), array)
    assert np.abs(array).max() > 3
