"""Whole volumes by the oracle: seeded slice by slice, at the volume's own pixels."""

import numpy as np
import pytest

from bunet.models.metrics import agreement
from bunet.models.network.architecture import Architecture
from bunet.models.network.reference import FloatModel
from bunet.models.network.seeded import seeded_slice, seeded_weights
from bunet.models.passes.compile import compile_model
from bunet.models.training import integer_score
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing.field_of_view import Crop

SMALL = Architecture(features=2, depth=2)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_a_volume_is_segmented_as_the_float_network_does(axis: str) -> None:
    model = seeded_weights(SMALL, 1)
    volume = np.random.default_rng(0).random((9, 24, 20), dtype=np.float32)
    numbers = range(volume.shape["zyx".index(axis)])
    source = SliceSource.of(volume, axis, 32)
    slices = [source.image(k) for k in numbers]
    compiled = compile_model(model, 32, 32, "12.8", slices)
    done: list[int] = []
    mask = integer_score.segment(compiled, volume, axis, 0, done.append)
    assert done == [k + 1 for k in numbers]
    assert mask.shape == volume.shape
    floats = [source.frame.restore(FloatModel(model).label(image) == 1) for image in slices]
    assert agreement(mask, np.stack(floats, axis="zyx".index(axis))).dice > 0.99
    assert np.array_equal(mask, integer_score.segment(compiled, volume, axis, 0))
    coarse = compile_model(model, 32, 32, "4.3", slices)
    assert not np.array_equal(integer_score.segment(coarse, volume, axis, 0), integer_score.segment(coarse, volume, axis, 1))


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_slices_are_cut_to_the_body_as_everywhere(axis: str) -> None:
    model, crop = seeded_weights(SMALL, 1), Crop((6, 30), (3, 23))
    volume = np.random.default_rng(0).random((9, 40, 32), dtype=np.float32)
    source = SliceSource.of(volume, axis, 32, crop)
    numbers = {"x": range(3, 23), "y": range(6, 30), "z": range(9)}[axis]
    compiled = compile_model(model, 32, 32, "12.8", [source.image(k) for k in numbers])
    done: list[int] = []
    mask = integer_score.segment(compiled, volume, axis, 0, done.append, crop)
    assert done == [n + 1 for n in range(len(numbers))]
    assert mask.any()
    assert not np.delete(np.delete(mask, range(6, 30), 1), range(3, 23), 2).any()
    assert mask.sum() == mask[:, 6:30, 3:23].sum()
    floats = np.zeros_like(mask)
    for k in numbers:
        np.moveaxis(floats, "zyx".index(axis), 0)[k] = source.frame.restore(FloatModel(model).label(source.image(k)) == 1)
    assert agreement(mask, floats).dice > 0.99


def test_other_programs_are_refused() -> None:
    model = seeded_weights(SMALL)
    images = [seeded_slice(SMALL, 32, 32, 0)]
    volume = np.zeros((9, 24, 20), np.float32)
    for program in (compile_model(model, 32, 32, "8.4", images, "logits"), compile_model(model, 32, 48, "8.4", images)):
        with pytest.raises(ValueError, match="square slices with readout argmax"):
            integer_score.segment(program, volume, "z")
