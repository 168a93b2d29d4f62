"""`bunet predict`: the published script's arithmetic, what is on disk, what goes on where it stopped, what is refused."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.experiments.predict.case_files import one_case
from bunet.experiments.predict.models import load_models
from bunet.experiments.predict.settings import PredictSettings
from bunet.models.errors import UsageError
from bunet.models.metrics import agreement
from bunet.models.network import weights as weight_files
from bunet.models.network.architecture import NORM_EPSILON, Architecture
from bunet.models.network.unet import from_weights
from bunet.models.volumes import formats
from bunet.models.volumes.volume import Volume
from tests.experiments.command_line import Bunet
from tests.experiments.predict.predict_inputs import SIZE, cube, publish, published_case, script


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models and a case `one`, whose label is what the script's steps give."""
    folder = tmp_path_factory.mktemp("given")
    publish(folder / "infection", 15)
    publish(folder / "lung", 115)
    infection, lung = script(cube(), folder / "infection", folder / "lung")
    assert 0.02 < infection.mean() < 0.98
    assert 0.02 < lung.mean() < 0.98
    published_case(folder / "test", "one", cube(), infection.astype(np.uint8))
    np.savez(folder / "expected.npz", infection=infection, lung=lung)
    return folder


def models(given: Path) -> list[str]:
    return ["--model_infection_dir", str(given / "infection"), "--model-lung-dir", str(given / "lung")]


def array(path: Path) -> np.ndarray:
    with np.load(path) as archive:
        return archive["array"]


