import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from bunet.protocols.kernels import tier

SCRIPT = Path(__file__).with_name("tier_digest.py")


def _run(code: list[str], **variables: str) -> subprocess.CompletedProcess:
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


def test_the_portable_tier_runs_on_a_generic_processor():
    assert _portable()["tier"] == "portable"


@pytest.mark.parametrize("name", [name for name in tier.available() if name != "portable"])
def test_tiers_agree_bit_for_bit(name):
    mine, portable = _digests(BUNET_TIER=name), _portable()
    assert mine["tier"] == name
    assert {**mine, "tier": ""} == {**portable, "tier": ""}


def test_a_processor_chosen_by_name_offers_only_the_portable_tier(monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert tier.available() == ("portable",)
    assert tier.choose(None) == "portable"
    with pytest.raises(tier.TierUnavailable, match="BUNET_TIER=vaes needs a processor with"):
        tier.choose("vaes")


def test_features_may_be_listed(monkeypatch):
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+aes,+ssse3,-avx512f")
    assert tier.available() == ("aesni", "portable")


def test_an_unknown_tier_is_refused():
    run = _run(["-c", "import bunet.protocols.kernels.aes"], BUNET_TIER="fast")
    assert run.returncode != 0
    assert "BUNET_TIER='fast' is not a tier; choose one of vaes, aesni, portable" in run.stderr


def test_the_digest_follows_the_sources_that_kernels_import(tmp_path):
    (tmp_path / "leaf.py").write_text("from bunet.protocols.kernels.base import x\n")
    (tmp_path / "base.py").write_text("x = 1\n")
    before = tier.source_digest(tmp_path)
    (tmp_path / "leaf.py").write_text("from bunet.protocols.kernels.base import x\ny = 2\n")
    assert tier.source_digest(tmp_path) == before
    (tmp_path / "base.py").write_text("x = 2\n")
    assert tier.source_digest(tmp_path) != before


def test_tiers_and_processors_have_their_own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    here = tier.cache_folder("portable")
    assert here.is_relative_to(tmp_path)
    assert tier.cache_folder("aesni") != here
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert tier.cache_folder("portable") != here
