"""--series, and volumes that come as DICOM, on the command line."""

from pathlib import Path

import numpy as np
import pytest

from bunet.experiments.predict.case_files import find_cases, one_case
from tests.experiments.command_line import Bunet
from tests.models.volumes.test_dicom import write_ct
from tests.models.volumes.test_dicom_folder import marked

pytest.importorskip("pydicom", reason="needs the extra `clinical`")


@pytest.mark.parametrize("command", ["predict", "demo", "alice"])
def test_a_folder_of_several_series_is_listed_and_the_option_chooses(tmp_path: Path, command: str, bunet: Bunet) -> None:
    hu = np.random.default_rng(0).integers(-1024, 1000, (5, 16, 16))
    for number, values, modality in ((2, hu, "CT"), (3, hu, "PT")):
        write_ct(
            tmp_path / "cd",
            values,
            names=[f"{number}-{k}" for k in range(5)],
            edit=marked(SeriesNumber=number, Modality=modality),
        )
    base = (command, "--volume", tmp_path / "cd", "--out", tmp_path / "out")
    status, _, err = bunet(*base)
    assert status == 2
    assert "cd: holds 2 series; choose one by its number, such as --series 2: 2 (CT, 5 images of 16x16); 3 (PT, " in err
    status, _, err = bunet(*base, "--series", 4)
    assert (status, "has no series --series '4'; there are: 2 (CT" in err) == (2, True)
    status, _, err = bunet(*base, "--series", 3)
    assert (status, "its modality is PT, not CT" in err) == (2, True)


def test_calibration_and_label_are_not_what_the_option_chooses_from(tmp_path: Path, bunet: Bunet) -> None:
    hu = np.random.default_rng(0).integers(-1024, 1000, (5, 16, 16)).astype(np.int16)
    np.save(tmp_path / "ct.npy", hu)
    for number in (2, 3):
        write_ct(tmp_path / "cd", hu, names=[f"{number}-{k}" for k in range(5)], edit=marked(SeriesNumber=number))
    for option in ("--calibration", "--label"):
        status, _, err = bunet("predict", "--volume", tmp_path / "ct.npy", option, tmp_path / "cd", "--out", tmp_path / "out")
        assert (status, "cd: holds 2 series; give the folder of one of them alone: 2 (CT" in err) == (2, True)
        assert "--series" not in err


def test_a_case_of_a_series_and_a_label_file_is_found(tmp_path: Path) -> None:
    write_ct(tmp_path / "p1", np.zeros((5, 16, 16), np.int16))
    np.savez(tmp_path / "p1" / "p1_label.npz", array=np.zeros((5, 16, 16), np.uint8))
    (case,) = find_cases(tmp_path)
    assert (case.volume, case.label) == (tmp_path / "p1", tmp_path / "p1" / "p1_label.npz")


def test_series_needs_a_folder_that_holds_some(tmp_path: Path, bunet: Bunet) -> None:
    np.save(tmp_path / "ct.npy", np.zeros((2, 16, 16), np.int16))
    for command in ("predict", "demo", "alice"):
        status, _, err = bunet(command, "--volume", tmp_path / "ct.npy", "--series", 1, "--out", tmp_path / "out")
        assert (status, "ct.npy: is no DICOM folder, of which --series 1 could choose" in err) == (2, True)
    status, _, err = bunet("demo", "--series", 1, "--out", tmp_path / "out")
    assert (status, "--series belongs to a --volume" in err) == (2, True)


@pytest.mark.parametrize("ending", [".NII.GZ", ".Nii", ".NPZ", ".npy"])
def test_endings_are_read_in_any_case(tmp_path: Path, ending: str) -> None:
    (tmp_path / "A").mkdir()
    for name in (f"A{ending}", f"A_label{ending}"):
        (tmp_path / "A" / name).write_bytes(b"")
    (case,) = find_cases(tmp_path)
    assert (case.volume.name, case.label and case.label.name) == (f"A{ending}", f"A_label{ending}")
    assert one_case(case.volume, None).name == "A"


def test_an_enhanced_file_gives_its_name_without_the_ending(tmp_path: Path) -> None:
    assert one_case(tmp_path / "IM1.DCM", None).name == "IM1"
