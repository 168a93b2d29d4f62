"""Overlays as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bunet.experiments.report.overlays import COLOURS, montage_slices, write_montage, write_views
from bunet.experiments.report.plots import rgba
from tests.experiments.report.made_up_report import report_data


def picture(path: Path) -> np.ndarray:
    pyplot = pytest.importorskip("matplotlib.image", reason="pictures need matplotlib")
    return np.asarray(pyplot.imread(path))[..., :3]


def near(image: np.ndarray, colour: str) -> int:
    """How many pixels are of a colour."""
    return int((np.abs(image - np.array(rgba(colour, 1.0)[:3])) < 0.12).all(axis=-1).sum())


def test_the_montage_tints_the_mask_and_outlines_the_label(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    part = slice(10, 13), slice(None), slice(None)
    data = report_data(region=part)
    write_montage(tmp_path / "with.png", data)
    empty = {key: np.zeros_like(mask) for key, mask in data.masks.items()}
    write_montage(tmp_path / "without.png", report_data(masks=empty, region=part))
    drawn, bare = picture(tmp_path / "with.png"), picture(tmp_path / "without.png")
    red = [int((image[..., 0] - image[..., 2] > 0.2).sum()) for image in (drawn, bare)]
    assert red[0] > 2000
    assert red[1] == 0
    assert near(drawn, COLOURS["truth"]) > 200
    assert near(bare, COLOURS["truth"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["with.png", "without.png"]


def test_the_montage_shows_where_there_is_something_to_see() -> None:
    mask = np.zeros((40, 32, 32), np.uint8)
    mask[[9, 30], 4:9, 4:9] = 1
    volume = np.zeros(mask.shape, np.float32)
    lung = np.ones_like(mask)
    shown = montage_slices(report_data(volume=volume, masks={"secure": mask, "lung": lung}))
    assert (shown[0], shown[-1], len(shown)) == (9, 30, 12)
    part = report_data(volume=volume, masks={"secure": mask}, region=(slice(20, 35), slice(None), slice(None)))
    assert montage_slices(part) == [30]
    none = report_data(volume=volume, masks={"secure": mask * 0}, region=(slice(0, 3), slice(None), slice(None)))
    assert montage_slices(none) == [0, 1, 2]


def test_views_keep_the_proportions_of_the_patient(tmp_path: Path) -> None:
    """24 slices 8 mm apart are as high as 64 rows of 3 mm: the coronal view is as high as it is broad."""
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    data = report_data(spacing=(8.0, 3.0, 3.0), volume=np.ones((24, 64, 64), np.float32) * 0.5)
    write_views(tmp_path / "views.png", data)
    image = picture(tmp_path / "views.png")
    grey = np.asarray((np.abs(image - 0.5) < 0.02).all(axis=-1))
    columns = np.flatnonzero(grey.mean(axis=0) > 0.2)
    panels = np.split(columns, np.flatnonzero(np.diff(columns) > 8) + 1)
    assert len(panels) == 3
    for panel in panels:
        rows = np.flatnonzero(grey[:, panel].mean(axis=1) > 0.3)
        assert (rows[-1] - rows[0]) / (panel[-1] - panel[0]) == pytest.approx(1.0, abs=0.06)


def test_the_head_is_on_top(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    volume = np.zeros((32, 32, 32), np.float32)
    volume[16:] = 1.0  # slices run from the feet to the head
    write_views(tmp_path / "views.png", report_data(volume=volume, masks={"secure": np.zeros(volume.shape, np.uint8)}))
    image = picture(tmp_path / "views.png").mean(axis=-1)
    height, width = image.shape
    coronal = image[:, int(0.45 * width) : int(0.55 * width)]
    assert coronal[int(0.35 * height)].mean() > 0.8
    assert coronal[int(0.75 * height)].mean() < 0.2


def test_sides_are_lettered_only_where_they_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from bunet.experiments.report import overlays

    drawn: list[list[str]] = []
    monkeypatch.setattr(
        overlays, "save_figure", lambda figure, path: drawn.append([t.get_text() for a in figure.axes for t in a.texts])
    )
    write_views(tmp_path / "x.png", report_data())
    write_views(tmp_path / "x.png", report_data(spacing=None))
    write_views(tmp_path / "x.png", report_data(oriented=False))
    assert drawn == [list("RLAPRLHFAPHF"), [], []]
