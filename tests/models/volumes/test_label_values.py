"""The one rule of labels: which voxels are inside, what is refused in one sentence, what is said of what is taken."""

from pathlib import Path

import numpy as np
import pytest

from bunet.models.volumes.labels.values import LabelError, count, inside_of, listed, mask_of, parse

INSIDE = np.zeros((4, 3, 5), bool)
INSIDE[1:3, 1, 2:] = True
LUNGS_AND_INFECTION = np.where(INSIDE, 3, np.arange(60).reshape(4, 3, 5) % 3)


def masked(array: np.ndarray, *asked: int, file: str = "label.npy") -> tuple[np.ndarray, tuple[str, ...]]:
    voxels = count(array, "the label")
    inside, notes = inside_of(voxels, asked, "the label", Path(file))
    return mask_of(array, inside, "the label"), notes


@pytest.mark.parametrize("value", [1, 3, 255])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int64, np.uint64, np.float16, np.float32, np.float64])
def test_one_value_besides_0_is_inside(value: int, kind: type[np.generic]) -> None:
    mask, notes = masked((INSIDE * value).astype(kind))
    np.testing.assert_array_equal(mask, INSIDE)
    assert notes == ()


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int32, np.float32])
@pytest.mark.parametrize("asked", [(3,), (1, 2), (1, 2, 3)])
def test_values_that_are_asked_for_are_inside_exactly(kind: type[np.generic], asked: tuple[int, ...]) -> None:
    mask, notes = masked(LUNGS_AND_INFECTION.astype(kind), *asked)
    np.testing.assert_array_equal(mask, np.isin(LUNGS_AND_INFECTION, asked))
    assert notes == ()


@pytest.mark.parametrize("values", [(0, 1, 3), (-128, 127), (0, 65535, 70000), (2**63, 2**63 + 5), (-(2**62), 2**62), (7,)])
def test_voxels_are_counted_by_value(values: tuple[int, ...]) -> None:
    kind = np.uint64 if max(values) >= 2**63 else np.int8 if min(values) == -128 else np.int64
    array = np.resize(np.array(values, kind), (3, 4, 5))
    assert count(array, "it") == {value: int((array == kind(value)).sum()) for value in values}


def test_both_signs_are_for_people_to_decide() -> None:
    signs = np.where(INSIDE, 1, -1).astype(np.int8)
    with pytest.raises(LabelError, match=r"the label has the values -1, 1, and a label has none below 0: .* --label-value 1$"):
        masked(signs)
    np.testing.assert_array_equal(masked(signs, 1)[0], INSIDE)
    with pytest.raises(LabelError, match=r"the values -1, 0, and .*: give a mask of 0 and 1$"):
        masked(-INSIDE.astype(np.int8))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (LUNGS_AND_INFECTION, "the values 1, 2, 3 besides 0: .*--label-value 3 is the infection and --label-value 1,2 the "),
        (np.where(INSIDE, 3, 1), "the values 1, 3 besides 0: .*--label-value 3 is the infection"),
        (np.where(INSIDE, 2, 1), "the values 1, 2 besides 0: say which are inside, such as --label-value 2 or --label-value 1"),
        (np.where(INSIDE, 4, 3), "the values 3, 4 besides 0: say which are inside, such as --label-value 4"),
        (np.arange(60).reshape(3, 4, 5), "the values 1, 2, 3, 4, 5, 6, 7, 8 and 51 more besides 0: say which"),
        (np.where(INSIDE, 0.9, 0.01), r"not whole, such as 0\.01: if they are probabilities, choose a threshold"),
        (np.where(INSIDE, 1, 0.5).astype(np.float32), r"not whole, such as 0\.5: if they are probabilities"),
        (np.where(INSIDE, 1, np.nan), "the label holds NaN or infinity"),
        (np.where(INSIDE, np.inf, 0), "the label holds NaN or infinity"),
        (np.where(INSIDE, 1e300, 0), r"values as large as 1e\+300"),
        (np.arange(1500).reshape(3, 5, 100), "more than 1000 different values: is it the CT?"),
        (np.arange(1500.0).reshape(3, 5, 100) * 100_000, "more than 1000 different values: is it the CT?"),
    ],
)
def test_what_does_not_tell_its_inside_is_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(LabelError, match=words):
        masked(array)


@pytest.mark.parametrize("array", [np.where(INSIDE, 1, 0.5), np.where(INSIDE, 1, np.nan)])
def test_no_value_makes_a_label_of_what_is_none(array: np.ndarray) -> None:
    with pytest.raises(LabelError):
        masked(array, 1)


def test_the_dataset_is_known_by_its_folder_too() -> None:
    healthy = np.where(INSIDE, 2, 1)
    with pytest.raises(LabelError, match="--label-value 3 is the infection"):
        masked(healthy, file="Lung_and_Infection_Mask/coronacases_003.nii.gz")


def test_an_empty_label_is_one_and_said() -> None:
    for asked in ((), (3,)):
        mask, notes = masked(np.zeros((4, 3, 5)), *asked)
        assert not mask.any()
        assert notes == ("the label is empty: it is 0 everywhere",)
    mask, notes = masked(np.where(INSIDE, 2, 1), 3)
    assert not mask.any()
    assert notes == ("the label is empty: it has the values 1, 2, and no 3",)


@pytest.mark.parametrize(("values", "asked"), [((0, 255), 1), ((0, 1, 2, 3), 4), ((-1, 0), 1), ((1, 2, 4), 3)])
def test_a_value_that_is_not_there_is_refused(values: tuple[int, ...], asked: int) -> None:
    with pytest.raises(LabelError, match=rf"has the values {listed(values)}: there is no {asked}, which --label-value"):
        masked(np.resize(values, (4, 3, 5)), asked)


def test_one_of_several_that_is_not_there_is_said() -> None:
    mask, notes = masked(INSIDE * 1, 1, 2)
    np.testing.assert_array_equal(mask, INSIDE)
    assert notes == ("the label has no voxel of value 2",)


@pytest.mark.parametrize("asked", [(), (5,)])
def test_a_label_without_background_is_said(asked: tuple[int, ...]) -> None:
    mask, notes = masked(np.full((4, 3, 5), 5), *asked)
    assert mask.all()
    assert notes == ("the label has no background: every voxel is 5",)


def test_whole_numbers_that_a_file_scaled_are_whole() -> None:
    step = np.float32(3 / 65535)  # as a writer fits 0..3 into 16 bits
    scaled = (np.rint(LUNGS_AND_INFECTION / step) * step + np.float32(2e-5)).astype(np.float32)
    assert not np.array_equal(scaled, np.rint(scaled))
    np.testing.assert_array_equal(masked(scaled, 3)[0], INSIDE)
    assert count(scaled, "it") == count(LUNGS_AND_INFECTION, "it")


@pytest.mark.parametrize(("text", "values"), [("3", (3,)), ("2,1", (1, 2)), (" 1 , 2 ", (1, 2)), (3, (3,)), ("255", (255,))])
def test_values_are_read(text: str | int, values: tuple[int, ...]) -> None:
    assert parse(text) == values


@pytest.mark.parametrize("text", ["", "a", "1;2", "1.5", "0", "-1", "1,1", "1,", 0])
def test_what_names_no_value_is_refused(text: str | int) -> None:
    with pytest.raises(LabelError):
        parse(text)
