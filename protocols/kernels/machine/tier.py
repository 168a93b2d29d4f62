"""Which instructions the kernels may use, and where numba keeps what it compiled.

Three tiers, best first:
- `vaes`: AVX-512 with VAES, GFNI and IFMA (Intel Ice Lake, AMD Zen 4 and later);
- `aesni`: x86-64 with AES-NI on 128-bit registers;
- `portable`: plain integer code, bit-sliced AES; works wherever numba does.

An intrinsic that the target lacks makes LLVM abort the process, so the choice is made here, in Python, before anything
is compiled. All tiers compute the same values, bit for bit. A module of kernels picks its tier's functions at import:

    _hash = _hash_vaes if TIER == "vaes" else ...

numba may freeze such a choice in its cache, and does not see edits in the files a kernel imports, so the cache folder
is named by the tier, the processor and a digest of the sources of all kernels.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import llvmlite
import llvmlite.binding
import numba

from bunet.models.errors import UsageError

TIERS = ("vaes", "aesni", "portable")

_NEEDS = {
    "vaes": ("aes", "vaes", "gfni", "bmi2", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vbmi", "avx512ifma"),
    "aesni": ("aes", "ssse3"),
    "portable": (),
}


class TierUnavailable(UsageError):
    """BUNET_TIER names a tier that does not exist or that this machine cannot run; raised when kernels are imported."""


def target_features() -> frozenset[str]:
    """Features that numba compiles for: the host's, unless NUMBA_CPU_NAME or NUMBA_CPU_FEATURES say otherwise."""
    named = os.environ.get("NUMBA_CPU_NAME", "host")
    listed = os.environ.get("NUMBA_CPU_FEATURES")
    if listed is not None:
        return frozenset(item[1:] for item in listed.split(",") if item.startswith("+"))
    if named != "host":
        return frozenset()  # a processor chosen by name: nothing is known about it
    return frozenset(name for name, present in llvmlite.binding.get_host_cpu_features().items() if present)


def processor() -> str:
    """LLVM's name of this machine's processor, such as `znver4`."""
    return str(llvmlite.binding.get_host_cpu_name())


def available() -> tuple[str, ...]:
    """Tiers that this machine can run, best first; `portable` is always among them."""
    features = target_features()
    return tuple(tier for tier in TIERS if features.issuperset(_NEEDS[tier]))


def choose(wanted: str | None) -> str:
    """The tier to run: `wanted` (BUNET_TIER), or the best available if it is None or empty."""
    tiers = available()
    if not wanted:
        return tiers[0]
    if wanted not in TIERS:
        raise TierUnavailable(f"BUNET_TIER={wanted!r} is not a tier; choose one of {', '.join(TIERS)}")
    if wanted not in tiers:
        missing = sorted(set(_NEEDS[wanted]) - target_features())
        raise TierUnavailable(f"BUNET_TIER={wanted} needs a processor with {', '.join(missing)}")
    return wanted


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def source_digest(folder: Path) -> str:
    """Digest of every source below a folder. numba watches only the file a kernel stands in, not what that file imports."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def cache_folder(tier: str) -> Path:
    """<NUMBA_CACHE_DIR or the user's cache>/bunet/<sources, numba, processor>/<tier>."""
    root = os.environ.get("NUMBA_CACHE_DIR") or _user_cache()
    version = "|".join(
        (
            source_digest(Path(__file__).parents[1]),
            numba.__version__,
            llvmlite.__version__,
            os.environ.get("NUMBA_CPU_NAME") or processor(),
            ",".join(sorted(target_features())),
        )
    )
    return Path(root) / "bunet" / hashlib.sha256(version.encode()).hexdigest()[:16] / tier


def _use_cache(tier: str) -> None:
    folder = _writable(tier)
    if folder is None:  # no home, or a read-only one: kept for this process and its children, and compiled anew by the next
        try:
            root = tempfile.mkdtemp(prefix="bunet-kernels-")
        except OSError:
            raise TierUnavailable("there is no folder for compiled kernels: NUMBA_CACHE_DIR can name one") from None
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        os.environ["NUMBA_CACHE_DIR"] = root
        folder = _writable(tier)
    numba.config.CACHE_DIR = str(folder)  # not the environment: a child process may run another tier


def _writable(tier: str) -> Path | None:
    try:
        folder = cache_folder(tier)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError):  # the latter where no home is known
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


TIER = choose(os.environ.get("BUNET_TIER"))
_use_cache(TIER)
