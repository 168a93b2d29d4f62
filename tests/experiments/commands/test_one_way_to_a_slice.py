"""Every command cuts the same slice from the same volume, and puts its mask back at the same place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest

from bunet.experiments.bench.slices import Bench
from bunet.experiments.calibration import Calibration, spread_slices
from bunet.experiments.images import volume_slices
from bunet.experiments.predict import stage as predict_stage
from bunet.experiments.predict.case import CaseRun, open_case
from bunet.experiments.predict.case_files import one_case
from bunet.experiments.predict.job import Job
from bunet.experiments.predict.models import PredictModel
from bunet.experiments.predict.settings import PredictSettings
from bunet.experiments.settings import RunSettings, run_options
from bunet.experiments.sweep import data as sweep_data
from bunet.experiments.sweep.reading import parse
from bunet.models.compiled import quantise_input
from bunet.models.errors import LocalError
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_weights
from bunet.models.training.cases import Case
from bunet.models.training.config import TrainConfig
from bunet.models.volumes import formats, synthetic
from bunet.models.volumes.reading import VolumeReading
from bunet.models.volumes.volume import Volume
from bunet.net.link import PRESETS
from bunet.parties import alice as alice_party
from bunet.parties.local.inputs import open_source
from bunet.parties.local.job import PairJob
from tests.experiments.command_line import Bunet
from tests.experiments.commands.test_party import Session
from tests.experiments.predict.views import QuietView
from tests.parties.programs import named, small

SIZE = 32
WIDE, NARROW = (100, 140), (64, 50)  # rows and columns: much air around the body, or none
OBLONG = (5.0, 4.0, 6.0)  # millimetres, of pixels that are not square


def chest(folder: Path, shape: tuple[int, int], spacing: tuple[float, ...] | None = None) -> Path:
    """A chest of 64 x 64 pixels in Hounsfield units on a field of view that is not square. spacing: None for one not known."""
    hu = np.round(synthetic.generate(64, 16, 3).volume * 1500 - 1250).astype(np.int16)
    whole = np.full((16, *(max(n, 64) for n in shape)), -1000, np.int16)
    whole[:, -64:, -64:] = hu
    if spacing is not None:
        np.savez(folder / "ct.npz", array=whole[:, : shape[0], -shape[1] :], spacing_zyx_mm=spacing)
        return folder / "ct.npz"
    np.save(folder / "ct.npy", whole[:, : shape[0], -shape[1] :])
    return folder / "ct.npy"


class Enough(LocalError):
    """The job was seen; nothing needs to run."""


def of_predict(path: Path, axis: str, k: int, monkeypatch: pytest.MonkeyPatch, field: str) -> dict[str, np.ndarray]:
    """What --float and Alice's process of a secure run see at one position."""
    model = PredictModel("infection", axis, seeded_weights(Architecture(features=2), 1), "m", SIZE)
    reading = VolumeReading(field_of_view=field)
    settings = PredictSettings(axes=(axis,), lung_mask=False, slices=f"{axis}={k}:{k + 1}", compare=False, reading=reading)
    seen: dict[str, np.ndarray] = {}

    def floats(model: PredictModel, threads: int) -> Callable[..., Any]:
        def logits(image: np.ndarray) -> np.ndarray:
            seen["predict --float"] = image
            return np.zeros((2, *image.shape[1:]), np.float32)

        return logits

    def pair(job: PairJob, bus: Callable[..., Any]) -> Never:
        told = PairJob.from_json(job.to_json("alice"))
        seen["predict"] = open_source(told.inputs, told.labels).slices.at(small(SIZE).program, 0)
        raise Enough("seen")

    monkeypatch.setattr(predict_stage, "_float_model", floats)
    for way in (replace(settings, secure=False), settings):
        case, out = open_case(one_case(path, None), way), path.parent / f"out-{axis}-{field}-{way.secure}"
        run = CaseRun(case, Job({"infection": {axis: model}}, way, out, Calibration(), QuietView(), run=pair))
        with run.open():
            if way.secure:
                with pytest.raises(LocalError, match="seen"):
                    run.run_stages()
            else:
                run.run_stages()
    return seen


