"""Where a volume lies: layouts, affines, spacing, and what is no volume."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.models.volumes import formats
from bunet.models.volumes.volume import DICOM, NIFTI, Layout, Volume, VolumeError

LAYOUTS = [
    Layout((i, j, k), (a, b, c))
    for i, j, k in itertools.permutations(range(3))
    for a, b, c in itertools.product((False, True), repeat=3)
]
AXIAL = np.array([[0, 0, 0.8, -200.0], [0, 0.7, 0, -180], [2.5, 0, 0, 30], [0, 0, 0, 1]])


def turned(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """A rotation by three angles in radians."""
    out = np.eye(3)
    for axis, angle in enumerate((yaw, pitch, roll)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        out = step @ out
    return out


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_a_view_and_goes_back(layout: Layout) -> None:
    array = np.arange(24).reshape(2, 3, 4)
    there = layout.turned(array)
    assert np.shares_memory(there, array)
    np.testing.assert_array_equal(layout.stored(there), array)
    affine = AXIAL @ np.diag([1, 1.5, 2, 1])
    moved = layout.turned_affine(affine, there.shape)
    np.testing.assert_allclose(layout.stored_affine(moved, there.shape), affine, atol=1e-9)
    for index in np.ndindex(there.shape):  # the same voxel lies in the same place
        theirs = np.argwhere(array == there[index])[0]
        np.testing.assert_allclose(moved @ [*index, 1], affine @ [*theirs, 1], atol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_in_any_order_become_slices_rows_columns(layout: Layout) -> None:
    array = np.arange(60).reshape(3, 4, 5)
    stored = Volume.of_file(layout.stored(array), layout.stored_affine(AXIAL, array.shape), NIFTI, Path("f.nii"))
    assert stored.layout == layout
    np.testing.assert_array_equal(stored.array, array)
    np.testing.assert_allclose(stored.affine, AXIAL, atol=1e-9)
    assert stored.spacing == pytest.approx((2.5, 0.7, 0.8))
    back, affine = stored.stored()
    np.testing.assert_array_equal(back, layout.stored(array))
    np.testing.assert_allclose(affine, layout.stored_affine(AXIAL, array.shape), atol=1e-9)


ANGLE = st.floats(-0.4, 0.4)


@settings(max_examples=50, deadline=None)
@given(ANGLE, ANGLE, ANGLE, st.sampled_from(LAYOUTS))
def test_oblique_grids_turn_to_the_nearest_axes(yaw: float, pitch: float, roll: float, layout: Layout) -> None:
    oblique = AXIAL.copy()
    oblique[:3, :3] = turned(yaw, pitch, roll) @ AXIAL[:3, :3]
    assert Layout.nearest(layout.stored_affine(oblique, (3, 4, 5))) == layout


def test_a_volume_cannot_be_changed() -> None:
    array, affine = np.zeros((2, 3, 4)), AXIAL.copy()
    volume = Volume(array, affine)
    for held in (volume.array, volume.affine):
        with pytest.raises(ValueError, match="read-only"):
            held[0, 0] = 1
    with pytest.raises(AttributeError):
        volume.file_format = DICOM  # type: ignore[misc]
    affine[0, 0] = 7  # the caller's own
    array[0, 0, 0] = 7
    assert volume.affine[0, 0] == 0


def test_a_mask_takes_its_volumes_place() -> None:
    volume = Volume(np.zeros((2, 3, 4), np.int16), AXIAL, DICOM)
    mask = volume.like(np.ones((2, 3, 4), bool))
    assert (mask.array.dtype, mask.file_format, mask.spacing) == (np.dtype(np.uint8), DICOM, volume.spacing)
    with pytest.raises(VolumeError, match="does not lie on"):
        volume.like(np.ones((2, 3, 5), bool))
    assert Volume(np.zeros((2, 3, 4))).spacing is None


@pytest.mark.parametrize(
    ("affine", "match"),
    [
        (np.eye(3), "not a 4x4"),
        (np.full((4, 4), np.nan), "not a 4x4"),
        (np.diag([1, 1, 1, 2.0]), "not a 4x4"),
        (np.diag([1, 0, 1, 1.0]), "flat"),
        (np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "flat"),
    ],
)
def test_affines_that_are_none_are_refused(affine: np.ndarray, match: str) -> None:
    with pytest.raises(VolumeError, match=match):
        Volume(np.zeros((2, 3, 4)), affine)
    if affine.shape == (4, 4):
        with pytest.raises(VolumeError, match=match):
            Volume.of_file(np.zeros((2, 3, 4)), affine, NIFTI, Path("f.nii"))


def test_no_volume() -> None:
    with pytest.raises(VolumeError, match="has shape"):
        Volume(np.zeros((3, 4)))
    with pytest.raises(VolumeError, match="kind bool"):
        Volume(np.zeros((3, 4, 5), bool))
    with pytest.raises(VolumeError, match="not one of npz"):
        Volume(np.zeros((3, 4, 5)), file_format="tiff")


def test_only_a_file_that_tells_its_orientation_is_oriented(tmp_path: Path) -> None:
    """An .npz with the affine and one with the spacing alone, which stays so when a mask of it is written, and an .npy."""
    array = np.zeros((3, 4, 5), np.int16)
    formats.write(Volume(array, AXIAL), tmp_path / "placed.npz")
    np.savez(tmp_path / "spaced.npz", array=array, spacing_zyx_mm=[5, 0.7, 0.8])
    np.save(tmp_path / "bare.npy", array)
    found = {path.name: formats.read_volume(path) for path in sorted(tmp_path.iterdir())}
    assert {name: volume.oriented for name, volume in found.items()} == {
        "bare.npy": False,
        "placed.npz": True,
        "spaced.npz": False,
    }
    formats.write(found["spaced.npz"].like(array > 0), tmp_path / "mask.npz")
    mask = formats.read_volume(tmp_path / "mask.npz")
    assert (mask.oriented, mask.spacing) == (False, (5, 0.7, 0.8))
