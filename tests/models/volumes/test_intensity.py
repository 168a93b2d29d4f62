"""Putting volumes on one scale, whole or where they are cut."""

import numpy as np
import pytest

from bunet.models.volumes import synthetic
from bunet.models.volumes.content.intensity import windowed
from bunet.models.volumes.content.recognition import otsu
from bunet.models.volumes.volume import VolumeError


@pytest.fixture(scope="module")
def chest() -> np.ndarray:
    return synthetic.generate(size=64, slices=12, seed=3).volume


def normalise(array: np.ndarray, rule: str = "auto") -> tuple[np.ndarray, str]:
    """(the whole volume on the scale, the rule)."""
    lazy, rule = windowed(array, rule)
    return np.asarray(lazy), rule


def hounsfield(unit: np.ndarray) -> np.ndarray:
    return np.round(unit * 1500 - 1250).astype(np.int16)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_hounsfield_units_land_on_the_synthetic_scale(chest: np.ndarray, kind: type[np.generic]) -> None:
    back, rule = normalise(hounsfield(chest).astype(kind))
    assert rule == "hu"
    np.testing.assert_allclose(back, chest, atol=1e-3)


def test_stored_values_with_offset_lose_only_what_lies_below_air(chest: np.ndarray) -> None:
    back, rule = normalise((np.maximum(hounsfield(chest), -1024) + 1024).astype(np.uint16))
    assert rule == "hu+1024"
    np.testing.assert_allclose(back, np.maximum(chest, 226 / 1500), atol=1e-3)


def test_windowed_bytes_land_on_the_synthetic_scale(chest: np.ndarray) -> None:
    back, rule = normalise(np.round(chest * 255).astype(np.uint8))
    assert rule == "windowed"
    np.testing.assert_allclose(back, chest, atol=3e-3)


