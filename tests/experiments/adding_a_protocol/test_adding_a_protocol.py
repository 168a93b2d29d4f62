"""One new file is a protocol: it is found, planned, warmed up, run in lockstep and by a pair, and reported.

The file is `square_gilboa.py` beside this one; docs/adding-a-protocol.md tells of it.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bunet.experiments import warmup as warming
from bunet.experiments.checks import relu_protocol
from bunet.experiments.report import costs
from bunet.experiments.sweep import reading
from bunet.models.compiled import save_compiled
from bunet.parties import warmup
from bunet.parties.ledger import Ledger
from bunet.parties.local.job import PairJob
from bunet.parties.local.pair import run_pair
from bunet.parties.planner import choose, plan
from bunet.parties.run_options import RunOptions
from bunet.protocols import layers, registry
from bunet.protocols.context import Role
from bunet.protocols.registry import Protocol
from tests.experiments.command_line import Bunet
from tests.parties import programs
from tests.protocols.layers import test_registry as shared

FOLDER = Path(__file__).parent
FILE = FOLDER / "square_gilboa.py"
DOCUMENT = Path(__file__).parents[3] / "docs" / "adding-a-protocol.md"
CHOICES = {"square": "gilboa"}


@pytest.fixture
def protocol(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Protocol]:
    """The protocol of the file, as if the file lay in protocols/layers; forgotten when the test has ended."""
    folder = tmp_path / "layers"
    folder.mkdir()
    (folder / FILE.name).write_text(FILE.read_text())
    registry.load()  # of the others, which stay
    monkeypatch.setattr(registry, "_PROTOCOLS", dict(registry._PROTOCOLS))
    monkeypatch.setattr(layers, "__path__", [*layers.__path__, str(folder)])
    registry.load.cache_clear()
    yield registry.get("square", "gilboa")
    registry.load.cache_clear()
    sys.modules.pop(f"{layers.__name__}.{FILE.stem}")
    del layers.square_gilboa  # type: ignore[attr-defined]


def test_the_document_shows_the_file_and_the_file_is_short() -> None:
    assert f"```python\n{FILE.read_text()}```" in DOCUMENT.read_text()
    lines = len(FILE.read_text().splitlines())
    assert lines <= 60
    assert f"in {lines} lines" in DOCUMENT.read_text()


def test_it_is_found_and_can_be_chosen(protocol: Protocol) -> None:
    assert registry.names("square") == ["gilboa", "mt", "mt-ot"]
    assert protocol in registry.everything()
    assert relu_protocol("gc") == "gc"
    text = "name: toy\ngrid: {sizes: [32], activations: [hybrid], protocols: [{square: gilboa}]}\n"
    assert reading.parse(text, "toy.yaml").grid.protocols == [CHOICES]


def test_the_shared_tests_run_it(protocol: Protocol) -> None:
    examples = shared._cases(protocol)
    assert [layer.inputs[0].width for layer in examples] == [20, 26, 36, 2]
    for layer in examples:
        for settings in shared._settings(protocol):
            shared.check(protocol, replace(layer, settings=settings))


def test_it_is_planned_with_its_cost(protocol: Protocol, bunet: Bunet) -> None:
    arguments = ("plan", "--size", 32, "--features", 1, "--activation", "hybrid", "--protocol", "square=gilboa")
    status, out, error = bunet(*arguments, COLUMNS="200")
    assert status == 0, error
    assert "gilboa" in out
    assert " mt " not in out


def test_its_kernels_are_warmed_up(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = [
        group for group in warming.layer_groups(warming.programs()) if (group.operation, group.protocol) == ("square", "gilboa")
    ]
    assert planned
    monkeypatch.setattr(warmup, "_warm", set())
    program = programs.small(16, 2, activation="hybrid").program
    warmup.compile_kernels(plan(program, choose(program, CHOICES)), lambda event: None, Role.ALICE)
    assert {key[:2] for key in warmup._warm} >= {("square", "gilboa"), ("relu", "gc-sign")}  # what has been run


def test_it_runs_whole_programs_in_lockstep(protocol: Protocol) -> None:
    compiled = programs.small(16, 2, activation="hybrid")
    (image,) = programs.slices(compiled, 1)
    for settings in ({}, {"ot": "softspoken-2"}):
        programs.verify(compiled, image, *programs.run(compiled, image, CHOICES, settings))


def test_a_pair_runs_it_from_a_package_and_reports_count_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parties are processes of their own: they find the file as an installed package's entry point."""
    site = tmp_path / "site"
    about = site / "square_gilboa-1.dist-info"
    about.mkdir(parents=True)
    (site / FILE.name).write_text(FILE.read_text())
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: square-gilboa\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[bunet.protocols]\nsquare-gilboa = square_gilboa\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))

    compiled = programs.small(16, 2, activation="hybrid")
    model, inputs = tmp_path / "model.safetensors", tmp_path / "inputs.npy"
    save_compiled(compiled, model)
    np.save(inputs, programs.slices(compiled, 2))
    ledger = Ledger()
    result = run_pair(
        PairJob(
            folder=tmp_path,
            run=RunOptions(in_flight=2, protocols=CHOICES),
            model=model,
            inputs=inputs,
            labels=(("z", 0), ("z", 1)),
            record=2,
        ),
        ledger,
    )
    assert result.verified is True, result.mismatches
    squares = [node.name for node in compiled.program if node.operation == "square"]
    document = ledger.document(link={}, environment={})
    assert [line["name"] for line in document["plan"] if line["protocol"] == "gilboa"] == squares != []
    assert costs.by_protocol([document])["gilboa"].rounds == 2 * 2 * len(squares)
    assert "activation" in costs.by_family([document])
