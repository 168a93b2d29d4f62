"""The demo and the bench around a pair: what is written, and that a run that fails leaves nothing."""

from __future__ import annotations

import builtins
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from bunet.experiments.bench.slices import Bench
from bunet.experiments.demo import DemoRequest, run_demo
from bunet.experiments.images import embedded_slices, float_labels, spread, volume_slices
from bunet.experiments.settings import RunSettings, run_options
from bunet.experiments.weights_choice import choose_weights
from bunet.models import oracle
from bunet.models.compiled import load_compiled
from bunet.models.errors import PeerError, UsageError
from bunet.models.metrics import agreement
from bunet.models.network import weights as weight_files
from bunet.models.network.seeded import seeded_weights
from bunet.models.volumes import formats
from bunet.models.volumes.volume import Volume
from bunet.parties.console import RunConsole
from bunet.parties.events import (
    LayerFinished,
    LayerPlan,
    SessionFinished,
    SessionStarted,
    SetupFinished,
    SliceFinished,
    SliceStarted,
    Subscriber,
)
from bunet.parties.local.job import PairJob
from bunet.parties.local.pair import PairResult
from tests.experiments.command_line import Bunet


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LayerSchema(Strict):
    name: str
    operation: str
    protocol: str
    compute_s: float
    wait_s: float
    bytes_sent: int
    bytes_received: int
    rounds: int


class SliceSchema(Strict):
    axis: Literal["x", "y", "z"]
    index: int
    seconds: float
    layers: list[LayerSchema]


class PlanSchema(Strict):
    name: str
    operation: str
    protocol: str
    shape: list[int]
    width: int
    alice_bytes: int
    bob_bytes: int
    rounds: int


class SpentSchema(Strict):
    seconds: float
    bytes_sent: int
    bytes_received: int
    rounds: int


class MemorySchema(Strict):
    alice: int
    bob: int


class TotalsSchema(SpentSchema):
    peak_memory_bytes: MemorySchema


class LinkSchema(Strict):
    name: str
    bandwidth_bps: float | None
    rtt_s: float
    jitter_s: float


class DiceSchema(Strict):
    float: builtins.float | None
    truth: builtins.float | None


class DocumentSchema(Strict):
    """Version 1 of the document, key by key."""

    version: Literal[1]
    view: Literal["alice", "bob"]
    link: LinkSchema
    format: str
    program: str
    run: dict[str, Any]
    plan: list[PlanSchema]
    dice: DiceSchema
    verified: bool | None
    setup: SpentSchema
    slices: list[SliceSchema]
    totals: TotalsSchema
    environment: dict[str, Any]


def pretend(
    mismatches: list[str] | None = None, beyond: dict[str, int] | None = None
) -> Callable[[PairJob, Subscriber], PairResult]:
    """A pair that computes with the oracle and reports events: what surrounds a run is tested without running one."""

    def run(job: PairJob, bus: Subscriber) -> PairResult:
        compiled = load_compiled(job.model)
        assert isinstance(job.inputs, Path)
        inputs = np.load(job.inputs)
        plan = tuple(LayerPlan(n.name, n.operation, "local", n.type.shape, n.type.width, 1, 2, 3) for n in compiled.program)
        bus(SessionStarted("alice", compiled.program.digest(), str(compiled.program.format), plan, "lan", len(inputs), 1))
        bus(SetupFinished("alice", 0.5, 10, 20, 2))
        masks = []
        for k, (axis, index) in enumerate(job.labels):
            bus(SliceStarted("alice", k, axis, index))
            for number, line in enumerate(plan):
                bus(LayerFinished("alice", k, number, line.name, line.operation, line.protocol, 0.1, 0.2, 1, 2, 3))
            bus(SliceFinished("alice", k, axis, index, 1.5))
            masks.append(next(iter(oracle.run(compiled.program, compiled.weights, inputs[k]).values())))
        for role in ("bob", "alice"):
            bus(SessionFinished(role, 3.0, 100, 200, 300))
        wrong = list(mismatches or [])
        verified = not wrong if job.record else None
        memory = {"alice": 300, "bob": 300}
        return PairResult(np.stack(masks), verified, wrong, len(plan), 3.0, [1.5] * len(inputs), memory, beyond=beyond)

    return run