def test_slices_scaled_one_by_one_land_near_the_synthetic_scale(chest: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    hu = np.maximum(hounsfield(chest), -1024).astype(np.float32)
    top = rng.uniform(1200, 1700, size=(len(hu), 1, 1))  # the brightest bone of each slice
    back, rule = normalise(np.clip((hu + 1024) / (top + 1024) * 255, 0, 255).astype(np.uint8))
    assert rule == "tissue"
    inside = (chest > 0.25) & (chest < 0.95)
    error = np.abs(back - np.maximum(chest, 226 / 1500))[inside]
    assert np.median(error) < 0.03


def test_a_rule_can_be_forced_and_must_exist(chest: np.ndarray) -> None:
    assert normalise(np.zeros((1, 2, 2), np.uint8), "windowed")[1] == "windowed"
    assert normalise(np.zeros((1, 2, 2), np.uint8))[0].max() == 0
    with pytest.raises(VolumeError, match="not one of auto"):
        normalise(chest, "wrong")
    with pytest.raises(VolumeError, match=r"0 to 255.*`--intensity` names another rule"):
        normalise(chest, "tissue")


def test_otsu_splits_two_heaps() -> None:
    counts = np.zeros(256, np.int64)
    counts[[20, 21, 22]] = 100
    counts[[200, 210]] = 50
    assert 22 <= otsu(counts) < 200


@pytest.mark.parametrize("rule", ["tissue", "windowed"])
def test_cutting_and_the_whole_agree_along_every_axis(chest: np.ndarray, rule: str) -> None:
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


def test_the_slice_that_is_not_finite_is_named(chest: np.ndarray) -> None:
    for wrong in (np.nan, np.inf, -np.inf):
        broken = chest.copy()
        broken[4, 3, 2] = wrong
        with pytest.raises(VolumeError, match="slice 4 holds NaN or infinite"):
            windowed(broken)


def test_values_that_are_taken_as_they_are_are_not_clipped() -> None:
    array = np.random.default_rng(4).normal(0, 3, (3, 4, 5)).astype(np.float32)
    lazy, rule = windowed(array, "as-is")
    assert rule == "as-is"
    np.testing.assert_array_equal(np.asarray(lazy), array)
    assert np.abs(array).max() > 3


def with_corner(array: np.ndarray, value: int) -> np.ndarray:
    """What lies outside of a scanner's round field of view is often such a corner."""
    out = array.copy()
    out[:, :12, :12] = value
    return out


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
@pytest.mark.parametrize("padding", [-1024, -2000, -3024, -32768])
def test_padding_does_not_decide_the_scale(chest: np.ndarray, padding: int, kind: type[np.generic]) -> None:
    hu = np.maximum(hounsfield(chest), -1024).astype(kind)
    for array, rule in ((hu + 1024, "hu+1024"), (hu, "hu")):
        back, found = normalise(with_corner(array.astype(kind), padding))
        assert found == rule
        inside = np.s_[:, 12:, 12:]
        np.testing.assert_array_equal(back[inside], normalise(array)[0][inside])


def test_padding_that_wrapped_around_is_no_bone(chest: np.ndarray) -> None:
    stored = (np.maximum(hounsfield(chest), -1024) + 1024).astype(np.uint16)
    back, rule = normalise(with_corner(stored, 63536))
    assert rule == "hu+1024"
    assert back[:, :12, :12].max() == 0
    np.testing.assert_array_equal(back[:, 12:], normalise(stored)[0][:, 12:])


def test_noise_below_air_does_not_decide_the_scale(chest: np.ndarray) -> None:
    stored = np.maximum(hounsfield(chest), -1024) + 1024
    stored[3, 2, 1] = -40
    assert normalise(stored)[1] == "hu+1024"


def test_whole_numbers_that_a_slope_made_floats_are_recognised(chest: np.ndarray) -> None:
    for bytes_like, rule in ((chest * 255, "windowed"), ((np.maximum(hounsfield(chest), -1024) + 1024) / 12, "tissue")):
        array = np.clip(np.round(bytes_like), 0, 255)
        whole, found = normalise(array.astype(np.float32))
        assert found == rule
        np.testing.assert_array_equal(whole, normalise(array.astype(np.uint8))[0])


def test_real_numbers_with_the_offset_are_recognised_where_it_is_clear(chest: np.ndarray) -> None:
    values = (chest * 1500 - 1250 + 1024).clip(0).astype(np.float32)
    back, rule = normalise(values)
    assert rule == "hu+1024"
    np.testing.assert_allclose(back, np.maximum(chest, 226 / 1500), atol=1e-3)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.linspace(0, 700, 64, dtype=np.float32).reshape(4, 4, 4), r"say `--intensity hu\+1024` if water is at 1024"),
        (np.linspace(-3, 3, 64, dtype=np.float32).reshape(4, 4, 4), r"`as-is` if they are on the network's own scale"),
        (np.arange(-90, 10, dtype=np.int16).reshape(4, 5, 5), "say `--intensity hu` if they are Hounsfield units"),
    ],
)
def test_a_refusal_names_the_option_and_the_rule(array: np.ndarray, words: str) -> None:
    with pytest.raises(VolumeError, match=words):
        normalise(array)


@pytest.mark.parametrize("rule", ["auto", "hu", "hu+1024"])
@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_hounsfield_units_that_wrapped_around_are_refused(chest: np.ndarray, kind: type[np.generic], rule: str) -> None:
    wrapped = hounsfield(chest).astype(np.uint16)
    assert wrapped.max() > 64000
    with pytest.raises(VolumeError, match=r"wrapped around \(65536 - 1000\): save it as int16"):
        windowed(wrapped.astype(kind), rule)


def test_what_to_do_about_nan_is_said(chest: np.ndarray) -> None:
    array = np.array(chest)
    array[2, 0, 0] = np.nan
    with pytest.raises(VolumeError, match=r"slice 2 holds NaN or infinite values: replace them first, such as by -1024 HU"):
        windowed(array)
