"""What a run leaves on disk: documents, masks and tables, each written whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

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
