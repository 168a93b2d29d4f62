"""Labels of several classes and others, in every command that reads one: the Dice of the right mask, or one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from bunet.experiments.images import volume_slices
from bunet.experiments.sweep import data as sweep_data
from bunet.experiments.sweep.data import Asked
from bunet.experiments.sweep.reading import ConfigError, parse
from bunet.models.errors import UsageError
from bunet.models.network import weights as weight_files
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_weights
from bunet.models.volumes import formats
from bunet.models.volumes.reading import VolumeReading
from bunet.models.volumes.volume import Volume
from tests.experiments.command_line import Bunet
from tests.experiments.predict.predict_inputs import cube, publish, published_case
from tests.experiments.test_demo import SMALL
from tests.models.training.made_up_cases import write_folder

ALONE = ("--float", "--axes", "z", "--ensemble", "argmax", "--no-lung-mask", "--no-maximum-filter", "--pool", "max")
CONVENTION = "--label-value 3 is the infection and --label-value 1,2 the lungs"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, bunet: Bunet) -> Path:
    """`ct.npz`, models, `mask.npy` (what they find), `inside.npy` (a label half of which they find) and `classes.npy`, in which
    that label is 3 among lungs of 1 and 2."""
    place = tmp_path_factory.mktemp("given")
    publish(place / "infection", 15)
    np.savez(place / "ct.npz", array=cube())
    status, out, error = bunet("predict", *models(place), "--volume", place / "ct.npz", *ALONE, "--out", place / "out")
    assert status == 0, error
    assert "against the label" not in out
    mask = np.load(place / "out" / "ct_prediction.npz")["array"] > 0
    assert 0.02 < mask.mean() < 0.98
    inside = np.roll(mask, 2, 1)
    np.save(place / "mask.npy", mask)
    np.save(place / "inside.npy", inside)
    lungs = np.arange(mask.size).reshape(mask.shape) % 3
    np.save(place / "classes.npy", np.where(inside, 3, lungs).astype(np.uint8))
    return place


def models(place: Path) -> list[str]:
    return ["--model-infection-dir", str(place / "infection")]


def array(given: Path, name: str) -> np.ndarray:
    return np.load(given / f"{name}.npy")


def expected_dice(found: np.ndarray, true: np.ndarray) -> float:
    return 2 * int((found & true).sum()) / (int(found.sum()) + int(true.sum()))


def document_of(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / name / "result.json").read_text())


@pytest.mark.parametrize(("asked", "values"), [("3", [3]), ("1,2", [1, 2]), ("1,2,3", [1, 2, 3])])
def test_predict_compares_with_the_classes_that_are_asked_for(
    given: Path, tmp_path: Path, asked: str, values: list[int], bunet: Bunet
) -> None:
    status, out, error = bunet(
        "predict",
        *models(given),
        "--volume",
        given / "ct.npz",
        *ALONE,
        "--out",
        tmp_path,
        "--label",
        given / "classes.npy",
        "--label-value",
        asked,
    )
    assert status == 0, error
    dice = expected_dice(array(given, "mask"), np.isin(array(given, "classes"), values))
    assert f"Dice {dice:.4f} of the float model's mask against the label" in out
    document = document_of(tmp_path, "ct")
    assert document["scores"][0]["dice"] == pytest.approx(dice)
    voxels = {str(value): int((array(given, "classes") == value).sum()) for value in range(4)}
    assert document["label"] == {"file": str(given / "classes.npy"), "key": None, "inside": values, "voxels": voxels}
    assert document["asked"]["label_values"] == values


def test_predict_refuses_a_label_that_does_not_tell_its_inside(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    inside = array(given, "inside")
    for name, label, words in (
        ("classes", array(given, "classes"), CONVENTION),
        ("probability", np.where(inside, 0.9, 0.01), "values that are not whole"),
        ("signs", np.where(inside, 1, -1), "none below 0: say which value is inside, such as --label-value 1"),
        ("ct", (cube() * 4000 - 1000).astype(np.int16), "is it the CT?"),
    ):
        np.save(tmp_path / f"{name}.npy", label)
        asked = ("predict", *models(given), "--volume", given / "ct.npz", *ALONE, "--out", tmp_path / "out")
        status, _, error = bunet(*asked, "--label", tmp_path / f"{name}.npy")
        assert (status, len(error.strip().splitlines())) == (2, 1)
        assert f"{name}.npy: the label " in error
        assert words in error
        assert not (tmp_path / "out").exists()
    status, out, error = bunet(*asked, "--label", tmp_path / "signs.npy", "--label-value", 1)
    assert status == 0, error
    assert f"Dice {expected_dice(array(given, 'mask'), inside):.4f}" in out


def test_predict_uses_the_label_inside_the_volumes_file(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    np.savez(tmp_path / "ct.npz", array=cube(), infection=array(given, "inside"), lung_derived=cube() > 0.3)
    status, out, error = bunet("predict", *models(given), "--volume", tmp_path / "ct.npz", *ALONE, "--out", tmp_path / "out")
    assert status == 0, error
    assert "label ct.npz, key `infection`: value 1 is inside" in out
    assert "`lung_derived` of ct.npz is not used: the label is `infection`" in out
    assert f"Dice {expected_dice(array(given, 'mask'), array(given, 'inside')):.4f}" in out
    assert document_of(tmp_path / "out", "ct")["label"]["key"] == "infection"
    assert "key `infection`" in (tmp_path / "out" / "ct" / "report.html").read_text()


def test_predict_reads_the_labels_of_a_folder_of_cases(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    """One of classes, one of a healthy lung, one without a label."""
    classes = array(given, "classes")
    published_case(tmp_path / "test", "a", cube(), classes)
    published_case(tmp_path / "test", "b", cube(), np.where(classes == 3, 1, classes))
    published_case(tmp_path / "test", "c", cube())
    asked = ("predict", *models(given), "--test-data-dir", tmp_path / "test", *ALONE, "--out", tmp_path / "out")
    status, _, error = bunet(*asked)
    assert status == 2
    assert "a_label.npz: the label has the values 1, 2, 3 besides 0: " in error
    status, out, error = bunet(*asked, "--label-value", 3)
    assert status == 0, error
    assert f"Dice {expected_dice(array(given, 'mask'), array(given, 'inside')):.4f}" in out
    assert "b_label.npz: the label is empty: it has the values 0, 1, 2, and no 3" in out
    assert document_of(tmp_path / "out", "b")["label"]["inside"] == [3]
    assert document_of(tmp_path / "out", "b")["scores"][0]["dice"] == 0
    assert document_of(tmp_path / "out", "c")["label"] is None


def test_predict_on_a_nifti_case_of_the_datasets_layout(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    pytest.importorskip("nibabel", reason="needs the extra `clinical`")
    place = np.array([[0, 0, 0.8, -50], [0, 0.7, 0, -40], [5, 0, 0, 100], [0, 0, 0, 1.0]])
    for folder, values in (("COVID-19-CT-Seg_20cases", cube()), ("Lung_and_Infection_Mask", array(given, "classes"))):
        (tmp_path / folder).mkdir()
        formats.write(Volume(values, place), tmp_path / folder / "coronacases_001.nii.gz")
    asked = (
        "predict",
        *models(given),
        "--volume",
        tmp_path / "COVID-19-CT-Seg_20cases" / "coronacases_001.nii.gz",
        *ALONE,
        "--out",
        tmp_path / "out",
        "--label",
        tmp_path / "Lung_and_Infection_Mask" / "coronacases_001.nii.gz",
    )
    status, _, error = bunet(*asked)
    assert status == 2
    assert CONVENTION in error
    status, out, error = bunet(*asked, "--label-value", 3)
    assert status == 0, error
    mask = formats.read(tmp_path / "out" / "coronacases_001_prediction.nii.gz") > 0
    assert f"Dice {expected_dice(mask, array(given, 'inside')):.4f}" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--label-value", "3"), "--label-value: there is no label"),
        (("--label-value", "0"), "--label-value: '0' names 0"),
        (("--label-value", "infection"), "--label-value: 'infection' is not a whole number"),
    ],
)
def test_values_without_a_label_and_no_values_are_one_sentence(
    given: Path, tmp_path: Path, options: tuple[str, ...], words: str, bunet: Bunet
) -> None:
    status, _, error = bunet("predict", *models(given), "--volume", given / "ct.npz", *ALONE, "--out", tmp_path / "o", *options)
    assert status == 2
    assert words in error
    assert not (tmp_path / "o").exists()


def test_demo_and_sweep_read_by_the_same_rule(given: Path, tmp_path: Path) -> None:
    settings = SMALL
    with pytest.raises(UsageError, match=CONVENTION):
        volume_slices(settings, given / "ct.npz", given / "classes.npy", None)
    images = volume_slices(settings, given / "ct.npz", given / "classes.npy", None, VolumeReading(label_values=(3,)))
    inside = array(given, "inside")
    np.testing.assert_array_equal(images.truth, [inside[index] for _, index in images.labels])
    assert images.label is not None
    assert images.label["inside"] == [3]
    assert any("label classes.npy: value 3 is inside" in note for note in images.notes)
    for label, words in ((np.where(inside, 1, -1), "none below 0"), (np.where(inside, 0.7, 0), "not whole")):
        np.save(tmp_path / "label.npy", label)
        with pytest.raises(UsageError, match=words):
            volume_slices(settings, given / "ct.npz", tmp_path / "label.npy", None)
    with pytest.raises(UsageError, match="there is no label"):
        volume_slices(settings, given / "ct.npz", None, None, VolumeReading(label_values=(3,)))


def test_demo_holds_a_label_to_the_volumes_place(tmp_path: Path) -> None:
    pytest.importorskip("nibabel", reason="needs the extra `clinical`")
    place = np.array([[0, 0, 0.8, -50], [0, 0.7, 0, -40], [5, 0, 0, 100], [0, 0, 0, 1.0]])
    formats.write(Volume(cube(), place), tmp_path / "ct.nii.gz")
    place[2, 3] += 5
    formats.write(Volume((cube() > 0.5).astype(np.uint8), place), tmp_path / "label.nii.gz")
    with pytest.raises(UsageError, match=r"--truth: .*label.nii.gz: the label lies elsewhere than the volume ct.nii.gz"):
        volume_slices(SMALL, tmp_path / "ct.nii.gz", tmp_path / "label.nii.gz", None)


def test_a_truth_of_the_volumes_own_file_is_never_its_ct(tmp_path: Path) -> None:
    inside = cube() > 0.7
    np.savez(tmp_path / "case.npz", ct=(cube() * 255).astype(np.uint8), infection=inside)
    images = volume_slices(SMALL, tmp_path / "case.npz", tmp_path / "case.npz", None)
    np.testing.assert_array_equal(images.truth, [inside[index] for _, index in images.labels])


def test_demo_says_what_it_needs(given: Path, bunet: Bunet) -> None:
    for arguments, words in (
        (("--label-value", "3"), "--label-value belongs to the label of a --volume"),
        (("--intensity", "hu"), "--intensity and --field-of-view belong to a --volume"),
        (("--field-of-view", "whole"), "--intensity and --field-of-view belong to a --volume"),
        (("--volume", given / "ct.npz", "--truth", given / "classes.npy", "--label-value", "x"), "'x' is not a whole number"),
    ):
        status, _, error = bunet("demo", *arguments, "--out", given / "demo")
        assert status == 2
        assert words in error


def test_a_sweep_knows_its_label_before_the_first_run(given: Path, tmp_path: Path) -> None:
    weight_files.save(seeded_weights(Architecture(features=1)), tmp_path / "r.safetensors")
    text = (
        f"name: test\nslices: 1\nvolume: {given}/ct.npz\ntruth: {given}/classes.npy\nweights: {tmp_path}/r.safetensors\n"
        "grid:\n  formats: ['8.4']\n  sizes: [16]\n  features: [1]\n"
    )
    with pytest.raises(UsageError, match=CONVENTION):
        sweep_data.chosen_data(parse(text, "test.yaml"))
    said: list[str] = []
    identities = set()
    tries = (("label_value: 3\n", (), (3,)), ("label_value: '1,2'\n", (), (1, 2)), ("", (1, 3), (1, 3)))
    for key, given_values, values in tries:
        config = parse(key + text, "test.yaml")
        data = sweep_data.chosen_data(config, Asked(label_value=given_values), said.append)
        assert data["relu"].reading.label_values == values
        (point,) = config.points(data)
        identities.add(point.identity())
    assert len(identities) == 3, "another label is another point"
    assert any(line.startswith("label classes.npy: value 3 is inside") for line in said)
    for wrong in ("0", "x", "true", "1.5"):
        with pytest.raises(ConfigError, match="label_value"):
            parse(f"label_value: {wrong}\n{text}", "test.yaml")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `binary` and `classes` of the same cases, whose infection is 1 in one and 3 among lungs of 1 and 2 in the other;
    and `w.safetensors`."""
    place = tmp_path_factory.mktemp("cases")
    write_folder(place / "binary")
    (place / "classes").mkdir()
    for path in sorted((place / "binary").glob("*.npz")):
        with np.load(path) as case:
            sides = np.where(np.arange(case["ct"].shape[2]) < 16, 1, 2) * case["lung_derived"]
            several = np.where(case["infection"] > 0, 3, sides).astype(np.uint8)
            np.savez(place / "classes" / path.name, ct=case["ct"], infection=several, lung_derived=sides)
    weight_files.save(seeded_weights(Architecture(features=1)), place / "w.safetensors")
    return place