def of_training(loaded: formats.LoadedVolume, axis: str, k: int) -> dict[str, np.ndarray]:
    """What `bunet train` and `bunet evaluate` see at one position; nothing without torch."""
    if find_spec("torch") is None:
        return {}
    from bunet.models.training.sources import case_batches

    array = np.asarray(loaded.volume)
    case = Case("a", array, np.zeros(array.shape, bool), None, crop=loaded.crop)
    config = TrainConfig(Path("w.safetensors"), Architecture(features=2), SIZE, axis=axis)
    [(images, _)] = case_batches(case, config, [k])
    return {"training": images[0]}


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize(
    ("shape", "field", "spacing"),
    [
        (WIDE, "auto", None),
        (WIDE, "whole", None),
        (NARROW, "auto", None),
        (WIDE, "auto", OBLONG),
        (WIDE, "whole", OBLONG),
        (NARROW, "auto", OBLONG),
    ],
)
def test_all_commands_see_the_same_slice(
    axis: str,
    shape: tuple[int, int],
    field: str,
    spacing: tuple[float, ...] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bunet: Bunet,
) -> None:
    path, program = chest(tmp_path, shape, spacing), small(SIZE).program
    settings = RunSettings(size=SIZE, axis=axis)
    demo = volume_slices(settings, path, None, SIZE, VolumeReading(field_of_view=field))
    k = demo.labels[0][1]
    seen = {"demo": demo.images[0], **of_predict(path, axis, k, monkeypatch, field)}
    config = parse(f"name: a\nvolume: {path}\nweights: infection-z\n", "x")
    data = sweep_data.chosen_data(config, sweep_data.Asked(field_of_view=field))
    of_sweep = Bench()._slices(settings, data["relu"])
    assert of_sweep.labels == demo.labels == [(axis, k)]
    seen["sweep"] = of_sweep.images[0]
    session = Session(named(small(SIZE)))
    monkeypatch.setattr(alice_party, "run", session)
    status, _, error = bunet(
        "alice",
        "--volume",
        path,
        "--axis",
        axis,
        "--size",
        SIZE,
        "--slices",
        f"{k}:{k + 1}",
        "--field-of-view",
        field,
        "--out",
        tmp_path / "alice",
    )
    assert status == 0, error
    seen["alice"] = session.inputs[0]
    loaded = formats.load(path, field_of_view=field)
    count = loaded.volume.shape["zyx".index(axis)]
    seen.update(of_training(loaded, axis, k))
    if loaded.crop is None:
        seen["calibration"] = spread_slices(loaded.volume, axis, SIZE, count=count)[k]
    else:
        start, stop = loaded.crop.along(axis, count)
        seen["calibration"] = spread_slices(loaded.volume, axis, SIZE, loaded.crop, stop - start)[k - start]
        assert loaded.crop.pixels == ((1, 1) if spacing is None else spacing[1:])
    assert (loaded.crop is None) == (spacing is None and (shape == NARROW or field == "whole"))
    assert {"demo", "sweep", "predict", "predict --float", "alice", "calibration"} <= set(seen)
    whole = {name: image if image.dtype == np.int64 else quantise_input(program, image) for name, image in seen.items()}
    for name, image in whole.items():
        np.testing.assert_array_equal(image, whole["predict"], err_msg=name)
    assert whole["predict"].std() > 0


def test_where_slices_keep_the_volume_s_size_no_crop_is_spoken_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    """A field of 860 mm that nothing is cut from is warned of, by every command."""
    hu = np.load(chest(tmp_path, WIDE))
    path, pixel = tmp_path / "wide.npz", 860 / max(WIDE)
    np.savez(path, array=hu, spacing_zyx_mm=[5, pixel, pixel])
    weights = seeded_weights(Architecture(features=2), 1)

    def of_case(size: int | None) -> str:
        settings = PredictSettings(axes=("z",), lung_mask=False, secure=False)
        models = {"infection": {"z": PredictModel("infection", "z", weights, "m", size)}}
        case = open_case(one_case(path, None), settings)
        return " ".join(CaseRun(case, Job(models, settings, tmp_path, Calibration(), QuietView())).remarks())

    def of_alice(*size: object) -> str:
        monkeypatch.setattr(alice_party, "run", Session(named(small(SIZE))))
        out = tmp_path / f"alice{len(size)}"
        return bunet("alice", "--volume", path, "--slices", "3:4", *size, "--out", out)[1]

    def of_demo(size: int | None) -> str:
        return " ".join(volume_slices(RunSettings(size=SIZE), path, None, size).notes)

    for said in (of_case(SIZE), of_alice("--size", SIZE), of_demo(SIZE)):
        assert ("cut to the body" in said, "slices show 860 mm" in said) == (True, False), said
    for said in (of_case(None), of_alice(), of_demo(None)):
        assert ("cut to the body" in said, "slices show 860 mm" in said) == (False, True), said


