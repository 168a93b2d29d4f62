"""A mask's NIfTI file lies over its volume for every reader: nibabel by either transform, ITK of two generations."""

import gzip
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bunet.models.volumes.about import About
from bunet.models.volumes.formats import load, read_volume, write
from bunet.models.volumes.volume import Layout, Volume
from tests.models.volumes.itk_readers import VERSIONS, corners
from tests.models.volumes.test_volume import ANGLE, AXIAL, LAYOUTS, turned

nibabel = pytest.importorskip("nibabel", reason="needs the extra `clinical`")

SHAPE = (4, 5, 6)
RAS = np.array([[-0.7, 0, 0, 90], [0, -0.8, 0, 120], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
OF_THE_VALUES = {
    "datatype",
    "bitpix",
    "vox_offset",
    "scl_slope",
    "scl_inter",
    "cal_min",
    "cal_max",
    "descrip",
    "intent_code",
    "intent_p1",
    "intent_p2",
    "intent_p3",
    "intent_name",
}


def ct(
    path: Path,
    sform: tuple[np.ndarray, int] | None = None,
    qform: tuple[np.ndarray, int] | None = None,
    version: type = nibabel.Nifti1Header,
    endianness: Literal["<", ">"] = "<",
    units: str = "mm",
    **fields: int | list[float],
) -> Path:
    """A CT file. sform, qform: (affine, code), or None for code 0. fields: put into the header as they are."""
    header = version(endianness=endianness)
    header.set_data_shape(SHAPE)
    header.set_data_dtype(np.dtype(np.int16).newbyteorder(endianness))
    header.set_zooms((0.7, 0.8, 2.5))
    header.set_xyzt_units(units)
    header.set_slope_inter(2, -1024)
    if qform:
        header.set_qform(*qform)
    if sform:
        header.set_sform(*sform)
    for name, value in fields.items():
        header[name] = value
    header["vox_offset"] = header.single_vox_offset
    array = np.random.default_rng(0).integers(0, 900, SHAPE).astype(header.get_data_dtype())
    data = header.binaryblock + bytes(4) + array.tobytes(order="F")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def raw_header(path: Path) -> Any:
    """The header's fields as they lie in the file; nibabel's `load` would mend some."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    version = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}
    for size, kind in version.items():
        for endianness in "<>":
            if int.from_bytes(data[:4], "little" if endianness == "<" else "big") == size:
                return kind(data[:size], endianness, check=False)
    raise AssertionError("no NIfTI header")


def mask_of(path: Path, name: str = "mask") -> Path:
    volume = read_volume(path)
    out = path.with_name(path.name.replace("ct", name))
    write(volume.like(volume.array > 0), out, About("BUNET lung"))
    return out


def shifted(affine: np.ndarray, mm: float | list[float]) -> np.ndarray:
    out = affine.copy()
    out[:3, 3] += mm
    return out


SKEW = RAS.copy()
SKEW[1, 2] = 0.5
OBLIQUE = RAS.copy()
OBLIQUE[:3, :3] = turned(0.2, -0.3, 0.1) @ RAS[:3, :3]
HEADERS: dict[str, dict[str, Any]] = {
    "no code": {},
    "sform only": {"sform": (RAS, 1)},
    "sform of a template": {"sform": (RAS, 4)},
    "qform only": {"qform": (OBLIQUE, 1)},
    "both alike": {"sform": (OBLIQUE, 1), "qform": (OBLIQUE, 1)},
    **{f"apart, sform code {code}": {"sform": (RAS, code), "qform": (shifted(RAS, 40), 1)} for code in (1, 2, 3, 4)},
    "apart, qform aligned": {"sform": (RAS, 1), "qform": (shifted(RAS, 40), 2)},
    "tilted": {"sform": (SKEW, 1), "qform": (SKEW, 1)},
    "left-handed": {"qform": (RAS @ np.diag([-1, 1, 1, 1]), 1)},
    "qfac 0": {"qform": (RAS, 1), "pixdim": [0, 0.7, 0.8, 2.5, 1, 1, 1, 1]},
    "negative pixdim": {"qform": (RAS, 1), "sform": (RAS, 2), "pixdim": [1, -0.7, 0.8, 2.5, 3, 0, 0, 0]},
    "negative pixdim, no code": {"pixdim": [-1, -0.7, -0.8, 2.5, 0, 0, 0, 0]},
    "NIfTI-2": {"version": nibabel.Nifti2Header, "sform": (RAS, 2), "qform": (shifted(RAS, 40), 1)},
    "NIfTI-2, no code": {"version": nibabel.Nifti2Header},
    "big-endian": {"endianness": ">", "sform": (RAS, 2), "qform": (shifted(RAS, 40), 1)},
    "micron": {"units": "micron", "sform": (RAS, 1), "qform": (RAS, 1)},
    "unit unknown": {"units": "unknown", "sform": (RAS, 1)},
    "further fields": {"sform": (RAS, 1), "toffset": 3, "dim_info": 57, "slice_code": 1, "cal_max": 255, "intent_code": 1002},
}


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.filterwarnings("ignore")  # numpy's, of quaternions that nibabel tries
def test_the_header_is_the_one_that_was_read(tmp_path: Path, header: str, ending: str) -> None:
    path = ct(tmp_path / f"ct{ending}", **HEADERS[header])
    mask = mask_of(path)
    theirs, ours = raw_header(path), raw_header(mask)
    assert type(theirs) is type(ours)
    for name in set(theirs.keys()) - OF_THE_VALUES:
        np.testing.assert_array_equal(theirs[name], ours[name], err_msg=name)
    assert (ours["scl_slope"], ours["scl_inter"], ours["cal_max"], ours["intent_code"]) == (1, 0, 0, 0)
    assert ours["descrip"].item() == b"BUNET lung"
    given_image, written = nibabel.load(path), nibabel.load(mask)
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(written.affine, given_image.affine)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(given_image.dataobj) > 0)
    np.testing.assert_array_equal(read_volume(mask).affine, read_volume(path).affine)


@pytest.mark.parametrize("version", VERSIONS)
def test_itk_lays_every_mask_over_its_volume(tmp_path: Path, version: str) -> None:
    pairs = []
    for number, header in enumerate(HEADERS.values()):
        path = ct(tmp_path / f"ct-{number}.nii.gz", **header)
        pairs.append((path, mask_of(path)))
    for number, layout in enumerate(LAYOUTS):  # 48 orders of axes, oblique
        affine = AXIAL.copy()
        affine[:3, :3] = turned(0.1, 0.2, 0.3) @ AXIAL[:3, :3]
        there = np.diag([-1.0, -1, 1, 1]) @ layout.stored_affine(affine, (3, 4, 5))
        image = nibabel.Nifti1Image(layout.stored(np.zeros((3, 4, 5), np.int16)), there)
        nibabel.save(image, tmp_path / f"ct-turned-{number}.nii")
        pairs.append((tmp_path / f"ct-turned-{number}.nii", mask_of(tmp_path / f"ct-turned-{number}.nii")))
    found = corners(version, [path for pair in pairs for path in pair])
    read = 0
    for (path, _), theirs, ours in zip(pairs, found[::2], found[1::2], strict=True):
        assert (theirs is None) == (ours is None), path.name
        if theirs is not None:
            np.testing.assert_array_equal(theirs, ours, err_msg=path.name)
            read += 1
    assert read >= len(pairs) - 2  # what ITK refuses of a volume, it refuses of its mask


@settings(max_examples=60, deadline=None)
@given(
    ANGLE,
    ANGLE,
    ANGLE,
    st.sampled_from(LAYOUTS),
    st.sampled_from([0, 1, 2, 3, 4]),
    st.sampled_from([0, 1, 2]),
    st.floats(-100, 100),
)
def test_both_transforms_come_back_whatever_the_axes(
    tmp_path_factory: pytest.TempPathFactory,
    yaw: float,
    pitch: float,
    roll: float,
    layout: Layout,
    sform: int,
    qform: int,
    apart: float,
) -> None:
    affine = AXIAL.copy()
    affine[:3, :3] = turned(yaw, pitch, roll) @ AXIAL[:3, :3]
    there = np.diag([-1.0, -1, 1, 1]) @ layout.stored_affine(affine, (3, 4, 5))
    image = nibabel.Nifti1Image(layout.stored(np.arange(60, dtype=np.int16).reshape(3, 4, 5)), None)
    image.header.set_sform(there, sform)
    image.header.set_qform(shifted(there, apart), qform)
    path = tmp_path_factory.mktemp("nifti") / "ct.nii"
    nibabel.save(image, path)
    theirs, ours = nibabel.load(path), nibabel.load(mask_of(path))
    corner = np.array([[*index, 1] for index in np.ndindex(2, 2, 2)]) * [*(n - 1 for n in image.shape), 1]
    for transform in ("get_sform", "get_qform"):
        here, code = getattr(ours, transform)(coded=True)
        expected, known = getattr(theirs, transform)(coded=True)
        assert code == known
        if code:
            np.testing.assert_array_equal(here @ corner.T, expected @ corner.T)
    np.testing.assert_array_equal(ours.affine @ corner.T, theirs.affine @ corner.T)


def test_probabilities_lie_there_too(tmp_path: Path) -> None:
    path = ct(tmp_path / "ct.nii.gz", **HEADERS["apart, sform code 2"])
    volume = read_volume(path)
    write(volume.like(np.full(volume.shape, 0.25, np.float32)), tmp_path / "p.nii.gz")
    written = nibabel.load(tmp_path / "p.nii.gz")
    assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == (1, 2)
    np.testing.assert_array_equal(written.get_qform(), nibabel.load(path).get_qform())
    assert np.asarray(written.dataobj).max() == 0.25


def test_a_volume_that_was_moved_has_no_use_for_the_header(tmp_path: Path) -> None:
    from dataclasses import replace

    volume = read_volume(ct(tmp_path / "ct.nii", **HEADERS["no code"]))
    moved = replace(volume, affine=shifted(volume.affine, 5))
    write(moved, tmp_path / "moved.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "moved.nii").affine, moved.affine, atol=1e-4)
    write(Volume(volume.array, volume.affine), tmp_path / "other.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "other.nii").affine, volume.affine, atol=1e-4)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("no code", "ct.nii states no orientation (qform code 0, sform code 0): it was guessed"),
        ("negative pixdim, no code", "it was guessed"),
        ("apart, sform code 2", "its qform (code 1) and its sform (code 2) lie up to 69.3 mm apart: BUNET goes by the sform"),
        ("NIfTI-2", "lie up to 69.3 mm apart"),
        ("big-endian", "lie up to 69.3 mm apart"),
        ("tilted", "lie up to "),
        ("both alike", None),
        ("sform only", None),
        ("qform only", None),
        ("left-handed", None),
        ("micron", None),
    ],
)
def test_what_is_odd_about_a_place_is_said(tmp_path: Path, header: str, words: str | None) -> None:
    path = ct(tmp_path / "ct.nii", **HEADERS[header])
    usual = ("chests", "not square")  # of 4 mm, turned, and of pixels that are none
    remarks = [remark for remark in load(path).remarks()[1:] if not any(word in remark for word in usual)]
    assert len(remarks) == (words is not None)
    assert words is None or words in remarks[0]


def test_a_shift_below_half_a_voxel_is_not_worth_a_word(tmp_path: Path) -> None:
    def said(mm: float, units: str = "mm") -> tuple[str, ...]:
        path = ct(tmp_path / "ct.nii", sform=(RAS, 1), qform=(shifted(RAS, [mm, 0, 0]), 1), units=units)
        return read_volume(path).notes

    assert not said(0.3)  # of 0.7
    assert "lie up to 0.4 mm apart" in said(0.4)[0]
    assert "lie up to 400 mm apart" in said(0.4, "meter")[0]


def test_a_qform_that_is_no_rotation_is_said(tmp_path: Path) -> None:
    path = ct(tmp_path / "ct.nii", sform=(RAS, 1), qform=(RAS, 1), quatern_b=3)
    assert "its qform is no rotation, BUNET goes by its sform" in read_volume(path).notes[0]
    assert raw_header(mask_of(path))["quatern_b"] == 3


@pytest.mark.parametrize("name", HEADERS)
def test_a_file_without_a_code_is_not_oriented(tmp_path: Path, name: str) -> None:
    volume = read_volume(ct(tmp_path / "ct.nii", **HEADERS[name]))
    assert volume.oriented == ("no code" not in name)
    write(volume.like(np.zeros(volume.shape, np.uint8)), tmp_path / "mask.nii")
    assert read_volume(tmp_path / "mask.nii").oriented == volume.oriented
