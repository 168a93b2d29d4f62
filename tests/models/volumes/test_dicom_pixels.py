"""Compressed pixels, decoders that are not installed, padding, and files of several frames."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from bunet.models.volumes.formats import load, read_volume, write
from bunet.models.volumes.volume import VolumeError
from tests.models.volumes.test_dicom import write_ct
from tests.models.volumes.test_dicom_folder import marked
from tests.models.volumes.test_volume import AXIAL

pydicom = pytest.importorskip("pydicom", reason="needs the extra `clinical`")

GDCM = {
    "JPEGLSLossless": "JPEGLSLossless",
    "JPEG2000Lossless": "JPEG2000Lossless",
    "JPEGLosslessSV1": "JPEGLosslessProcess14_1",
    "JPEGLossless": "JPEGLosslessProcess14",
    "RLELossless": "RLELossless",
}  # pydicom's name of a transfer syntax, and GDCM's


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 3071, (4, 20, 24))


def compressed_by_gdcm(folder: Path, syntax: str) -> Path:
    """Compress a folder's files as they lie, by GDCM's encoder."""
    gdcm = pytest.importorskip("gdcm", reason="needs the extra `clinical`")
    for path in folder.iterdir():
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, GDCM[syntax])))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == getattr(pydicom.uid, syntax)
    return folder


@pytest.mark.parametrize("syntax", GDCM)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [12, 16])
def test_lossless_pixels_come_back_as_they_were(tmp_path: Path, hu: np.ndarray, syntax: str, signed: bool, bits: int) -> None:
    hu = np.clip(hu, -1024, 2047)

    def edit(k: int, data: Dataset) -> None:
        data.BitsStored, data.HighBit = bits, bits - 1
        if signed:
            data.PixelRepresentation, data.RescaleIntercept = 1, 0
            data.PixelData = hu[k].astype("<i2").tobytes()

    folder = compressed_by_gdcm(write_ct(tmp_path / "ct", hu, edit=edit), syntax)
    np.testing.assert_array_equal(read_volume(folder).array, hu)


def test_a_missing_decoder_is_named_with_one_command(tmp_path: Path, hu: np.ndarray) -> None:
    folder = compressed_by_gdcm(write_ct(tmp_path / "ct", hu), "JPEGLosslessSV1")
    script = (
        "import sys; sys.modules.update({'gdcm': None, 'PIL': None, 'jpeg_ls': None, 'pylibjpeg': None})\n"
        "from bunet.models.errors import UsageError\n"
        "from bunet.models.volumes.formats import read_volume\n"
        f"try: read_volume({str(folder)!r})\n"
        "except UsageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{folder}/")
    assert "cannot be decoded here: its decoder is not installed: pip install python-gdcm\n" in done.stdout
    assert "Process 14" in done.stdout
    assert done.stderr == ""


def flipped(data: bytearray, where: range | list[int]) -> None:
    for k in where:
        data[k] ^= 0x5A


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: flipped(data, range(len(data) - 300, len(data) - 50, 7)),  # libjpeg decodes it, and prints a warning
        lambda data: flipped(data, [data.index(b"\xff\xc3\x00\x0b") + 4]),  # 74 bits for each pixel: a segmentation fault
    ],
    ids=["data", "precision"],
)
def test_damaged_pixels_are_a_sentence_even_where_the_decoder_dies(
    tmp_path: Path, hu: np.ndarray, capfd: pytest.CaptureFixture[str], damage: Callable[..., Any]
) -> None:
    folder = compressed_by_gdcm(write_ct(tmp_path / "ct", hu), "JPEGLosslessSV1")
    path = next(folder.iterdir())
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    with pytest.raises(VolumeError, match=rf"{path}: its pixels \(JPEG Lossless.*: they are missing, incomplete or damaged"):
        read_volume(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("value", "limit", "padded"), [(-2000, None, [-2000]), (-2000, -1500, [-2000, -1700, -1500]), (3071, None, [3071])]
)
def test_pixels_that_the_scanner_did_not_see_become_air(
    tmp_path: Path, hu: np.ndarray, value: int, limit: int | None, padded: list[int]
) -> None:
    hu = np.clip(hu, -1000, 2000)
    expected = hu.copy()
    hu[1, :2, : len(padded)] = padded
    expected[1, :2, : len(padded)] = -1024

    def edit(k: int, data: Dataset) -> None:
        data.PixelRepresentation, data.RescaleIntercept, data.BitsStored, data.HighBit = 1, 0, 16, 15
        data.PixelData = hu[k].astype("<i2").tobytes()
        data.add_new("PixelPaddingValue", "SS", value)
        if limit is not None:
            data.add_new("PixelPaddingRangeLimit", "SS", limit)

    volume = read_volume(write_ct(tmp_path / "ct", hu, edit=edit))
    np.testing.assert_array_equal(volume.array, expected)
    share = 100 * 2 * len(padded) / hu.size
    assert volume.notes == (f"{share:.2g} % of its pixels are padding by the header, and taken as air (-1024 HU)",)


def test_padding_written_as_if_it_were_unsigned(tmp_path: Path, hu: np.ndarray) -> None:
    hu[0, 0, 0] = -2000

    def edit(k: int, data: Dataset) -> None:
        data.PixelRepresentation, data.RescaleIntercept, data.BitsStored, data.HighBit = 1, 0, 16, 15
        data.PixelData = hu[k].astype("<i2").tobytes()
        data.add_new("PixelPaddingValue", "US", 0x10000 - 2000)

    assert read_volume(write_ct(tmp_path / "ct", hu, edit=edit)).array[0, 0, 0] == -1024


def test_padding_is_believed_of_a_ct_only_and_never_within_the_body(tmp_path: Path, hu: np.ndarray) -> None:
    def edit(k: int, data: Dataset) -> None:
        data.add_new("PixelPaddingValue", "US", 1024)  # water

    volume = read_volume(write_ct(tmp_path / "water", hu, edit=edit))
    np.testing.assert_array_equal(volume.array, hu)
    assert volume.notes == ("its header names 0 HU as padding, which the body has, too: such pixels stay as they are",)

    def other(k: int, data: Dataset) -> None:
        data.add_new("PixelPaddingValue", "US", 4095)
        data.Modality = "OT"

    np.testing.assert_array_equal(read_volume(write_ct(tmp_path / "other", hu, edit=other)).array, hu)
    air = read_volume(write_ct(tmp_path / "air", hu, edit=marked(PixelPaddingValue=0)))
    np.testing.assert_array_equal(air.array, hu)
    assert air.notes == ()


@pytest.mark.parametrize(("value", "limit"), [(-2000, 3500), (3500, -2000), (-1500, 40)])
def test_a_range_of_padding_that_holds_the_body_is_not_believed(tmp_path: Path, hu: np.ndarray, value: int, limit: int) -> None:
    def edit(k: int, data: Dataset) -> None:
        data.PixelRepresentation, data.RescaleIntercept, data.BitsStored, data.HighBit = 1, 0, 16, 15
        data.PixelData = hu[k].astype("<i2").tobytes()
        data.add_new("PixelPaddingValue", "SS", value)
        data.add_new("PixelPaddingRangeLimit", "SS", limit)

    volume = read_volume(write_ct(tmp_path / "ct", hu, edit=edit))
    np.testing.assert_array_equal(volume.array, hu)
    ends = f"{min(value, limit)} to {max(value, limit)}"
    assert volume.notes == (f"its header names {ends} HU as padding, which the body has, too: such pixels stay as they are",)


@pytest.fixture
def enhanced(tmp_path: Path, hu: np.ndarray) -> tuple[Path, Path]:
    """(the folder of a series with its gantry tilted, an enhanced file that highdicom made of it)."""
    legacy = pytest.importorskip("highdicom.legacy", reason="highdicom is not installed")
    affine = AXIAL.copy()
    affine[1, 0] = 0.6
    folder, k = tmp_path / "ct", iter(range(99))

    def edit(_: int, data: Dataset) -> None:
        data.Manufacturer = data.ManufacturerModelName = data.InstitutionName = "none"
        data.KVP, data.AcquisitionNumber, data.PatientPosition, data.PositionReferenceIndicator = "120", 1, "HFS", ""
        data.PatientBirthDate, data.PatientSex, data.AccessionNumber, data.StudyID, data.StudyTime = "", "O", "", "1", "120000"
        data.ReferringPhysicianName, data.SeriesNumber, data.ImageType = "", 2, ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.RescaleIntercept = -1024 - next(k)  # each frame its own
        for name in ("Content", "Series", "Acquisition"):
            setattr(data, f"{name}Date", "20200401")
            setattr(data, f"{name}Time", "120000")

    write_ct(folder, hu, affine, edit=edit)
    sources = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    made = legacy.LegacyConvertedEnhancedCTImage(sources, "1.2.3.4", 5, "1.2.3.5", 1)
    (tmp_path / "enhanced").mkdir()
    made.save_as(tmp_path / "enhanced" / "IM1.dcm", enforce_file_format=True)
    return folder, tmp_path / "enhanced" / "IM1.dcm"


def test_an_enhanced_file_is_the_series_it_was_made_of(enhanced: tuple[Path, Path], tmp_path: Path, hu: np.ndarray) -> None:
    folder, path = enhanced
    series = read_volume(folder)
    np.testing.assert_array_equal(series.array, hu - np.arange(4)[:, None, None])
    for given in (path.parent, path):
        volume = read_volume(given)
        np.testing.assert_array_equal(volume.array, series.array)
        np.testing.assert_allclose(volume.affine, series.affine, atol=1e-9)
        assert (volume.files, volume.modality, volume.notes) == ((path,), "CT", ())
    assert load(path).rule == "hu"
    write(volume.like(series.array > 0), tmp_path / "mask")
    assert pydicom.dcmread(next((tmp_path / "mask").iterdir())).PatientName == "Doe^Jane"


@pytest.mark.parametrize("syntax", GDCM)
def test_frames_of_an_enhanced_file_may_be_compressed(enhanced: tuple[Path, Path], syntax: str) -> None:
    folder, path = enhanced
    data = pydicom.dcmread(path)
    encoded = pydicom.dcmread(next(compressed_by_gdcm(path.parent, syntax).iterdir()))
    data["PixelData"] = encoded["PixelData"]  # no more of it: GDCM writes one rescaling for all frames
    data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    data.save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(read_volume(path).array, read_volume(folder).array)


def test_enhanced_files_of_one_series_are_put_together(enhanced: tuple[Path, Path], hu: np.ndarray) -> None:
    folder, path = enhanced
    whole = pydicom.dcmread(path)
    frames, size = whole.PerFrameFunctionalGroupsSequence, len(whole.PixelData) // 4
    for number, part in enumerate(([0, 1], [2, 3])):
        data = pydicom.dcmread(path)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 6}"
        data.PerFrameFunctionalGroupsSequence = [frames[k] for k in part]
        data.NumberOfFrames = 2
        data.PixelData = b"".join(whole.PixelData[k * size : (k + 1) * size] for k in part)
        data.save_as(path.parent / f"part{number}.dcm", enforce_file_format=True)
    with pytest.raises(VolumeError, match="lies in the same place as"):
        read_volume(path.parent)
    path.unlink()
    volume = read_volume(path.parent)
    np.testing.assert_array_equal(volume.array, read_volume(folder).array)
    assert len(volume.files) == 2


@pytest.mark.parametrize("shift", [0, 0.5])
def test_phases_of_an_enhanced_file_are_chosen_from(enhanced: tuple[Path, Path], hu: np.ndarray, shift: float) -> None:
    _, path = enhanced
    data = pydicom.dcmread(path)
    frames = data.PerFrameFunctionalGroupsSequence
    places = [np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float) for frame in frames]
    ranks = np.argsort(np.argsort([place[2] for place in places]))  # of each frame among the slices
    step = np.array([0, 0.6, 2.5])
    for k, frame in enumerate(frames):
        phase, number = divmod(k, 2)
        place = places[0] + (number + phase * shift) * step
        frame.PlanePositionSequence[0].ImagePositionPatient = [f"{mm:.6f}" for mm in place]
        frame.FrameContentSequence[0].TemporalPositionIndex = phase + 1
    data.save_as(path, enforce_file_format=True)
    whole = hu - np.arange(4)[:, None, None]
    with pytest.raises(VolumeError, match=r"5\.1 \(CT, 2 images of .*, time 1\); 5\.2 \(CT, 2 images of .*, time 2\)"):
        read_volume(path)
    for phase in (0, 1):
        volume = read_volume(path, series=f"5.{phase + 1}")
        np.testing.assert_array_equal(volume.array, whole[ranks[2 * phase : 2 * phase + 2]])
        np.testing.assert_allclose(volume.affine[:3, 0], step, atol=1e-6)


def test_an_enhanced_file_that_contradicts_itself(enhanced: tuple[Path, Path]) -> None:
    _, path = enhanced
    data = pydicom.dcmread(path)
    shared = data.SharedFunctionalGroupsSequence[0]
    kept = shared.PixelMeasuresSequence
    del shared.PixelMeasuresSequence
    data.save_as(path, enforce_file_format=True)
    with pytest.raises(VolumeError, match=r"IM1.dcm: is a multi-frame image whose frames have no PixelSpacing"):
        read_volume(path)
    shared.PixelMeasuresSequence = kept
    data.NumberOfFrames = 5
    data.save_as(path, enforce_file_format=True)
    with pytest.raises(VolumeError, match=r"IM1.dcm: holds 5 frames, but says of 4 where they lie"):
        read_volume(path)


def test_a_slice_of_a_series_is_no_volume_by_itself(tmp_path: Path, hu: np.ndarray) -> None:
    folder = write_ct(tmp_path / "ct", hu)
    with pytest.raises(VolumeError, match="is one slice: give the folder of its series"):
        read_volume(next(folder.iterdir()))
