"""What is said of a volume that is unlike the training's."""

import os
from pathlib import Path

import numpy as np
import pytest

from bunet.models.volumes import synthetic
from bunet.models.volumes.content import remarks
from bunet.models.volumes.content.intensity import windowed
from bunet.models.volumes.formats import LoadedVolume, load, on_scale, write
from bunet.models.volumes.volume import Volume

DATA = Path(os.environ.get("BUNET_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no folder of real chest CT (set BUNET_DATA)")


@pytest.fixture(scope="module")
def hu() -> np.ndarray:
    """A chest in Hounsfield units, with the noise that every scanner has."""
    noise = np.random.default_rng(5).normal(0, 12, (16, 64, 64))
    return synthetic.generate(size=64, slices=16, seed=3).volume * 1500 - 1250 + noise


def saved(folder: Path, array: np.ndarray) -> LoadedVolume:
    np.save(folder / "ct.npy", array)
    return load(folder / "ct.npy")


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (-1000, 400, np.float32),
        (-160, 240, np.float32),
        (-1000, 200, np.float32),
        (-1024, 3071, np.float32),
        (-1350, 800, np.float32),
        (-1000, 200, np.uint8),
    ],
)
def test_another_window_is_said(tmp_path: Path, hu: np.ndarray, low: int, high: int, kind: type[np.generic]) -> None:
    values = (hu.clip(low, high) - low) / (high - low)
    loaded = saved(tmp_path, values.astype(kind) if kind is np.float32 else np.round(values * 255).astype(kind))
    (warning,) = loaded.notes
    assert "not those of the window [-1250, 250] HU" in warning
    assert "`--intensity`" in warning
    assert warning in loaded.remarks()
    assert loaded.crop is None


def test_the_training_s_window_is_not_warned_of(tmp_path: Path, hu: np.ndarray) -> None:
    for array in (((hu.clip(-1250, 250) + 1250) / 1500).astype(np.float32), hu.astype(np.int16)):
        assert saved(tmp_path, array).notes == ()


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.0, 1.0, False), (-0.005, 1.005, False), (-1000, 3000, True), (-0.3, 0.5, True)]
)
def test_of_values_that_are_taken_as_they_are_the_range_is_said(
    tmp_path: Path, hu: np.ndarray, low: float, high: float, said: bool
) -> None:
    values = low + (high - low) * (hu - hu.min()) / np.ptp(hu)
    np.save(tmp_path / "ct.npy", values.astype(np.float32))
    notes = load(tmp_path / "ct.npy", "as-is").notes
    assert [f"values from {low:g} to {high:g} are taken as they are" in note for note in notes] == [True] * said


def test_the_field_of_view_is_warned_of_whatever_the_intensities(tmp_path: Path, hu: np.ndarray) -> None:
    """512 pixels of 1.68 mm, as a whole-body scanner's; the rule `as-is` is the default of published models."""
    np.savez(tmp_path / "ct.npz", array=np.clip(hu / 1500 + 0.83, 0, 1), spacing_zyx_mm=[5, 860 / 64, 860 / 64])
    for rule in ("as-is", "unit"):
        assert any("slices show 860 mm" in line for line in load(tmp_path / "ct.npz", rule).remarks())


def test_what_is_said_of_a_crop_is_said_where_there_is_one(tmp_path: Path, hu: np.ndarray) -> None:
    """At the volume's own size nothing is cropped: 860 mm stay 860 mm, and no slice is cut to the body."""
    wide = np.pad(hu, ((0, 0), (40, 40), (40, 40)), constant_values=-1000)
    np.savez(tmp_path / "ct.npz", array=wide.astype(np.int16), spacing_zyx_mm=[5, 860 / 144, 860 / 144])

    def said(lines: list[str]) -> list[bool]:
        return ["are cut to the body" in "".join(lines), "slices show 860 mm" in "".join(lines)]

    loaded = load(tmp_path / "ct.npz")
    assert loaded.crop is not None
    assert said(loaded.remarks()) == [True, False]
    assert said(loaded.remarks({False})) == [False, True]
    assert said(loaded.remarks({True, False})) == [True, True], "some models are of a size, some are not"
    own = load(tmp_path / "ct.npz", sized=False)
    assert (own.crop, said(own.remarks())) == (None, [False, True])


def test_a_volume_without_air_or_without_tissue_is_said(hu: np.ndarray) -> None:
    (full, _), (empty, _) = windowed(np.clip(hu, -150, None), "hu"), windowed(np.clip(hu, None, -600), "hu")
    assert "only 0.0 % of the values are air or lung" in remarks.air_remark(full)
    assert "only 0.0 % of the values are denser than lung" in remarks.air_remark(empty)
    assert remarks.air_remark(windowed(hu, "hu")[0]) is None