def test_evaluate_gives_the_figures_of_the_right_mask(cases: Path, tmp_path: Path, bunet: Bunet) -> None:
    asked = ("evaluate", "--weights", cases / "w.safetensors", "--size", 32, "--cases", "a,b", "--json", tmp_path / "e.json")
    assert bunet(*asked, "--data", cases / "binary")[0] == 0
    right = json.loads((tmp_path / "e.json").read_text())
    status, _, error = bunet(*asked, "--data", cases / "classes")
    assert status == 2
    assert "a.npz: `infection` has the values 1, 2, 3 besides 0: " in error
    assert CONVENTION in error
    assert bunet(*asked, "--data", cases / "classes", "--label-value", 3)[0] == 0
    found = json.loads((tmp_path / "e.json").read_text())
    for ours, theirs in zip(found["cases"], right["cases"], strict=True):
        assert ours["true_voxels"] == theirs["true_voxels"] > 0
        for name in ("dice", "infected_share_true"):
            assert ours[name] == theirs[name]
        assert (ours["label"]["inside"], theirs["label"]["inside"]) == ([3], [1])


def test_train_learns_from_the_right_mask_and_notes_it(cases: Path, tmp_path: Path, bunet: Bunet) -> None:
    short = ("--size", 32, "--features", 1, "--steps", 1, "--batch", 1, "--test", "d", "--validation", "c")
    status, _, error = bunet("train", "--out", tmp_path / "w.safetensors", "--data", cases / "classes", *short)
    assert status == 2
    assert CONVENTION in error
    status, _, error = bunet("train", "--out", tmp_path / "w.safetensors", "--label-value", 3, *short)
    assert status == 2
    assert "--label-value belongs to --data" in error
    for folder, values in (("binary", ()), ("classes", ("--label-value", 3))):
        out = tmp_path / f"{folder}.safetensors"
        status, _, error = bunet("train", "--out", out, "--data", cases / folder, *short, *values)
        assert status == 0, error
    first, second = (weight_files.load(tmp_path / f"{name}.safetensors").tensors for name in ("binary", "classes"))
    assert all(np.array_equal(first[name], second[name]) for name in first), "the same masks teach the same"
    assert weight_files.read_notes(tmp_path / "classes.safetensors")["label_values"] == [3]
    assert "label_values" not in weight_files.read_notes(tmp_path / "binary.safetensors")


