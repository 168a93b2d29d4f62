"""Several stacks under one SeriesInstanceUID are listed and chosen from, never laid over each other."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from bunet.models.volumes.formats import read_volume
from bunet.models.volumes.volume import VolumeError
from tests.models.volumes.test_dicom import write_ct
from tests.models.volumes.test_volume import AXIAL

pydicom = pytest.importorskip("pydicom", reason="needs the extra `clinical`")

COUNT, STEP = 8, 2.5


def written(folder: Path, hu: np.ndarray, start: float, **values: int | str) -> Path:
    """A stack of series 2 whose first slice lies `start` steps above the usual place."""
    affine = AXIAL.copy()
    affine[:3, 3] += start * affine[:3, 0]

    def edit(k: int, data: Dataset) -> None:
        data.SeriesInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = "1.2.3", "1.2.4", "1.2.5"
        data.SeriesNumber = 2
        for name, value in values.items():
            setattr(data, name, value)

    stem = "-".join(map(str, [*values.values(), start]))
    return write_ct(folder, hu, affine, edit=edit, names=[f"{stem}-{k}" for k in range(len(hu))])


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 3071, (COUNT, 5, 7))


@pytest.mark.parametrize("start", [0, 0.5, 0.3, 3])
@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("AcquisitionNumber", (2, 10), ("acquisition 2", "acquisition 10")),
        ("TemporalPositionIdentifier", (1, 2), ("time 1", "time 2")),
        ("ConvolutionKernel", ("DOE JANE", "I70f"), ("reconstruction no. 2", "reconstruction no. 1")),
    ],
)
def test_stacks_that_lie_over_each_other_are_chosen_from(
    tmp_path: Path, hu: np.ndarray, start: float, name: str, values: tuple[int | str, int | str], said: tuple[str, str]
) -> None:
    written(tmp_path / "ct", hu, 0, **{name: values[0]})
    written(tmp_path / "ct", hu // 2, start, **{name: values[1]})
    with pytest.raises(VolumeError, match=r"choose one by its number, such as --series 2\.1: ") as caught:
        read_volume(tmp_path / "ct")
    assert "DOE" not in str(caught.value)
    for part, array in zip(said, (hu, hu // 2), strict=True):
        (label,) = [label for label in ("2.1", "2.2") if f"{label} (CT, 8 images of 5x7, {part})" in str(caught.value)]
        volume = read_volume(tmp_path / "ct", series=label)
        np.testing.assert_array_equal(volume.array, array)
        assert volume.spacing[0] == pytest.approx(STEP)


def test_two_marks_at_once_make_four_stacks(tmp_path: Path, hu: np.ndarray) -> None:
    for phase in (1, 2):
        for kernel in ("B30f", "B60f"):
            written(tmp_path / "ct", hu // phase, 0, AcquisitionNumber=phase, ConvolutionKernel=kernel)
    with pytest.raises(VolumeError, match=r"2\.4 \(CT, 8 images of 5x7, acquisition 2, reconstruction no\. 2\)"):
        read_volume(tmp_path / "ct")
    np.testing.assert_array_equal(read_volume(tmp_path / "ct", series="2.3").array, hu // 2)


@pytest.mark.parametrize("split", [1, 2, 4])
def test_parts_that_follow_one_another_are_one_volume(tmp_path: Path, hu: np.ndarray, split: int) -> None:
    """A scan in steps, of as many slices each."""
    for k in range(0, COUNT, split):
        written(tmp_path / "ct", hu[k : k + split], k, AcquisitionNumber=k)
    volume = read_volume(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array, hu)
    assert volume.notes == ()


def test_a_slice_of_another_acquisition_within_a_stack_stays_in_it(tmp_path: Path, hu: np.ndarray) -> None:
    for k in range(COUNT):
        written(tmp_path / "ct", hu[k : k + 1], k, AcquisitionNumber=2 if k == 3 else 1)
    np.testing.assert_array_equal(read_volume(tmp_path / "ct").array, hu)


def test_a_stack_with_a_slice_missing_is_not_laid_over_another(tmp_path: Path, hu: np.ndarray) -> None:
    written(tmp_path / "ct", hu, 0, AcquisitionNumber=1)
    folder = written(tmp_path / "ct", hu, 0.5, AcquisitionNumber=2)
    next(path for path in folder.iterdir() if path.name.endswith("-0.5-3")).unlink()
    with pytest.raises(VolumeError, match="1 missing"):
        read_volume(folder)
