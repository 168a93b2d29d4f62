"""Published weight files as people have them: other kinds of numbers, wrapped networks, bare dictionaries, damage."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from bunet.models import weights
from bunet.models.architecture import Architecture
from bunet.models.weights import WeightsError

torch = pytest.importorskip("torch")

from bunet.models.unet import from_weights, read_checkpoint  # noqa: E402

SMALL = Architecture(features=2, in_channels=3, depth=2)
FLOATS = weights.seeded(SMALL, 3)


@pytest.fixture
def state():
    return from_weights(FLOATS).state_dict()


def same(found, exact=True):
    for name, tensor in FLOATS.tensors.items():
        assert found.tensors[name].dtype == np.float32
        np.testing.assert_allclose(found.tensors[name], tensor, rtol=0 if exact else 2**-8, atol=0 if exact else 1e-7)


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_floats_of_any_kind_become_float32(tmp_path, state, kind):
    changed = {name: t.to(getattr(torch, kind)) if t.is_floating_point() else t for name, t in state.items()}
    torch.save({"state_dict": changed}, tmp_path / "w.pth")
    found = read_checkpoint(tmp_path / "w.pth")
    same(found, exact=kind == "float64")
    for name, tensor in found.tensors.items():
        np.testing.assert_array_equal(tensor, changed[name].float().numpy())


def test_networks_saved_from_their_wrappers(tmp_path, state):
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


def test_a_bare_dictionary_and_one_with_other_keys(tmp_path, state):
    torch.save(state, tmp_path / "w.pth")
    same(read_checkpoint(tmp_path / "w.pth"))
    others = {"epoch": 7, "best": 0.7, "optimizer": {"lr": [0.1], "step": torch.tensor(3)}}
    torch.save({"state_dict": state, **others}, tmp_path / "w.pth")
    same(read_checkpoint(tmp_path / "w.pth"))


def test_what_torch_will_not_load_safely_says_how_to_save_it_again(tmp_path, state):
    torch.save({"state_dict": state, "best": np.float64(0.7)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"nothing of it was loaded; save it again with `torch\.save") as caught:
        read_checkpoint(tmp_path / "w.pth")
    assert "model.state_dict()}, FILE)`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value), "no advice to load it without the check"


@pytest.mark.parametrize("document", [[1], {"network": {"a": 1}}, {}, {"state_dict": {}}, {"state_dict": [1, 2]}, 7, None])
def test_what_holds_no_tensors_is_one_sentence(tmp_path, document):
    torch.save(document, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"no dictionary of tensors .*: save it again with"):
        read_checkpoint(tmp_path / "w.pth")


def test_tensors_of_odd_kinds_are_named(tmp_path, state):
    for odd, words in ((state["conv.weight"].to(torch.complex64), "'conv.weight' holds complex64"),
                       (state["conv.weight"].to_sparse(), "'conv.weight' is of a kind that is not read"),
                       (state["conv.weight"].to(torch.int64), "'conv.weight' holds int64"),
                       (state["conv.weight"].double() * 1e300, "'conv.weight' holds values that are not finite"),
                       (torch.empty(2, 2, 1, 1, device="meta"), "'conv.weight'")):
        torch.save({"state_dict": {**state, "conv.weight": odd}}, tmp_path / "w.pth")
        with pytest.raises(WeightsError, match=words):
            read_checkpoint(tmp_path / "w.pth")


def test_a_wrong_byte_or_a_cut_is_found(tmp_path, state):
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
