"""The committed clinical weights: small, described, with ranges, and not broken, as far as a synthetic chest can tell.

How good they are on real CT is measured by `bunet evaluate` and stands in their card; here no real data is needed.
"""

from pathlib import Path

import numpy as np
import pytest

from bunet.models import oracle
from bunet.models.compiled import quantise_input
from bunet.models.metrics import agreement
from bunet.models.network import weights
from bunet.models.network.reference import FloatModel
from bunet.models.passes.compile import compile_model
from bunet.models.volumes import synthetic
from bunet.models.volumes.slicing.slices import AXES, slice_at
from bunet.models.volumes.synthetic import SyntheticVolume
from bunet_clinical import FOLDER
from tests.models.held_out import TEST_SEEDS

FILES = sorted(FOLDER.glob("*.safetensors"))
SLICES = (30, 60)
TRUTH_AT_LEAST = 0.9
FLOAT_AT_LEAST = 0.95


@pytest.fixture(scope="module")
def chest() -> SyntheticVolume:
    return synthetic.generate(size=128, slices=128, seed=TEST_SEEDS[0])


def test_together_they_are_small() -> None:
    assert {path.stem for path in FILES} >= {"infection-z", "infection-z-hybrid", "lung-z"}
    assert sum(path.stat().st_size for path in FILES) <= 30_000_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_says_what_it_is(path: Path) -> None:
    target, axis, *hybrid = path.stem.split("-")
    notes = weights.read_notes(path)
    assert (notes["target"], notes["axis"], notes["size"], notes["source"]) == (target, axis, 128, "cases")
    assert not {*notes["training"]} & {*notes["validation"], *notes["test"]}
    architecture = weights.load(path).architecture
    assert architecture.activation == ("hybrid" if hybrid else "relu")
    assert (architecture.features, architecture.pooling) == (16 if target == "infection" else 8, "avg")
    assert f"`{path.name}`" in (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_finds_something_on_a_synthetic_chest_and_survives_12_bits(path: Path, chest: SyntheticVolume) -> None:
    target, axis, *_ = path.stem.split("-")
    model = weights.load(path)
    compiled = compile_model(model, 128, 128, "8.4", weights.read_notes(path)["ranges"])
    floats, integers, truth = [], [], []
    for k in SLICES:
        image = slice_at(chest.volume, axis, k)
        floats.append(FloatModel(model).label(image))
        numbers = quantise_input(compiled.program, image)
        outputs = oracle.run(compiled.program, compiled.weights, numbers, rounding=np.random.default_rng(k))
        integers.append(outputs[compiled.program.output.name][0])
        truth.append(np.take(chest.lung, k, AXES[axis]))
    assert any(mask.any() for mask in floats)
    if target == "lung":  # its intensities are true to life; lesions of synthetic chests look otherwise
        assert agreement(np.stack(floats), np.stack(truth)).dice >= TRUTH_AT_LEAST
    assert agreement(np.stack(integers), np.stack(floats)).dice >= FLOAT_AT_LEAST
