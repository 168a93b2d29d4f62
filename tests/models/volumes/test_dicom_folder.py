"""Folders as they come from a CD: other files, subfolders, scouts, several series."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from bunet.models.volumes.formats import load, read_volume
from bunet.models.volumes.volume import VolumeError
from tests.models.volumes.test_dicom import write_ct
from tests.models.volumes.test_volume import AXIAL

pydicom = pytest.importorskip("pydicom", reason="needs the extra `clinical`")

SCOUT = np.array([[0, 0, 0, 0], [0, 0, 1, 0], [1, -1, 0, 0], [0, 0, 0, 1.0]])  # a sagittal image


def marked(**values: Any) -> Callable[..., Any]:
    """An edit that sets attributes of all slices."""

    def edit(k: int, data: Dataset) -> None:
        for name, value in values.items():
            setattr(data, name, value)

    return edit


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 3071, (5, 6, 7))


def names(letter: str, count: int = 5) -> list[str]:
    return [f"{letter}{k}" for k in range(count)]


def test_what_is_no_dicom_is_passed_over_and_counted(tmp_path: Path, hu: np.ndarray) -> None:
    folder = write_ct(tmp_path / "ct", hu)
    alone = read_volume(folder)
    for name in ("Thumbs.db", "README.txt", "LOCKFILE", "AUTORUN.INF"):
        (folder / name).write_bytes(b"x\n")
    (folder / ".hidden").write_bytes(b"x")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, hu)
    assert (alone.notes, volume.notes) == ((), ("4 files that are no DICOM were left out",))
    assert "4 files that are no DICOM were left out" in load(folder).remarks()


def test_a_cd_with_an_index_and_subfolders(tmp_path: Path, hu: np.ndarray) -> None:
    (tmp_path / "cd" / "DICOM" / "PA1").mkdir(parents=True)
    write_ct(tmp_path / "cd" / "DICOM" / "PA1", hu)
    (tmp_path / "cd" / "DICOM" / ".Trashes").mkdir()
    write_ct(tmp_path / "cd" / "DICOM" / ".Trashes", hu)
    index = pydicom.Dataset()
    index.file_meta = pydicom.dataset.FileMetaDataset()
    index.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    index.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    index.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    index.FileSetID = "CD"
    pydicom.dcmwrite(tmp_path / "cd" / "DICOMDIR", index, enforce_file_format=True)
    volume = read_volume(tmp_path / "cd")
    np.testing.assert_array_equal(volume.array, hu)
    assert volume.notes == ()
    with pytest.raises(VolumeError, match="DICOMDIR: holds no image; give the folder of a series"):
        read_volume(tmp_path / "cd" / "DICOMDIR")


@pytest.mark.parametrize("is_marked", [True, False], ids=["marked as a scout", "of another plane only"])
@pytest.mark.parametrize("first", [True, False], ids=["first by name", "last by name"])
def test_a_scout_of_the_same_series_is_left_out(tmp_path: Path, hu: np.ndarray, is_marked: bool, first: bool) -> None:
    folder = write_ct(tmp_path / "ct", hu, names=names("m"))
    data = pydicom.dcmread(folder / "m0")
    same = {name: data[name].value for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")}
    kind = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]} if is_marked else {}
    write_ct(folder, hu[:1, :4], SCOUT, edit=marked(**same, **kind), names=["a" if first else "z"])
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, hu)
    assert volume.notes == ("1 scout (images of another plane or size) in its series left out",)
    assert volume.files == tuple(folder / name for name in names("m"))


def test_scouts_alone_are_no_volume(tmp_path: Path, hu: np.ndarray) -> None:
    folder = write_ct(tmp_path / "ct", hu, edit=marked(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    with pytest.raises(VolumeError, match="scout images only"):
        read_volume(folder)


def test_an_odd_image_is_no_scout_where_a_slice_is_missing_without_it(tmp_path: Path, hu: np.ndarray) -> None:
    def turned(k: int, data: Dataset) -> None:
        if k == 0:
            data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    folder = write_ct(tmp_path / "few", hu[:3], edit=turned, names=names("m", 3))
    with pytest.raises(VolumeError, match=r"m0: is oriented in another way than m1"):
        read_volume(folder)


def test_one_volume_beside_single_images_is_taken(tmp_path: Path, hu: np.ndarray) -> None:
    folder = write_ct(tmp_path / "ct", hu, names=names("m"), edit=marked(SeriesNumber=2))
    write_ct(folder, hu[:1], names=["a"], edit=marked(SeriesNumber=2))
    write_ct(folder, hu[:2], names=["s0", "s1"], edit=marked(SeriesNumber=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, hu)
    (note,) = volume.notes
    assert "is taken; left out: 1 (CT, 2 images of 6x7, scouts); 2." in note
    assert "(CT, 1 image of 6x7)" in note


def test_several_series_are_listed_and_one_is_chosen(tmp_path: Path, hu: np.ndarray) -> None:
    secret = {"SeriesDescription": "Doe Jane thin"}
    folder = write_ct(tmp_path / "ct", hu, names=names("b"), edit=marked(SeriesNumber=4, **secret))
    write_ct(folder, hu[:4] // 2, names=names("a", 4), edit=marked(SeriesNumber=12, **secret))
    write_ct(folder, hu[:4], names=names("p", 4), edit=marked(SeriesNumber=7, Modality="PT", **secret))
    write_ct(folder, hu[:1], names=["o"], edit=marked(Modality="DOE JANE"))
    listed = (
        "4 (CT, 5 images of 6x7); 7 (PT, 4 images of 6x7); 12 (CT, 4 images of 6x7); none (another modality, 1 image of 6x7)"
    )
    with pytest.raises(VolumeError) as caught:
        load(folder)
    assert str(caught.value) == f"{folder}: holds 4 series; choose one by its number, such as --series 4: {listed}"
    np.testing.assert_array_equal(load(folder, series="12").stored.array, hu[:4] // 2)
    np.testing.assert_array_equal(read_volume(folder, series="4").array, hu)
    with pytest.raises(VolumeError, match="has no series --series '5'; there are: 4 "):
        load(folder, series="5")
    with pytest.raises(VolumeError, match="its modality is PT, not CT"):
        load(folder, series="7")
    (folder.parent / "ct.npy").write_bytes(b"")
    with pytest.raises(VolumeError, match="is no DICOM folder, of which --series 4 could choose"):
        load(folder.parent / "ct.npy", series="4")


def test_series_of_one_number_are_told_apart(tmp_path: Path, hu: np.ndarray) -> None:
    folder = write_ct(tmp_path / "ct", hu, names=names("a"), edit=marked(SeriesNumber=2, SeriesInstanceUID="1.2.4"))
    write_ct(folder, hu // 2, names=names("b"), edit=marked(SeriesNumber=2, SeriesInstanceUID="1.2.3"))
    with pytest.raises(VolumeError, match=r"2\.1 \(CT, 5 images of 6x7\); 2\.2 \(CT"):
        read_volume(folder)
    np.testing.assert_array_equal(read_volume(folder, series="2.1").array, hu // 2)
    np.testing.assert_array_equal(read_volume(folder, series="2.2").array, hu)


@pytest.mark.parametrize(("step", "modality", "is_one"), [(1, "CT", True), (2, "CT", False), (1, "PT", False)])
def test_a_stack_of_which_each_file_is_its_own_series_is_said_to_be_one(
    tmp_path: Path, step: int, modality: str, is_one: bool
) -> None:
    """step: 2 leaves out a slice, so that it is no stack."""
    folder = tmp_path / "ct"

    def own(k: int, data: Dataset) -> None:
        data.SeriesInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = f"1.2.{k}", f"1.3.{k}", f"1.4.{k}"
        data.SeriesNumber, data.Modality = 5, modality

    write_ct(folder, np.zeros((20, 6, 7)), edit=own, names=names("s", 20))
    if step == 2:
        (folder / "s7").unlink()
    with pytest.raises(VolumeError) as caught:
        read_volume(folder)
    said = str(caught.value)
    count = len(list(folder.iterdir()))
    assert f"ct: holds {count} series" in said
    assert ("every file has a SeriesInstanceUID of its own, as some anonymisers leave them" in said) == is_one
    assert (f"5.10 ({modality}, 1 image of 6x7); and {count - 10} more" in said) == (not is_one)
    with pytest.raises(VolumeError, match=rf"has no series --series '7'; there are: .*; and {count - 10} more$"):
        read_volume(folder, series="7")


def test_objects_without_images_are_passed_over(tmp_path: Path, hu: np.ndarray) -> None:
    def report(k: int, data: Dataset) -> None:
        for name in ("Rows", "Columns", "BitsAllocated", "PixelData", "SamplesPerPixel", "PhotometricInterpretation"):
            delattr(data, name)
        data.Modality, data.SOPClassUID = "SR", "1.2.840.10008.5.1.4.1.1.88.11"  # Basic Text SR

    folder = write_ct(tmp_path / "ct", hu)
    write_ct(folder, hu[:1], names=["report"], edit=report)
    assert read_volume(folder).notes == ("1 DICOM file without images was left out",)
    write_ct(tmp_path / "reports", hu[:2], names=["r0", "r1"], edit=report)
    with pytest.raises(VolumeError, match="reports: holds 2 DICOM files without images, so no DICOM series"):
        read_volume(tmp_path / "reports")


def test_the_files_of_a_volume_are_in_the_order_of_its_slices(tmp_path: Path, hu: np.ndarray) -> None:
    folder = write_ct(tmp_path / "ct", hu)
    volume = read_volume(folder)
    for path, image in zip(volume.files, volume.stored()[0], strict=True):
        np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array.astype(int) - 1024, image)
    assert volume.like(hu > 0).files == volume.files


@pytest.mark.parametrize("modality", ["MR", "PT"])
def test_another_modality_than_ct_is_refused_unless_its_values_are_stated(
    tmp_path: Path, hu: np.ndarray, modality: str
) -> None:
    folder = write_ct(tmp_path / "other", hu, edit=marked(Modality=modality))
    with pytest.raises(VolumeError, match=f"other: its modality is {modality}, not CT, which the models are for"):
        load(folder)
    with pytest.raises(VolumeError, match="values that are a CT's all the same: `--intensity hu`"):
        load(folder, "as-is")  # published models get it by default: it does not say that values are a CT's
    assert read_volume(folder).modality == modality  # a label may be of any
    note = load(folder, "hu").notes[0]
    assert note.startswith(f"its modality is {modality}, not CT")


@pytest.mark.parametrize(
    "edit", [marked(Modality=None), marked(ImageType=["DERIVED", "SECONDARY", "REFORMATTED"])], ids=["no modality", "derived"]
)
def test_a_series_that_may_be_a_ct_is_read(tmp_path: Path, hu: np.ndarray, edit: Callable[..., Any]) -> None:
    assert not any("modality" in note for note in load(write_ct(tmp_path / "ct", hu, AXIAL, edit=edit)).notes)


def test_modality_other_tells_nothing_and_is_remarked(tmp_path: Path, hu: np.ndarray) -> None:
    note = load(write_ct(tmp_path / "ct", hu, AXIAL, edit=marked(Modality="OT"))).notes[0]
    assert note.startswith("its modality is OT, not CT")
