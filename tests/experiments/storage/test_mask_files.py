"""Names of results come from the volume's kind, whatever dots a name has; what is there already stays or is named."""

import errno
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest

from bunet.experiments.predict.case_files import find_cases, one_case
from bunet.experiments.storage import mask_files
from bunet.experiments.storage.mask_files import paths, probabilities_path, write_masks, write_probabilities
from bunet.models.errors import UsageError
from bunet.models.files.disk_space import DiskFull
from bunet.models.volumes import formats
from bunet.models.volumes.dicom import segmentation, writing
from bunet.models.volumes.volume import DICOM, NIFTI, NPY, NPZ, Volume, VolumeError

AFFINE = np.array([[0, 0, 0.8, -50], [0, 0.7, 0, -40], [5, 0, 0, 100], [0, 0, 0, 1.0]])
ARRAY = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
MASKS = {"infection": (ARRAY > 500).astype(np.uint8), "lung": (ARRAY > 0).astype(np.uint8)}
DOTTED = ("1.2.840.99999.1.2.3", "patient.01", "study.nii", "Scan.NPZ", "a.tiff", "one")


def series(folder: Path) -> Volume:
    pytest.importorskip("highdicom", reason="needs the extra `clinical`")
    formats.write(Volume(ARRAY, AFFINE), folder)
    return formats.read_volume(folder)


@pytest.mark.parametrize("name", DOTTED)
def test_a_folder_s_name_may_have_dots(tmp_path: Path, name: str) -> None:
    assert formats.format_of(tmp_path / name) == {"study.nii": NIFTI, "Scan.NPZ": NPZ}.get(name, DICOM)
    (tmp_path / "in").mkdir()
    (tmp_path / "whole").mkdir()
    series(tmp_path / "plain")
    (tmp_path / "plain").rename(tmp_path / "in" / name)
    volume = formats.read_volume(tmp_path / "in" / name)
    assert volume.file_format == formats.format_of(tmp_path / "in" / name) == DICOM
    assert one_case(tmp_path / "in" / name, None).name == name
    (case,) = find_cases(tmp_path / "in")
    assert (case.name, case.volume) == (name, tmp_path / "in" / name)
    files = write_masks(volume, MASKS, tmp_path / "whole", name)
    assert [path.name for path in files] == [f"{name}_prediction", f"{name}_lung", f"{name}_segmentation.dcm"]
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == sorted(path.name for path in files)
    for path, mask in zip(files, MASKS.values(), strict=False):
        np.testing.assert_array_equal(formats.read(path), mask)


@pytest.mark.parametrize(
    ("kind", "file", "ending"),
    [(NPZ, "CT.NPZ", ".npz"), (NPY, "Ct.Npy", ".npy"), (NIFTI, "CT.NII.GZ", ".nii.gz"), (NIFTI, "p.01.NII", ".nii.gz")],
)
def test_endings_are_known_in_any_case(tmp_path: Path, kind: str, file: str, ending: str) -> None:
    if kind == NIFTI:
        pytest.importorskip("nibabel", reason="needs the extra `clinical`")
    volume = Volume(ARRAY, None if kind == NPY else AFFINE)
    formats.write(volume, tmp_path / file)
    case, back = one_case(tmp_path / file, None), formats.read_volume(tmp_path / file)
    assert (case.name, back.file_format) == (file[: file.lower().rindex(".n")], kind)
    name = file.split(".N")[0].split(".n")[0]
    (tmp_path / "cases" / name).mkdir(parents=True)
    (tmp_path / file).rename(tmp_path / "cases" / name / file)
    (found,) = find_cases(tmp_path / "cases")
    assert (found.name, found.volume.name) == (name, file)
    files = write_masks(formats.read_volume(found.volume), MASKS, tmp_path, "out.7")
    assert [path.name for path in files] == [f"out.7_prediction{ending}", f"out.7_lung{ending}"]
    np.testing.assert_array_equal(formats.read(files[1]), MASKS["lung"])


def test_probabilities_of_a_series_are_an_npz(tmp_path: Path) -> None:
    volume = series(tmp_path / "ct")
    path = write_probabilities(volume, np.full(ARRAY.shape, 0.5, np.float32), tmp_path, "1.2.3")
    assert path == probabilities_path(DICOM, tmp_path, "1.2.3") == tmp_path / "1.2.3_probabilities.npz"
    back = formats.read_volume(path)
    assert back.array.max() == 0.5
    np.testing.assert_allclose(back.affine, volume.affine)