def test_in_the_clear_it_is_the_published_script(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    status, out, err = bunet(
        "predict", *models(given), "--test_data_dir", given / "test", "--float", "--out", tmp_path, "--probabilities"
    )
    assert status == 0, err
    assert "max pooling" in out
    with np.load(given / "expected.npz") as expected:
        np.testing.assert_array_equal(array(tmp_path / "one_prediction.npz"), expected["infection"])
        np.testing.assert_array_equal(array(tmp_path / "one_lung.npz"), expected["lung"])
    assert array(tmp_path / "one_probabilities.npz").dtype == np.float32
    document = json.loads((tmp_path / "one" / "result.json").read_text())
    (score,) = document["scores"]
    assert (score["found"], score["against"], score["dice"]) == ("float", "label", 1.0)
    assert (tmp_path / "one" / "report.html").stat().st_size > 10_000


def cut_off(arguments: list[str], slices: Path, after: int) -> None:
    """Kill the command, and nothing else, once `after` slices are on the disk; its parties end by themselves."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bunet.experiments", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 120
    while len(list(slices.glob("*/*.safetensors"))) < after:
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.stdout.read()  # ends when the last of the parties, who inherited it, has
    process.stdout.close()
    process.wait()


def test_two_processes_agree_with_it_and_go_on_after_a_kill(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    asked = [
        "predict",
        *models(given),
        "--test-data-dir",
        str(given / "test"),
        "--out",
        str(tmp_path),
        "--slices",
        "4:8",
        "--format",
        "8.12",
        "--link",
        "loopback",
        "--verify",
    ]
    folder = tmp_path / "one" / "slices"
    cut_off(asked, folder, 4 + 4 + random.randrange(1, 12))  # x in the clear and secure, and something of what follows
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*/*.safetensors")}
    assert 8 < len(kept) < 48
    assert not (tmp_path / "one_prediction.npz").exists(), "no partial result that looks whole"

    status, out, err = bunet(*asked)
    assert status == 0, err
    assert "infection along Z (array axis 2), 4 slices (4 done already)" in out
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in kept.items()), "what was done is not done again"
    assert len(list(folder.glob("*/*.safetensors"))) == 48
    document = json.loads((tmp_path / "one" / "result.json").read_text())
    against = {(s["found"], s["against"]): s["dice"] for s in document["scores"]}
    assert against["secure", "float"] >= 0.998
    assert document["verified"] is True
    mask = array(tmp_path / "one_prediction.npz")
    assert mask.shape == (SIZE,) * 3
    assert mask[4:8, 4:8, 4:8].any()
    assert mask.sum() == mask[4:8, 4:8, 4:8].sum(), "outside the region nothing is marked"


def test_a_vote_opens_the_majority_only(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    asked = [
        "predict",
        *models(given),
        "--test-data-dir",
        given / "test",
        "--out",
        tmp_path,
        "--slices",
        "4:8",
        "--axes",
        "z,y",
        "--format",
        "8.12",
        "--link",
        "loopback",
        "--ensemble",
        "majority",
        "--no-maximum-filter",
    ]
    status, _, err = bunet(*asked)
    assert status == 0, err
    document = json.loads((tmp_path / "one" / "result.json").read_text())
    (score,) = [s["dice"] for s in document["scores"] if (s["found"], s["against"]) == ("secure", "float")]
    assert score >= 0.99
    assert not (tmp_path / "one_lung.npz").exists(), "the lung is not opened"
    shares = list((tmp_path / "one" / "slices").glob("*-secure/*/*.share"))
    assert len(shares) == 2 * 2 * 2 * 4
    assert not list((tmp_path / "one" / "slices").glob("*-secure/*.safetensors")), "nothing of a slice is opened"
    assert document["stages"][-1]["title"] == "the vote"

    # A share that is lost before the vote runs its slice again, at both parties.
    mask = array(tmp_path / "one_prediction.npz")
    (lost, *_) = sorted((tmp_path / "one" / "slices" / "infection-x-secure" / "bob").glob("*.share"))
    lost.unlink()
    (tmp_path / "one" / "slices" / "vote.safetensors").unlink()
    (tmp_path / "one" / "scratch-killed" / "bob").mkdir(parents=True)
    status, out, err = bunet(*asked)
    assert status == 0, err
    assert "infection along Z (array axis 2), 4 slices (3 done already)" in out
    assert not list((tmp_path / "one").glob("scratch-*")), "ballots do not outlive a vote, whatever became of it"
    assert agreement(array(tmp_path / "one_prediction.npz"), mask).dice >= 0.99


def test_a_folder_belongs_to_one_run(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    asked = ["predict", *models(given), "--test-data-dir", given / "test", "--float", "--out", tmp_path / "out", "--axes", "z"]
    assert bunet(*asked)[0] == 0
    before = (tmp_path / "out" / "one_prediction.npz").read_bytes()
    changes = (("--ensemble", "argmax", "ensemble"), ("--slices", "3:9", "region"), ("--pool", "avg", "models"))
    for option, value, what in changes:
        status, _, err = bunet(*asked, option, value)
        assert status == 2
        assert f"holds another run (its {what} differs)" in err
    published_case(tmp_path / "other", "one", cube(1))
    status, _, err = bunet(*asked[:3], *asked[3:5], "--test-data-dir", tmp_path / "other", *asked[7:])
    assert status == 2
    assert "its volume differs" in err
    assert (tmp_path / "out" / "one_prediction.npz").read_bytes() == before
    for name in ("one_prediction.npz", "one_lung.npz"):
        new = tmp_path / name.removesuffix(".npz")
        new.mkdir()
        (new / name).write_bytes(b"mine")
        status, _, err = bunet(*asked[:8], "--out", new, "--axes", "z")
        assert status == 2
        assert f"{name} is there already" in err
        assert (new / name).read_bytes() == b"mine"


@pytest.mark.parametrize(("kind", "library"), [("nii.gz", "nibabel"), ("dicom", "highdicom")])
def test_the_mask_lies_where_the_volume_lies(given: Path, tmp_path: Path, kind: str, library: str, bunet: Bunet) -> None:
    pytest.importorskip(library)
    affine = np.array([[0, 0, 0.8, -50], [0, 0.7, 0, -40], [5, 0, 0, 100], [0, 0, 0, 1.0]])  # (slice, row, column) to mm
    hounsfield = (cube(3) * 1400 - 1000).astype(np.int16)
    name, ending = ("patient.01", ".nii.gz") if kind == "nii.gz" else ("1.2.840.99999.1", "")
    path = tmp_path / "cases" / name / f"{name}.nii.gz" if ending else tmp_path / "cases" / name
    path.parent.mkdir(parents=True)
    formats.write(Volume(hounsfield, affine), path)
    files = [f"{name}_prediction{ending}", f"{name}_lung{ending}", *[f"{name}_segmentation.dcm"] * (not ending)]
    for number, what in enumerate((("--volume", path), ("--test-data-dir", tmp_path / "cases"))):
        out = tmp_path / f"out{number}"
        asked = ["predict", *models(given), *what, "--float", "--axes", "z", "--ensemble", "argmax", "--out", out]
        status, _, err = bunet(*asked)
        assert status == 0, err
        assert sorted(each.name for each in out.iterdir()) == sorted([name, *files])
        mask = formats.read_volume(out / files[0])
        np.testing.assert_allclose(mask.affine, affine, atol=1e-4)
        assert mask.shape == hounsfield.shape
        assert set(np.unique(mask.array)) == {0, 1}
        assert bunet(*asked)[0] == 0, "a finished job can be asked for again"


def lone_voxel(bunet: Bunet, folder: Path, name: str, models: list[str], *options: str) -> int:
    """How many voxels are marked where the models mark one, the brightest."""
    volume = np.zeros((SIZE,) * 3, np.float32)
    volume[8, 8, 8] = 1
    np.save(folder / "ct.npy", volume)
    status, _, err = bunet(
        "predict",
        *models,
        "--no-lung-mask",
        "--volume",
        folder / "ct.npy",
        "--axes",
        "z",
        "--float",
        "--out",
        folder / name,
        *options,
    )
    assert status == 0, err
    document = json.loads((folder / name / "ct" / "result.json").read_text())
    assert document["asked"]["filtered"] == {"infection": document["voxels"]["float"] == 27}
    return document["voxels"]["float"]


def identity_weights() -> weight_files.FloatWeights:
    """A network of one feature that marks what is brighter than 1/2 in the middle slice."""
    architecture = Architecture(features=1, pooling="max")
    tensors = {name: np.zeros(shape, np.float32) for name, shape in architecture.parameters().items()}
    for name in tensors:
        if name.endswith("running_var"):
            tensors[name] = np.full_like(tensors[name], 1 - NORM_EPSILON)
        elif "norm" in name and name.endswith("weight"):
            tensors[name] = np.ones_like(tensors[name])
    taken = {"encoder1.enc1conv1": 2, "encoder1.enc1conv2": 0, "decoder1.dec1conv1": 1, "decoder1.dec1conv2": 0}
    for name, channel in taken.items():  # 2 is the middle slice; skipped channels come after upsampled ones
        tensors[f"{name}.weight"][0, channel, 1, 1] = 1
    tensors["conv.weight"][1] = 20
    tensors["conv.bias"][1] = -10
    return weight_files.FloatWeights(architecture, tensors)


def test_the_maximum_filter_is_for_published_models_and_those_of_512_pixels(tmp_path: Path, bunet: Bunet) -> None:
    import torch

    weights = identity_weights()
    folders = {"published": None, "of-512": 512, "of-128": 128, "untold": 0}
    for name, size in folders.items():
        (tmp_path / name).mkdir()
        if size is None:
            torch.save({"state_dict": from_weights(weights).state_dict()}, tmp_path / name / "best_model-Z.pth")
        else:
            notes = {"axis": "z", **({"size": size} if size else {})}
            weight_files.save(weights, tmp_path / name / "infection-z.safetensors", notes=notes)
    found = {}
    for name in folders:
        asked = ["--model-infection-dir", str(tmp_path / name), "--pool", "max", "--size", str(SIZE)]
        found[name] = lone_voxel(bunet, tmp_path, f"out-{name}", asked)
        assert lone_voxel(bunet, tmp_path, f"with-{name}", asked, "--maximum-filter") == 27
        assert lone_voxel(bunet, tmp_path, f"without-{name}", asked, "--no-maximum-filter") == 1
    assert found == {"published": 27, "of-512": 27, "of-128": 1, "untold": 1}


def test_letters_of_axes_and_slices_are_those_of_the_models(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    """Published ones count array axes: Z is axis 2. Models of ours call the slices z."""
    np.save(tmp_path / "ct.npy", cube())
    for name, letters in (("one", "z"), ("two", "x")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"best_model-{letters.upper()}.pth").write_bytes(
            (given / "infection" / f"best_model-{letters.upper()}.pth").read_bytes()
        )
        asked = [
            "predict",
            "--model-infection-dir",
            folder,
            "--no-lung-mask",
            "--volume",
            tmp_path / "ct.npy",
            "--float",
            "--axes",
            letters,
            "--slices",
            f"{letters}=3:5",
            "--out",
            tmp_path / f"out-{name}",
            "--ensemble",
            "argmax",
        ]
        status, out, err = bunet(*asked)
        assert status == 0, err
        assert f"along {letters.upper()} (array axis {'xyz'.index(letters)}) in the clear, 2 slices" in out
        document = json.loads((tmp_path / f"out-{name}" / "ct" / "result.json").read_text())
        assert document["region"] == [[3, 5] if axis == "xyz".index(letters) else [0, SIZE] for axis in range(3)]
    status, _, err = bunet(*asked[:-6], "--slices", "y=3:5", *asked[-4:])
    assert status == 2
    assert "not one of the axes x" in err
    mixed = [
        "predict",
        "--model-infection-dir",
        given / "infection",
        "--intensity",
        "as-is",
        "--volume",
        tmp_path / "ct.npy",
        "--float",
        "--size",
        "16",
        "--out",
        tmp_path / "mixed",
        "--axes",
        "z",
    ]
    status, _, err = bunet(*mixed)
    assert status == 2
    assert "say all of --axes x,y,z" in err


def test_each_target_is_filtered_as_suits_its_own_models(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    """A published infection with a lung of 128 pixels: only the infection's mask is widened."""
    for axis in "xyz":
        notes = {"axis": axis, "target": "lung", "size": 128}
        weight_files.save(identity_weights(), tmp_path / f"lung-{axis}.safetensors", notes=notes)
    volume = np.zeros((SIZE,) * 3, np.float32)
    volume[8, 8, 8] = 1
    np.save(tmp_path / "ct.npy", volume)
    status, _, err = bunet(
        "predict",
        "--model-infection-dir",
        given / "infection",
        "--model-lung-dir",
        tmp_path,
        "--volume",
        tmp_path / "ct.npy",
        "--intensity",
        "unit",
        "--size",
        str(SIZE),
        "--float",
        "--out",
        tmp_path / "out",
    )
    assert status == 0, err
    filters, scope = {"infection": True, "lung": False}, "maximum filter on for the infection, off for the lung"
    document = json.loads((tmp_path / "out" / "ct" / "result.json").read_text())
    assert (document["asked"]["filtered"], document["scope"]) == (filters, scope)
    assert json.loads((tmp_path / "out" / "ct" / "run.json").read_text())["filtered"] == filters
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "ct_lung.npy"), volume)


