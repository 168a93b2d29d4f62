"""Masks of a DICOM volume: derived series and Segmentations, as ITK, highdicom and pydicom read them."""

import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, FileDataset

from bunet.models.volumes.dicom import segmentation as dicom_segmentation
from bunet.models.volumes.formats import read_volume, write
from bunet.models.volumes.structures import STRUCTURES, structure_of
from bunet.models.volumes.volume import Volume
from tests.models.volumes.itk_readers import VERSIONS, corners
from tests.models.volumes.test_dicom import write_ct
from tests.models.volumes.test_volume import AXIAL, LAYOUTS, turned

pydicom = pytest.importorskip("pydicom", reason="needs the extra `clinical`")
highdicom = pytest.importorskip("highdicom", reason="needs the extra `clinical`")

HU = np.random.default_rng(0).integers(-1024, 3071, (4, 6, 7))
ODD = {
    "PatientName": "Müller-" + "x" * 90,
    "PatientSex": "unclear",
    "StudyDate": "last week",
    "StudyTime": "noon",
    "PatientBirthDate": "1.4.1950",
    "AccessionNumber": "9" * 40,
    "SpecificCharacterSet": "ISO_IR 192",
}


def masks_of(volume: Volume) -> dict[str, np.ndarray]:
    return {"infection": (volume.array > 2000).astype(np.uint8), "lung": (volume.array > 0).astype(np.uint8)}


def written(folder: Path, volume: Volume) -> tuple[Path, Path, Path]:
    """Both derived series and the Segmentation of a volume, in a folder: their paths."""
    masks = masks_of(volume)
    for target, mask in masks.items():
        write(volume.like(mask), folder / target, structure_of(target).about)
    dicom_segmentation.write_segmentation(volume, masks, folder / "seg.dcm")
    return folder / "infection", folder / "lung", folder / "seg.dcm"


