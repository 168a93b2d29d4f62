"""What a run leaves on disk: documents, masks and tables, each written whole or not at all."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np

from bunet.experiments.options import usable_processors
from bunet.models.files.atomic import write_atomic


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """One JSON document, indented. Raises ValueError where it holds NaN or infinity, which JSON has not."""
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"

    def write(stream: IO[bytes]) -> None:
        stream.write(text.encode())

    write_atomic(path, write)


def write_mask(path: Path, masks: np.ndarray, axis: str, indices: Sequence[int]) -> None:
    """Labels uint8 (slices, H, W) under the key `array`, with the `axis` and the `indices` they were cut at."""

    def write(stream: IO[bytes]) -> None:
        np.savez_compressed(
            stream, array=masks.astype(np.uint8), axis=np.array(axis), indices=np.asarray(indices, dtype=np.int64)
        )

    write_atomic(path, write)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A table with a header line; a column that a row lacks is empty."""

    def write(stream: IO[bytes]) -> None:
        lines: list[str] = []
        writer = csv.DictWriter(_Lines(lines), columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        stream.write("".join(lines).encode())

    write_atomic(path, write)


class _Lines:
    """The file that the csv module wants."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def write(self, text: str) -> int:
        self._lines.append(text)
        return len(text)


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