def console() -> RunConsole:
    return RunConsole(console=Console(file=io.StringIO(), width=100, color_system=None))


def said(view: RunConsole) -> str:
    file = view.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


SMALL = RunSettings(size=32, features=1, slices=2)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """8-bit slices of 40x24 pixels with a lesion in slices 3 to 8."""
    generator = np.random.default_rng(1)
    ct = (generator.integers(0, 60, (12, 40, 24)) + 150).astype(np.uint8)
    ct[:, :8] = 0
    infection = np.zeros(ct.shape, np.uint8)
    infection[3:9, 10:20, 5:15] = 1
    path = tmp_path / "case.npz"
    np.savez(path, ct=ct, infection=infection)
    return path


def test_the_demo_writes_mask_picture_and_document(tmp_path: Path) -> None:
    view, further = console(), tmp_path / "further.json"
    result = run_demo(DemoRequest(SMALL, tmp_path / "out", json=further), view, pretend())
    document = json.loads(further.read_text())
    DocumentSchema.model_validate(document)
    assert document == result.document == json.loads((tmp_path / "out" / "run.json").read_text())
    assert document["verified"] is True
    images = embedded_slices(SMALL, 32)
    chosen = choose_weights(SMALL, "auto", (32, 32))
    assert document["dice"]["float"] == agreement(result.masks, float_labels(chosen, images)).dice
    assert document["dice"]["truth"] is None
    assert set(document["environment"]) >= {"python", "numpy", "numba", "cpu", "tier", "cores"}
    with np.load(tmp_path / "out" / "mask.npz", allow_pickle=False) as mask:
        assert mask["array"].shape == (2, 32, 32)
        assert mask["array"].dtype == np.uint8
        np.testing.assert_array_equal(mask["array"], result.masks)
        assert [("z", int(k)) for k in mask["indices"]] == [(s["axis"], s["index"]) for s in document["slices"]]
    assert (tmp_path / "out" / "overlay.png").read_bytes().startswith(b"\x89PNG")
    text = said(view)
    assert "random weights of seed 0: there are no demo weights for this network" in text
    assert "Dice of the secure mask against the float model" in text
    assert "verified: all" in text
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_that_fails_leaves_no_result(tmp_path: Path) -> None:
    def gone(job: PairJob, bus: Subscriber) -> PairResult:
        pretend()(job.model_copy(update={"labels": job.labels[:1]}), bus)
        raise PeerError("Bob is gone")

    out = tmp_path / "out"
    with pytest.raises(PeerError):
        run_demo(DemoRequest(SMALL, out), console(), gone)
    assert not out.exists() or not list(out.iterdir())


def test_a_mismatch_is_said_loudly_and_written(tmp_path: Path) -> None:
    view, further = console(), tmp_path / "further.json"
    request = DemoRequest(SMALL, tmp_path / "out", json=further)
    result = run_demo(request, view, pretend(["slice 0: conv: 3 of 9 differ"]))
    assert result.document["verified"] is False
    assert "NOT verified: 1 of" in said(view)
    assert result.files == (further, tmp_path / "out" / "run.json")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.json"]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["verified"] is False


def test_a_mismatch_leaves_an_earlier_mask_alone(tmp_path: Path) -> None:
    run_demo(DemoRequest(SMALL, tmp_path), console(), pretend())
    before = {name: (tmp_path / name).read_bytes() for name in ("mask.npz", "overlay.png")}
    run_demo(DemoRequest(SMALL, tmp_path), console(), pretend(["slice 0: conv: 3 of 9 differ"]))
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_nothing_compared_is_not_verified(tmp_path: Path) -> None:
    def nothing(job: PairJob, bus: Subscriber) -> PairResult:
        return replace(pretend()(job, bus), verified=False, compared_layers=0)

    view = console()
    result = run_demo(DemoRequest(SMALL, tmp_path), view, nothing)
    assert result.document["verified"] is False
    assert "NOT verified: there was no layer to compare" in said(view)
    assert not (tmp_path / "mask.npz").exists()