def images(folder: Path) -> list[FileDataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def enhanced(folder: Path, order: tuple[int, ...] = (2, 0, 3, 1)) -> tuple[FileDataset, Volume]:
    """A CT as one file of four frames that are not in the order of their places, and the volume that it holds."""
    series = write_ct(folder / "ct", HU, names=[f"{k}.dcm" for k in range(4)])
    data = pydicom.dcmread(series / "0.dcm")
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    data.NumberOfFrames = 4
    data.PixelData = np.concatenate([pydicom.dcmread(series / f"{k}.dcm").pixel_array[None] for k in order]).tobytes()
    shared, frames = pydicom.Dataset(), []
    groups = {
        "PlaneOrientationSequence": ("ImageOrientationPatient",),
        "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
        "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    }
    for sequence, names in groups.items():
        group = pydicom.Dataset()
        for name in names:
            if name in data:
                setattr(group, name, data[name].value)
                del data[name]
        setattr(shared, sequence, [group])
    for k in order:
        plane, frame = pydicom.Dataset(), pydicom.Dataset()
        plane.ImagePositionPatient = pydicom.dcmread(series / f"{k}.dcm").ImagePositionPatient
        frame.PlanePositionSequence = [plane]
        frames.append(frame)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], frames
    del data.ImagePositionPatient
    (folder / "enhanced").mkdir()
    data.save_as(folder / "enhanced" / "all.dcm")
    volume = read_volume(folder / "enhanced")
    np.testing.assert_array_equal(volume.array, read_volume(series).array)
    return data, volume


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return read_volume(write_ct(tmp_path / "ct", HU))


def test_a_derived_series_says_what_it_is(tmp_path: Path, volume: Volume) -> None:
    infection, lung, _ = written(tmp_path, volume)
    sources = {data.SOPInstanceUID: data for data in images(tmp_path / "ct")}
    known = {str(next(iter(sources.values())).SeriesInstanceUID), *map(str, sources)}
    numbers = set()
    for folder, target in ((infection, "infection"), (lung, "lung")):
        for data in images(folder):
            assert data.SeriesDescription == f"BUNET {target}"
            assert (data.Modality, data.SOPClassUID.name, data.ImageType[0]) == ("CT", "CT Image Storage", "DERIVED")
            assert target in data.DerivationDescription
            assert data.DerivationCodeSequence[0].CodeMeaning == "Segmentation"
            (item,), (series,) = data.SourceImageSequence, data.ReferencedSeriesSequence
            source = sources[item.ReferencedSOPInstanceUID]
            assert source.ImagePositionPatient == data.ImagePositionPatient
            assert series.SeriesInstanceUID == source.SeriesInstanceUID
            assert (data.PatientName, data.StudyInstanceUID) == (source.PatientName, source.StudyInstanceUID)
            assert data.FrameOfReferenceUID == source.FrameOfReferenceUID
            assert data.SoftwareVersions == version("bunet")
            for new in (data.SeriesInstanceUID, data.SOPInstanceUID):
                assert new not in known
            known.add(data.SOPInstanceUID)
            numbers.add(data.SeriesNumber)
        known.add(images(folder)[0].SeriesInstanceUID)
    assert len(numbers) == 2


def test_a_mask_is_black_and_white_in_a_viewer(tmp_path: Path, volume: Volume) -> None:
    for data in images(written(tmp_path, volume)[0]):
        values = data.pixel_array
        assert set(np.unique(values)) <= {0, 1}
        white = (1 << data.BitsStored) - 1
        for function in ("LINEAR_EXACT", "LINEAR"):  # what is written, and what viewers that know no other go by
            data.VOILUTFunction = function
            np.testing.assert_array_equal(pydicom.pixels.apply_windowing(values, data), values * float(white))


@pytest.mark.parametrize("itk", VERSIONS)
def test_itk_lays_every_series_over_its_volume(tmp_path: Path, itk: str) -> None:
    paths = []
    for number, layout in enumerate([layout for layout in LAYOUTS if layout.order != (2, 1, 0)][::4]):
        affine = AXIAL.copy()
        affine[:3, :3] = turned(0.1, 0.2, 0.3) @ AXIAL[:3, :3]
        folder = tmp_path / str(number)
        folder.mkdir()
        write_ct(folder / "ct", layout.stored(HU), layout.stored_affine(affine, HU.shape))
        infection, lung, _ = written(folder, read_volume(folder / "ct"))
        paths += [folder / "ct", infection, lung]
    found = corners(itk, paths)
    for k in range(0, len(paths), 3):
        assert found[k] is not None
        np.testing.assert_array_equal(found[k + 1], found[k])
        np.testing.assert_array_equal(found[k + 2], found[k])


def test_highdicom_reads_the_segmentation_back(tmp_path: Path, volume: Volume) -> None:
    path = written(tmp_path, volume)[2]
    segmentation, masks = highdicom.seg.segread(path), masks_of(volume)
    assert list(segmentation.segment_numbers) == [1, 2]
    for number, (target, mask) in enumerate(masks.items(), 1):
        described = segmentation.get_segment_description(number)
        assert described.segment_label == target
        assert described.algorithm_type.value == "AUTOMATIC"
        assert described.algorithm_identification.name == "BUNET"
        assert described.algorithm_identification.version == version("bunet")
        assert described.segmented_property_type.scheme_designator == "SCT"
        sources = sorted(images(tmp_path / "ct"), key=lambda data: float(data.ImagePositionPatient[2]))
        by_source = segmentation.get_pixels_by_source_instance(
            [data.SOPInstanceUID for data in sources], segment_numbers=[number], combine_segments=True, relabel=True
        )
        np.testing.assert_array_equal(by_source, mask)
    assert segmentation.get_segment_description(1).segmented_property_type.meaning == "Lesion"
    assert segmentation.get_segment_description(1).anatomic_regions[0].meaning == "Lung"
    assert segmentation.get_segment_description(2).segmented_property_type.meaning == "Lung"
    grid = segmentation.get_volume(segment_numbers=[2], combine_segments=True, relabel=True)
    ct = highdicom.get_volume_from_series(images(tmp_path / "ct"))
    matched = grid.match_geometry(ct)  # raises where one grid is not the other, turned
    np.testing.assert_array_equal(matched.array > 0, ct.array > 0)
    assert segmentation.FrameOfReferenceUID == ct.frame_of_reference_uid


@pytest.mark.parametrize("itk", VERSIONS)
def test_itk_finds_a_segmentation_where_the_volume_lies(tmp_path: Path, volume: Volume, itk: str) -> None:
    mask = {"lung": masks_of(volume)["lung"]}  # of several segments ITK makes one image, one after the other
    dicom_segmentation.write_segmentation(volume, mask, tmp_path / "seg.dcm")
    ct, segmentation = corners(itk, [tmp_path / "ct", tmp_path / "seg.dcm"])
    if segmentation is None:
        pytest.skip(f"ITK {itk} does not read Segmentations")

    def in_order(places: np.ndarray) -> np.ndarray:
        return places[np.lexsort(places.round(3).T)]

    np.testing.assert_allclose(in_order(segmentation), in_order(ct), atol=1e-3)


def test_an_empty_mask_has_its_frames(tmp_path: Path, volume: Volume) -> None:
    empty = {target: np.zeros(volume.shape, np.uint8) for target in STRUCTURES}
    dicom_segmentation.write_segmentation(volume, empty, tmp_path / "seg.dcm")
    data = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert data.NumberOfFrames == 2 * len(HU)
    assert not data.pixel_array.any()
    assert dicom_segmentation.holds(tmp_path / "seg.dcm", volume, empty)
    assert not dicom_segmentation.holds(tmp_path / "seg.dcm", volume, masks_of(volume))


def test_one_slice_has_outputs(tmp_path: Path) -> None:
    volume = read_volume(write_ct(tmp_path / "ct", HU[:1]))
    infection, _, segmentation = written(tmp_path, volume)
    np.testing.assert_array_equal(read_volume(infection).array, volume.array > 2000)
    assert dicom_segmentation.holds(segmentation, volume, masks_of(volume))


def test_frames_of_one_file_are_named_one_by_one(tmp_path: Path) -> None:
    source, volume = enhanced(tmp_path)
    infection, _, segmentation = written(tmp_path, volume)
    for k, data in enumerate(images(infection)):
        (item,) = data.SourceImageSequence
        assert item.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert item.ReferencedSOPClassUID.name == "Enhanced CT Image Storage"
        assert (2, 0, 3, 1)[item.ReferencedFrameNumber - 1] == k
    np.testing.assert_allclose(read_volume(infection).affine, volume.affine, atol=1e-6)
    data = highdicom.seg.segread(segmentation)
    assert [item.ReferencedSOPInstanceUID for item in data.SourceImageSequence] == [source.SOPInstanceUID]
    assert [len(series.ReferencedInstanceSequence) for series in data.ReferencedSeriesSequence] == [1]
    places = {
        tuple(frame.PlanePositionSequence[0].ImagePositionPatient): number
        for number, frame in enumerate(source.PerFrameFunctionalGroupsSequence, 1)
    }
    for frame in data.PerFrameFunctionalGroupsSequence:
        (item,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert item.ReferencedFrameNumber == places[tuple(frame.PlanePositionSequence[0].ImagePositionPatient)]
    assert dicom_segmentation.holds(segmentation, volume, masks_of(volume))


def test_compressed_slices_lead_to_outputs(tmp_path: Path) -> None:
    folder = write_ct(tmp_path / "rle", HU, edit=lambda k, data: data.compress(pydicom.uid.RLELossless))
    volume = read_volume(folder)
    infection, _, segmentation = written(tmp_path, volume)
    np.testing.assert_array_equal(read_volume(infection).array, volume.array > 2000)
    assert dicom_segmentation.holds(segmentation, volume, masks_of(volume))


def test_what_was_lost_stays_lost(tmp_path: Path) -> None:
    def lossy(k: int, data: Dataset) -> None:
        data.LossyImageCompression, data.LossyImageCompressionRatio = "01", "12"

    infection, _, segmentation = written(tmp_path, read_volume(write_ct(tmp_path / "ct", HU, edit=lossy)))
    for data in (*images(infection), pydicom.dcmread(segmentation)):
        assert (data.LossyImageCompression, data.LossyImageCompressionRatio) == ("01", 12)


def test_odd_values_are_copied_and_nothing_of_a_patient_is_said(tmp_path: Path) -> None:
    def odd(k: int, data: Dataset) -> None:
        with pydicom.config.disable_value_validation():
            for name, value in ODD.items():
                setattr(data, name, value)

    with pydicom.config.disable_value_validation():
        write_ct(tmp_path / "ct", HU, edit=odd)
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.models.volumes.test_dicom_masks import read_volume, written\n"
        "folder = Path(sys.argv[1]); written(folder, read_volume(folder / 'ct'))"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    with pydicom.config.disable_value_validation():
        for data in (*images(tmp_path / "infection"), pydicom.dcmread(tmp_path / "seg.dcm")):
            assert {name: str(data.get(name)) for name in ODD} == ODD


def test_a_source_without_identifiers_has_outputs_in_one_study(tmp_path: Path) -> None:
    def bare(k: int, data: Dataset) -> None:
        del data.StudyInstanceUID, data.FrameOfReferenceUID, data.PatientName

    volume = read_volume(write_ct(tmp_path / "ct", HU, edit=bare))
    infection, lung, segmentation = written(tmp_path, volume)
    made = [*images(infection), *images(lung), pydicom.dcmread(segmentation)]
    assert len({(data.StudyInstanceUID, data.FrameOfReferenceUID) for data in made}) == 1


def test_a_volume_whose_images_lie_elsewhere_refers_to_none(tmp_path: Path, volume: Volume) -> None:
    affine = volume.affine.copy()
    affine[:3, 3] += 100
    moved = replace(volume, affine=affine)
    infection, _, segmentation = written(tmp_path, moved)
    assert all("SourceImageSequence" not in data for data in images(infection))
    data = pydicom.dcmread(segmentation)
    assert "ReferencedSeriesSequence" not in data
    assert not any(frame.get("DerivationImageSequence") for frame in data.PerFrameFunctionalGroupsSequence)
    np.testing.assert_allclose(read_volume(infection).affine, affine, atol=1e-6)
    assert dicom_segmentation.holds(segmentation, moved, masks_of(moved))


def test_the_word_of_another_party_is_no_path() -> None:
    for target in ("../../etc/passwd", "", "a/b", "x" * 300, "prediction", "Ä"):
        structure = structure_of(target)
        assert structure.file.startswith("mask-")
        assert "/" not in structure.file
        assert len(structure.file) <= 40


def test_volumes_of_no_scanner_keep_their_pixels_and_get_no_window(tmp_path: Path) -> None:
    write(Volume(HU.astype(np.int16), AXIAL), tmp_path / "series")
    data = images(tmp_path / "series")[0]
    assert "WindowCenter" not in data
    assert "DerivationDescription" not in data
    assert data.PatientName == ""


def test_slices_do_not_share_what_is_one_slice_s_own(tmp_path: Path) -> None:
    def first_only(k: int, data: Dataset) -> None:
        if k == 0:
            data.LossyImageCompression, data.KVP = "01", "120"

    volume = read_volume(write_ct(tmp_path / "ct", HU, edit=first_only))
    found = images(written(tmp_path, volume)[0])
    assert [data.get("LossyImageCompression") for data in found] == ["01", None, None, None]
    assert [data.KVP for data in found] == [120, None, None, None]


def test_the_spacing_of_a_tilted_gantry_is_along_the_normal(tmp_path: Path) -> None:
    tilted = AXIAL.copy()
    tilted[1, 0] = 0.6
    volume = read_volume(write_ct(tmp_path / "ct", HU, tilted))
    infection, _, segmentation = written(tmp_path, volume)
    np.testing.assert_allclose(read_volume(infection).affine, tilted, atol=1e-8)
    assert {float(data.SpacingBetweenSlices) for data in images(infection)} == {2.5}
    measures = pydicom.dcmread(segmentation).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SpacingBetweenSlices) == pytest.approx(2.5)
    assert dicom_segmentation.holds(segmentation, volume, masks_of(volume))
