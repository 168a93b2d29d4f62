"""Volume files: numpy's own, what is recognised, what is refused, what stays on the disk."""

import os
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.models.volumes.formats import load, read, read_volume, write
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing.resampling import resample
from bunet.models.volumes.slicing.slices import slice_at, slice_count
from bunet.models.volumes.volume import NPY, NPZ, Volume, VolumeError
from tests.models.volumes.test_volume import AXIAL

DATA = Path(os.environ.get("BUNET_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no folder of real chest CT (set BUNET_DATA)")


def test_npz_and_npy_are_read(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    for key in ("array", "ct"):
        members: dict[str, Any] = {"other": np.zeros(2), key: array}
        np.savez_compressed(tmp_path / "a.npz", **members)
        np.testing.assert_array_equal(read(tmp_path / "a.npz"), array)
    np.save(tmp_path / "a.npy", array)
    mapped = read(tmp_path / "a.npy")
    assert isinstance(mapped, np.memmap)
    loaded = load(tmp_path / "a.npy")
    assert (loaded.rule, loaded.source) == ("unit", "a.npy")
    np.testing.assert_array_equal(loaded.volume, array)


def test_bad_files_are_named_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"

    def refused(match: str, name: Path = path) -> None:
        with pytest.raises(VolumeError, match=match) as caught:
            load(name)
        assert str(name) in str(caught.value)
        assert "\n" not in str(caught.value)

    refused("no such file")
    refused("no such file or folder", tmp_path / "bad.tiff")
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


SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
NUMBERS = st.sampled_from([np.uint8, np.int16, ">i2", np.uint16, np.int64, np.float16, np.float32, np.float64])


@settings(max_examples=40, deadline=None)
@given(SHAPES, NUMBERS, st.booleans())
def test_npz_round_trips_with_its_place(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int, int], kind: str | type[np.generic], placed: bool
) -> None:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    write(Volume(array, AXIAL if placed else None), path)
    back = read_volume(path)
    np.testing.assert_array_equal(back.array, array)
    assert (back.array.dtype, back.file_format, back.source) == (array.dtype, NPZ, path)
    assert (back.affine is None) != placed
    if placed:
        np.testing.assert_array_equal(back.affine, AXIAL)
    write(Volume(array), path.with_suffix(".npy"))
    again = read_volume(path.with_suffix(".npy"))
    np.testing.assert_array_equal(again.array, array)
    assert (again.array.dtype, again.file_format, again.spacing) == (array.dtype, NPY, None)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_members_of_an_archive_are_on_the_disk(tmp_path: Path, save: Callable[..., None], order: Literal["C", "F"]) -> None:
    array = np.asarray(np.random.default_rng(0).integers(0, 9, (3, 4, 5)).astype(np.int16), order=order)
    save(tmp_path / "a.npz", before=np.zeros(1000), ct=array, infection=array > 4)
    volume = read_volume(tmp_path / "a.npz")
    np.testing.assert_array_equal(volume.array, array)
    assert isinstance(volume.array, np.memmap)
    assert (volume.array.filename is not None) == (save is np.savez)  # in place, or in a file without a name
    with pytest.raises(VolumeError, match="kind bool"):
        read(tmp_path / "a.npz", "infection")


def test_spacing_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    array = np.zeros((2, 3, 4), np.int16)
    np.savez(path, hu=array, spacing_zyx_mm=np.array([5, 1.68, 1.5]))
    assert read_volume(path).spacing == (5, 1.68, 1.5)
    for key, wrong in (
        ("affine_zyx_to_lps_mm", np.eye(3)),
        ("affine_zyx_to_lps_mm", np.zeros((4, 4))),
        ("spacing_zyx_mm", np.array(["a", "b", "c"])),
        ("spacing_zyx_mm", np.array([0, 1, 1])),
    ):
        members: dict[str, Any] = {"hu": array, key: wrong}
        np.savez(path, **members)
        with pytest.raises(VolumeError, match=f"{path}: "):
            read_volume(path)


def test_npy_refuses_to_lose_a_place(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="no place for spacing"):
        write(Volume(np.zeros((2, 3, 4)), AXIAL), tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_ends_early_or_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, array=np.random.default_rng(0).random((4, 5, 6)))
        whole = path.read_bytes()
        for cut in (len(whole) // 2, len(whole) - 10):
            path.write_bytes(whole[:cut])
            with pytest.raises(VolumeError, match=r"not a readable \.npz"):
                read(path)
        save(path, array=np.zeros((4, 5, 6)))
        with zipfile.ZipFile(path) as archive:
            kind, header = archive.getinfo("array.npy").compress_type, archive.read("array.npy")
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("array.npy", header.replace(b"(4, 5, 6)", b"(4, 5, 9)"))
        with pytest.raises(VolumeError, match=r"not a readable .npz .*early"):
            read(path)


def test_names_that_are_no_volume(tmp_path: Path) -> None:
    (tmp_path / "noending").write_text("what is this")
    (tmp_path / "picture.tiff").write_text("what is this")
    for name in ("noending", "picture.tiff"):
        with pytest.raises(VolumeError, match=r"an .npz file .* or a folder with a DICOM series"):
            read_volume(tmp_path / name)
    with pytest.raises(VolumeError, match="cannot be written"):
        write(Volume(np.zeros((2, 3, 4))), tmp_path / "nowhere" / "a.npz")
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4)))
    (tmp_path / "a.npy").rename(tmp_path / "A.NPY")
    assert read_volume(tmp_path / "A.NPY").file_format == NPY