def test_without_verification_the_document_says_null(tmp_path: Path) -> None:
    result = run_demo(DemoRequest(SMALL, tmp_path, verify=False), console(), pretend())
    assert result.document["verified"] is None


def test_a_volume_is_padded_and_the_mask_cut_back(volume: Path, tmp_path: Path) -> None:
    settings = replace(SMALL, slices=3)
    view = console()
    result = run_demo(DemoRequest(settings, tmp_path / "out", own_size=True, volume=volume), view, pretend())
    assert result.masks.shape == (3, 40, 24)
    assert (result.document["run"]["height"], result.document["run"]["width"]) == (48, 32)
    assert all(3 <= one["index"] < 9 for one in result.document["slices"])
    assert "padded from 40x24 to 48x32" in said(view)
    assert "rule `" in said(view)


def test_a_volume_is_resampled_when_asked(volume: Path, tmp_path: Path) -> None:
    result = run_demo(DemoRequest(SMALL, tmp_path / "out", volume=volume), console(), pretend())
    assert result.masks.shape == (2, 32, 19)  # 40x24 pixels stay squares
    assert (result.document["run"]["height"], result.document["run"]["width"]) == (32, 32)
    assert any("rule `" in remark for remark in result.document["run"]["remarks"])


@pytest.mark.parametrize(("axis", "shape"), [("x", (12, 40)), ("y", (12, 24)), ("z", (40, 24))])
def test_slices_are_cut_along_every_axis(axis: str, shape: tuple[int, int], volume: Path) -> None:
    images = volume_slices(replace(SMALL, axis=axis), volume, None, None)
    assert (images.height, images.width) == shape
    assert images.truth is not None
    assert images.truth.any(axis=(1, 2)).all()


def test_trained_weights_are_held_against_the_truth(volume: Path, tmp_path: Path) -> None:
    weights = tmp_path / "own.safetensors"
    weight_files.save(seeded_weights(SMALL.architecture(), 5), weights)
    request = DemoRequest(SMALL, tmp_path / "out", own_size=True, volume=volume, weights=str(weights))
    result = run_demo(request, console(), pretend())
    assert 0.0 <= result.document["dice"]["truth"] <= 1.0
    with pytest.raises(UsageError, match="holds 1 features, activation relu"):
        run_demo(replace(request, settings=replace(SMALL, features=2)), console(), pretend())


def test_an_empty_mask_of_trained_weights_is_said_and_no_perfect_dice(volume: Path, tmp_path: Path) -> None:
    weights, found = tmp_path / "own.safetensors", seeded_weights(SMALL.architecture(), 5)
    found.tensors["conv.bias"][:] = [1000.0, 0.0]
    weight_files.save(found, weights, notes={"target": "infection", "axis": "z"})
    np.savez(tmp_path / "ct.npz", ct=np.load(volume)["ct"])
    view = console()
    request = DemoRequest(SMALL, tmp_path / "out", own_size=True, volume=tmp_path / "ct.npz", weights=str(weights))
    document = run_demo(request, view, pretend()).document
    assert "nothing was marked: the models found no infection" in said(view)
    assert "nothing was marked: the models found no infection" in document["run"]["remarks"]
    assert document["dice"] == {"float": None, "truth": None}
    assert "Dice of the secure mask against the float model: both are empty" in said(view)
    untrained, view = replace(request, weights="random"), console()
    run_demo(untrained, view, pretend())
    assert "nothing was marked" not in said(view), "a mask of random weights means nothing anyway"


def test_weights_are_chosen_openly(tmp_path: Path) -> None:
    chosen = choose_weights(RunSettings(), "auto", (128, 128))
    assert chosen.trained
    assert "demo weights" in chosen.source
    other = choose_weights(RunSettings(), "auto", (64, 64))
    assert not other.trained
    assert "the demo weights are for 128x128" in other.source
    assert choose_weights(RunSettings(), "demo", (64, 64)).trained


@pytest.mark.parametrize("count", [1, 2, 5])
def test_slices_are_spread_over_what_there_is_to_see(count: int) -> None:
    volume, truth = np.zeros((40, 8, 8)), np.zeros((40, 8, 8), bool)
    truth[10:20] = True
    with_truth = spread(volume, truth, 0, count)
    assert len(set(with_truth)) == count
    assert all(10 <= k < 20 for k in with_truth)
    without = spread(volume, None, 0, count)
    assert len(set(without)) == count
    assert all(10 <= k < 30 for k in without)
    assert spread(volume, truth, 0, 40) == list(range(40))


