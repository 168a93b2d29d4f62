"""Positions and directions as scanners round them, and what is no rounding."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from bunet.models.volumes.formats import read_volume
from bunet.models.volumes.volume import VolumeError
from tests.models.volumes.test_dicom import write_ct
from tests.models.volumes.test_volume import AXIAL, turned

pydicom = pytest.importorskip("pydicom", reason="needs the extra `clinical`")


def series(folder: Path, places: Sequence[Sequence[str | float]], cosines: Sequence[str | float] | None = None) -> Path:
    """Slices at positions and with directions that are written as they are given, as texts or numbers."""

    def edit(k: int, data: Dataset) -> None:
        data.ImagePositionPatient = list(places[k])
        if cosines is not None:
            data.ImageOrientationPatient = list(cosines)

    return write_ct(folder, np.zeros((len(places), 3, 4)), edit=edit, names=[f"s{k:03d}" for k in range(len(places))])


def axial(heights: np.ndarray | Sequence[str | int]) -> list[tuple[str, str, str]]:
    return [("-200", "-180.5", f"{height}") for height in heights]


@pytest.mark.parametrize("step", [1.25, 0.625, 0.75, 3.3333])
def test_positions_of_one_decimal_are_read_at_the_mean_step(tmp_path: Path, step: float) -> None:
    heights = [f"{-300 + k * step:.1f}" for k in range(8)]
    volume = read_volume(series(tmp_path / "ct", axial(heights)))
    assert volume.spacing[0] == pytest.approx((float(heights[-1]) - float(heights[0])) / 7)  # ITK's, too
    assert volume.affine[:3, 3] == pytest.approx([-200, -180.5, -300])
    (note,) = volume.notes
    assert note.startswith("its slices lie up to 0.0")
    assert "the mean step of" in note


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 60), st.floats(0.4, 5), st.floats(-0.5, 0.5), st.floats(-500, 500))
def test_any_series_rounded_to_one_decimal_is_read(
    tmp_path_factory: pytest.TempPathFactory, count: int, step: float, tilt: float, start: float
) -> None:
    places = [(f"{start:.1f}", f"{k * tilt:.1f}", f"{start + k * step:.1f}") for k in range(count)]
    volume = read_volume(series(tmp_path_factory.mktemp("rounded") / "ct", places))
    assert volume.affine[2, 0] == pytest.approx(step, abs=0.1 / (count - 1) + 1e-9)


@pytest.mark.parametrize("step", [0.3, 0.625, 1.25, 5])
@pytest.mark.parametrize(("count", "missing"), [(4, 1), (4, 2), (40, 1), (40, 20), (40, 38)])
def test_a_missing_slice_is_no_rounding(tmp_path: Path, step: float, count: int, missing: int) -> None:
    heights = [f"{-300 + k * step:.1f}" if step > 0.5 else f"{-300 + k * step:.3f}" for k in range(count)]
    folder = series(tmp_path / "ct", axial(heights))
    (folder / f"s{missing:03d}").unlink()
    with pytest.raises(VolumeError, match=rf"s{missing + 1:03d}: lies .* mm from s{missing - 1:03d}, .*, 1 missing"):
        read_volume(folder)


def test_steps_that_change_on_the_way_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="lies 2 mm from s010, the others are 1 mm apart, 1 missing"):
        read_volume(series(tmp_path / "jump", axial([*range(11), *range(12, 20, 2)])))
    heights = np.concatenate([np.arange(20) * 1.0, 19 + np.arange(1, 20) * 1.1])
    with pytest.raises(VolumeError, match=r"shifted by .* mm from the line of the others"):
        read_volume(series(tmp_path / "slow", axial(heights.round(3))))


@pytest.mark.parametrize("far", [0.5, 3])
def test_a_slice_beside_the_others_is_named(tmp_path: Path, far: float) -> None:
    places = [(-200, -180 + far * (k == 3), 2.0 * k) for k in range(8)]
    with pytest.raises(VolumeError, match=rf"s003: is shifted by {far:g} mm from the line of the others"):
        read_volume(series(tmp_path / "ct", places))


@pytest.mark.parametrize("decimals", [1, 2, 3, 4])
@pytest.mark.parametrize("angle", [0.1, 0.35, 0.6])
def test_rounded_directions_are_normalised(tmp_path: Path, decimals: int, angle: float) -> None:
    rotation = turned(0, angle, 0)
    cosines = [f"{c:.{decimals}f}" for c in (*rotation[:, 0], *rotation[:, 1])]
    places = [k * 2.0 * rotation[:, 2] for k in range(5)]
    volume = read_volume(series(tmp_path / "ct", [[f"{mm:.6f}" for mm in place] for place in places], cosines))
    right, down = volume.affine[:3, 2] / 0.8, volume.affine[:3, 1] / 0.7
    np.testing.assert_allclose([right @ right, down @ down, right @ down], [1, 1, 0], atol=1e-9)
    np.testing.assert_allclose(right, rotation[:, 0], atol=0.1**decimals)
    np.testing.assert_allclose(down, rotation[:, 1], atol=0.1**decimals)


def test_directions_that_differ_in_the_third_decimal_are_one_direction(tmp_path: Path) -> None:
    def edit(k: int, data: Dataset) -> None:
        data.ImageOrientationPatient = ["1", f"{0.0005 * (k % 2)}", "0", f"{-0.0005 * (k % 2)}", "1", "0"]

    assert read_volume(write_ct(tmp_path / "ct", np.zeros((5, 3, 4)), AXIAL, edit=edit)).shape == (5, 3, 4)


@pytest.mark.parametrize("cosines", [(1, 0, 0, 0.01, 1, 0), (0, 0, 0, 0, 1, 0), (1, 0, 0, 1, 0, 0)])
def test_directions_at_no_right_angle_are_refused(tmp_path: Path, cosines: tuple[float, ...]) -> None:
    with pytest.raises(VolumeError, match="not two directions at a right angle"):
        read_volume(series(tmp_path / "ct", axial(range(5)), cosines))
