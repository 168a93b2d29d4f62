"""Batch norms tell how a network pools."""

import numpy as np
import pytest

from bunet.models.network import pooling
from bunet.models.network import weights as weight_files
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_slice, seeded_weights
from bunet.models.volumes import synthetic
from bunet.models.volumes.slicing import slices


@pytest.mark.parametrize("activation", ["relu", "hybrid"])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_the_pooling_of_the_training_is_told(kind: str, activation: str) -> None:
    architecture = Architecture(features=4, pooling=kind, activation=activation)
    weights = seeded_weights(architecture, 1)  # its norms are measured on slices of this kind
    images = [seeded_slice(architecture, 64, 64, 100 + k) for k in range(3)]
    assert pooling.decide([pooling.distances(weights, images)]) == kind


def test_the_committed_weights_say_average() -> None:
    from bunet.experiments.weights_choice import DEMO_FOLDER

    chest = synthetic.generate(64, 8, synthetic.TRAINING_SEEDS[0])
    weights = weight_files.load(DEMO_FOLDER / "demo-relu.safetensors")
    measured = pooling.distances(weights, [slices.slice_at(chest.volume, "z", k) for k in (2, 4)])
    assert pooling.decide([measured]) == "avg"


def test_nothing_is_told_where_nothing_was_learned() -> None:
    weights = seeded_weights(Architecture(features=2), 0)
    tensors = {name: np.ones_like(t) if name.endswith("var") else t for name, t in weights.tensors.items()}
    tensors = {name: np.zeros_like(t) if name.endswith("mean") else t for name, t in tensors.items()}
    fresh = weight_files.FloatWeights(weights.architecture, tensors)
    measured = pooling.distances(fresh, [np.zeros((5, 32, 32), np.float32)])
    assert pooling.decide([measured]) is None
    assert pooling.decide([{"avg": 0.1, "max": 0.3}, {"avg": 0.3, "max": 0.2}]) is None
    with pytest.raises(ValueError, match="without a slice"):
        pooling.distances(fresh, [])
