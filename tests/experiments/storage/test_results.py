"""Files that are written whole or not at all; pictures."""

from __future__ import annotations

import builtins
import csv
import json
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from bunet.experiments.machine import environment
from bunet.experiments.report import plots
from bunet.experiments.storage.results import write_csv, write_json, write_mask
from bunet.experiments.sweep import pictures
from bunet.models.files.atomic import write_atomic


def test_a_write_that_breaks_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    def broken(stream: IO[bytes]) -> None:
        stream.write(b"{")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_atomic(path, broken)
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_document_with_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_mask_is_read_back_without_pickles(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).integers(0, 2, (3, 8, 6)).astype(np.uint8)
    write_mask(tmp_path / "mask.npz", masks, "y", [4, 5, 9])
    with np.load(tmp_path / "mask.npz", allow_pickle=False) as read:
        np.testing.assert_array_equal(read["array"], masks)
        assert str(read["axis"]) == "y"
        assert read["indices"].tolist() == [4, 5, 9]


def test_a_table_has_its_columns_in_order_and_gaps_empty(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", [{"b": 1, "a": "x, y"}, {"a": 'say "no"', "c": 5}], ["a", "b"])
    with open(tmp_path / "t.csv", newline="") as stream:
        assert list(csv.reader(stream)) == [["a", "b"], ["x, y", "1"], ['say "no"', ""]]


def test_the_environment_says_what_figures_depend_on() -> None:
    found = environment(2)
    assert found["cores"] == 2
    assert found["tier"] in ("vaes", "aesni", "portable")
    assert found["numpy"] == np.__version__
    assert found["cpu"]


def test_overlay_draws_at_most_twelve_panels(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    images = [np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)] * 20
    masks = np.zeros((20, 8, 8), np.uint8)
    masks[:, 2:5, 2:5] = 1
    labels = [("z", k) for k in range(20)]
    plots.overlay(tmp_path / "o.png", images, masks, labels, masks.astype(bool), "title")
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(plots.PicturesUnavailable, match=r"pip install '\.\[plots\]'"):
        plots.overlay(tmp_path / "o.png", [np.zeros((4, 4))], np.zeros((1, 4, 4)), [("z", 0)])
    assert not list(tmp_path.iterdir())


def test_drawing_nothing_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="no finished point"):
        pictures.seconds_by_link(tmp_path / "x.png", [])