def test_train_says_which_label_is_empty(tmp_path: Path, bunet: Bunet) -> None:
    folder = write_folder(tmp_path / "healthy", infected=False)
    status, out, error = bunet(
        "train",
        "--out",
        tmp_path / "w.safetensors",
        "--data",
        folder,
        "--size",
        32,
        "--features",
        1,
        "--steps",
        1,
        "--batch",
        1,
        "--test",
        "d",
        "--validation",
        "c",
    )
    assert status == 0, error
    assert "a.npz: `infection` is empty: it is 0 everywhere" in out


def test_evaluate_says_which_key_it_took_where_it_is_not_the_usual_one(cases: Path, tmp_path: Path, bunet: Bunet) -> None:
    (tmp_path / "other").mkdir()
    with np.load(cases / "binary" / "a.npz") as case:
        np.savez(tmp_path / "other" / "a.npz", ct=case["ct"], mask=case["infection"])
        inside = int(case["infection"].sum())
    asked = ("evaluate", "--weights", cases / "w.safetensors", "--size", 32, "--cases", "a", "--json", tmp_path / "e.json")
    status, _, error = bunet(*asked, "--data", tmp_path / "other")
    assert status == 0, error
    assert f"label a.npz, key `mask`: value 1 is inside, {inside} of " in error
    (case,) = json.loads((tmp_path / "e.json").read_text())["cases"]
    assert case["true_voxels"] == inside
