"""NIfTI files: orientation, scaling, units, mapping, round trips, damage."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.models.volumes.formats import load, read_volume, write
from bunet.models.volumes.slicing.slices import slice_at
from bunet.models.volumes.volume import NIFTI, Layout, Volume, VolumeError
from tests.models.volumes.test_volume import ANGLE, AXIAL, LAYOUTS, turned

nibabel = pytest.importorskip("nibabel", reason="needs the extra `clinical`")


def save(path: Path, array: np.ndarray, affine: np.ndarray, **header: float) -> Path:
    image = nibabel.Nifti1Image(array, affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def ras(
    orientation: str,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float] = (0.7, 0.8, 2.5),
    origin: tuple[int, int, int] = (-90, 40, 7),
) -> np.ndarray:
    """The affine of a grid whose axes run to what three letters say, such as LPS."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (letter, step) in enumerate(zip(orientation, spacing, strict=True)):
        world = next(k for k, pair in enumerate(("LR", "PA", "IS")) if letter in pair)
        affine[world, axis] = step if letter in "RAS" else -step
    affine[:3, 3] = origin
    return affine


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAS", "RPI", "SAL", "ILP", "PSR"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_every_orientation_is_turned_to_head_back_left(tmp_path: Path, orientation: str, ending: str) -> None:
    array = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    affine = ras(orientation, array.shape)
    volume = read_volume(save(tmp_path / f"ct{ending}", array, affine))
    reference = nibabel.as_closest_canonical(nibabel.Nifti1Image(array, affine))  # columns to the right, rows to the front
    np.testing.assert_array_equal(volume.array, np.asarray(reference.dataobj)[::-1, ::-1].transpose(2, 1, 0))
    assert (np.diag(np.fliplr(volume.affine[:3, :3])) > 0).all()
    assert volume.spacing == pytest.approx(nibabel.affines.voxel_sizes(reference.affine)[::-1])
    assert volume.file_format == NIFTI
    for index in [(0, 0, 0), (3, 2, 1)]:  # a voxel of the file lies where nibabel says, in DICOM's coordinates
        found = np.argwhere(volume.array == array[index])
        place = affine @ [*index, 1] * [-1, -1, 1, 1]
        assert any(np.allclose(volume.affine @ [*where, 1], place, atol=1e-4) for where in found)


@settings(max_examples=30, deadline=None)
@given(
    ANGLE,
    ANGLE,
    ANGLE,
    st.sampled_from(LAYOUTS),
    st.sampled_from([np.uint8, np.int16, np.float32, np.int64]),
    st.sampled_from([".nii", ".nii.gz"]),
    st.booleans(),
)
def test_oblique_volumes_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    yaw: float,
    pitch: float,
    roll: float,
    layout: Layout,
    kind: type[np.generic],
    ending: str,
    from_nifti: bool,
) -> None:
    affine = AXIAL.copy()
    affine[:3, :3] = turned(yaw, pitch, roll) @ AXIAL[:3, :3]
    array = np.random.default_rng(0).integers(0, 200, (3, 4, 5)).astype(kind)
    volume = Volume(array, affine, NIFTI, layout) if from_nifti else Volume(array, affine)
    path = tmp_path_factory.mktemp("nifti") / f"ct{ending}"
    write(volume, path)
    back = read_volume(path)
    np.testing.assert_array_equal(back.array, array)
    assert back.array.dtype == kind
    np.testing.assert_allclose(back.affine, affine, rtol=1e-5, atol=1e-5)  # NIfTI keeps float32
    assert not from_nifti or back.layout == layout
    again = path.with_name(f"again{ending}")
    write(back, again)
    third = read_volume(again)
    np.testing.assert_array_equal(third.affine, back.affine)
    assert third.layout == back.layout


def test_a_mask_has_the_header_of_its_volume(tmp_path: Path) -> None:
    affine = ras("LPI", (4, 5, 6))
    affine[:3, :3] = turned(0.1, 0.2, 0.3) @ affine[:3, :3]
    source = save(tmp_path / "ct.nii", np.zeros((4, 5, 6), np.int16), affine)
    volume = read_volume(source)
    mask = np.zeros(volume.shape, bool)
    mask[1, 2, 3] = True
    write(volume.like(mask), tmp_path / "mask.nii.gz")
    given_image, written = nibabel.load(source), nibabel.load(tmp_path / "mask.nii.gz")
    assert written.shape == given_image.shape
    assert written.get_data_dtype() == np.uint8
    assert written.header.get_xyzt_units() == given_image.header.get_xyzt_units()
    np.testing.assert_array_equal(written.affine, given_image.affine)
    np.testing.assert_allclose(written.get_qform(), given_image.affine, atol=1e-4)
    np.testing.assert_array_equal(read_volume(tmp_path / "mask.nii.gz").array, mask)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    volume = read_volume(save(tmp_path / "a.nii", stored, np.diag([-1, -1, 1, 1.0])))
    assert volume.array.dtype == np.uint16

    def scaled(slope: float, intercept: float) -> np.ndarray:
        image = nibabel.Nifti1Image(stored, np.diag([-1, -1, 1, 1.0]))
        image.header.set_slope_inter(slope, intercept)
        data = bytearray(image.to_bytes())
        data[112:120] = np.array([slope, intercept], "<f4").tobytes()  # to_bytes resets them
        (tmp_path / "b.nii").write_bytes(data)
        return read_volume(tmp_path / "b.nii").array

    whole = scaled(2, -1024)
    assert whole.dtype == np.int32
    np.testing.assert_array_equal(whole, stored.T.astype(int) * 2 - 1024)
    np.testing.assert_allclose(scaled(0.5, 0.25), stored.T.astype(int) * 0.5 + 0.25)