def test_a_vote_has_one_filter_and_says_so() -> None:
    usual = {"infection": True, "lung": False}
    vote = PredictSettings(ensemble="majority").of_models(usual)
    assert (vote.filters, vote.vote_differs(usual)) == ({"infection": True, "lung": True}, True)
    asked = PredictSettings(ensemble="majority", filtered=False).of_models(usual)
    assert (asked.filters, asked.vote_differs(usual)) == ({"infection": False, "lung": False}, False)
    assert not PredictSettings().of_models(usual).vote_differs(usual)


def test_own_models_keep_their_axes_whatever_the_file_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for axis in "XYZ":
        weight_files.save(identity_weights(), folder / f"best_model-{axis}.safetensors", notes={"axis": axis.lower()})
    loaded = load_models("--models", str(folder), "infection", ("x", "y", "z"))
    assert {axis: model.source for axis, model in loaded.items()} == {a: f"best_model-{a.upper()}.safetensors" for a in "xyz"}
    weight_files.save(identity_weights(), folder / "best_model-X.safetensors")
    with pytest.raises(UsageError, match=r"best_model-X\.safetensors does not say along which axis it was trained"):
        load_models("--models", str(folder), "infection", ("x",))


def test_published_values_are_taken_as_they_are(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    volume = 3 * cube() - 1  # beyond [0, 1], but no Hounsfield units
    np.save(tmp_path / "ct.npy", volume)
    asked = ["predict", *models(given), "--volume", tmp_path / "ct.npy", "--float", "--pool", "max"]
    status, out, err = bunet(*asked, "--out", tmp_path / "out")
    assert status == 0, err
    assert "rule `as-is`" in out
    infection, lung = script(volume, given / "infection", given / "lung")
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "ct_prediction.npy") != 0, infection)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "ct_lung.npy") != 0, lung)
    status, _, err = bunet(*asked[:3], "--model-lung-dir", "clinical", *asked[5:], "--out", tmp_path / "mixed")
    assert status == 2
    assert "the lung models are ours, the others published" in err
    assert "--intensity" in err


