"""Boxes of a volume, and maps of slices put back into them; how far a job is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bunet.experiments.checks import slice_range
from bunet.experiments.predict.models import PredictModel
from bunet.experiments.predict.region import Region, decide, gather, total
from bunet.experiments.predict.stage import JobProgress, Stage
from bunet.models.errors import UsageError
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_weights
from bunet.models.volumes.slice_source import SliceFrame
from bunet.parties import outcomes

SHAPE = (5, 20, 30)
XYZ = ("x", "y", "z")


@pytest.mark.parametrize(
    ("text", "axes", "box"),
    [
        (":", XYZ, ((0, 5), (0, 20), (0, 30))),
        ("2:4", XYZ, ((2, 4), (2, 4), (2, 4))),
        ("2:25", XYZ, ((2, 5), (2, 20), (2, 25))),
        ("3", ("z",), ((3, 4), (0, 20), (0, 30))),
        ("y=3:9", XYZ, ((0, 5), (3, 9), (0, 30))),
        ("z=1:2, x=20:", XYZ, ((1, 2), (0, 20), (20, 30))),
    ],
)
def test_what_is_asked_for_is_a_box(
    text: str, axes: tuple[str, str, str], box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
) -> None:
    region = Region.of(text, SHAPE, axes)
    assert region.box == box
    assert [len(region.positions(axis)) for axis in "zyx"] == [stop - start for start, stop in box]


@pytest.mark.parametrize("text", ["4:2", "z=1:9", "w=1:2", "y=1:2:3", "-1:3", "z=", "2:2"])
def test_what_is_no_box_is_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="--slices"):
        Region.of(text, SHAPE, XYZ)


@pytest.mark.parametrize("text", ["3:2", "2:2", "0:0", "9:8"])
def test_a_range_that_ends_before_it_begins_is_called_that(text: str) -> None:
    """Whether it is for all axes, for one, or what `bunet alice` asks: there is one rule."""
    for asked in (text, f"z={text}"):
        with pytest.raises(UsageError, match=f"--slices {asked}: A must be below B"):
            Region.of(asked, SHAPE, XYZ)
    with pytest.raises(UsageError, match=f"--slices {text}: A must be below B"):
        slice_range(text, 5, "z")
    with pytest.raises(UsageError, match="--slices 5:: along z the volume has the slices 0:5"):
        slice_range("5:", 5, "z")
    with pytest.raises(UsageError, match="--slices 1:-1: along z the volume has the slices 0:5"):
        slice_range("1:-1", 5, "z")
    assert slice_range(":", 5, "z") == (0, 5)


def test_maps_go_back_where_their_slices_were_cut() -> None:
    volume = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    region = Region.of("z=1:4,y=2:9,x=5:25", SHAPE, XYZ)
    taken = {"z": lambda k: volume[k], "y": lambda k: volume[:, k], "x": lambda k: volume[:, :, k]}

    def padded(axis: str, k: int) -> np.ndarray:
        image = taken[axis](k)
        return np.pad(image, [(0, -n % 16) for n in image.shape])

    for axis in XYZ:
        np.testing.assert_array_equal(gather(region, SliceFrame.of(SHAPE, axis), padded, np.int64), volume[region.slices])
    summed = total(region, {axis: SliceFrame.of(SHAPE, axis) for axis in XYZ}, padded, np.int64)
    np.testing.assert_array_equal(summed, 3 * volume[region.slices])
    np.testing.assert_array_equal(region.embed(np.ones(region.size))[region.slices], 1)
    assert region.embed(np.ones(region.size)).sum() == 3 * 7 * 20


def test_resampled_maps_keep_the_nearest_value() -> None:
    region = Region.of(":", (2, 4, 4), ("z",))
    small = np.array([[1, 2], [3, 4]], np.uint8).repeat(8, 0).repeat(8, 1)  # a network of 16 pixels
    found = gather(region, SliceFrame.of(region.shape, "z", 16), lambda axis, k: small, np.uint8)
    np.testing.assert_array_equal(found[0], [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]])


def test_a_voxel_that_all_axes_agree_on_marks_its_neighbours() -> None:
    summed = np.zeros((3, 3, 3), np.float32)
    summed[0, 0, 0], summed[2, 2, 2] = 2.5, 2.0
    assert decide(summed, 3, "probabilities").sum() == 8
    assert decide(summed, 3, "probabilities", filtered=False).sum() == 1
    assert decide(np.full((1, 1, 1), 2, np.uint8), 3, "majority").all()


def test_the_time_left_follows_the_pace_of_this_run(tmp_path: Path) -> None:
    clock = iter([0.0, 10.0, 20.0])
    weights = seeded_weights(Architecture(features=2))
    stage = Stage("secure", PredictModel("lung", "z", weights, "x"), range(6), SliceFrame.of(SHAPE, "z"), tmp_path)
    outcomes.write(tmp_path, 0, np.zeros((1, 1), np.uint8))  # of an earlier run: it took none of this one's time
    outcomes.write(tmp_path, 1, np.zeros((1, 1), np.uint8))
    progress = JobProgress(lambda: next(clock))
    progress.expect(stage)
    assert progress.text() == "job 33 %"
    progress.begin()
    progress.finished(stage)
    assert progress.text() == "job 50 %, about 30 s left"
    progress.finished(stage)
    assert progress.text() == "job 67 %, about 20 s left"