def test_bench_compiles_once_for_equal_networks() -> None:
    bench = Bench(pretend())
    first = bench(SMALL)
    DocumentSchema.model_validate(json.loads(json.dumps(first.document)))
    second = bench(replace(SMALL, run=run_options(in_flight=2, relu="gc")))
    assert first.document["program"] == second.document["program"]
    assert bench(replace(SMALL, format="12.4")).document["program"] != first.document["program"]
    assert first.document["run"]["weights"] == "random weights of seed 0"


def test_the_whole_job_over_zeromq(tmp_path: Path, bunet: Bunet) -> None:
    """Two processes, as a user runs them; every layer agrees with the oracle."""
    arguments = ["demo", "--size", "32", "--features", "1", "--link", "loopback", "--out", str(tmp_path)]
    result = bunet(*arguments)
    assert result.status == 0, result.error
    document = json.loads((tmp_path / "run.json").read_text())
    DocumentSchema.model_validate(document)
    assert document["verified"] is True
    assert document["run"]["compared_layers"] == 2 * (len(document["plan"]) - 1)
    assert document["totals"]["bytes_sent"] > sum(line["alice_bytes"] for line in document["plan"]) * 2
    for one in document["slices"]:
        for spent, stated in zip(one["layers"], document["plan"], strict=True):
            assert (spent["bytes_sent"], spent["bytes_received"]) == (stated["alice_bytes"], stated["bob_bytes"])
            assert spent["rounds"] == stated["rounds"]


def test_every_kind_of_volume_file_gives_the_same_slices(tmp_path: Path) -> None:
    pytest.importorskip("nibabel", reason="needs the extra `clinical`")
    pytest.importorskip("pydicom", reason="needs the extra `clinical`")
    hu = np.random.default_rng(0).integers(-1000, 800, (12, 18, 20)).astype(np.int16)
    place = np.array([[0, 0, 0.8, 0], [0, 0.8, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1.0]])
    label = hu > 300
    volume = Volume(hu, place)
    names = ("ct.npz", "ct.nii", "ct.nii.gz", "series")
    for name in names:
        formats.write(volume, tmp_path / name)
        formats.write(volume.like(label), tmp_path / f"label-{name}")
    for axis in ("x", "y", "z"):
        settings = replace(SMALL, axis=axis)
        sets = [volume_slices(settings, tmp_path / name, tmp_path / f"label-{name}", None) for name in names]
        for name, each in zip(names, sets, strict=True):
            assert each.source == name
            assert each.labels == sets[0].labels
            np.testing.assert_array_equal(each.truth, sets[0].truth)
            np.testing.assert_array_equal(np.stack(each.images), np.stack(sets[0].images))


def test_values_beyond_calibration_are_a_line_and_a_field(tmp_path: Path) -> None:
    counts = {f"layer{k}": k for k in range(1, 7)}
    for beyond in (counts, {}, None):
        view = console()
        result = run_demo(DemoRequest(SMALL, tmp_path), view, pretend(beyond=beyond))
        assert result.document["verified"] is True
        assert result.document["run"]["beyond_calibration"] == beyond
        assert ("beyond calibration" in said(view)) is bool(beyond)
        if beyond:
            assert (
                "beyond calibration: 1 values in layer layer1, 2 values in layer layer2, 3 values in layer layer3, 4 values in "
                "layer layer4 and more in 2 further layers; the mask may be wrong there\n"
            ) in said(view)


def test_a_protocol_that_cannot_be_is_said_before_a_party_is_started(bunet: Bunet, tmp_path: Path) -> None:
    small = ("--slices", 1, "--size", 32, "--features", 2, "--out", tmp_path / "out")
    status, _, error = bunet("demo", *small, "--protocol", "relu=nope")
    assert (status, error) == (2, "bunet: encoder1.relu1: no protocol 'nope' for relu; known: gc, gc-sign\n")
