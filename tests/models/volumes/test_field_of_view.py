"""The frame around a body that is small in its slices."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bunet_clinical
from bunet.models.network import weights as weight_files
from bunet.models.network.reference import FloatModel
from bunet.models.volumes.content.intensity import windowed
from bunet.models.volumes.slice_source import SliceSource
from bunet.models.volumes.slicing.field_of_view import (
    LEAST_SHARE,
    USUAL_SHARE,
    Crop,
    body_share,
    crop_of,
    largest_part,
    pixels_of,
)

DATA = Path(os.environ.get("BUNET_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no folder of real chest CT (set BUNET_DATA)")
AIR, TISSUE, LUNG = 0.15, 0.86, 0.25


def scan(rows: int, columns: int, width: float, at: tuple[float, float], table: bool = False) -> np.ndarray:
    """An ellipse `width` columns wide and two thirds as high around `at`, with lungs; below it a thin table."""
    y, x = np.ogrid[:rows, :columns]
    inside = ((y - at[0]) / (width / 3)) ** 2 + ((x - at[1]) / (width / 2)) ** 2
    image = np.where(inside <= 1, TISSUE, AIR).astype(np.float32)
    image[inside < 0.4] = LUNG
    if table:
        image[int(at[0] + width / 3) + 6 : int(at[0] + width / 3) + 8, 2:-2] = TISSUE
    return np.stack([image] * 20)


@pytest.mark.parametrize(("rows", "columns"), [(128, 128), (300, 300), (512, 512), (200, 300)])
@pytest.mark.parametrize("table", [False, True])
def test_a_small_body_gets_the_training_s_share(rows: int, columns: int, table: bool) -> None:
    longer = max(rows, columns)
    volume = scan(rows, columns, 0.45 * longer, (0.5 * rows, 0.55 * columns), table)
    crop = crop_of(volume)
    (top, bottom), (left, right) = crop.rows, crop.columns
    assert bottom - top == right - left == pytest.approx(0.45 * longer / USUAL_SHARE, rel=0.06)
    body = np.flatnonzero((volume[0, : int(0.5 * rows), left:right] > 0.5).any(axis=0))
    assert (body[-1] + 1 - body[0]) / (right - left) == pytest.approx(USUAL_SHARE, abs=0.05)
    assert (left + right) / 2 == pytest.approx(0.55 * columns, abs=0.03 * longer)
    assert crop_of(volume[:, top:bottom, left:right]) is None


def test_a_body_as_large_as_in_training_is_left_alone() -> None:
    for share in (LEAST_SHARE + 0.03, 0.9, 1.0):
        volume = scan(128, 128, share * 128, (64, 64))
        assert crop_of(volume) is None
        assert body_share(volume) == pytest.approx(share, abs=0.03)


def test_the_frame_stays_within_the_volume() -> None:
    crop = crop_of(scan(256, 256, 90, (240, 20)))
    assert crop.rows[1] == 256
    assert crop.columns[0] == 0
    flat = crop_of(scan(60, 256, 100, (30, 128)))
    assert flat.rows == (0, 60)
    assert flat.columns[1] - flat.columns[0] == pytest.approx(100 / USUAL_SHARE, abs=6)


def test_where_there_is_no_body_nothing_is_cut() -> None:
    assert crop_of(np.full((4, 64, 64), AIR, np.float32)) is None
    assert body_share(np.full((4, 64, 64), AIR, np.float32)) is None
    specks = np.full((4, 64, 64), AIR, np.float32)
    specks[:, 10:14, 10:14] = TISSUE
    assert crop_of(specks) is None
    assert crop_of(np.ones((1, 1, 1), np.float32)) is None


def test_a_crop_knows_its_place_along_every_axis() -> None:
    crop = Crop((2, 6), (3, 9))
    assert [crop.along(axis, 20) for axis in "zyx"] == [(0, 20), (2, 6), (3, 9)]
    volume = np.arange(5 * 10 * 12).reshape(5, 10, 12)
    part = volume[:, 2:6, 3:9]
    for axis, number in (("z", 0), ("y", 1), ("x", 2)):
        start = crop.along(axis, volume.shape[number])[0]
        np.testing.assert_array_equal(np.take(volume, start, number)[crop.flat(axis)], part.take(0, number))
    assert crop.shape(5) == part.shape
    assert Crop.of_list(crop.as_list()) == crop


def flood(mask: np.ndarray) -> list[tuple[int, tuple[int, int, int, int]]]:
    """Boxes and areas of all parts, by filling them one after the other."""
    left, found = {tuple(p) for p in np.argwhere(mask).tolist()}, []
    while left:
        part, todo = [], [left.pop()]
        while todo:
            y, x = todo.pop()
            part.append((y, x))
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            todo += near
        rows, columns = zip(*part, strict=True)
        found.append((len(part), (min(rows), max(rows) + 1, min(columns), max(columns) + 1)))
    return found


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.2, 0.9), st.integers(0, 2**32 - 1))
def test_the_largest_part_is_that_of_a_flood_fill(rows: int, columns: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((rows, columns)) < share
    parts = flood(mask)
    box = largest_part(mask)
    if not parts:
        assert box is None
    else:
        assert (max(area for area, _ in parts), box) in parts


@needs_data
def test_air_around_a_real_chest_is_cut_off_again() -> None:
    hu = np.load(DATA / "lung_pet_ct_dx_A0001" / "ct_256.npz")["hu"][16:48:2, ::2, ::2]
    crops = []
    for k in (13, 26, 45, 64):
        padded, _ = windowed(np.pad(hu, ((0, 0), (k, k), (k, k)), constant_values=-1024))
        crop = crop_of(padded)
        crops.append([[bound - k for bound in each] for each in crop.as_list()])
    assert crop_of(windowed(hu)[0]) is None
    assert np.ptp(np.array(crops), axis=0).max() <= 8, "the same part of the patient, however much air is around"


@needs_data
def test_the_lung_of_a_wide_field_of_view_is_that_of_the_chest_s_own() -> None:
    """The same patient on 517, 605 and 732 mm in place of 430, pixels of 3.36 mm: every fourth slice of 16 of the chest."""
    network = FloatModel(weight_files.load(bunet_clinical.FOLDER / "lung-z.safetensors"))
    hu = np.load(DATA / "lung_pet_ct_dx_A0001" / "ct_256.npz")["hu"][16:32, ::2, ::2]

    def lung(array: np.ndarray) -> np.ndarray:
        volume, _ = windowed(array)
        source = SliceSource.of(volume, "z", 128, crop_of(volume))
        return np.stack([source.frame.restore(network.label(source.image(k))) for k in range(2, 16, 4)]) != 0

    own = lung(hu)
    assert 0.05 < own.mean() < 0.5
    for k in (13, 26, 45):
        found = lung(np.pad(hu, ((0, 0), (k, k), (k, k)), constant_values=-1024))[:, k:-k, k:-k]
        assert 2 * (found & own).sum() / (found.sum() + own.sum()) >= 0.9, f"{430 * (1 + 2 * k / 128):.0f} mm"


def test_pixels_that_are_not_square_become_so() -> None:
    """Every second row of a chest: cut to the same part of the patient, and seen and put back as with all rows."""
    volume = scan(256, 256, 110, (120, 140))
    full, half = crop_of(volume), crop_of(volume[:, ::2], (1.6, 0.8))
    assert (half.columns, half.pixels) == (full.columns, (1.6, 0.8))
    assert np.abs(2 * np.array(half.rows) - full.rows).max() <= 2
    assert Crop.of_list(json.loads(json.dumps(half.as_list()))) == half
    whole = Crop((0, 128), (0, 256), (1.6, 0.8))
    for axis, position in (("z", 7), ("y", 60), ("x", 140)):
        seen = SliceSource.of(volume[:, ::2], axis, 64, whole)
        square = SliceSource.of(volume, axis, 64)
        assert seen.frame.fit.size == square.frame.fit.size == (64, 64)
        wanted = square.image(position * 2 if axis == "y" else position)
        assert np.abs(seen.image(position) - wanted).mean() < 0.02
        labels = (wanted[2] > 0.5).astype(np.uint8)
        back = square.frame.restore(labels)
        every_second = {"z": back[::2], "y": back, "x": back[:, ::2]}
        np.testing.assert_array_equal(seen.frame.restore(labels), every_second[axis])


def test_pixels_within_five_percent_are_square() -> None:
    assert pixels_of(None) == pixels_of((5, 0.8, 0.8)) == pixels_of((5, 0.8, 0.83)) == (1.0, 1.0)
    assert pixels_of((5, 0.8, 0.9)) == (0.8, 0.9)
