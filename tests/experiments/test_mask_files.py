"""Names of results come from the volume's kind, whatever dots a name has; what is there already stays or is named."""

import numpy as np
import pytest

from bunet.experiments.mask_files import paths, probabilities_path, write_masks, write_probabilities
from bunet.experiments.options import UsageError
from bunet.experiments.predict_cases import find_cases, one_case
from bunet.models.volumes import formats
from bunet.models.volumes.volume import DICOM, NIFTI, NPY, NPZ, Volume, VolumeError

AFFINE = np.array([[0, 0, 0.8, -50], [0, 0.7, 0, -40], [5, 0, 0, 100], [0, 0, 0, 1.0]])
ARRAY = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
MASKS = {"infection": (ARRAY > 500).astype(np.uint8), "lung": (ARRAY > 0).astype(np.uint8)}
DOTTED = ("1.2.840.99999.1.2.3", "patient.01", "study.nii", "Scan.NPZ", "a.tiff", "one")


def series(folder):
    pytest.importorskip("highdicom", reason="needs the extra `clinical`")
    formats.write(Volume(ARRAY, AFFINE), folder)
    return formats.read_volume(folder)


@pytest.mark.parametrize("name", DOTTED)
def test_a_folder_s_name_may_have_dots(tmp_path, name):
    assert formats.kind_of(tmp_path / name) == {"study.nii": NIFTI, "Scan.NPZ": NPZ}.get(name, DICOM)
    (tmp_path / "in").mkdir()
    (tmp_path / "whole").mkdir()
    series(tmp_path / "plain")
    (tmp_path / "plain").rename(tmp_path / "in" / name)
    volume = formats.read_volume(tmp_path / "in" / name)
    assert volume.kind == formats.kind_of(tmp_path / "in" / name) == DICOM
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
def test_endings_are_known_in_any_case(tmp_path, kind, file, ending):
    if kind == NIFTI:
        pytest.importorskip("nibabel", reason="needs the extra `clinical`")
    volume = Volume(ARRAY, None if kind == NPY else AFFINE)
    formats.write(volume, tmp_path / file)
    case, back = one_case(tmp_path / file, None), formats.read_volume(tmp_path / file)
    assert (case.name, back.kind) == (file[: file.lower().rindex(".n")], kind)
    name = file.split(".N")[0].split(".n")[0]
    (tmp_path / "cases" / name).mkdir(parents=True)
    (tmp_path / file).rename(tmp_path / "cases" / name / file)
    (found,) = find_cases(tmp_path / "cases")
    assert (found.name, found.volume.name) == (name, file)
    files = write_masks(formats.read_volume(found.volume), MASKS, tmp_path, "out.7")
    assert [path.name for path in files] == [f"out.7_prediction{ending}", f"out.7_lung{ending}"]
    np.testing.assert_array_equal(formats.read(files[1]), MASKS["lung"])


def test_probabilities_of_a_series_are_an_npz(tmp_path):
    volume = series(tmp_path / "ct")
    path = write_probabilities(volume, np.full(ARRAY.shape, 0.5, np.float32), tmp_path, "1.2.3")
    assert path == probabilities_path(DICOM, tmp_path, "1.2.3") == tmp_path / "1.2.3_probabilities.npz"
    back = formats.read_volume(path)
    assert back.array.max() == 0.5
    np.testing.assert_allclose(back.affine, volume.affine)


def test_a_series_with_the_same_mask_stays(tmp_path):
    volume = series(tmp_path / "ct")
    files = write_masks(volume, MASKS, tmp_path, "ct")
    before = {path: path.read_bytes() for path in (*files[0].iterdir(), *files[1].iterdir(), files[2])}
    assert write_masks(volume, MASKS, tmp_path, "ct") == files
    assert {path: path.read_bytes() for path in before} == before
    files[2].unlink()  # as after a kill between the two
    write_masks(volume, MASKS, tmp_path, "ct")
    assert files[2].is_file()
    assert {path: path.read_bytes() for path in files[0].iterdir()}.items() <= before.items()


def test_another_mask_is_not_taken_for_this_one(tmp_path):
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


def test_masks_may_be_bool_and_of_other_targets(tmp_path):
    files = write_masks(Volume(ARRAY, AFFINE), {"Left lung/../x": ARRAY > 0}, tmp_path, "ct")
    assert files == paths(NPZ, ["Left lung/../x"], tmp_path, "ct") == [tmp_path / "ct_mask-left-lung-x.npz"]
    assert formats.read(files[0]).dtype == np.uint8