def break_case(folder: Path, what: str) -> None:
    case = folder / "one"
    case.mkdir(parents=True)
    good = cube()
    if what == "NaN":
        good[3, 4, 5] = np.nan
    if what == "key":
        np.savez(case / "one.npz", volume=good)
    elif what == "damaged":
        (case / "one.npz").write_bytes(b"nonsense")
    elif what == "flat":
        np.savez(case / "one.npz", array=good[0])
    elif what != "empty":
        np.savez(case / "one.npz", array=good)
    if what == "label shape":
        np.savez(case / "one_label.npz", array=good[1:] > 0)
    if what == "label NaN":
        np.savez(case / "one_label.npz", array=np.where(good > 0.9, np.nan, 0))
    if what == "other name":
        (case.parent / "two").mkdir()
        np.savez(case.parent / "two" / "scan.npz", array=good)
    if what == "label key":
        np.savez(case / "one_label.npz", wrong=good > 0)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("NaN", "slice 3 holds NaN"),
        ("key", "one.npz: no key"),
        ("damaged", "one.npz: not a readable .npz file"),
        ("flat", "one.npz: a volume has shape"),
        ("empty", "holds no case"),
        ("label shape", "one_label.npz: the label has shape (15, 16, 16), the volume one.npz (16, 16, 16)"),
        ("label key", "one_label.npz: no key `infection` or `lesion` or `label` or `mask` or `array`, the file holds `wrong`"),
        ("label NaN", "one_label.npz: the label holds NaN"),
        ("other name", "two holds scan.npz, but no volume two.npz"),
    ],
)
def test_bad_cases_are_one_sentence_and_nothing_is_written(
    given: Path, tmp_path: Path, what: str, words: str, bunet: Bunet
) -> None:
    break_case(tmp_path / "test", what)
    data, out = tmp_path / "test", tmp_path / "out"
    status, _, err = bunet("predict", *models(given), "--test-data-dir", data, "--float", "--out", out)
    assert status == 2, err
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["..npz", "...npz", "...nii.gz"])
def test_no_name_of_a_volume_leads_out_of_the_folder(name: str) -> None:
    assert one_case(Path(name), None).name == "volume"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--axes", "x,w"), "--axes 'w' is not one of x, y, z"),
        (("--axes", ""), "--axes: name at least one"),
        (("--slices", "14:20", "--axes", "z"), "along z the volume has the slices 0:16"),
        (("--slices", "y=3:5", "--axes", "z"), "not one of the axes z"),
        (("--slices", "a:b"), "is not A:B or one number"),
        (("--slices", "z=2:4,z=6:8"), "'z=2:4,z=6:8': one range for all axes, or one for each of some"),
        (("--slices", "2:4,6:8"), "'2:4,6:8': one range for all axes"),
        (("--ensemble", "mean"), "--ensemble 'mean' is not one of"),
        (("--ensemble", "argmax", "--probabilities"), "nobody learns any"),
        (("--format", "wide"), "--format"),
        (("--pool", "median"), "--pool 'median' is not one of auto, avg, max"),
        (("--intensity", "dark"), "--intensity 'dark' is not one of auto, unit"),
        (("--model-lung-dir", "nowhere"), "--model-lung-dir nowhere is neither a folder nor one of clinical"),
        (("--volume", "x.npz"), "give either --test-data-dir or --volume"),
        (("--label", "x.npz"), "--label belongs to a --volume"),
    ],
)
def test_bad_options_are_one_sentence(given: Path, tmp_path: Path, options: tuple[str, ...], words: str, bunet: Bunet) -> None:
    status, _, err = bunet(
        "predict", *models(given), "--test-data-dir", given / "test", "--float", "--out", tmp_path / "out", *options
    )
    assert status == 2, err
    assert words in err
    assert not (tmp_path / "out").exists()


