"""The synthetic chest: reproducible, varied, anatomically in order, smooth along z."""

import numpy as np
import pytest

from bunet.models.errors import UsageError
from bunet.models.volumes.synthetic import (
    EMBEDDED_SEED,
    TRAINING_SEEDS,
    VALIDATION_SEEDS,
    SyntheticVolume,
    embedded,
    generate,
)
from tests.models.held_out import TEST_SEEDS


@pytest.fixture(scope="module")
def chests() -> list[SyntheticVolume]:
    return [generate(size=64, slices=16, seed=seed, lesions=4) for seed in range(4)]


def test_equal_seeds_give_equal_volumes_and_others_do_not(chests: list[SyntheticVolume]) -> None:
    again = generate(size=64, slices=16, seed=1, lesions=4)
    np.testing.assert_array_equal(again.volume, chests[1].volume)
    np.testing.assert_array_equal(again.lesion, chests[1].lesion)
    assert np.abs(chests[0].volume - chests[1].volume).mean() > 0.02
    assert (chests[0].lung != chests[1].lung).mean() > 0.005


def test_kinds_ranges_and_nesting(chests: list[SyntheticVolume]) -> None:
    for chest in chests:
        assert chest.volume.dtype == np.float32
        assert chest.lung.dtype == chest.lesion.dtype == np.bool_
        assert chest.volume.shape == chest.lung.shape == chest.lesion.shape == (16, 64, 64)
        assert 0 <= chest.volume.min() < chest.volume.max() <= 1
        assert not (chest.lesion & ~chest.lung).any()
        assert 0.1 < chest.lung.mean() < 0.4
        assert 0 < chest.lesion.sum() < chest.lung.sum()


def test_tissues_have_their_densities(chests: list[SyntheticVolume]) -> None:
    for chest in chests:
        healthy = np.median(chest.volume[chest.lung & ~chest.lesion])
        opaque = np.median(chest.volume[chest.lesion])
        spine = np.median(chest.volume[:, 40:56, 28:36])
        outside = np.median(chest.volume[:, :4])
        assert outside < healthy < opaque < spine
        assert 0.2 < healthy < 0.35
        assert opaque - healthy > 0.08


def test_neighbouring_slices_are_alike_but_not_equal(chests: list[SyntheticVolume]) -> None:
    for chest in chests:
        near = np.abs(np.diff(chest.volume, axis=0)).mean()
        far = np.abs(chest.volume[10:] - chest.volume[:-10]).mean()
        assert 0 < near < 0.75 * far


def test_any_size_and_number_of_slices() -> None:
    assert generate(size=48, slices=1, seed=2).volume.shape == (1, 48, 48)
    whole = generate(size=48, slices=48, seed=2)
    assert whole.lung[20].any()
    assert not whole.lung[0].any()
    assert generate(size=64, slices=4, seed=0, lesions=0).lesion.sum() == 0


def test_the_embedded_volume_shows_lesions_and_is_in_no_split() -> None:
    chest = embedded()
    assert chest.volume.shape == (32, 128, 128)
    assert chest.lesion.mean() > 0.01
    assert chest.lesion[16].mean() > 0.02
    splits = (TRAINING_SEEDS, VALIDATION_SEEDS, TEST_SEEDS)
    assert not any(EMBEDDED_SEED in seeds for seeds in splits)
    assert not set(VALIDATION_SEEDS) & set(TEST_SEEDS)
    assert TRAINING_SEEDS.stop <= VALIDATION_SEEDS.start


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 8}, "below 32"),
        ({"slices": 0}, "not a positive"),
        ({"seed": -1}, "negative"),
        ({"lesions": -1}, "negative"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        generate(**arguments)
