"""Files that are cut, and files without a preamble and header of their own."""

from pathlib import Path

import numpy as np
import pytest

from bunet.models.volumes.formats import read_volume, write
from bunet.models.volumes.volume import VolumeError
from tests.models.volumes.test_dicom import write_ct

pydicom = pytest.importorskip("pydicom", reason="needs the extra `clinical`")

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 3071, (5, 6, 7))


def names() -> list[str]:
    return [f"IM{k}" for k in range(5)]


def bared(path: Path, syntax: str, group_length: bool = False) -> None:
    """The data set alone, as a stream of DIMSE has it."""
    data = pydicom.dcmread(path)
    if group_length:  # retired; old files begin with it
        data[0x00080000] = pydicom.dataelem.DataElement(0x00080000, "UL", 100)
    out = pydicom.filebase.DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, syntax == IMPLICIT
    pydicom.filewriter.write_dataset(out, data)
    path.write_bytes(out.getvalue())


@pytest.mark.parametrize("ending", ["", ".dcm"])
@pytest.mark.parametrize("length", [1, 100, 131, 133, 200, 300, 600, 930])
def test_a_file_cut_within_its_header_is_refused(tmp_path: Path, hu: np.ndarray, length: int, ending: str) -> None:
    folder = write_ct(tmp_path / "ct", hu, names=[name + ending for name in names()])
    last = folder / f"IM4{ending}"
    last.write_bytes(last.read_bytes()[:length])
    with pytest.raises(VolumeError, match=f"IM4{ending}: (is cut short: |is not a slice|not a readable)") as caught:
        read_volume(folder)
    assert length != 300 or str(caught.value) == f"{last}: is cut short: copy it again"


@pytest.mark.parametrize("group_length", [False, True])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_data_sets_without_a_header_are_read(tmp_path: Path, hu: np.ndarray, syntax: str, group_length: bool) -> None:
    folder = write_ct(tmp_path / "ct", hu, names=names())
    whole = read_volume(folder)
    for path in list(folder.iterdir()):
        bared(path, syntax, group_length)
    (folder / "README.txt").write_text("x\n" * 100)
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 100)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, whole.array)
    np.testing.assert_array_equal(volume.affine, whole.affine)
    assert volume.notes == ("2 files that are no DICOM were left out",)
    write(volume.like(hu > 0), tmp_path / "mask")
    assert {pydicom.dcmread(path).PatientID for path in (tmp_path / "mask").iterdir()} == {"17"}


def test_the_header_s_group_without_a_preamble_is_read(tmp_path: Path, hu: np.ndarray) -> None:
    folder = write_ct(tmp_path / "ct", hu, names=names())
    for path in list(folder.iterdir()):
        path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(read_volume(folder).array, hu)


@pytest.mark.parametrize("length", [20, 300])
def test_what_begins_as_a_data_set_but_is_no_image_is_refused(tmp_path: Path, hu: np.ndarray, length: int) -> None:
    folder = write_ct(tmp_path / "ct", hu, names=names())
    bared(folder / "IM4", EXPLICIT)
    (folder / "IM4").write_bytes((folder / "IM4").read_bytes()[:length])
    with pytest.raises(VolumeError, match=r"IM4: has no DICOM header \(DICM\), and .*: write it again, such as by dcmconv"):
        read_volume(folder)
