"""`bunet train --data` and `bunet evaluate` on made-up cases, and what they say of bad input."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

pytest.importorskip("torch")

from bunet.experiments.commands.bars import CaseBar, TrainBar
from bunet.models.metrics import agreement
from bunet.models.network import weights
from bunet.models.network.architecture import Architecture
from bunet.models.network.reference import FloatModel
from bunet.models.network.seeded import seeded_weights
from bunet.models.training.cases import read_case
from bunet.models.training.config import TrainProgress
from bunet.models.training.ranges import note_ranges
from bunet.models.volumes import formats, synthetic
from bunet.models.volumes.slice_source import SliceSource
from tests.experiments.command_line import Bunet
from tests.models.training.made_up_cases import write_case, write_folder

SHORT = ("--size", "32", "--features", "1", "--steps", "2", "--batch", "1", "--evaluate-every", "1")
SPLIT = ("--test", "d", "--validation", "c")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, bunet: Bunet) -> Path:
    """A folder with `cases` and `w.safetensors`, trained on them."""
    place = tmp_path_factory.mktemp("train")
    folder = write_folder(place / "cases")
    status, out, error = bunet("train", "--out", place / "w.safetensors", "--data", folder, "--axis", "y", *SPLIT, *SHORT)
    assert status == 0, error
    assert "step 1/2" in out
    assert "s left" in out
    assert "best: validation Dice" in out
    return place


def test_evaluation_knows_the_split_and_the_axis_from_the_weights(place: Path, tmp_path: Path, bunet: Bunet) -> None:
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


def test_the_ranges_noted_at_the_end_are_what_is_compiled_with(place: Path, tmp_path: Path, bunet: Bunet) -> None:
    assert weights.read_notes(place / "w.safetensors")["calibration_slices"] > 10
    status, out, error = bunet("compile", "--weights", place / "w.safetensors", "--size", 32, "--out", tmp_path / "w.model")
    assert status == 0, error
    assert "calibrated: ranges measured on slices of the weights' own training" in out
    weights.save(weights.load(place / "w.safetensors"), tmp_path / "bare.safetensors")
    bare = (
        "compile",
        "--weights",
        tmp_path / "bare.safetensors",
        "--size",
        32,
        "--out",
        tmp_path / "bare.model",
        "--target",
        "infection",
        "--axis",
        "y",
    )
    assert "calibrated: ranges measured on synthetic chests" in bunet(*bare)[1]
    weights.add_notes(tmp_path / "bare.safetensors", {"ranges": {"input": 1.0}})
    status, _, error = bunet(*bare)
    assert status == 2
    assert "this network cannot be compiled: calibrated ranges lack node 'encoder1.conv1'" in error


def marking(place: Path, to: Path) -> Path:
    """Random weights that mark about half, with the notes of those that were trained for two steps and mark nothing."""
    notes = weights.read_notes(place / "w.safetensors")
    weights.save(seeded_weights(Architecture(features=1), 1), to, notes={k: v for k, v in notes.items() if k != "ranges"})
    case = read_case(place / "cases", "a", "infection")
    note_ranges(to, [SliceSource.of(case.volume, "y", 32).image(k) for k in range(24)])
    return to


def test_formats_are_run_by_the_oracle_over_whole_cases(place: Path, tmp_path: Path, bunet: Bunet) -> None:
    where = ("evaluate", "--weights", marking(place, tmp_path / "m.safetensors"), "--data", place / "cases", "--cases", "c,d")
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
        assert 0.05 < case["found_voxels"] / (case["slices"] * 32 * 32) < 0.9
        coarse, fine = case["formats"]["8.4"], case["formats"]["12.8"]
        assert 0.5 < coarse["dice_float"] <= fine["dice_float"] <= 1
        assert fine["dice_float"] > 0.99
        assert abs(fine["dice"] - case["dice"]) < 0.02
    both = [case["formats"]["12.8"] for case in document["cases"]]
    summary = document["formats"]["12.8"]
    assert summary["mean"]["dice"] == pytest.approx((both[0]["dice"] + both[1]["dice"]) / 2)
    assert summary["lowest"]["dice_float"] == min(case["dice_float"] for case in both)
    assert summary["lowest"]["dice"] <= summary["pooled"]["dice"] <= summary["highest"]["dice"]


def test_other_cases_and_another_target_may_be_asked_for(place: Path, bunet: Bunet) -> None:
    where = ("evaluate", "--weights", place / "w.safetensors", "--data", place / "cases")
    status, out, error = bunet(*where, "--cases", "a,b", "--target", "lung", "--axis", "z")
    assert status == 0, error
    assert [line.split()[0] for line in out.splitlines()] == ["case", "a", "b", "mean"]
    assert "infected" not in out
    assert bunet(*where, "--cases", "all")[0] == 0
    assert [line.split()[0] for line in bunet(*where, "--cases", "validation")[1].splitlines()][1:] == ["c", "mean"]


def test_bad_input_is_one_sentence(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet) -> None:
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


def test_weights_without_a_noted_split_need_names(place: Path, tmp_path: Path, bunet: Bunet) -> None:
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


def test_evaluation_gives_the_figures_of_prediction(tmp_path: Path, bunet: Bunet) -> None:
    """On a field of view far wider than the body, which predict cuts to the body; and left whole where that is asked for."""
    (tmp_path / "cases").mkdir()
    chest = synthetic.generate(64, 16, 3)
    whole = np.full((16, 140, 140), -1000, np.int16)
    whole[:, 40:104, 50:114] = np.round(chest.volume * 1500 - 1250)
    lesion = np.zeros(whole.shape, np.uint8)
    lesion[:, 40:104, 50:114] = chest.lung  # large enough to be met
    np.savez(tmp_path / "cases" / "a.npz", ct=whole, infection=lesion)
    models = tmp_path / "models"
    models.mkdir()
    notes = {"target": "infection", "axis": "z", "size": 32}
    weights.save(seeded_weights(Architecture(features=2), 1), models / "z.safetensors", notes=notes)
    dice = {}
    for field in ("auto", "whole"):
        status, _, error = bunet(
            "evaluate",
            "--weights",
            models / "z.safetensors",
            "--data",
            tmp_path / "cases",
            "--cases",
            "a",
            "--field-of-view",
            field,
            "--format",
            "12.8",
            "--json",
            tmp_path / "e.json",
        )
        assert status == 0, error
        assert ("cut to the body" in error) == (field == "auto")
        document = json.loads((tmp_path / "e.json").read_text())
        (case,) = document["cases"]
        assert ("crop" in case, document["field_of_view"]) == (field == "auto", field)
        assert case["formats"]["12.8"]["dice_float"] > 0.97
        loaded = formats.load(tmp_path / "cases" / "a.npz", field_of_view=field)
        source, mask = SliceSource.of(loaded.volume, "z", 32, loaded.crop), np.zeros(whole.shape, bool)
        network = FloatModel(weights.load(models / "z.safetensors"))
        for k in range(16):
            mask[k] = source.frame.restore(network.label(source.image(k)))
        dice[field] = agreement(mask, lesion).dice
        assert case["dice"] == pytest.approx(dice[field], abs=2e-3)
    assert abs(dice["auto"] - dice["whole"]) > 0.01


def test_the_rule_of_intensities_may_be_said(place: Path, tmp_path: Path, bunet: Bunet) -> None:
    """Where values do not tell, both commands refuse with an option that they have."""
    (tmp_path / "cases").mkdir()
    for path in sorted((place / "cases").glob("*.npz")):
        with np.load(path) as case:
            ct = case["ct"].astype(np.float32) / 255 * 1.5 + 0.3  # neither within [0, 1] nor Hounsfield units
            np.savez(tmp_path / "cases" / path.name, ct=ct, infection=case["infection"], lung_derived=case["lung_derived"])
    train = ("train", "--out", tmp_path / "w.safetensors", "--data", tmp_path / "cases", *SPLIT, *SHORT)
    evaluate = ("evaluate", "--weights", place / "w.safetensors", "--data", tmp_path / "cases", "--cases", "a")
    for command in (train, evaluate):
        status, _, error = bunet(*command)
        assert status == 2
        assert "--intensity" in error
        assert "convert it" not in error
        status, out, error = bunet(*command, "--intensity", "as-is")
        assert status == 0, error
        assert "a: intensities of a.npz: rule `as-is`" in out + error
    notes = weights.read_notes(tmp_path / "w.safetensors")
    assert (notes["intensity"], notes["intensities"]["a"]) == ("as-is", "as-is")
    assert "intensity" not in weights.read_notes(place / "w.safetensors")
    for arguments, words in (
        ((*train, "--intensity", "HU"), "--intensity 'HU' is not one of auto"),
        ((*evaluate, "--intensity", "HU"), "--intensity 'HU' is not one of auto"),
        (("train", "--out", "x.safetensors", "--intensity", "hu"), "--intensity belongs to --data"),
    ):
        status, _, error = bunet(*arguments)
        assert status == 2
        assert words in error


def test_weights_for_something_else_ask_for_the_target(place: Path, bunet: Bunet) -> None:
    status, _, error = bunet("evaluate", "--weights", "demo-relu", "--data", place / "cases", "--cases", "all")
    assert status == 2
    assert "the weights note target 'lesion': say --target infection or lung" in error
    assert (
        bunet(
            "evaluate",
            "--weights",
            "demo-relu",
            "--data",
            place / "cases",
            "--cases",
            "a",
            "--size",
            32,
            "--target",
            "infection",
        )[0]
        == 0
    )
    status, _, error = bunet("evaluate", "--weights", "demo-relu", "--data", place / "cases", "--target", "heart")
    assert (status, "--target 'heart' is not one of infection, lung" in error) == (2, True)


def test_two_empty_masks_have_no_figure(place: Path, tmp_path: Path, bunet: Bunet) -> None:
    """The weights of two steps mark nothing: right of a healthy case, and Dice 0 of the other."""
    folder = tmp_path / "cases"
    folder.mkdir()
    write_case(folder / "healthy.npz", 0, infected=False)
    write_case(folder / "ill.npz", 1)
    status, out, error = bunet(
        "evaluate",
        "--weights",
        place / "w.safetensors",
        "--data",
        folder,
        "--cases",
        "all",
        "--format",
        "12.8",
        "--json",
        tmp_path / "e.json",
    )
    assert status == 0, error
    first = next(line for line in out.splitlines() if line.startswith("healthy"))
    assert first.split()[2:7] == ["both", "are", "empty", "-", "-"]
    document = json.loads((tmp_path / "e.json").read_text())
    healthy, ill = document["cases"]
    assert [healthy[name] for name in ("dice", "overlap", "sensitivity", "found_voxels", "true_voxels")] == [None] * 3 + [0, 0]
    assert healthy["formats"]["12.8"]["dice_float"] is None
    assert (ill["dice"], document["mean"]["dice"], document["pooled"]["dice"]) == (0, 0, 0)
    assert document["lowest"] == document["highest"] == {"dice": 0}
    assert document["formats"]["12.8"]["pooled"] == {"dice": 0, "dice_float": None}


def test_training_names_the_case_and_says_that_its_lung_is_empty(place: Path, tmp_path: Path, bunet: Bunet) -> None:
    folder = write_folder(tmp_path / "cases")
    with np.load(folder / "b.npz") as case:
        arrays = dict(case)
    np.savez(folder / "b.npz", **{**arrays, "lung_derived": np.zeros_like(arrays["lung_derived"])})
    status, out, error = bunet("train", "--out", tmp_path / "w.safetensors", "--data", folder, *SPLIT, *SHORT)
    assert status == 0, error
    said = [line for line in out.splitlines() if "lung_derived" in line]
    assert len(said) == 1, "nothing of lungs that are as they should be"
    assert said[0].startswith("b: ")
    assert said[0].endswith("b.npz: `lung_derived` is empty: it is 0 everywhere")
    assert "c: intensities of c.npz: rule `" in out
    (noted,) = (remark for remark in weights.read_notes(tmp_path / "w.safetensors")["remarks"] if "lung_derived" in remark)
    assert noted == said[0]
