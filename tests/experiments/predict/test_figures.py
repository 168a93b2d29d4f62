"""Every figure of a prediction says how much of the volume it is of, whether filtered, and against what; voxels and ml."""

from __future__ import annotations

import html
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from bunet.experiments.predict.figures import hu_range, millilitres, scope_of
from bunet.experiments.predict.region import Region
from bunet.models.volumes import formats
from bunet.models.volumes.volume import NIFTI, Volume
from tests.experiments.command_line import Bunet
from tests.experiments.predict.predict_inputs import cube, publish

ON, OFF = dict.fromkeys(("infection", "lung"), True), dict.fromkeys(("infection", "lung"), False)


@pytest.mark.parametrize(
    ("text", "axes", "filters", "scope"),
    [
        (":", "xyz", OFF, "maximum filter off"),
        (":", "xyz", ON, "maximum filter on"),
        ("z=20:22", "xyz", OFF, "in 2 of 200 slices, maximum filter off"),
        ("20:22", "z", {"infection": True}, "in 2 of 200 slices, maximum filter on"),
        ("y=3:9,z=0:1", "xyz", OFF, "in 1 of 200 slices, in 6 of 30 rows, maximum filter off"),
        (":", "xyz", {"infection": True, "lung": False}, "maximum filter on for the infection, off for the lung"),
    ],
)
def test_the_scope_names_every_axis_that_is_not_whole(text: str, axes: str, filters: dict[str, bool], scope: str) -> None:
    assert scope_of(Region.of(text, (200, 30, 40), tuple(axes)), filters) == scope


def test_millilitres_are_those_of_the_voxels_whatever_their_angles() -> None:
    masks = {"secure": np.arange(1000).reshape(10, 10, 10) < 500}
    straight = np.diag([2.0, 0.5, 0.5, 1.0])
    volume = Volume(np.zeros((10, 10, 10), np.int16), straight)
    assert millilitres(volume, masks) == {"secure": pytest.approx(0.25)}
    sheared = straight.copy()
    sheared[1, 0] = 2.0  # a tilted gantry: slices are further apart along the table than across it
    assert millilitres(Volume(np.zeros((10, 10, 10), np.int16), sheared), masks) == {"secure": pytest.approx(0.25)}
    assert millilitres(Volume(np.zeros((10, 10, 10), np.int16)), masks) == {}


def test_only_hounsfield_units_have_windows() -> None:
    assert hu_range("hu") == hu_range("hu+1024") == (-1250.0, 250.0)
    assert [hu_range(rule) for rule in ("unit", "windowed", "tissue", "as-is")] == [None] * 4


@pytest.mark.parametrize(
    ("name", "known", "oriented"), [("ct.nii.gz", True, True), ("ct.npz", True, False), ("ct.npy", False, False)]
)
def test_console_document_and_report_say_it(name: str, known: bool, oriented: bool, tmp_path: Path, bunet: Bunet) -> None:
    publish(tmp_path / "infection", 15, bias=3.0)
    publish(tmp_path / "lung", 115, bias=3.0)
    hounsfield = (cube() * 1500 - 1250).astype(np.int16)
    path = tmp_path / name
    affine = np.array([[0, 0, 4.0, 0], [0, 5.0, 0, 0], [10.0, 0, 0, 0], [0, 0, 0, 1]])
    if known and not oriented:
        np.savez(path, array=hounsfield, spacing_zyx_mm=[10, 5, 4])
    else:
        formats.write(Volume(hounsfield, affine if known else None, NIFTI if known else "npy"), path)
    result = bunet("predict", "--model-infection-dir", str(tmp_path / "infection"), "--model-lung-dir", str(tmp_path / "lung"),
        "--volume", str(path), "--intensity", "hu", "--float", "--no-maximum-filter", "--axes", "x", "--slices", "x=4:6",
        "--out", str(tmp_path / "out"))  # fmt: skip
    assert result.status == 0, result.error
    scope = "in 2 of 16 slices, maximum filter off"
    document = json.loads((tmp_path / "out" / "ct" / "result.json").read_text())
    assert document["scope"] == scope
    voxels = document["voxels"]["float"]
    assert voxels > 0
    assert document["millilitres"].get("float") == (pytest.approx(0.2 * voxels) if known else None)
    lines = [line for line in result.out.splitlines() if "marked by" in line or line.startswith("  ")]
    assert any(f"{voxels} voxels" in line for line in lines)
    assert all(f"({scope})" in line for line in lines)
    assert (f"{0.2 * voxels:.1f} ml marked" in result.out) is known
    report = html.unescape((tmp_path / "out" / "ct" / "report.html").read_text())
    assert f"infected share of the lung, float model's mask; {scope}" in report
    assert ("Mediastinum W400 L40" in report, '"oriented": true' in report) == (True, oriented)
    for model in document["models"].values():
        assert f"{model['file']}, SHA-256 of its weights {model['digest'][:12]}" in report
    assert f"BUNET {version('bunet')}" in report
    for remark in document["remarks"]:
        assert remark in report
