"""Reading volumes and putting them on one scale."""

import os
from pathlib import Path

import numpy as np
import pytest

from bunet.models.volumes import synthetic
from bunet.models.volumes.formats import VolumeError, load, normalise, otsu, read, resample
from bunet.models.volumes.slices import pad, slice_at, slice_count

DATA = Path(os.environ.get("BUNET_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no folder of real chest CT (set BUNET_DATA)")


@pytest.fixture(scope="module")
def chest():
    return synthetic.generate(size=64, slices=12, seed=3).volume


def hounsfield(unit):
    return np.round(unit * 1500 - 1250).astype(np.int16)


def test_npz_and_npy_are_read(tmp_path):
    array = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    for key in ("array", "ct"):
        np.savez_compressed(tmp_path / "a.npz", other=np.zeros(2), **{key: array})
        np.testing.assert_array_equal(read(tmp_path / "a.npz"), array)
    np.save(tmp_path / "a.npy", array)
    mapped = read(tmp_path / "a.npy")
    assert isinstance(mapped, np.memmap)
    loaded = load(tmp_path / "a.npy")
    assert (loaded.rule, loaded.source) == ("unit", "a.npy")
    np.testing.assert_array_equal(loaded.volume, array)


def test_bad_files_are_named_in_one_sentence(tmp_path):
    path = tmp_path / "bad.npz"

    def refused(match, name=path):
        with pytest.raises(VolumeError, match=match) as caught:
            load(name)
        assert str(name) in str(caught.value)
        assert "\n" not in str(caught.value)

    refused("no such file")
    refused("an .npz file", tmp_path / "bad.tiff")
    path.write_bytes(b"not a zip")
    refused("not a readable .npz")
    np.savez(path, other=np.zeros((2, 2, 2)))
    refused("no key `array` or `ct` or `hu`, the file holds `other`")
    np.savez(path, array=np.zeros((2, 2)))
    refused(r"has \(2, 2\)")
    np.savez(path, array=np.zeros((0, 2, 2)))
    refused(r"has \(0, 2, 2\)")
    np.savez(path, array=np.zeros((2, 2, 2), dtype=complex))
    refused("not whole or real numbers")
    np.savez(path, array=np.array([[[None]]]))
    refused("not a readable .npz")  # a pickle inside
    broken = np.zeros((2, 2, 2), dtype=np.float32)
    broken[1, 0, 0] = np.nan
    np.savez(path, array=broken)
    refused("slice 1 holds NaN")
    np.savez(path, array=np.full((2, 2, 2), 7.5))
    refused("neither within")
    np.savez(path, array=np.full((2, 2, 2), -7))
    refused("neither 8-bit nor")
    np.save(tmp_path / "bad.npy", np.array([[[None]]]), allow_pickle=True)
    refused("not a readable .npy", tmp_path / "bad.npy")


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


def test_reduction_by_whole_factors_is_the_mean_of_blocks():
    volume = np.random.default_rng(0).random((2, 8, 12))
    small = resample(volume, (4, 4))
    np.testing.assert_allclose(small[1, 2, 3], volume[1, 4:6, 9:12].mean(), rtol=1e-6)
    np.testing.assert_array_equal(resample(volume, (8, 12)), volume.astype(np.float32))


@pytest.mark.parametrize("size", [3, 5, 17, (6, 20)])
def test_bilinear_keeps_linear_images_between_the_pixel_centres(size):
    rows, columns = (size, size) if isinstance(size, int) else size
    y, x = np.mgrid[0:8, 0:11].astype(np.float32)
    out = resample((2 * y + 3 * x)[None], size)[0]
    at_y = np.clip((np.arange(rows) + 0.5) * 8 / rows - 0.5, 0, 7)
    at_x = np.clip((np.arange(columns) + 0.5) * 11 / columns - 0.5, 0, 10)
    np.testing.assert_allclose(out, 2 * at_y[:, None] + 3 * at_x, rtol=1e-5, atol=1e-5)


def test_resampling_refuses_nothing_and_flat_arrays():
    with pytest.raises(VolumeError, match="cannot resample"):
        resample(np.zeros((1, 4, 4)), 0)
    with pytest.raises(VolumeError, match="has shape"):
        resample(np.zeros((4, 4)), 2)


@needs_data
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("coronacases_002", "tissue"),
        ("coronacases_008", "tissue"),
        ("radiopaedia_7_85703_0", "windowed"),
        ("radiopaedia_14_85914_0", "windowed"),
    ],
)
def test_real_volumes_read_and_slice(name, rule):
    path = DATA / "covid_ct_seg_128" / f"{name}.npz"
    loaded = load(path)
    assert loaded.rule == rule
    lung = read(path, "lung_derived") > 0
    assert lung.shape == loaded.volume.shape
    assert 0.2 < np.median(loaded.volume[lung]) < 0.5
    for axis in "xyz":
        image = pad(slice_at(loaded.volume, axis, slice_count(loaded.volume, axis) // 2))
        assert image.shape[0] == 5
        assert image.shape[1] % 16 == image.shape[2] % 16 == 0
        assert 0 <= image.min() < image.max() <= 1


@needs_data
def test_the_real_volume_in_hounsfield_units_reads():
    loaded = load(DATA / "lung_pet_ct_dx_A0001" / "ct_256.npz")
    assert loaded.rule == "hu"
    assert resample(loaded.volume[30:32], 128).shape == (2, 128, 128)
