import json
import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from bunet.protocols.kernels.machine import tier

SCRIPT = Path(__file__).with_name("tier_digest.py")


def _run(code: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("BUNET_TIER", "NUMBA_CPU_NAME")}
    return subprocess.run(
        [sys.executable, *code], env=environment | variables, capture_output=True, text=True, timeout=280, check=False
    )


@lru_cache
def _digests(**variables: str) -> dict[str, str]:
    run = _run([str(SCRIPT)], **variables)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def _portable() -> dict[str, str]:
    """On the plainest processor that the compiler knows: no AES, no wide registers."""
    return _digests(BUNET_TIER="portable", NUMBA_CPU_NAME="generic")


def test_the_portable_tier_runs_on_a_generic_processor() -> None:
    assert _portable()["tier"] == "portable"


@pytest.mark.parametrize("name", [name for name in tier.available() if name != "portable"])
def test_tiers_agree_bit_for_bit(name: str) -> None:
    mine, portable = _digests(BUNET_TIER=name), _portable()
    assert mine["tier"] == name
    assert {**mine, "tier": ""} == {**portable, "tier": ""}


def test_a_processor_chosen_by_name_offers_only_the_portable_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert tier.available() == ("portable",)
    assert tier.choose(None) == "portable"
    with pytest.raises(tier.TierUnavailable, match="BUNET_TIER=vaes needs a processor with"):
        tier.choose("vaes")


def test_features_may_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+aes,+ssse3,-avx512f")
    assert tier.available() == ("aesni", "portable")


def test_an_unknown_tier_is_refused() -> None:
    run = _run(["-c", "import bunet.protocols.kernels.symmetric.aes"], BUNET_TIER="fast")
    assert run.returncode != 0
    assert "BUNET_TIER='fast' is not a tier; choose one of vaes, aesni, portable" in run.stderr


def test_the_digest_follows_every_source_in_subfolders_too(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    sources = (tmp_path / "leaf.py", tmp_path / "inner" / "deep.py")
    for source in sources:
        source.write_text("x = 1\n")
    seen = {tier.source_digest(tmp_path)}
    for source in sources:
        source.write_text("x = 2\n")
        seen.add(tier.source_digest(tmp_path))
    sources[1].rename(tmp_path / "deep.py")
    seen.add(tier.source_digest(tmp_path))
    assert len(seen) == 4


def test_the_cache_follows_every_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tier, "source_digest", lambda folder: str(folder))
    kernels = Path(tier.__file__).parents[1]
    assert kernels.name == "kernels"
    before = tier.cache_folder("portable")
    monkeypatch.setattr(tier, "source_digest", lambda folder: f"{folder} after an edit")
    assert tier.cache_folder("portable") != before


def test_tiers_and_processors_have_their_own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    here = tier.cache_folder("portable")
    assert here.is_relative_to(tmp_path)
    assert tier.cache_folder("aesni") != here
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert tier.cache_folder("portable") != here


CACHE_PATHS = """
import importlib, pkgutil, sys
from bunet.protocols import kernels
names = sys.argv[1:] or [m.name for m in pkgutil.walk_packages(kernels.__path__, kernels.__name__ + ".")]
modules = [importlib.import_module(name) for name in names]
from numba.core.dispatcher import Dispatcher
from bunet.protocols.kernels.machine import tier
paths = {made.stats.cache_path for m in modules for made in vars(m).values() if isinstance(made, Dispatcher)}
print(tier.cache_folder(tier.TIER), *paths, sep="\\n")
"""


@pytest.mark.parametrize("first", [[], ["bunet.protocols.kernels.shares"]])
def test_every_kernel_is_kept_where_the_digest_of_all_sources_says(first: list[str]) -> None:
    """Whichever module is imported first: elsewhere a kernel would stay after an edit in a file that it imports."""
    run = _run(["-c", CACHE_PATHS, *first])
    assert run.returncode == 0, run.stderr
    folder, *paths = run.stdout.splitlines()
    assert paths
    assert all(Path(path).is_relative_to(folder) for path in paths)


def test_only_one_module_takes_decorators_from_numba() -> None:
    kernels = Path(tier.__file__).parents[1]
    taking = {
        path.relative_to(kernels).as_posix()
        for path in kernels.rglob("*.py")
        if re.search(r"\bn?jit\(|numba\.n?jit|import .*\b(njit|jit|intrinsic)$|extending\.intrinsic", path.read_text(), re.M)
        and "machine.compiled import" not in path.read_text()
    }
    assert taking == {"machine/compiled.py", "machine/foreign.py"}  # the latter's are not kept
