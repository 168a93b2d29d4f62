"""The machine that a run is made on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np


def default_cores() -> int:
    """Half of the processor for each of two local parties."""
    return max(1, len(usable_processors()) // 2)


def usable_processors() -> set[int]:
    """Numbers of the processors that this process may use."""
    try:
        return set(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return set(range(os.cpu_count() or 1))


def environment(cores: int) -> dict[str, Any]:
    """Where a run was made. cores: of each party."""
    from bunet.protocols.kernels.machine.tier import TIER

    return {
        "bunet": _version("bunet"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": _version("numba"),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": processor(),
        "tier": TIER,
        "cores": cores,
        "cpus": len(usable_processors()),
    }


def processor() -> str:
    """The processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not on Linux
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
