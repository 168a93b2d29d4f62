"""Nothing of a patient reaches standard error: neither by a library's warnings nor by a sentence of ours."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from tests.models.volumes.test_dicom import write_ct

pydicom = pytest.importorskip("pydicom", reason="needs the extra `clinical`")

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom writes what it is told to, and complains

SECRETS = ("DOE", "JANE", "19500401", "4711")
NAMES = {"PatientName": "DOE^JANE^" + "X" * 70, "PatientID": "4711 " * 20, "PatientBirthDate": "19500401 JANE"}
KINDS: dict[str, dict[str, str | list[str]]] = {
    "identifiers": {"StudyInstanceUID": "1.2.DOE.JANE.4711", "FrameOfReferenceUID": "DOE JANE"},
    "character set": {"SpecificCharacterSet": "DOE^JANE 4711"},
    "age and dates": {"PatientAge": "DOE", "StudyDate": "JANE 19500401", "StudyTime": "DOE", "AccessionNumber": "JANE" * 20},
    "series number": {"SeriesNumber": "DOE 4711"},
    "rescaling": {"RescaleSlope": "DOE JANE"},
    "position": {"ImagePositionPatient": ["DOE", "JANE", "4711"]},
    "modality": {"Modality": "DOE JANE"},
    "texts": {"ImageType": ["DOE", "JANE"], "SeriesDescription": "DOE^JANE " * 20, "PhotometricInterpretation": "DOE JANE"},
}


@pytest.fixture(params=KINDS)
def series(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Six slices; a few of their elements hold what they must not, with the patient in it."""

    def edit(k: int, data: Dataset) -> None:
        for name, value in {**NAMES, **KINDS[request.param]}.items():
            tag = pydicom.tag.Tag(name)
            values = value if isinstance(value, list) else [value]
            raw = "\\".join(values).encode()
            vr = pydicom.datadict.dictionary_VR(tag)
            data._dict[tag] = pydicom.dataelem.RawDataElement(  # not checked, as `setattr` would be
                tag, vr, len(raw) + len(raw) % 2, raw + b" " * (len(raw) % 2), 0, False, True
            )

    return write_ct(tmp_path / "ct", np.random.default_rng(0).integers(-1024, 3071, (6, 5, 7)), edit=edit)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)


def test_the_command_line_says_nothing_of_the_patient(series: Path, tmp_path: Path) -> None:
    done = run("-m", "bunet.experiments", "predict", "--volume", series, "--model-lung-dir", tmp_path / "no", "--float")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for text in (done.stderr, done.stdout):
        assert not [secret for secret in SECRETS if secret in text.upper().replace(str(tmp_path).upper(), "")]


def test_reading_and_writing_say_nothing_of_the_patient_at_all(series: Path) -> None:
    script = (
        "from bunet.models.volumes.formats import read_volume, write\n"
        "from bunet.models.volumes.volume import VolumeError\n"
        f"try: write(read_volume({str(series)!r}), {str(series.parent / 'copy')!r})\n"
        "except VolumeError as error: print(error)"
    )
    done = run("-c", script)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert not [secret for secret in SECRETS if secret in done.stdout.upper()]


@pytest.mark.parametrize("series", ["character set"], indirect=True)
def test_pydicom_would_say_it(series: Path) -> None:
    """What the other tests are worth: the library alone quotes the values."""
    done = run("-c", f"import pydicom; str(pydicom.dcmread({str(next(series.iterdir()))!r}))")
    assert "DOE^JANE 4711" in done.stderr
