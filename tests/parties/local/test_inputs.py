"""Where Alice's process takes her slices from: the same volume, opened once more."""

from pathlib import Path

import numpy as np
import pytest

from bunet.models.volumes.reading import VolumeReading
from bunet.models.volumes.volume import VolumeError
from bunet.parties.local.inputs import VolumeSlices, open_source
from tests.models.volumes.test_dicom import write_ct
from tests.models.volumes.test_dicom_folder import marked

pytest.importorskip("pydicom", reason="needs the extra `clinical`")


def test_of_several_series_the_chosen_one_is_cut(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1024, 1000, (5, 32, 48))
    write_ct(tmp_path / "ct", hu, names=[f"a{k}" for k in range(5)], edit=marked(SeriesNumber=2))
    write_ct(tmp_path / "ct", hu[:, :16, :16], names=[f"b{k}" for k in range(5)], edit=marked(SeriesNumber=3))
    shapes = {}
    for series in ("2", "3"):
        inputs = VolumeSlices(volume=tmp_path / "ct", reading=VolumeReading(series, "hu"))
        shapes[series] = open_source(inputs, [("z", 0)]).shape
    assert shapes == {"2": (5, 32, 48), "3": (5, 16, 16)}
    with pytest.raises(VolumeError, match="holds 2 series"):
        open_source(VolumeSlices(volume=tmp_path / "ct", reading=VolumeReading(rule="hu")), [("z", 0)])
