"""`bunet warmup`: what is planned, in which order it is compiled, and what is removed from the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from bunet.experiments import warmup
from bunet.experiments.warmup import LayerGroup
from bunet.parties.planner import STRUCTURAL, PlannedLayer
from bunet.protocols import registry
from bunet.protocols.kernels.machine import tier
from tests.experiments.command_line import Bunet

VERSION, OTHER = "0123456789abcdef", "fedcba9876543210"


def test_every_protocol_of_the_registry_is_compiled_narrow_and_wide() -> None:
    planned = warmup.layer_groups(warmup.programs())
    known = {(protocol.operation, protocol.name) for protocol in registry.everything()}
    assert {(group.operation, group.protocol) for group in planned} == {
        (operation, name) for operation, name in known if operation not in STRUCTURAL
    }
    for operation in ("conv", "conv_transpose", "square", "extend", "truncate", "avgpool"):
        ours = [group for group in planned if group.operation == operation]
        assert any(any(group.wide) for group in ours), operation
        assert any(not any(group.wide) for group in ours), operation
    assert {group.ot for group in planned} == {"iknp", "softspoken-2"}
    for group in planned:
        assert all(layer.protocol is not None and layer.protocol.name == group.protocol for layer in group.layers)


def test_kinds_are_compiled_once_each_and_announced_first() -> None:
    order: list[str] = []
    layers: list[list[PlannedLayer]] = [[], []]
    planned = [LayerGroup("relu", "gc", (False, False), layers[0]), LayerGroup("conv", "pahe", (True, True), layers[1])]

    def compile(given: list[PlannedLayer]) -> None:
        order.append(f"compile {next(i for i, one in enumerate(layers) if one is given)}")

    warmup.compile_all(planned, order.append, compile)
    assert order == ["relu gc, up to 32 bits", "compile 0", "conv pahe, over 32 bits", "compile 1"]


def _cache(root: Path) -> Path:
    """A cache with this version (two tiers), another version, and things that are no cache."""
    current = root / VERSION / "vaes"
    for folder in (current, root / VERSION / "portable", root / OTHER / "vaes", root / OTHER / "aesni"):
        folder.mkdir(parents=True)
        (folder / "kernel.nbc").write_bytes(bytes(1 << 20))
    (root / "notes").mkdir()
    (root / "aaaaaaaaaaaaaaaa").mkdir()
    (root / "aaaaaaaaaaaaaaaa" / "thesis.tex").write_text("mine")
    (root / "bbbbbbbbbbbbbbbb").write_text("a file")
    (root / "cccccccccccccccc").symlink_to(root / "notes")
    return current


def test_clear_removes_other_versions_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet) -> None:
    current = _cache(tmp_path)
    monkeypatch.setattr(tier, "cache_folder", lambda name: current)
    assert warmup.size(current) == 1 << 20
    status, out, _ = bunet("warmup", "--clear")
    assert status == 0
    assert f"removed 1 folder of other versions, 2.0 MiB, from {tmp_path}" in out
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {VERSION, "notes", "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc"}
    assert (tmp_path / VERSION / "portable" / "kernel.nbc").exists()
    assert "removed 0 folders" in bunet("warmup", "--clear")[1]


def test_clear_of_a_cache_that_is_not_there(tmp_path: Path) -> None:
    assert warmup.clear(tmp_path / "none" / VERSION / "vaes") == (0, 0)


def test_the_command_says_where_the_cache_is_and_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    current = _cache(tmp_path)
    monkeypatch.setattr(tier, "cache_folder", lambda name: current)
    compiled: list[str] = []
    monkeypatch.setattr(warmup, "layer_groups", lambda programs: [LayerGroup("relu", "gc", (False,), [])])
    monkeypatch.setattr(warmup, "compile_all", lambda planned, step: compiled.extend(group.title for group in planned))
    status, out, error = bunet("warmup")
    assert status == 0, error
    assert compiled == ["relu gc, up to 32 bits"]
    assert "kernels of 1 kinds of layers are ready: 1.0 MiB in" in out
    assert str(current) in out
    assert "2.0 MiB in 1 folder of other versions: bunet warmup --clear removes them" in out


@pytest.mark.parametrize("command", [["warmup"], ["bench", "kernels"]])
def test_help_carries_examples(command: list[str], bunet: Bunet) -> None:
    result = bunet(*command, "--help")
    assert result.status == 0
    assert f"bunet {' '.join(command)}" in result.out.partition("Example")[2]
