"""Published weight files as people have them: other kinds of numbers, wrapped networks, bare dictionaries, damage."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.experiments.predict.models import suited
from bunet.experiments.predict.settings import PredictSettings
from bunet.models.errors import UsageError
from bunet.models.network import weights
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_weights
from bunet.models.network.weights import WeightsError
from bunet.models.volumes.formats import read_volume

torch = pytest.importorskip("torch")

from bunet.models.network.unet import from_weights, read_checkpoint  # noqa: E402

SMALL = Architecture(features=2, in_channels=3, depth=2)
FLOATS = seeded_weights(SMALL, 3)


@pytest.fixture
def state() -> dict[str, Any]:
    return from_weights(FLOATS).state_dict()


def same(found: weights.FloatWeights, exact: bool = True) -> None:
    for name, tensor in FLOATS.tensors.items():
        assert found.tensors[name].dtype == np.float32
        np.testing.assert_allclose(found.tensors[name], tensor, rtol=0 if exact else 2**-8, atol=0 if exact else 1e-7)


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_floats_of_any_kind_become_float32(tmp_path: Path, state: dict[str, Any], kind: str) -> None:
    changed = {name: t.to(getattr(torch, kind)) if t.is_floating_point() else t for name, t in state.items()}
    torch.save({"state_dict": changed}, tmp_path / "w.pth")
    found = read_checkpoint(tmp_path / "w.pth")
    same(found, exact=kind == "float64")
    for name, tensor in found.tensors.items():
        np.testing.assert_array_equal(tensor, changed[name].float().numpy())


def test_networks_saved_from_their_wrappers(tmp_path: Path, state: dict[str, Any]) -> None:
    """The names that torch's own wrappers give, not ours for them."""
    model = from_weights(FLOATS)
    wrapped = [torch.nn.DataParallel(model).state_dict(), torch.compile(model, backend="eager").state_dict()]
    wrapped.append({f"module._orig_mod.{name}": tensor for name, tensor in state.items()})
    for prefix, document in zip(("module.", "_orig_mod.", "module."), wrapped, strict=True):
        assert all(name.startswith(prefix) for name in document)
        torch.save({"state_dict": document}, tmp_path / "w.pth")
        same(read_checkpoint(tmp_path / "w.pth"))
    torch.save({"state_dict": {**state, "module.conv.bias": state["conv.bias"]}}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth holds tensor 'conv\.bias' twice"):
        read_checkpoint(tmp_path / "w.pth")


def test_a_bare_dictionary_and_one_with_other_keys(tmp_path: Path, state: dict[str, Any]) -> None:
    torch.save(state, tmp_path / "w.pth")
    same(read_checkpoint(tmp_path / "w.pth"))
    others = {"epoch": 7, "best": 0.7, "optimizer": {"lr": [0.1], "step": torch.tensor(3)}}
    torch.save({"state_dict": state, **others}, tmp_path / "w.pth")
    same(read_checkpoint(tmp_path / "w.pth"))


def test_what_torch_will_not_load_safely_says_how_to_save_it_again(tmp_path: Path, state: dict[str, Any]) -> None:
    torch.save({"state_dict": state, "best": np.float64(0.7)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"nothing of it was loaded; save it again with `torch\.save") as caught:
        read_checkpoint(tmp_path / "w.pth")
    assert "model.state_dict()}, FILE)`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value), "no advice to load it without the check"


@pytest.mark.parametrize("document", [[1], {"network": {"a": 1}}, {}, {"state_dict": {}}, {"state_dict": [1, 2]}, 7, None])
def test_what_holds_no_tensors_is_one_sentence(tmp_path: Path, document: int | list[int] | dict[str, Any] | None) -> None:
    torch.save(document, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"no dictionary of tensors .*: save it again with"):
        read_checkpoint(tmp_path / "w.pth")


def test_tensors_of_odd_kinds_are_named(tmp_path: Path, state: dict[str, Any]) -> None:
    for odd, words in (
        (state["conv.weight"].to(torch.complex64), "'conv.weight' holds complex64"),
        (state["conv.weight"].to_sparse(), "'conv.weight' is of a kind that is not read"),
        (state["conv.weight"].to(torch.int64), "'conv.weight' holds int64"),
        (state["conv.weight"].double() * 1e300, "'conv.weight' holds values that are not finite"),
        (torch.empty(2, 2, 1, 1, device="meta"), "'conv.weight'"),
    ):
        torch.save({"state_dict": {**state, "conv.weight": odd}}, tmp_path / "w.pth")
        with pytest.raises(WeightsError, match=words):
            read_checkpoint(tmp_path / "w.pth")


def test_a_wrong_byte_or_a_cut_is_found(tmp_path: Path, state: dict[str, Any]) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": state}, path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        info = max(archive.infolist(), key=lambda info: info.file_size)
    damaged = bytearray(whole)
    damaged[info.header_offset + 200] ^= 1  # the largest member is a tensor's values, which torch itself does not check
    path.write_bytes(damaged)
    with pytest.raises(WeightsError, match=r"w\.pth is damaged: the checksum of its member"):
        read_checkpoint(path)
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(WeightsError, match=r"w\.pth"):
            read_checkpoint(path)


@pytest.mark.parametrize("prefix", ["model.", "net.", "ema_model.", "net.module.", "module.model."])
def test_a_prefix_that_all_names_share_is_left_off_and_said(tmp_path: Path, state: dict[str, Any], prefix: str) -> None:
    said: list[str] = []
    torch.save({"state_dict": {prefix + name: tensor for name, tensor in state.items()}}, tmp_path / "w.pth")
    same(read_checkpoint(tmp_path / "w.pth", say=said.append))
    left = prefix.removeprefix("module.")
    assert said == [f"{tmp_path / 'w.pth'}: the names of its tensors begin with {left!r}, which is left off"]


def test_a_prefix_that_not_all_share_or_before_another_network_stays(tmp_path: Path, state: dict[str, Any]) -> None:
    torch.save({**{f"net.{name}": tensor for name, tensor in state.items()}, "loss.weight": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"not of a U-Net: its state_dict lacks 'encoder1\.enc1conv1\.weight'"):
        read_checkpoint(tmp_path / "w.pth")
    torch.save({f"net.{name}": tensor for name, tensor in state.items() if name != "conv.bias"}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"lack tensor 'conv\.bias'"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("key", ["model_state_dict", "model", "weights", 3])
def test_the_one_dictionary_of_tensors_is_taken_whatever_its_key(tmp_path: Path, state: dict[str, Any], key: str | int) -> None:
    said: list[str] = []
    torch.save({key: state, "epoch": 7, "optimizer": {"state": {}, "param_groups": []}}, tmp_path / "w.pth")
    same(read_checkpoint(tmp_path / "w.pth", say=said.append))
    assert said == [f"{tmp_path / 'w.pth'}: the weights are those under its key {key!r}"]
    torch.save({key: state, "ema": state}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=f"several dictionaries of tensors, {key!r} and 'ema'"):
        read_checkpoint(tmp_path / "w.pth")


def test_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    """As Git LFS documents it, docs/spec.md."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d7a" * 16 + "\nsize 12345\n"
    for name in ("w.pth", "w.safetensors", "ct.npz", "ct.nii.gz"):
        (tmp_path / name).write_text(pointer)
    readers: list[tuple[str, Callable[[Path], object]]] = [
        ("w.pth", read_checkpoint),
        ("w.safetensors", weights.load),
        ("ct.npz", read_volume),
        ("ct.nii.gz", read_volume),
    ]
    for name, reader in readers:
        with pytest.raises(UsageError, match=rf"{name} is a Git LFS pointer, .*: run `git lfs pull`"):
            reader(tmp_path / name)


def test_a_published_file_that_cannot_be_read_is_told_before_any_question(tmp_path: Path) -> None:
    """Models of both kinds leave a question open, which is asked in vain where one of them is none."""
    (tmp_path / "best_model-X.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    folders = {"infection": ("--model-infection-dir", str(tmp_path)), "lung": ("--model-lung-dir", "clinical")}
    with pytest.raises(UsageError, match="Git LFS pointer"):
        suited(PredictSettings(axes=("z",)), folders)
    full = seeded_weights(Architecture(features=2), 1)
    torch.save({"state_dict": from_weights(full).state_dict()}, tmp_path / "best_model-X.pth")
    with pytest.raises(UsageError, match="say which --intensity"):
        suited(PredictSettings(axes=("z",)), folders)
