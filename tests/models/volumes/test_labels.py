"""Labels of volumes: every kind of file, the keys of an `.npz` and their order, shape and place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.models.volumes import formats
from bunet.models.volumes.labels import labels
from bunet.models.volumes.labels.values import LabelError
from bunet.models.volumes.volume import Volume, VolumeError

PLACE = np.array([[0, 0, 0.8, -50], [0, 0.7, 0, -40], [5, 0, 0, 100], [0, 0, 0, 1.0]])  # (slice, row, column) to mm
HU = np.random.default_rng(0).integers(-1000, 800, (6, 12, 14)).astype(np.int16)
INSIDE = HU > 500
CLASSES = np.where(INSIDE, 3, np.where(HU > 0, 2, np.where(HU > -500, 1, 0))).astype(np.uint8)
NAMES = ("npz", "nii", "nii.gz", "series")


def needed(name: str) -> None:
    if name != "npz":
        pytest.importorskip("pydicom" if name == "series" else "nibabel", reason="needs the extra `clinical`")


def written(folder: Path, name: str, array: np.ndarray = INSIDE, place: np.ndarray = PLACE) -> tuple[Volume, Path]:
    """(the volume as read, the label's path): both in the format that `name` ends with."""
    needed(name)
    dot = "" if name == "series" else "."
    formats.write(Volume(HU, PLACE), folder / f"ct{dot}{name}")
    formats.write(Volume(np.asarray(array, np.uint8), place), folder / f"label{dot}{name}")
    return formats.read_volume(folder / f"ct{dot}{name}"), folder / f"label{dot}{name}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [1, 255])
def test_every_kind_of_file_can_be_a_label(tmp_path: Path, name: str, value: int) -> None:
    volume, path = written(tmp_path, name, INSIDE * value)
    label = labels.read(path, volume)
    np.testing.assert_array_equal(label.mask, INSIDE)
    key = "array" if name == "npz" else None
    voxels = {"0": int((~INSIDE).sum()), str(value): int(INSIDE.sum())}
    assert label.document() == {"file": str(path), "key": key, "inside": [value], "voxels": voxels}
    assert label.notes == ()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("asked", [(3,), (1, 2)])
def test_of_several_classes_those_that_are_asked_for(tmp_path: Path, name: str, asked: tuple[int, ...]) -> None:
    volume, path = written(tmp_path, name, CLASSES)
    with pytest.raises(LabelError, match=r"the values 1, 2, 3 besides 0: .* --label-value 3 is the infection"):
        labels.read(path, volume)
    label = labels.read(path, volume, asked)
    np.testing.assert_array_equal(label.mask, np.isin(CLASSES, asked))
    assert label.inside == asked
    assert label.voxels == {value: np.count_nonzero(value == CLASSES) for value in range(4)}


def test_real_numbers_of_a_nifti_file_that_are_whole(tmp_path: Path) -> None:
    """As nibabel writes an array of float64, and as it fits one into 16 bits with a slope."""
    nibabel = pytest.importorskip("nibabel", reason="needs the extra `clinical`")
    affine = np.diag([0.8, 0.7, 5, 1])
    nibabel.save(nibabel.Nifti1Image(HU.T, affine), tmp_path / "ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(CLASSES.T.astype(np.float64), affine), tmp_path / "wide.nii.gz")
    image = nibabel.Nifti1Image(CLASSES.T.astype(np.float64), affine)
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "fitted.nii.gz")
    assert nibabel.load(tmp_path / "fitted.nii.gz").dataobj.slope != 1
    volume = formats.read_volume(tmp_path / "ct.nii.gz")
    infection = volume.array > 500
    for name in ("wide", "fitted"):
        np.testing.assert_array_equal(labels.read(tmp_path / f"{name}.nii.gz", volume, (3,)).mask, infection)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numpy_files_of_truth_values(tmp_path: Path, kind: type[bool | np.generic], save: Callable[..., None]) -> None:
    save(tmp_path / "label.npz", array=INSIDE.astype(kind))
    np.save(tmp_path / "label.npy", INSIDE.astype(kind))
    for name in ("label.npz", "label.npy"):
        np.testing.assert_array_equal(labels.read(tmp_path / name, Volume(HU)).mask, INSIDE)


@pytest.mark.parametrize("name", ["nii.gz", "series", "npz"])
@pytest.mark.parametrize(("shift", "fits"), [(0.3, True), (4.0, False)])
def test_a_label_of_another_place_is_refused(tmp_path: Path, name: str, shift: float, fits: bool) -> None:
    elsewhere = PLACE.copy()
    elsewhere[2, 3] += shift
    volume, path = written(tmp_path, name, place=elsewhere)
    if fits:
        np.testing.assert_array_equal(labels.read(path, volume).mask, INSIDE)
    else:
        with pytest.raises(LabelError, match=r"label.*: the label lies elsewhere than the volume ct.* by 5.71 voxels"):
            labels.read(path, volume)


def test_a_place_that_one_of_them_does_not_tell_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "label.npy", INSIDE)
    np.savez(tmp_path / "spacing.npz", array=INSIDE, spacing_zyx_mm=np.array([5, 0.7, 0.8]))  # no place, however it starts
    formats.write(Volume(HU, PLACE), tmp_path / "ct.npz")
    volume = formats.read_volume(tmp_path / "ct.npz")
    for name in ("label.npy", "spacing.npz"):
        label = labels.read(tmp_path / name, volume)
        np.testing.assert_array_equal(label.mask, INSIDE)
        (note,) = label.notes
        assert "was not checked to lie where the volume ct.npz does: the label does not tell its place" in note
    assert labels.read(tmp_path / "label.npy", Volume(HU)).notes == ()


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", lung_derived=INSIDE)
    np.savez(tmp_path / "short.npz", array=INSIDE[1:])
    (tmp_path / "damaged.npz").write_bytes(b"nonsense")
    for name, words in (
        ("wrong", r"wrong.npz: no key `infection` or .* or `array`, the file holds `lung_derived`"),
        ("short", r"short.npz: the label has shape \(5, 12, 14\), the volume \(6, 12, 14\)"),
        ("damaged", r"damaged.npz: not a readable .npz file"),
        ("nowhere", r"nowhere.npz: there is no such file"),
    ):
        with pytest.raises(VolumeError, match=words):
            labels.read(tmp_path / f"{name}.npz", Volume(HU))