def test_a_plan_that_cannot_be_is_said_before_anything_is_run(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    asked = ["predict", *models(given), "--test-data-dir", given / "test", "--out", tmp_path / "out", "--axes", "z"]
    status, _, err = bunet(*asked, "--protocol", "readout=argmax")
    assert status == 2
    assert "protocol 'argmax' cannot run it" in err
    assert not (tmp_path / "out").exists(), "the folder would belong to a run that cannot be"


def test_a_float_network_that_overflows_is_no_empty_mask(given: Path, tmp_path: Path, bunet: Bunet) -> None:
    status, _, err = bunet(
        "predict",
        *models(given),
        "--test-data-dir",
        given / "test",
        "--out",
        tmp_path,
        "--axes",
        "z",
        "--float",
        "--activation",
        "square",
    )
    assert status == 2
    assert "overflows on slice 0 along Z (array axis 2): is --activation right?" in err
    assert not (tmp_path / "one_prediction.npz").exists()


class Code:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"nonsense", "best_model-Y.pth is no plain dictionary of tensors"),
        ({"weights": 1}, "best_model-Y.pth is no dictionary of tensors and has none under the key 'state_dict'"),
        ({"state_dict": {}}, "best_model-Y.pth is no dictionary of tensors"),
        ({"state_dict": Code()}, "a weight file holds tensors only, so nothing of it was loaded"),
        (None, "has neither best_model-Y.pth (published) nor infection-y.safetensors"),
    ],
)
def test_what_is_no_weight_file_is_named_and_never_run(
    given: Path, tmp_path: Path, content: bytes | dict[str, Any] | None, words: str, bunet: Bunet
) -> None:
    import torch

    publish(tmp_path / "bad", 5)
    path = tmp_path / "bad" / "best_model-Y.pth"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    status, _, err = bunet(
        "predict",
        "--model-infection-dir",
        tmp_path / "bad",
        "--model-lung-dir",
        given / "lung",
        "--test-data-dir",
        given / "test",
        "--float",
        "--out",
        tmp_path / "out",
    )
    assert status == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