def test_an_older_file_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write(Volume(np.zeros((2, 3, 4), np.int16)), path)
    volume = read_volume(path)
    write(volume.like(volume.array + 1), path)
    assert (volume.array == 0).all()  # still mapped
    assert (read(path) == 1).all()
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(("name", "module"), [("a.nii", "nibabel"), ("series", "pydicom")])
def test_the_extra_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(VolumeError, match=r"need the extra `clinical`: `python -m pip install '\.\[clinical\]'` in"):
        write(Volume(np.zeros((2, 3, 4), np.int16), AXIAL), tmp_path / name)


def test_a_volume_of_512_cubed_stays_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    large = np.lib.format.open_memmap(path, "w+", np.int16, (512, 512, 512))  # sparse: it takes no room
    large[200, 300, 310] = -1250
    large.flush()
    tracemalloc.start()
    try:
        loaded = load(path)
        assert loaded.rule == "hu"
        for axis in "zyx":
            image = slice_at(loaded.volume, axis, 300)
            assert image.shape == (5, 512, 512)
            assert (image.min() == 0) == (axis == "y")
        small = resample(loaded.volume[:8], 128)
        assert small.shape == (8, 128, 128)
        assert tracemalloc.get_traced_memory()[1] < 48 << 20  # the volume is 256 MiB, 512 once it is scaled
    finally:
        tracemalloc.stop()


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
def test_real_volumes_read_and_slice(name: str | Path, rule: str) -> None:
    path = DATA / "covid_ct_seg_128" / f"{name}.npz"
    loaded = load(path)
    assert loaded.rule == rule
    lung = read(path, "lung_derived") > 0
    assert lung.shape == loaded.volume.shape
    assert 0.2 < np.median(loaded.volume[lung]) < 0.5
    for axis in "xyz":
        image = SliceSource.of(loaded.volume, axis).image(slice_count(loaded.volume, axis) // 2)
        assert image.shape[0] == 5
        assert image.shape[1] % 16 == image.shape[2] % 16 == 0
        assert 0 <= image.min() < image.max() <= 1


@needs_data
def test_the_real_volume_in_hounsfield_units_reads() -> None:
    loaded = load(DATA / "lung_pet_ct_dx_A0001" / "ct_256.npz")
    assert loaded.rule == "hu"
    assert resample(loaded.volume[30:32], 128).shape == (2, 128, 128)


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (3, 4, 5, 1), (1, 1, 3, 4, 5), (1, 3, 4, 5, 1)])
def test_axes_of_length_one_beyond_three_are_left_off_and_said(
    tmp_path: Path, shape: tuple[int, ...], order: Literal["C", "F"]
) -> None:
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    given = np.asarray(array.reshape(shape), order=order)
    np.save(tmp_path / "a.npy", given)
    np.savez(tmp_path / "b.npz", array=given)
    np.savez_compressed(tmp_path / "c.npz", ct=given, spacing_zyx_mm=[5, 1, 1])
    for name in ("a.npy", "b.npz", "c.npz"):
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.array, array)
        (note,) = volume.notes
        assert note == f"{name}: of its shape {shape} the axes of length 1 are left off: (3, 4, 5)"


@pytest.mark.parametrize("shape", [(3, 4, 5, 3), (2, 3, 4, 5), (4, 5)])
def test_other_axes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.int16))
    with pytest.raises(VolumeError, match=r"a volume has shape \(slices, rows, columns\), this one has"):
        read_volume(tmp_path / "a.npy")


@pytest.mark.parametrize("spacing", [(-5, 1, 1), (5, -0.8, 0.8), (5, 0.8, 0), (np.nan, 1, 1)])
def test_spacings_that_are_none_are_refused(tmp_path: Path, spacing: tuple[float, float, float]) -> None:
    np.savez(tmp_path / "a.npz", array=np.zeros((3, 4, 5), np.int16), spacing_zyx_mm=spacing)
    with pytest.raises(VolumeError, match=r"a\.npz: `spacing_zyx_mm` is .*: spacings are above 0"):
        read_volume(tmp_path / "a.npz")