def test_what_reading_its_file_had_to_say_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Volume(INSIDE.astype(np.uint8), notes=("its orientation is a guess",))
    monkeypatch.setattr(formats, "read_volume", lambda *_: told)
    label = labels.read(tmp_path / "label.nii", Volume(HU))
    assert label.notes == (f"{tmp_path / 'label.nii'}: the label: its orientation is a guess",)


def own(folder: Path, **arrays: Any) -> Volume:
    np.savez(folder / "ct.npz", ct=HU, **arrays)
    return formats.read_volume(folder / "ct.npz")


def test_the_label_inside_the_volumes_file_is_used_and_said(tmp_path: Path) -> None:
    """Keys in their order: infection, lesion, label, mask."""
    others = {}
    for number, key in enumerate(("mask", "label", "lesion", "infection")):
        others[key] = np.roll(INSIDE, number)
        label, lines = labels.beside(None, own(tmp_path, lung_derived=HU < 0, **others))
        assert label is not None
        assert label.key == key
        np.testing.assert_array_equal(label.mask, others[key])
        assert lines[0] == f"label ct.npz, key `{key}`: value 1 is inside, {INSIDE.sum()} of {INSIDE.size} voxels"
        unused = "".join(f"`{other}`, " for other in ("lesion", "label", "mask") if other in others and other != key)
        assert lines[-1] == f"{unused}`lung_derived` of ct.npz is not used: the label is `{key}`"


def test_a_label_that_is_given_goes_before_the_volumes_own(tmp_path: Path) -> None:
    np.save(tmp_path / "label.npy", ~INSIDE)
    volume = own(tmp_path, infection=INSIDE)
    label, lines = labels.beside(tmp_path / "label.npy", volume)
    np.testing.assert_array_equal(label.mask, ~INSIDE)
    assert lines[-1] == "`infection` of ct.npz is not used: the label is label.npy"
    label, lines = labels.beside(tmp_path / "ct.npz", volume)  # the file named as its own label
    np.testing.assert_array_equal(label.mask, INSIDE)


def test_a_lung_is_no_label_of_an_infection_but_mentioned(tmp_path: Path) -> None:
    label, lines = labels.beside(None, own(tmp_path, lung_derived=INSIDE))
    assert label is None
    assert lines == ("`lung_derived` of ct.npz is not used: it is no label of an infection",)
    assert labels.beside(None, own(tmp_path)) == (None, ())


def test_an_own_label_that_is_none_is_passed_over_with_a_word_unless_asked_for(tmp_path: Path) -> None:
    volume = own(tmp_path, mask=CLASSES)
    label, lines = labels.beside(None, volume)
    assert label is None
    assert lines[0].startswith(f"not used as a label: {tmp_path / 'ct.npz'}: `mask` has the values 1, 2, 3 besides 0")
    label, lines = labels.beside(None, volume, (3,))
    np.testing.assert_array_equal(label.mask, INSIDE)
    with pytest.raises(LabelError, match="there is no 4, which --label-value asks for"):
        labels.beside(None, volume, (4,))


@pytest.mark.parametrize("values", [(1, 1), (1, 2), (255, 255)])
def test_two_lungs_are_one_beside_a_label(tmp_path: Path, values: tuple[int, int]) -> None:
    left = np.arange(14) < 7
    lung = np.where(HU < 0, np.where(left, *values), 0)
    volume = own(tmp_path, infection=INSIDE, lung=lung)
    found = labels.lung_of(tmp_path / "ct.npz", volume)
    np.testing.assert_array_equal(found.mask, HU < 0)
    if values == (1, 2):
        with pytest.raises(LabelError, match="--label-value 1,2"):
            labels.inside(tmp_path / "ct.npz", volume, "lung")


def test_a_label_s_folder_of_several_series_is_not_to_be_chosen_by_series(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="needs the extra `clinical`")
    from tests.models.volumes.test_dicom import write_ct
    from tests.models.volumes.test_dicom_folder import marked

    for number in (2, 3):
        write_ct(tmp_path / "label", HU, names=[f"{number}-{k}" for k in range(len(HU))], edit=marked(SeriesNumber=number))
    with pytest.raises(LabelError) as caught:
        labels.read(tmp_path / "label", Volume(HU))
    assert "label: holds 2 series; give the folder of one of them alone: 2 (CT" in str(caught.value)
    assert "--series" not in str(caught.value)