def test_units_become_millimetres(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.diag([0.001, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "m.nii")
    assert read_volume(tmp_path / "m.nii").spacing == pytest.approx((3, 2, 1))


def test_without_a_place_the_values_come_back(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    write(Volume(array), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").array, array)


def test_uncompressed_files_are_mapped(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "a.nii", np.zeros((4, 5, 6), np.int16), np.eye(4)))
    assert isinstance(volume.array, np.memmap)
    assert volume.array.filename is not None
    assert Path(volume.array.filename) == tmp_path / "a.nii"


def test_a_volume_of_512_cubed_stays_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "large.nii"
    header = nibabel.Nifti1Header()
    header.set_data_shape((512, 512, 512))
    header.set_data_dtype(np.int16)
    header.set_sform(np.eye(4), 1)
    with path.open("wb") as stream:
        header.write_to(stream)
        stream.truncate(352 + 2 * 512**3)  # sparse: it takes no room
    tracemalloc.start()
    try:
        volume = read_volume(path)
        for axis in "zyx":
            assert slice_at(volume.array, axis, 200).shape == (5, 512, 512)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([".nii", ".nii.gz"]),
    st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_damaged_header_gives_a_volume_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, ending: str, changes: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    data = bytearray(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([1, 2, 3, 1])).to_bytes())
    for where, value in changes:
        data[where] = value
    path = folder / f"a{ending}"
    path.write_bytes(gzip.compress(bytes(data)) if ending == ".nii.gz" else bytes(data))
    message = str(path)
    try:
        read_volume(path)
    except VolumeError as error:
        message = str(error)
    assert message.startswith(str(path))


def test_damage_is_named_in_one_sentence(tmp_path: Path) -> None:
    def refused(name: str, match: str) -> None:
        with pytest.raises(VolumeError, match=match) as caught:
            load(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)

    good = np.zeros((4, 5, 6), np.int16)
    refused("none.nii", "no such file")
    (tmp_path / "text.nii").write_text("no image at all")
    refused("text.nii", "not a readable NIfTI")
    (tmp_path / "text.nii.gz").write_text("no image at all")
    refused("text.nii.gz", "not a readable NIfTI")
    save(tmp_path / "whole.nii", good, np.eye(4))
    whole = (tmp_path / "whole.nii").read_bytes()
    (tmp_path / "cut.nii").write_bytes(whole[:-20])
    refused("cut.nii", f"is cut short: the header promises {len(whole)} bytes, and {len(whole) - 20} are there")
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(whole[:-20]))
    refused("cut.nii.gz", "ends 20 bytes early")
    (tmp_path / "torn.nii.gz").write_bytes(gzip.compress(whole)[:-20])
    refused("torn.nii.gz", "not a readable NIfTI")
    save(tmp_path / "time.nii", np.zeros((4, 5, 6, 2), np.int16), np.eye(4))
    refused("time.nii", r"has shape \(4, 5, 6, 2\)")
    save(tmp_path / "flat.nii", np.zeros((4, 5), np.int16), np.eye(4))
    refused("flat.nii", "three axes")
    save(tmp_path / "wave.nii", np.zeros((4, 5, 6), np.complex64), np.eye(4))
    refused("wave.nii", "kind complex64")
    save(tmp_path / "nan.nii", np.full((4, 5, 6), np.nan, np.float32), np.eye(4))
    refused("nan.nii", "slice 0 holds NaN")
    save(tmp_path / "one.nii", good[..., None], np.eye(4))
    assert read_volume(tmp_path / "one.nii").shape == (6, 5, 4)
    with pytest.raises(VolumeError, match="cannot be written"):
        write(Volume(good), tmp_path / "nowhere" / "a.nii")


@pytest.mark.parametrize("version", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(("name", "zipped"), [("a.nii", True), ("a.nii.gz", False), ("A.Nii", False), ("A.NII.Gz", True)])
def test_whether_a_file_is_zipped_is_told_by_its_bytes(tmp_path: Path, version: type, name: str, zipped: bool) -> None:
    array = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    data = version(array, np.diag([-1, -1, 2, 1.0])).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if zipped else data)
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array, array.transpose())
    assert volume.spacing == (2, 1, 1)
    write(volume, tmp_path / "back.nii.gz")
    np.testing.assert_array_equal(nibabel.load(tmp_path / "back.nii.gz").get_fdata(), array)


def test_a_pair_of_files_is_refused_with_what_to_do(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Pair(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.img")
    (tmp_path / "b.nii").write_bytes((tmp_path / "a.hdr").read_bytes())
    for name in ("a.img", "a.hdr", "b.nii"):
        with pytest.raises(VolumeError, match=rf"{name}: is one of a pair of files, .* save it as \.nii\.gz"):
            read_volume(tmp_path / name)
