"""Files of others by their own checks: a damaged byte is found, wherever it lies, and the file is named in one sentence."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.models.training.cases import read_case
from bunet.models.training.config import TrainError
from bunet.models.volumes.formats import keys_of, read_array, read_volume
from bunet.models.volumes.labels import labels
from bunet.models.volumes.volume import Volume, VolumeError

CHEST = np.random.default_rng(0).integers(-1000, 400, (4, 16, 16)).astype(np.int16)
SAVES = [np.savez, np.savez_compressed]


def flipped(path: Path, at: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("save", SAVES)
def test_a_wrong_byte_of_an_archive_is_found(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "ct.npz"
    save(path, array=CHEST)
    start = path.read_bytes().index(b"\x93NUMPY") + 128 if save is np.savez else 100
    for place in (start, start + 500, start + 1400):
        save(path, array=CHEST)
        flipped(path, place)
        with pytest.raises(VolumeError, match=r"ct\.npz: not a readable \.npz file of plain numbers \(.*") as caught:
            read_volume(path)
        assert "\n" not in str(caught.value)


def test_zeroed_pages_of_a_stored_archive_are_found(tmp_path: Path) -> None:
    path = tmp_path / "ct.npz"
    np.savez(path, array=CHEST)
    data = bytearray(path.read_bytes())
    data[400:1400] = bytes(1000)
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="Bad CRC-32"):
        read_volume(path)


@pytest.mark.parametrize("save", SAVES)
def test_every_flip_is_refused_or_changes_nothing(tmp_path: Path, save: Callable[..., None]) -> None:
    """Some bytes of a zip file say nothing (dates, attributes): there the array comes out as it went in."""
    path, generator = tmp_path / "ct.npz", random.Random(1)
    save(path, array=CHEST)
    whole = path.read_bytes()
    refused = 0
    for _ in range(300):
        path.write_bytes(whole)
        flipped(path, generator.randrange(len(whole)), generator.randrange(8))
        try:
            found = read_volume(path).array
        except VolumeError:
            refused += 1
        else:
            np.testing.assert_array_equal(found, CHEST)
    assert refused > 200


@pytest.mark.parametrize("save", SAVES)
def test_labels_and_cases_are_checked_too(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "one.npz"
    volume = Volume(CHEST)
    save(path, label=(CHEST > 300).astype(np.uint8))
    assert labels.read(path, volume).mask.sum() == (CHEST > 300).sum()
    flipped(path, 150 if save is np.savez_compressed else 600)
    with pytest.raises(VolumeError, match="not a readable"):
        labels.read(path, volume)
    save(path, ct=CHEST, infection=(CHEST > 300).astype(np.uint8))
    end = path.read_bytes().index(b"infection")
    flipped(path, end + 200)
    with pytest.raises(TrainError, match="not a readable"):
        read_case(tmp_path, "one", "infection")


def test_arrays_of_any_shape_are_read_with_their_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    arrays: dict[str, Any] = {"one": np.arange(5), "none": np.zeros((0, 3)), "number": np.array(7.5), "text": np.array("z")}
    np.savez(path, **arrays)
    assert keys_of(path) == list(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(read_array(path, key), array)
    with pytest.raises(VolumeError, match="no key `two`"):
        read_array(path, "two")


def test_a_header_that_is_no_arrays_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, CHEST)
    whole = path.read_bytes()
    for text in (
        b"{'descr': '<i2', 'shape': (",
        b"{'descr': 'q' * 9}",
        b"[" * 100,
        b"{'descr': [], 'fortran_order': 0}",
        b"{'descr': '<i2', 'fortran_order': False, 'shape': (-4, -16, 16)}",
        b"'''",
        b"  x\n y",
    ):
        path.write_bytes(whole[:10] + text.ljust(118) + whole[128:])
        with pytest.raises(VolumeError, match=r"a\.npy: "):
            read_volume(path)


def test_gzips_own_checksum_is_held(tmp_path: Path) -> None:
    """The array ends before gzip's trailer does: its checksum and its length are read all the same."""
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(CHEST, np.eye(4)), tmp_path / "ct.nii")
    plain = (tmp_path / "ct.nii").read_bytes()
    path.write_bytes(gzip.compress(plain))
    np.testing.assert_array_equal(read_volume(path).stored()[0], CHEST)
    for at in (-8, -4):  # CRC-32, length (RFC 1952, section 2.3.1)
        path.write_bytes(gzip.compress(plain))
        flipped(path, len(path.read_bytes()) + at)
        with pytest.raises(VolumeError, match=r"CRC|length"):
            read_volume(path)
    wrong = bytearray(plain)
    wrong[-1] ^= 1
    stored = bytearray(gzip.compress(bytes(wrong), compresslevel=0))
    stored[-8:] = gzip.compress(plain)[-8:]  # one value differs from what was compressed
    path.write_bytes(stored)
    with pytest.raises(VolumeError, match="CRC"):
        read_volume(path)