def test_a_series_with_the_same_mask_stays(tmp_path: Path) -> None:
    volume = series(tmp_path / "ct")
    files = write_masks(volume, MASKS, tmp_path, "ct")
    before = {path: path.read_bytes() for path in (*files[0].iterdir(), *files[1].iterdir(), files[2])}
    assert write_masks(volume, MASKS, tmp_path, "ct") == files
    assert {path: path.read_bytes() for path in before} == before
    files[2].unlink()  # as after a kill between the two
    write_masks(volume, MASKS, tmp_path, "ct")
    assert files[2].is_file()
    assert {path: path.read_bytes() for path in files[0].iterdir()}.items() <= before.items()


def test_another_mask_is_not_taken_for_this_one(tmp_path: Path) -> None:
    volume = series(tmp_path / "ct")
    files = write_masks(volume, MASKS, tmp_path, "ct")
    other = {**MASKS, "infection": 1 - MASKS["infection"]}
    with pytest.raises(UsageError, match="ct_prediction holds another mask: remove it"):
        write_masks(volume, other, tmp_path, "ct")
    for path in files[0].iterdir():
        path.unlink()
    files[0].rmdir()
    with pytest.raises(UsageError, match=r"ct_segmentation\.dcm holds another mask: remove it"):
        write_masks(volume, other, tmp_path, "ct")
    files[2].write_bytes(b"not DICOM")
    with pytest.raises(VolumeError, match=r"ct_segmentation\.dcm: is no DICOM Segmentation: remove it"):
        write_masks(volume, other, tmp_path, "ct")


def test_masks_may_be_bool_and_of_other_targets(tmp_path: Path) -> None:
    files = write_masks(Volume(ARRAY, AFFINE), {"Left lung/../x": ARRAY > 0}, tmp_path, "ct")
    assert files == paths(NPZ, ["Left lung/../x"], tmp_path, "ct") == [tmp_path / "ct_mask-left-lung-x.npz"]
    assert formats.read(files[0]).dtype == np.uint8


@pytest.mark.parametrize("fails", ["write_series", "write_segmentation"])
def test_a_series_that_cannot_be_replaced_keeps_its_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """A full disk: the old mask lies there until the new one does."""
    volume = series(tmp_path / "ct")
    files = write_masks(volume, MASKS, tmp_path, "ct")

    def full(*given: Any, **more: Any) -> Never:
        assert all(path.exists() for path in files)
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(writing if fails == "write_series" else segmentation, fails, full)
    with pytest.raises(DiskFull):
        write_masks(volume, {**MASKS, "infection": 1 - MASKS["infection"]}, tmp_path, "ct", replace=True)
    for path, mask in zip(files, MASKS.values(), strict=False):
        found = formats.read(path)
        assert np.array_equal(found, mask) or (path == files[0] and np.array_equal(found, 1 - mask))
    assert not list(tmp_path.glob(".*"))


def test_damaged_series_and_segmentations_give_way_where_masks_are_replaced(tmp_path: Path) -> None:
    volume = series(tmp_path / "ct")
    files = write_masks(volume, MASKS, tmp_path, "ct")
    whole = mask_files.digests(volume, MASKS)
    assert [mask_files.digest_at(path, volume) for path in files] == whole
    next(files[0].iterdir()).unlink()
    for path in files[1].iterdir():
        path.write_bytes(b"not DICOM")
    files[2].write_bytes(files[2].read_bytes()[:700])
    assert set(whole).isdisjoint(mask_files.digest_at(path, volume) for path in files)
    assert write_masks(volume, MASKS, tmp_path, "ct", replace=True) == files
    assert [mask_files.digest_at(path, volume) for path in files] == whole
    assert not list(tmp_path.glob(".*"))


def test_only_values_of_a_mask_have_a_mask_s_digest(tmp_path: Path) -> None:
    volume, mask = Volume(ARRAY, AFFINE), MASKS["lung"]
    (path,) = write_masks(volume, {"lung": mask}, tmp_path, "ct")
    assert [mask_files.digest_at(path, volume)] == mask_files.digests(volume, {"lung": mask})
    for other in (mask * np.float32(0.5), np.where(mask, np.nan, 0), mask * np.int16(257)):
        np.savez(path, array=other)
        assert mask_files.digest_at(path, volume) is None


def test_a_kill_between_the_old_series_and_the_new_leaves_both_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, other = series(tmp_path / "ct"), {**MASKS, "infection": 1 - MASKS["infection"]}
    files = write_masks(volume, MASKS, tmp_path, "ct")
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if path.name.endswith(".new"):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        write_masks(volume, other, tmp_path, "ct", replace=True)
    np.testing.assert_array_equal(formats.read(tmp_path / ".ct_prediction.old"), MASKS["infection"])
    np.testing.assert_array_equal(formats.read(tmp_path / ".ct_prediction.new"), other["infection"])
    monkeypatch.setattr(Path, "rename", rename)
    write_masks(volume, other, tmp_path, "ct", replace=True)
    np.testing.assert_array_equal(formats.read(files[0]), other["infection"])
    assert not list(tmp_path.glob(".*"))
