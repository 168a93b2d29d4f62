"""`bunet train --data` and `bunet evaluate` on made-up cases, and what they say of bad input."""

import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

pytest.importorskip("torch")

from bunet.experiments.cli import app
from bunet.experiments.commands_evaluate import CaseBar
from bunet.experiments.train_bar import TrainBar
from bunet.models import weights
from bunet.models.train_config import TrainProgress
from tests.models.made_up_cases import write_folder

SHORT = ("--size", "32", "--features", "1", "--steps", "2", "--batch", "1", "--evaluate-every", "1")
SPLIT = ("--test", "d", "--validation", "c")


def bunet(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `cases` and `w.safetensors`, trained on them."""
    place = tmp_path_factory.mktemp("train")
    folder = write_folder(place / "cases")
    status, out, error = bunet("train", "--out", place / "w.safetensors", "--data", folder, "--axis", "y", *SPLIT, *SHORT)
    assert status == 0, error
    assert "step 1/2" in out
    assert "s left" in out
    assert "best: validation Dice" in out
    return place


def test_evaluation_knows_the_split_and_the_axis_from_the_weights(place: Path, tmp_path: Path) -> None:
    status, out, error = bunet(
        "evaluate", "--weights", place / "w.safetensors", "--data", place / "cases", "--json", tmp_path / "e.json"
    )
    assert status == 0, error
    for word in ("case", "Dice to label", "overlap", "sensitivity", "infected %", "mean"):
        assert word in out
    assert "d: intensities of d.npz: rule `tissue`" in error
    document = json.loads((tmp_path / "e.json").read_text())
    assert (document["axis"], document["target"], document["size"]) == ("y", "infection", 32)
    assert document["notes"]["test"] == ["d"]
    assert document["notes"]["intensities"] == {"a": "tissue", "b": "tissue", "c": "tissue"}
    assert [case["case"] for case in document["cases"]] == ["d"]
    case = document["cases"][0]
    assert 0 <= case["overlap"] <= case["dice"] <= 1
    assert document["mean"]["dice"] == case["dice"]


def test_the_ranges_noted_at_the_end_are_what_is_compiled_with(place: Path, tmp_path: Path) -> None:
    assert weights.read_notes(place / "w.safetensors")["calibration_slices"] > 10
    status, out, error = bunet("compile", "--weights", place / "w.safetensors", "--size", 32, "--out", tmp_path / "w.model")
    assert status == 0, error
    assert "calibrated: ranges measured on slices of the weights' own training" in out
    weights.save(weights.load(place / "w.safetensors"), tmp_path / "bare.safetensors")
    bare = ("compile", "--weights", tmp_path / "bare.safetensors", "--size", 32, "--out", tmp_path / "bare.model",
            "--target", "infection", "--axis", "y")
    assert "calibrated: ranges measured on synthetic chests" in bunet(*bare)[1]
    weights.add_notes(tmp_path / "bare.safetensors", {"ranges": {"input": 1.0}})
    status, _, error = bunet(*bare)
    assert status == 2
    assert "this network cannot be compiled: calibrated ranges lack node 'encoder1.conv1'" in error


def test_formats_are_run_by_the_oracle_over_whole_cases(place: Path, tmp_path: Path) -> None:
    where = ("evaluate", "--weights", place / "w.safetensors", "--data", place / "cases", "--cases", "c,d")
    status, out, error = bunet(*where, "--format", "8.4, 12.8", "--json", tmp_path / "e.json")
    assert status == 0, error
    assert "Dice to float" in out
    assert "ranges measured on slices of the weights' own training" in out
    document = json.loads((tmp_path / "e.json").read_text())
    plain = tmp_path / "plain.json"
    assert bunet(*where, "--json", plain)[0] == 0
    float_only = json.loads(plain.read_text())
    assert "formats" not in float_only
    for case, alone in zip(document["cases"], float_only["cases"], strict=True):
        assert case["dice"] == alone["dice"]
        coarse, fine = case["formats"]["8.4"], case["formats"]["12.8"]
        assert 0.5 < coarse["dice_float"] <= fine["dice_float"] <= 1
        assert fine["dice_float"] > 0.99
        assert abs(fine["dice"] - case["dice"]) < 0.02
    both = [case["formats"]["12.8"] for case in document["cases"]]
    summary = document["formats"]["12.8"]
    assert summary["mean"]["dice"] == pytest.approx((both[0]["dice"] + both[1]["dice"]) / 2)
    assert summary["lowest"]["dice_float"] == min(case["dice_float"] for case in both)
    assert summary["lowest"]["dice"] <= summary["pooled"]["dice"] <= summary["highest"]["dice"]


def test_other_cases_and_another_target_may_be_asked_for(place: Path) -> None:
    where = ("evaluate", "--weights", place / "w.safetensors", "--data", place / "cases")
    status, out, error = bunet(*where, "--cases", "a,b", "--target", "lung", "--axis", "z")
    assert status == 0, error
    assert [line.split()[0] for line in out.splitlines()] == ["case", "a", "b", "mean"]
    assert "infected" not in out
    assert bunet(*where, "--cases", "all")[0] == 0
    assert [line.split()[0] for line in bunet(*where, "--cases", "validation")[1].splitlines()][1:] == ["c", "mean"]


def test_bad_input_is_one_sentence(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.safetensors").write_text("text")
    cases, file = place / "cases", place / "w.safetensors"
    train = ("train", "--out", "x.safetensors", *SHORT, "--data")
    evaluate = ("evaluate", "--data", cases, "--weights")
    before = sorted(tmp_path.iterdir())
    for arguments, words in (
        ((*train, "nowhere"), "nowhere is not a folder of cases"),
        ((*train, "empty"), "empty holds no case: there is no .npz file in it"),
        ((*train, cases), "has no case 'coronacases_002'; it has a, b, c, d"),
        ((*train, cases, *SPLIT, "--axis", "w"), "axis 'w' is not one of x, y, z"),
        ((*train, cases, *SPLIT, "--target", "heart"), "target 'heart' is not one of infection, lung"),
        ((*evaluate, "nowhere.safetensors"), "no weight file nowhere.safetensors"),
        ((*evaluate, "text.safetensors"), "text.safetensors is damaged or not a weight file"),
        ((*evaluate, file, "--cases", "z"), "has no case 'z'; it has a, b, c, d"),
        ((*evaluate, file, "--cases", ","), "there is no such case"),
        ((*evaluate, file, "--size", "30"), "--size: a slice of 30x30 does not divide by 16"),
        ((*evaluate, file, "--cases", "d", "--format", "8.4,8"), "--format: format '8' is not"),
        ((*evaluate, file, "--axis", "w"), "--axis 'w' is not one of"),
        ((*evaluate, file, "--json", "nowhere/e.json"), "there is no folder nowhere"),
    ):
        status, _, error = bunet(*arguments)
        assert status == 2, (arguments, error)
        assert words in error
        assert len(error.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_weights_without_a_noted_split_need_names(place: Path, tmp_path: Path) -> None:
    weights.save(weights.load(place / "w.safetensors"), tmp_path / "bare.safetensors")
    where = ("evaluate", "--weights", tmp_path / "bare.safetensors", "--data", place / "cases", "--size", 32)
    status, _, error = bunet(*where)
    assert status == 2
    assert "do not note a split by case" in error
    assert bunet(*where, "--cases", "d")[0] == 0


def test_the_bar_of_a_case_counts_every_pass_on_a_terminal() -> None:
    for terminal in (True, False):
        stream = io.StringIO()
        with CaseBar(Console(file=stream, force_terminal=terminal, width=100, color_system=None)) as bar:
            for name in ("a", "b"):
                bar.begin(name, 3, "z", 2)
                for numbers in ("float", "8.4"):
                    for done in (1, 3):
                        bar.done(numbers, done)
                if terminal:
                    assert bar.progress.tasks[0].completed == bar.progress.tasks[0].total == 6
        assert "a: 3 slices along z" in stream.getvalue()
        assert ("8.4" in stream.getvalue()) == terminal


def test_the_bar_shows_time_left_on_a_terminal_and_lines_elsewhere() -> None:
    report = TrainProgress(step=3, steps=10, loss=0.5, dice=0.25, peak=3.0, seconds=60.0)
    for terminal in (True, False):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=terminal, width=100, highlight=False, color_system=None)
        with TrainBar(10, console) as bar:
            for step in (2, 3):  # a run that goes on after step 1
                bar.stepped(step, 1.0 / step)
            bar.evaluated(report)
        text = stream.getvalue()
        assert "step 3/10: loss 0.5000, validation Dice 0.2500 against the labels, largest activation 3.0, 60 s, about" in text
        assert ("3/10 " in text.replace("step 3/10:", "")) == terminal
        assert math.isfinite(bar.mean)
