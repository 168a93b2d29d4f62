"""Results among a patient's own files are refused before anything is run, by every command that writes some."""

import os
from pathlib import Path

import numpy as np
import pytest

from bunet.experiments.storage.places import check_apart
from bunet.models.errors import UsageError
from bunet.models.volumes import formats
from bunet.models.volumes.volume import Volume
from tests.experiments.command_line import Bunet

AFFINE = np.array([[0, 0, 0.8, -50], [0, 0.7, 0, -40], [5, 0, 0, 100], [0, 0, 0, 1.0]])
ARRAY = np.random.default_rng(0).integers(-1000, 1000, (4, 32, 32)).astype(np.int16)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with the series `ct1`, a link to it, and a file."""
    pytest.importorskip("pydicom", reason="needs the extra `clinical`")
    formats.write(Volume(ARRAY, AFFINE), tmp_path / "study" / "ct1")
    os.symlink(tmp_path / "study" / "ct1", tmp_path / "link")
    os.symlink(tmp_path / "study", tmp_path / "again")
    np.savez(tmp_path / "study" / "ct2.npz", array=ARRAY)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "folder", "file", "refused"),
    [
        ("study/ct1", "study/ct1", None, True),
        ("study/ct1", "study/ct1/result", None, True),
        ("study/ct1", "study", None, True),
        ("study/ct1", "study/ct1-result", None, False),
        ("study/ct1", "result", None, False),
        ("study/ct1", "link/result", None, True),
        ("study/ct1", "again/ct1", None, True),
        ("link", "study/ct1", None, True),
        ("study/ct1", "study/x/../ct1", None, True),
        ("study/ct1", "result", "study/ct1/run.json", True),
        ("study/ct1", "result", "study/run.json", False),
        ("study/ct2.npz", "study", "study/ct2_lung.npz", False),
        ("study/ct2.npz", "study", "study/ct2.npz", True),
        ("study/ct2.npz", "study", "again/ct2.npz", True),
        ("study/ct1/00001.dcm", "result", "study/ct1/00001_segmentation.dcm", True),
        ("study/ct1/00001.dcm", "study/ct1/sub", "study/ct1/sub/00001_segmentation.dcm", False),
        ("study/ct1/00001.dcm", "result", "result_segmentation.dcm", False),
        ("absent", "absent", None, False),
    ],
)
def test_whatever_would_write_into_its_input_is_refused(
    study: Path, given: str, folder: str, file: str | None, refused: bool
) -> None:
    def check() -> None:
        check_apart([study / given, None], study / folder, [study / file if file else None])

    if not refused:
        check()
        return
    with pytest.raises(UsageError, match="choose another --out"):
        check()


def files_of(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize("command", ["predict", "alice", "demo"])
@pytest.mark.parametrize("out", ["study", "study/ct1", "study/ct1/result", "link"])
def test_every_command_says_so_before_it_runs(study: Path, command: str, out: str, bunet: Bunet) -> None:
    before = files_of(study)
    result = bunet(command, "--volume", str(study / "study" / "ct1"), "--out", str(study / out))
    assert result.status == 2, result.error
    assert "choose another --out" in result.error
    assert len(result.error.strip().splitlines()) == 1
    assert files_of(study) == before


@pytest.mark.parametrize("out", [".", "one", "results"])
@pytest.mark.parametrize("kind", ["npz", "dicom"])
def test_cases_are_no_place_for_their_results(tmp_path: Path, out: str, kind: str, bunet: Bunet) -> None:
    (tmp_path / "one").mkdir()
    if kind == "npz":
        np.savez(tmp_path / "one" / "one.npz", array=ARRAY)
    else:
        pytest.importorskip("pydicom", reason="needs the extra `clinical`")
        formats.write(Volume(ARRAY, AFFINE), tmp_path / "one")
    before = files_of(tmp_path)
    result = bunet("predict", "--test-data-dir", str(tmp_path), "--float", "--out", str(tmp_path / out))
    assert result.status == 2, result.error
    assert "choose another --out" in result.error
    assert files_of(tmp_path) == before


def test_results_do_not_go_into_calibration_data(study: Path, bunet: Bunet) -> None:
    before = files_of(study)
    result = bunet("predict", "--volume", str(study / "study" / "ct2.npz"), "--calibration", str(study / "study" / "ct1"),
        "--out", str(study / "study" / "ct1"))  # fmt: skip
    assert result.status == 2, result.error
    assert "is, holds or lies in the input" in result.error
    assert files_of(study) == before


def test_a_volume_or_label_is_not_written_over(tmp_path: Path, bunet: Bunet) -> None:
    np.savez(tmp_path / "ct.npz", array=ARRAY)
    np.savez(tmp_path / "ct_prediction.npz", array=ARRAY > 0)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for more in (
        ("--label", tmp_path / "ct_prediction.npz", "--out", tmp_path),
        ("--out", tmp_path / "out", "--json", tmp_path / "ct.npz"),
    ):
        result = bunet("predict", "--volume", str(tmp_path / "ct.npz"), "--float", *map(str, more))
        assert result.status == 2, result.error
        assert "would be written into or over the input" in result.error
    np.savez(tmp_path / "mask.npz", array=ARRAY)
    for command in ("alice", "demo"):
        result = bunet(command, "--volume", str(tmp_path / "mask.npz"), "--out", str(tmp_path))
        assert result.status == 2, result.error
        assert "would be written into or over the input" in result.error
    assert {path: path.read_bytes() for path in before} == before