def test_a_mask_of_a_wide_field_of_view_lies_over_its_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also along x and y, where slices beside the body are not run at all."""
    path = chest(tmp_path, WIDE)
    tissue = lambda image: np.stack([0.5 - image[2], image[2] - 0.5])  # noqa: E731
    monkeypatch.setattr(predict_stage, "_float_model", lambda model, threads: tissue)
    weights = seeded_weights(Architecture(features=2), 1)
    models = {"infection": {axis: PredictModel("infection", axis, weights, "m", 64) for axis in "xyz"}}
    settings = PredictSettings(lung_mask=False, secure=False, ensemble="argmax", filtered=False)
    case = open_case(one_case(path, None), settings)
    run = CaseRun(case, Job(models, settings, tmp_path / "out", Calibration(), QuietView()))
    with run.open():
        run.run_stages()
    assert sum(len(stage.positions) for stage in run.stages) < sum(case.region.shape)
    mask, body = run.combine().masks["float"], np.asarray(case.loaded.volume) > 0.5
    assert mask.shape == body.shape
    assert 2 * (mask & body).sum() / (mask.sum() + body.sum()) > 0.9
    (top, bottom), (left, right) = case.loaded.crop.rows, case.loaded.crop.columns
    assert not np.delete(np.delete(mask, range(top, bottom), 1), range(left, right), 2).any()


def test_slices_beside_the_body_are_refused_in_a_sentence(tmp_path: Path, bunet: Bunet) -> None:
    path = chest(tmp_path, WIDE)
    asked = ["predict", "--float", "--axes", "x", "--slices", "0:3"]
    status, _, error = bunet(*asked, "--volume", path, "--out", tmp_path / "out")
    assert status == 2
    assert "no body is there" in error
    assert "--field-of-view whole" in error


def test_alice_sends_slices_beside_the_body_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet) -> None:
    """Their number would tell Bob how large the body is; there is nothing to mark in them."""
    path, session = chest(tmp_path, WIDE), Session(named(small(SIZE), axis="x"))
    monkeypatch.setattr(alice_party, "run", session)
    status, _, error = bunet("alice", "--volume", path, "--axis", "x", "--size", SIZE, "--out", tmp_path / "out")
    assert status == 0, error
    assert session.requests[0].slices == WIDE[1]
    left, right = formats.load(path).crop.columns
    assert right - left < WIDE[1]
    mask = formats.read(tmp_path / "out" / "mask.npz")
    assert [k for k in range(WIDE[1]) if mask[..., k].any()] == list(range(left, right)), "and marks nothing there, as predict"


def test_another_field_of_view_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet) -> None:
    path = chest(tmp_path, WIDE)
    monkeypatch.setattr(alice_party, "run", Session(named(small(SIZE))))
    asked = ["alice", "--volume", path, "--size", SIZE, "--slices", "2:4", "--out", tmp_path / "out"]
    assert bunet(*asked)[0] == 0
    status, _, error = bunet(*asked, "--field-of-view", "whole")
    assert status == 2
    assert "its crop differs" in error


@pytest.mark.parametrize("kind", ["nii.gz", "dicom", "npz"])
def test_alice_s_mask_lies_where_the_volume_lies(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    pytest.importorskip("nibabel" if kind == "nii.gz" else "pydicom" if kind == "dicom" else "numpy")
    affine = np.array([[0, 0, -4.0, 200], [0, 4.0, 0, -150], [5, 0, 0, 100], [0, 0, 0, 1.0]])
    hu = np.load(chest(tmp_path, WIDE))
    path = tmp_path / ("scan" if kind == "dicom" else f"scan.{kind}")
    formats.write(Volume(hu, affine), path)
    monkeypatch.setattr(alice_party, "run", Session(named(small(SIZE))))
    asked = ["alice", "--volume", path, "--size", SIZE, "--out", tmp_path / "out", "--slices"]
    status, out, error = bunet(*asked, "3:5")
    assert status == 0, error
    assert "of 16 slices along z, 2 are segmented" in out
    status, out, error = bunet(*asked, "8:9")
    assert status == 0, error
    assert "with those of earlier commands 3 are in it" in out
    name = {"dicom": "scan_prediction", "nii.gz": "scan_prediction.nii.gz", "npz": "scan_prediction.npz"}[kind]
    given = formats.read_volume(path)
    for found in (formats.read_volume(tmp_path / "out" / name), formats.read_volume(tmp_path / "out" / "mask.npz")):
        np.testing.assert_allclose(found.affine, given.affine, atol=1e-4)
        assert found.shape == given.shape
        assert [k for k in range(16) if found.array[k].any()] == [3, 4, 8]
        crop = formats.load(path).crop
        (top, bottom), (left, right) = crop.rows, crop.columns
        assert found.array[3, top:bottom, left:right].all()
        assert found.array[3].sum() == (bottom - top) * (right - left)
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (document["asked_slices"], document["finished_slices"]) == ([8], [3, 4, 8])
    assert any("rule `hu`" in remark for remark in document["remarks"])


def test_a_mask_of_somebody_else_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet) -> None:
    path, session = chest(tmp_path, WIDE), Session(named(small(SIZE)))
    monkeypatch.setattr(alice_party, "run", session)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ct_prediction.npy").write_bytes(b"mine")
    status, _, error = bunet("alice", "--volume", path, "--size", SIZE, "--out", tmp_path / "out")
    assert status == 2
    assert "ct_prediction.npy is there already" in error
    assert not session.inputs
    assert (tmp_path / "out" / "ct_prediction.npy").read_bytes() == b"mine"


def test_a_vote_on_a_wide_field_of_view_is_that_of_the_clear_labels(tmp_path: Path) -> None:
    """Both parties' shares are put back alike: zero outside of the crop, the nearest share within."""
    path = chest(tmp_path, WIDE)
    weights = seeded_weights(Architecture(features=2), 1)
    weights.tensors["conv.bias"][:] = [0.0, 0.2]
    models = {"infection": {"z": PredictModel("infection", "z", weights, "m", SIZE)}}
    settings = PredictSettings(
        axes=("z",),
        lung_mask=False,
        ensemble="majority",
        filtered=False,
        slices="z=7:9",
        format="12.8",
        run=run_options(link=PRESETS["loopback"], in_flight=2),
    )
    case = open_case(one_case(path, None), settings)
    run = CaseRun(case, Job(models, settings, tmp_path / "out", Calibration(), QuietView()))
    with run.open():
        run.run_stages()
        masks = run.combine().masks
    (top, bottom), (left, right) = run.case.loaded.crop.rows, run.case.loaded.crop.columns
    inside = np.s_[:, top:bottom, left:right]
    for mask in masks.values():
        assert 0.02 < mask[inside].mean() < 0.98
        assert mask.sum() == mask[inside].sum()
    assert (masks["secure"] == masks["float"]).mean() > 0.97


def test_a_sweep_says_how_its_volume_is_read(tmp_path: Path) -> None:
    path = chest(tmp_path, WIDE)
    said: list[Any] = []
    config = parse(f"name: a\nvolume: {path}\nweights: infection-z\n", "x")
    data = sweep_data.chosen_data(config, say=said.append)
    assert said[0] == "intensities of ct.npy: rule `hu`"
    assert "cut to the body" in said[1]
    whole = sweep_data.chosen_data(config, sweep_data.Asked(field_of_view="whole"), said.append)
    assert len(said) == 3, "the rule alone, where nothing is cut"
    settings = RunSettings(size=SIZE, features=16)
    cut_to_body, not_cut = (Bench()._slices(settings, each["relu"]) for each in (data, whole))
    np.testing.assert_array_equal(cut_to_body.images[0], volume_slices(settings, path, None, SIZE).images[0])
    assert not np.array_equal(cut_to_body.images[0], not_cut.images[0])
