"""Protocols of installed packages: one that cannot be loaded is named, and leaves nothing behind."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bunet.models.errors import UsageError
from bunet.protocols import registry

MODULE = "bunet_toy_protocols"
WHOLE = """
from bunet.protocols.cost import Cost
from bunet.protocols.registry import Protocol, register

register(Protocol("square", "toy", None, None, lambda layer: Cost()))
"""
BROKEN = WHOLE + "import a_module_that_is_not_there\n"
TWICE = WHOLE.replace('"toy"', '"mt"')


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The module of a package that is installed, still to be written."""
    about = tmp_path / "toy_protocols-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-protocols\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\ntoy = {MODULE}\n")
    registry.load()  # of the others, which stay
    monkeypatch.setattr(registry, "_PROTOCOLS", dict(registry._PROTOCOLS))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    registry.load.cache_clear()
    yield tmp_path / f"{MODULE}.py"
    registry.load.cache_clear()
    sys.modules.pop(MODULE, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BROKEN, "No module named 'a_module_that_is_not_there'"),
        (TWICE, r"protocol \('square', 'mt'\) is registered twice"),
        ("raise ZeroDivisionError", "ZeroDivisionError"),
        ("import", "invalid syntax .*"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_named_each_time(file: Path, text: str, why: str) -> None:
    file.write_text(text)
    before = dict(registry._PROTOCOLS)
    for _ in range(2):
        sentence = rf"the protocol package toy-protocols \({MODULE}\) cannot be loaded: {why}; mend it, or uninstall it"
        with pytest.raises(UsageError, match=f"^{sentence}$"):
            registry.get("square", "mt")
        assert before == registry._PROTOCOLS


def test_a_package_that_is_mended_is_loaded(file: Path) -> None:
    file.write_text(BROKEN)
    with pytest.raises(UsageError):
        registry.load()
    file.write_text(WHOLE)
    importlib.invalidate_caches()
    assert "toy" in registry.names("square")
