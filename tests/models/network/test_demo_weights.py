"""The committed demo weights: small, whole, good on a chest they have not seen, and fit for 12-bit operands."""

from pathlib import Path

import numpy as np
import pytest

from bunet.models import oracle
from bunet.models.compiled import quantise_input
from bunet.models.metrics import agreement
from bunet.models.network import reference, weights
from bunet.models.network.fold import fold
from bunet.models.network.graph import lower
from bunet.models.passes.compile import compile_model
from bunet.models.volumes import synthetic
from bunet.models.volumes.slicing.slices import slice_at
from bunet.models.volumes.synthetic import SyntheticVolume
from tests.models.held_out import TEST_SEEDS

FOLDER = Path(weights.__file__).parents[1] / "demo"
DEMOS = {"demo-relu": "relu", "demo-hybrid": "hybrid"}
TRUTH_AT_LEAST = 0.85
FLOAT_AT_LEAST = 0.97


@pytest.fixture(scope="module")
def chest() -> SyntheticVolume:
    return synthetic.generate(size=128, slices=32, seed=TEST_SEEDS[0])


@pytest.fixture(scope="module")
def calibration() -> list[np.ndarray]:
    volume = synthetic.generate(size=128, slices=32, seed=synthetic.VALIDATION_SEEDS[0]).volume
    return [slice_at(volume, "z", k) for k in (6, 16, 26)]


@pytest.mark.parametrize("name", DEMOS)
def test_they_are_small_and_described(name: str) -> None:
    path = FOLDER / f"{name}.safetensors"
    assert path.stat().st_size <= 10_000_000
    assert f"`{name}.safetensors`" in (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    architecture = weights.load(path).architecture
    assert (architecture.features, architecture.pooling) == (16, "avg")
    assert architecture.activation == DEMOS[name]


@pytest.mark.parametrize("name", DEMOS)
def test_they_segment_a_chest_not_seen_in_training_and_survive_12_bits(
    name: str, chest: SyntheticVolume, calibration: list[np.ndarray]
) -> None:
    model = weights.load(FOLDER / f"{name}.safetensors")
    graph = lower(model.architecture)
    folded = fold(graph, model.tensors)
    compiled = compile_model(model, 128, 128, "8.4", calibration)
    truth, floats, integers = [], [], []
    for k in (8, 20):
        image = slice_at(chest.volume, "z", k)
        logits = reference.forward(graph, folded, image)
        floats.append(logits[1] > logits[0])
        numbers = quantise_input(compiled.program, image)
        outputs = oracle.run(compiled.program, compiled.weights, numbers, rounding=np.random.default_rng(k))
        integers.append(outputs[compiled.program.output.name][0])
        truth.append(chest.lesion[k])
    assert agreement(np.stack(floats), np.stack(truth)).dice >= TRUTH_AT_LEAST
    assert agreement(np.stack(integers), np.stack(floats)).dice >= FLOAT_AT_LEAST


def test_the_demo_volume_shows_something_to_find() -> None:
    chest = synthetic.embedded()
    assert chest.lesion[14:18].any(axis=(1, 2)).all()
