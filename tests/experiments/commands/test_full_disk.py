"""Full disks: one sentence that names the folder, status 1, and nothing half-written left behind."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Never

import numpy as np
import pytest

from bunet.experiments.commands.failure import explain
from bunet.experiments.report import plots
from bunet.experiments.storage.results import write_csv, write_json, write_mask
from bunet.experiments.sweep.run import Journal
from bunet.models.compiled import Compiled, save_compiled
from bunet.models.files import disk_space
from bunet.models.files.disk_space import DiskFull, explaining_full_disk
from bunet.models.network import weights
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_slice, seeded_weights
from bunet.models.passes.compile import compile_model
from bunet.models.volumes import formats
from bunet.models.volumes.volume import Volume
from bunet.net import keys
from bunet.parties import outcomes, shares
from bunet.parties.vote import ballots

SMALL = Architecture(features=1, in_channels=1, depth=1)
BIG = np.random.default_rng(0).integers(0, 2, (256, 512), np.uint8)
LIMIT = 200  # bytes of a file


@contextmanager
def files_end_at(limit: int) -> Iterator[None]:
    """No file grows beyond `limit` bytes: a write is cut there, and the next one fails, as on a full disk (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def small_model() -> Compiled:
    return compile_model(seeded_weights(SMALL), 8, 8, "8.4", [seeded_slice(SMALL, 8, 8, 1)])


def volume() -> Volume:
    return Volume(np.random.default_rng(0).integers(-1000, 400, (4, 16, 16)).astype(np.int16), np.diag([5.0, 1, 1, 1]))


WRITERS: dict[str, Callable[[Path], object]] = {
    "weights": lambda folder: weights.save(seeded_weights(SMALL), folder / "w.safetensors"),
    "model": lambda folder: save_compiled(small_model(), folder / "m.model"),
    "slice": lambda folder: outcomes.write(folder, 3, BIG),
    "share": lambda folder: shares.write(folder, ("z", 3), "0" * 32, BIG),
    "ballot": lambda folder: ballots.write(folder, "lung-x", BIG[None]),
    "mask": lambda folder: write_mask(folder / "mask.npz", np.random.default_rng(0).integers(0, 9, (2, 64, 64)), "z", [0, 1]),
    "npz": lambda folder: formats.write(volume(), folder / "v.npz"),
    "npy": lambda folder: formats.write(Volume(volume().array), folder / "v.npy"),
    "json": lambda folder: write_json(folder / "d.json", {"a": "x" * 1000}),
    "csv": lambda folder: write_csv(folder / "d.csv", [{"a": "x" * 1000}], ["a"]),
    "key": lambda folder: keys.keygen(folder / "a.key", "x" * 1000),
}


@pytest.mark.parametrize("what", WRITERS)
def test_nothing_is_left_where_there_is_no_room(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    with files_end_at(0 if what == "key" else LIMIT):
        with pytest.raises(DiskFull, match=f"no room in {folder}: files may not become that large") as caught:
            WRITERS[what](folder)
    assert explain(caught.value) == (str(caught.value), 1)
    assert not list(folder.iterdir())
    WRITERS[what](folder)
    assert list(folder.iterdir())


def test_a_key_without_its_public_half_is_not_left(tmp_path: Path) -> None:
    with files_end_at(150):
        with pytest.raises(DiskFull, match=f"no room in {tmp_path}"):
            keys.keygen(tmp_path / "a.key", "x" * 1000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ""])
def test_clinical_formats(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("nibabel" if ending else "pydicom")
    folder = tmp_path / "full"
    folder.mkdir()
    with files_end_at(LIMIT), pytest.raises(DiskFull, match=f"no room in {folder}"):
        formats.write(volume(), folder / f"v{ending}")
    assert not list(folder.iterdir())


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    with files_end_at(LIMIT), pytest.raises(DiskFull, match=f"no room in {tmp_path}"):
        plots.save_figure(Figure(), tmp_path / "p.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".npz", ".nii.gz"])
def test_unpacking_needs_room_among_the_temporary_files(tmp_path: Path, ending: str) -> None:
    """The file is not at fault, so it is not called unreadable."""
    if ending == ".nii.gz":
        pytest.importorskip("nibabel")
    path = tmp_path / f"v{ending}"
    if ending == ".npz":
        np.savez_compressed(path, array=volume().array)
    else:
        formats.write(volume(), path)
    with files_end_at(LIMIT), pytest.raises(DiskFull) as caught:
        formats.read_volume(path)
    assert str(caught.value) == (
        f"no room in {tempfile.gettempdir()}, where temporary files are: files may not become that large; "
        "TMPDIR can name another folder"
    )
    assert explain(caught.value)[1] == 1


def test_a_series_is_unpacked_there_too(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    formats.write(volume(), tmp_path / "ct")
    with files_end_at(LIMIT), pytest.raises(DiskFull, match="TMPDIR can name another folder"):
        formats.read_volume(tmp_path / "ct")


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the quota is used up")])
def test_the_kinds_of_no_room(tmp_path: Path, number: int, words: str) -> Never:
    with pytest.raises(DiskFull, match=f"no room in {tmp_path / 'a'}: {words}"), explaining_full_disk(tmp_path / "a"):
        raise OSError(number, os.strerror(number))
    assert explain(OSError(number, os.strerror(number))) == (f"no room to write: {words}", 1)
    assert explain(OSError(number, os.strerror(number), "/a/b")) == (f"no room in /a: {words}", 1)
    with pytest.raises(PermissionError), explaining_full_disk(tmp_path):
        raise PermissionError(errno.EACCES, "no", "x")


def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Never:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/a', '/b']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(DiskFull, match="TMPDIR can name one"), disk_space.explaining_full_scratch():
        pass


def test_a_journal_that_ran_full_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "points.jsonl")
    journal.append({"identity": "a", "document": {}})
    with files_end_at(100), pytest.raises(DiskFull, match=f"no room in {tmp_path}"):
        journal.append({"identity": "b", "document": {"text": "x" * 1000}})
    journal.close()
    again = Journal(tmp_path / "points.jsonl")
    assert again.done("a")
    again.close()


def mounts() -> bool:
    """Whether this process may mount a small disk of its own."""
    command = "mkdir -p mnt && mount -t tmpfs -o size=64k tmpfs mnt"
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(["unshare", "-m", "sh", "-c", command], cwd=folder, capture_output=True).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs and unshare are Linux's")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    try:
        allowed = mounts()
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("small disks may not be mounted here")
    np.save(tmp_path / "ct.npy", np.random.default_rng(0).integers(-1000, 400, (9, 128, 128)).astype(np.int16))
    np.savez_compressed(tmp_path / "c.npz", array=np.zeros((64, 128, 128), np.int16) - 1000)
    (tmp_path / "d").mkdir()
    bunet = f"{sys.executable} -m bunet.experiments"

    def full(size: str, command: str) -> tuple[int, str, str]:
        whole = f"mount -t tmpfs -o size={size} tmpfs d && {command}; code=$?; ls -A d; exit $code"
        done = subprocess.run(["unshare", "-m", "bash", "-c", whole], cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    code, _, err = full("64k", f"{bunet} predict --volume ct.npy --axes z --float --no-lung-mask --out d/o")
    assert (code, err) == (1, "bunet: no room in d/o/ct/slices/infection-z-float: the disk is full\n")
    code, _, err = full("512k", f"TMPDIR={tmp_path}/d {bunet} predict --volume c.npz --axes z --float --out o")
    assert code == 1
    assert err.startswith(f"bunet: no room in {tmp_path}/d, where temporary files are: the disk is full; TMPDIR can name")
    code, out, err = full("64k", f"head -c 70000 /dev/zero > d/x 2> /dev/null; {bunet} keygen d/a.key")
    assert (code, err) == (1, "bunet: no room in d: the disk is full\n")
    assert out == "x\n", "no empty key file"
