"""Training on folders of cases: the split, what is drawn, what is learned, and bad folders named in one sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.models.network.architecture import Architecture

torch = pytest.importorskip("torch")

from bunet.models.network import weights  # noqa: E402
from bunet.models.training.augment import brightened, moved, varied  # noqa: E402
from bunet.models.training.cases import case_names, read_case, split  # noqa: E402
from bunet.models.training.config import ONE_PATIENT, TEST_CASES, VALIDATION_CASES, TrainConfig, TrainError  # noqa: E402
from bunet.models.training.files import load  # noqa: E402
from bunet.models.training.score import case_figures, segment  # noqa: E402
from bunet.models.training.sources import CaseSource, near_border, showing  # noqa: E402
from bunet.models.training.train import train  # noqa: E402
from bunet.models.volumes import synthetic  # noqa: E402
from bunet.models.volumes.slice_source import SliceSource  # noqa: E402
from tests.models.training.made_up_cases import write_case, write_folder  # noqa: E402

TINY = Architecture(features=2, depth=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "cases")


def config(tmp_path: Path, folder: Path | None, **changes: Any) -> TrainConfig:
    arguments: dict[str, Any] = {
        "output": tmp_path / "w.safetensors",
        "architecture": TINY,
        "size": 32,
        "steps": 4,
        "batch": 2,
        "evaluate_every": 2,
        "data": folder,
        "test_cases": ("d",),
        "validation_cases": ("c",),
        "validation_slices": 8,
    }
    return TrainConfig(**(arguments | changes))


@pytest.mark.parametrize("target", ["infection", "lung"])
@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_a_training_keeps_to_its_split_and_says_so(tmp_path: Path, folder: Path, axis: str, target: str) -> None:
    settings = config(tmp_path, folder, axis=axis, target=target)
    result = train(settings)
    notes = weights.read_notes(result.output)
    assert (notes["axis"], notes["target"], notes["source"]) == (axis, target, "cases")
    assert (notes["training"], notes["validation"], notes["test"]) == (["a", "b"], ["c"], ["d"])
    assert notes["step"] == result.step
    header, *lines = [json.loads(line) for line in settings.metrics.read_text().splitlines()]
    assert header["run"]["test"] == ["d"]
    assert [line["step"] for line in lines] == [2, 4]
    source = CaseSource(settings)
    assert {case.name for case in source.cases} == {"a", "b"}
    assert {case.name for case in source.watched} == {"c"}
    images, labels = source.batch(0)
    assert images.shape == (2, 5, 32, 32)
    assert labels.shape == (2, 32, 32)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert set(labels.unique().tolist()) <= {0, 1}


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, folder: Path) -> None:
    whole = train(config(tmp_path, folder, output=tmp_path / "whole.safetensors"))

    def interrupt(step: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    broken = config(tmp_path, folder, output=tmp_path / "broken.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(broken, tick=interrupt)
    with broken.metrics.open("a") as stream:
        stream.write('{"step": 4}\n')  # an evaluation whose checkpoint was not kept
    resumed = train(broken, resume=True)
    first, second = weights.load(whole.output).tensors, weights.load(resumed.output).tensors
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert [json.loads(line).get("step") for line in broken.metrics.read_text().splitlines()] == [None, 2, 4]
    with pytest.raises(TrainError, match="other settings"):
        train(config(tmp_path, folder, output=broken.output, axis="x"), resume=True)


def test_a_run_that_stopped_early_stays_stopped(tmp_path: Path, folder: Path) -> None:
    settings = config(tmp_path, folder, steps=40, evaluate_every=1, patience=2, rate=1e-12)
    first = train(settings)
    assert first.stopped_early
    again = train(settings, resume=True)
    assert (again.step, again.stopped_early) == (first.step, True)


def test_what_is_learned_is_found_again_in_the_case(tmp_path: Path, folder: Path) -> None:
    settings = config(tmp_path, folder, target="lung", steps=100, evaluate_every=50, batch=4, rate=1e-2)
    result = train(settings)
    case = read_case(folder, "d", "lung")
    done: list[int] = []
    mask = segment(load(result.output), case.volume, "z", 32, done.append)
    assert mask.shape == case.volume.shape
    assert done[-1] == len(case.volume)
    figures = case_figures(case, mask, "lung")
    assert figures["dice"] > 0.5
    assert figures["overlap"] == pytest.approx(figures["dice"] / (2 - figures["dice"]))


def test_the_infected_share_of_the_lung(folder: Path) -> None:
    case = read_case(folder, "a", "infection")
    figures = case_figures(case, case.label, "infection")
    assert figures["dice"] == figures["sensitivity"] == 1
    assert figures["infected_share"] == figures["infected_share_true"] == case.label.sum() / case.lung.sum()


def test_slices_are_drawn_mostly_from_those_that_show_the_target(tmp_path: Path, folder: Path) -> None:
    source = CaseSource(config(tmp_path, folder))
    rng = np.random.default_rng(0)
    drawn = [source.draw(rng) for _ in range(300)]
    hits = [bool(source.cases[number].label[index].any()) for number, index in drawn]
    assert 0.7 < np.mean(hits) < 1
    assert {source.cases[number].name for number, _ in drawn} == {"a", "b"}


def test_squares_also_see_the_border(tmp_path: Path, folder: Path) -> None:
    source = CaseSource(config(tmp_path, folder, architecture=Architecture(features=2, depth=2, activation="square")))
    rng = np.random.default_rng(0)
    drawn = [source.draw(rng) for _ in range(200)]
    border = [index in near_border(len(source.cases[number].volume)) for number, index in drawn]
    assert np.mean(border) > 0.2


def test_a_folder_without_infection_can_still_be_trained_on(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "cases", infected=False)
    source = CaseSource(config(tmp_path, folder))
    assert not source.batch(0)[1].any()


def test_labels_move_with_their_images() -> None:
    rng = np.random.default_rng(3)
    label = np.zeros((48, 48), np.int64)
    label[12:30, 20:40] = 1
    image = np.repeat(label[None].astype(np.float32), 5, axis=0)
    for change in (moved, varied):
        for _ in range(20):
            other, mask = change(image, label, rng)
            assert other.shape == image.shape
            assert mask.shape == label.shape
            assert ((other[2] > 0.5) == (mask == 1)).mean() > 0.97
            assert 0.4 * label.sum() < mask.sum() < 2 * label.sum()


def test_slices_beyond_the_border_stay_zero() -> None:
    image = np.full((5, 8, 8), 0.5, np.float32)
    image[:2] = 0
    other = brightened(image, np.random.default_rng(0))
    assert not other[:2].any()
    assert (other[2:] > 0).all()


def test_a_case_s_slices_and_labels_are_cut_alike(folder: Path) -> None:
    case = read_case(folder, "b", "infection")
    for axis in "xyz":
        index = int(showing(case.label, axis)[0])
        source = SliceSource.of(case.volume, axis, 32)
        assert source.image(index).shape == (5, 32, 32)
        assert source.label(case.label, index).any()


def test_series_of_one_patient_stay_on_one_side(tmp_path: Path) -> None:
    first, second = ONE_PATIENT[0]
    folder = write_folder(tmp_path / "cases", ("a", "b", first, second))
    with pytest.raises(TrainError, match="look like one patient"):
        split(folder, (first,), ("a",))
    assert split(folder, (first, second), ("a",)).training == ("b",)


def test_the_standard_split_has_no_case_on_two_sides() -> None:
    assert not set(TEST_CASES) & set(VALIDATION_CASES)


@pytest.mark.parametrize(
    ("test", "validation", "words"),
    [
        (("z",), ("c",), r"cases has no case 'z'; it has a, b, c, d"),
        (("c",), ("c",), "'c' cannot be for test and for validation"),
        (("a", "b", "d"), ("c",), "no case is left for training"),
        (("a",), (), "no case is left for validation"),
    ],
)
def test_splits_that_cannot_be_are_named(folder: Path, test: tuple[str, ...], validation: tuple[str, ...], words: str) -> None:
    with pytest.raises(TrainError, match=words):
        split(folder, test, validation)


def test_folders_that_cannot_be_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="nowhere is not a folder"):
        case_names(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(TrainError, match=r"holds no case: there is no \.npz file"):
        case_names(tmp_path)


def _damage(path: Path, change: str) -> None:
    chest = synthetic.generate(32, 6, 1)
    good: dict[str, Any] = {"ct": (chest.volume * 255).astype(np.uint8), "infection": chest.lesion, "lung_derived": chest.lung}
    good = {key: array.astype(np.uint8) for key, array in good.items()}
    if change == "missing":
        del good["infection"]
    if change == "shape":
        good["infection"] = good["infection"][:-1]
    if change == "lung":
        good["lung_derived"] = good["lung_derived"][:, :-1]
    if change == "nan":
        good["ct"] = np.full(good["ct"].shape, np.nan, np.float32)
    np.savez(path, **good)
    if change == "other":
        path.write_bytes(b"nothing")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", r"a\.npz: no key `infection` or `lesion` or `label` or `mask`, the file holds"),
        ("shape", r"a\.npz: `infection` has shape \(5, 32, 32\), the volume a\.npz \(6, 32, 32\)"),
        ("lung", r"a\.npz: `lung_derived` has shape"),
        ("nan", r"a\.npz: slice 0 holds NaN"),
        ("other", r"a\.npz: not a readable \.npz file"),
    ],
)
def test_bad_cases_are_named(tmp_path: Path, change: str, words: str) -> None:
    write_case(tmp_path / "b.npz", 2)
    _damage(tmp_path / "a.npz", change)
    with pytest.raises(TrainError, match=words):
        read_case(tmp_path, "a", "infection")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": "heart"}, "target 'heart'"),
        ({"axis": "w"}, "axis 'w'"),
        ({"validation_slices": 0}, "validation_slices must be a positive"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(TrainError, match=words):
        config(tmp_path, tmp_path, **changes)


def test_synthetic_chests_have_other_axes_and_lungs_too(tmp_path: Path) -> None:
    settings = config(tmp_path, None, axis="x", target="lung", volumes=2, validation_volumes=1, steps=2, evaluate_every=2)
    notes = weights.read_notes(train(settings).output)
    assert (notes["source"], notes["axis"], notes["target"]) == ("synthetic", "x", "lung")
