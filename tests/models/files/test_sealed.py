"""Our own files: what was flipped, cut off, exchanged or is of another version is refused in a sentence that names the file."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import bunet_clinical
from bunet.experiments.predict.case import OPENED
from bunet.models.compiled import CompileError, load_compiled, save_compiled
from bunet.models.errors import UsageError
from bunet.models.files import sealed
from bunet.models.files.sealed import FileFormat, SealError
from bunet.models.network import weights
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_slice, seeded_weights
from bunet.models.network.weights import WeightsError
from bunet.models.passes.compile import compile_model
from bunet.parties import outcomes, shares
from bunet.parties.vote import ballots

NOTE = FileFormat("bunet-note", 3, "a note", "write it again", "`bunet convert` does it")
SMALL = Architecture(features=1, in_channels=1, depth=1)
SESSION = "0123456789abcdef" * 2
BITS = np.random.default_rng(0).integers(0, 2, (8, 11), np.uint8)
VOTES = np.random.default_rng(0).integers(0, 2, (3, 4, 5), np.uint8)


def small_weights(folder: Path) -> tuple[Path, Callable[..., Any]]:
    path = folder / "w.safetensors"
    weights.save(seeded_weights(SMALL), path, half=True, notes={"axis": "z"})
    return path, lambda: weights.load(path)


def small_model(folder: Path) -> tuple[Path, Callable[..., Any]]:
    path = folder / "m.model"
    image = seeded_slice(SMALL, 8, 8, 1)
    save_compiled(compile_model(seeded_weights(SMALL), 8, 8, "8.4", [image]), path)
    return path, lambda: load_compiled(path)


def finished_slice(folder: Path) -> tuple[Path, Callable[..., Any]]:
    outcomes.write(folder, 12, BITS)
    return outcomes.path_of(folder, 12), lambda: outcomes.read(folder, 12)


def share(folder: Path) -> tuple[Path, Callable[..., Any]]:
    shares.write(folder, ("z", 12), SESSION, BITS)
    return shares.path_of(folder, ("z", 12), SESSION), lambda: shares.read(folder, ("z", 12), SESSION)


def ballot(folder: Path) -> tuple[Path, Callable[..., Any]]:
    ballots.write(folder, "lung-x", VOTES, "of these")
    return folder / "lung-x.ballot", lambda: ballots.read(folder, "lung-x", (3, 4, 5))


def opened_vote(folder: Path) -> tuple[Path, Callable[..., Any]]:
    path = folder / "vote.safetensors"
    sealed.save(path, OPENED, {"mask": VOTES})
    return path, lambda: sealed.load(path, OPENED)


def checkpoint(folder: Path) -> tuple[Path, Callable[..., Any]]:
    torch = pytest.importorskip("torch")
    from bunet.models.training.files import read_tensors, write_tensors

    path = folder / "w.checkpoint.safetensors"
    write_tensors({"model.a": torch.arange(6.0).reshape(2, 3), "optimizer.0.step": torch.tensor(3.0)}, path, {"state": "{}"})
    return path, lambda: read_tensors(path)


KINDS = [small_weights, small_model, finished_slice, share, ballot, opened_vote, checkpoint]


@pytest.mark.parametrize("make", KINDS)
def test_every_flipped_bit_of_every_kind_of_file_is_refused(tmp_path: Path, make: Callable[..., Any]) -> None:
    path, read = make(tmp_path)
    read()
    whole, generator = path.read_bytes(), random.Random(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [generator.randrange(8 * len(whole)) for _ in range(300)]
    places += [8 * at + generator.randrange(8) for at in range(header)]  # every byte of the header
    for place in places:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=re.escape(str(path))) as caught:
            read()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", KINDS)
def test_what_is_cut_off_or_longer_is_refused(tmp_path: Path, make: Callable[..., Any]) -> None:
    path, read = make(tmp_path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:5], whole[:-1], whole + b"\0", whole[: len(whole) // 2], bytes(len(whole))):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=re.escape(str(path))):
            read()


def test_it_says_what_to_do(tmp_path: Path) -> None:
    path, read = finished_slice(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(sealed.SealError, match="its checksum differs: remove it, and the same command runs that slice again"):
        read()
    path.rename(outcomes.path_of(tmp_path, 13))
    outcomes.write(tmp_path, 12, BITS)
    outcomes.path_of(tmp_path, 12).rename(outcomes.path_of(tmp_path, 13))
    with pytest.raises(sealed.SealError, match=r"slice-0013\.safetensors is not of a slice of this run"):
        outcomes.read(tmp_path, 13)  # whole, and another slice's
    path, read = small_model(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(CompileError, match=r"compile it again \(`bunet compile`\)"):
        read()


def test_versions_and_kinds_are_told_apart(tmp_path: Path) -> None:
    path, array = tmp_path / "note", {"a": np.arange(3)}
    sealed.save(path, FileFormat("bunet-note", 2, "a note", ""), array)
    with pytest.raises(SealError, match="is of version '2', not 3: `bunet convert` does it"):
        sealed.load(path, NOTE)
    save_file(array, path, {"kind": "bunet-note"})
    with pytest.raises(SealError, match="of an earlier version, which has no checksum: `bunet convert` does it"):
        sealed.load(path, NOTE)
    sealed.save(path, FileFormat("bunet-other", 3, "another", ""), array)
    with pytest.raises(SealError, match="not a note, its metadata does not say 'bunet-note': write it again"):
        sealed.load(path, NOTE)
    for odd, words in ((tmp_path, "is not a file"), (tmp_path / "none", "there is no such file")):
        with pytest.raises(SealError, match=words):
            sealed.load(odd, NOTE)


def test_the_same_contents_are_the_same_bytes(tmp_path: Path) -> None:
    texts = {name: name for name in "qwertyuiop"}
    sealed.save(tmp_path / "one", NOTE, {"a": np.arange(3), "b": np.zeros(2, np.uint8)}, texts)
    sealed.save(tmp_path / "two", NOTE, {"b": np.zeros(2, np.uint8), "a": np.arange(3)}, dict(reversed(texts.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("mapped", [False, True])
def test_arrays_and_texts_come_back(tmp_path: Path, mapped: bool) -> None:
    kinds = (np.uint8, np.int16, np.int64, np.float16, np.float32, np.float64, np.bool_)
    arrays = {np.dtype(kind).name: np.arange(6).reshape(2, 3).astype(kind) for kind in kinds}
    arrays |= {"turned": np.arange(6.0).reshape(2, 3).T, "number": np.array(7.0), "none": np.zeros((0, 4))}
    sealed.save(tmp_path / "note", NOTE, arrays, {"text": 'é\n"', "empty": ""})
    texts, found = sealed.load(tmp_path / "note", NOTE, mapped)
    assert texts == {"text": 'é\n"', "empty": ""}
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
    theirs = load_file(tmp_path / "note")  # the library's own reading
    assert all(np.array_equal(theirs[name], array) for name, array in arrays.items())


def test_weights_of_the_version_before_are_sealed_on_demand(tmp_path: Path) -> None:
    path, _ = small_weights(tmp_path)
    tensors = load_file(path)
    save_file(tensors, path, {"kind": "bunet-float-weights-1", "architecture": SMALL.to_json(), "notes": json.dumps({"a": 1})})
    with pytest.raises(WeightsError, match="has no checksum: `bunet seal` converts it"):
        weights.load(path)
    assert weights.seal(path)
    assert not weights.seal(path)
    assert weights.read_notes(path) == {"a": 1}
    assert all(np.array_equal(load_file(path)[name], tensor) for name, tensor in tensors.items())
    weights.load(path)
    save_file({"a": np.zeros(2)}, path, {"kind": "bunet-float-weights-1", "architecture": SMALL.to_json()})
    with pytest.raises(WeightsError, match="is not a weight file: the weights lack tensor"):
        weights.seal(path)


@pytest.mark.parametrize("folder", ["demo", "clinical"])
def test_committed_weights_say_what_they_are(folder: str) -> None:
    demo = Path(weights.__file__).parents[1] / "demo"
    paths = sorted((demo if folder == "demo" else bunet_clinical.FOLDER).glob("*.safetensors"))
    assert paths
    for path in paths:
        notes = weights.read_notes(path)  # verifies the checksum
        assert (notes["name"], notes["version"], notes["size"]) == (path.stem, "1", 128)
        assert notes["intensity"] == "window -1250..250 HU on 0..1"
        stem = f"{notes['target']}-{notes['axis']}"
        assert path.stem.startswith(stem) or (folder, stem) == ("demo", "lesion-z")


def test_a_compiled_model_is_for_its_owner_only(tmp_path: Path) -> None:
    """It holds Bob's weights, and the salt that hides them in the commitment."""
    path, _ = small_model(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_mapped_arrays_are_verified_where_they_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may be another by the time it is mapped."""
    path, array, read = tmp_path / "note", np.arange(300), sealed._read

    def exchanged(content: bytes) -> Callable[..., Any]:
        def reading(*given: Any) -> tuple[dict[str, str], dict[str, np.ndarray]]:
            found = read(*given)
            path.write_bytes(content)
            return found

        return reading

    for damage in (lambda whole: whole[:-1] + b"\x07", lambda whole: b"", lambda whole: whole[:100], lambda whole: bytes(100)):
        sealed.save(path, NOTE, {"a": array})
        monkeypatch.setattr(sealed, "_read", exchanged(damage(path.read_bytes())))
        with pytest.raises(SealError, match="is damaged"):
            sealed.load(path, NOTE, mapped=True)
        monkeypatch.setattr(sealed, "_read", read)