@pytest.mark.parametrize(
    ("spacing", "shape", "words"),
    [
        ((5, 0.8, 0.8), (60, 512, 512), []),
        ((1, 0.98, 0.98), (400, 512, 512), []),
        (None, (60, 512, 512), []),
        ((5, 1.37, 1.37), (60, 512, 512), ["slices show 701 mm"]),
        ((5, 0.3, 0.3), (60, 512, 512), ["slices show 154 mm"]),
        ((5, 0.8, 0.8), (350, 512, 512), ["the slices reach over 1750 mm"]),
        ((12, 0.8, 0.8), (30, 512, 512), ["slices lie 12 mm apart"]),
        ((10, 0.8, 0.8), (30, 512, 512), []),
    ],
)
def test_a_field_of_view_that_no_chest_has_is_said(
    spacing: tuple[int, float, float] | None, shape: tuple[int, int, int], words: list[str]
) -> None:
    found = remarks.field_remarks(spacing, shape)
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def axes(shear: float = 0.0, turned: float = 0.0) -> np.ndarray:
    """Of (slice, row, column) with steps of 5, 0.8 and 0.8 mm; degrees about the axis from right to left, as a gantry tilts."""
    affine = np.diag([0, 0, 0, 1.0])
    affine[:3, 0] = [0, 0, 5]
    angle = np.radians(shear + turned)
    affine[:3, 1] = [0, 0.8 * np.cos(angle), 0.8 * np.sin(angle)]
    affine[:3, 2] = [0.8, 0, 0]
    if turned:
        affine[:3, 0] = [0, -5 * np.sin(np.radians(turned)), 5 * np.cos(np.radians(turned))]
    return affine


@pytest.mark.parametrize(
    ("affine", "said"),
    [
        (axes(), None),
        (axes(shear=4), None),
        (axes(turned=-4), None),
        (None, None),
        (axes(shear=15), "tilted by 15 degrees against the direction"),
        (axes(shear=-8), "tilted by 8 degrees against the dir"),
        (axes(turned=15), "tilted by 15 degrees against the patient's axes"),
    ],
)
def test_slices_that_are_tilted_are_said(tmp_path: Path, hu: np.ndarray, affine: np.ndarray | None, said: str | None) -> None:
    volume = Volume(hu.astype(np.int16), affine, source=tmp_path)
    notes = [note for note in on_scale(volume, tmp_path).notes if "tilted" in note]
    assert [said in note for note in notes] == [True] * (said is not None)
    if affine is not None:
        write(volume, tmp_path / "ct.nii.gz")
        assert [note for note in load(tmp_path / "ct.nii.gz", "as-is").remarks() if "tilted" in note] == notes


@needs_data
def test_of_real_chests_nothing_is_said_or_cropped() -> None:
    paths = sorted((DATA / "covid_ct_seg_128").glob("*.npz"))
    assert len(paths) == 17
    for path in paths:
        loaded = load(path)
        assert (loaded.rule, loaded.notes, loaded.crop) == ("tissue" if "corona" in path.stem else "windowed", (), None)
    loaded = load(DATA / "lung_pet_ct_dx_A0001" / "ct_256.npz")
    assert (loaded.rule, loaded.notes, loaded.crop) == ("hu", (), None)


@pytest.mark.parametrize("rule", ["auto", "as-is"])
def test_pixels_that_are_not_square_are_said(tmp_path: Path, hu: np.ndarray, rule: str) -> None:
    np.savez(tmp_path / "ct.npz", array=hu[:, ::2].astype(np.int16), spacing_zyx_mm=[5, 10, 5])
    for field in ("auto", "whole"):
        loaded = load(tmp_path / "ct.npz", rule, field_of_view=field)
        assert loaded.crop.pixels == (10, 5)
        (said,) = [line for line in loaded.remarks() if "not square" in line]
        assert "10 mm from row to row, 5 mm from column to column; slices that are brought to" in said
    (said,) = [line for line in load(tmp_path / "ct.npz", rule, sized=False).remarks({False}) if "not square" in line]
    assert said.startswith("WARNING: pixels are not square")


@pytest.mark.parametrize(
    ("scale", "offset", "kind", "words"),
    [
        (1, 0, np.int16, "they look as `--intensity hu` takes them"),
        (1, 1250, np.uint16, "`--intensity hu+1024`"),
        (1, 0, np.uint16, "save it as int16"),
        (1 / 6, 1250 / 6, np.float32, "say `--intensity hu+1024`"),
    ],
)
def test_values_that_were_never_normalised_are_warned_of_with_their_rule(
    tmp_path: Path, hu: np.ndarray, scale: float, offset: float, kind: type[np.generic], words: str
) -> None:
    """Published models take values as they are, and find nothing in Hounsfield units."""
    values = hu * scale + offset
    np.save(tmp_path / "ct.npy", values.astype(np.int32).astype(kind) if kind is not np.float32 else values.astype(kind))
    loaded = load(tmp_path / "ct.npy", "as-is")
    (said,) = loaded.doubts
    assert said in loaded.remarks()
    assert "masks will be wrong or empty; " in said
    assert words in said
