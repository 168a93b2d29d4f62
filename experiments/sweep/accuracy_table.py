"""The accuracy and runtime of secure runs on a CT volume beside the float model's: rows, and the table they make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from bunet.experiments.report.costs import family_of
from bunet.experiments.storage.results import write_csv
from bunet.experiments.sweep.facts import COMMON, beyond_of, name_of, told, varied, words
from bunet.models.files.atomic import write_atomic
from bunet.models.metrics import dice_text

SHOWN = ("activation", "convolution", "pooling")  # families of `program.FAMILIES`
REST = "rest"
FLOAT = "float"
# Facts of a secure run that the float model knows nothing of; what is not here makes another float run.
SECURE_FACTS = ("link", "bandwidth_bps", "rtt_s", "jitter_s", "protocols", "ot", "format", "in_flight", "verify")
FIRST = ("weights", "format")
RESULTS = (
    "seconds_per_slice",
    *(f"{family}_s" for family in (*SHOWN, REST)),
    "bytes_per_slice",
    "dice_float",
    "dice_truth",
    "verified",
    "beyond",
    "input_beyond",
)


def seconds_by_family(document: Mapping[str, Any]) -> dict[str, float]:
    """Seconds a slice by family of operations, from a run's document; they add up to the run's seconds a slice.

    A layer's seconds are those from its start to its end, computing and waiting. `rest` is what is left of the run:
    extensions, truncations, the readout, and the set-up's share. Where slices interleave, so do the layers' seconds; they
    are then scaled to the time that passed.
    """
    slices = document["slices"]
    spent = dict.fromkeys((*SHOWN, REST), 0.0)
    for one in slices:
        for layer in one["layers"]:
            family = family_of(layer["operation"])
            spent[family if family in SHOWN else REST] += layer["compute_s"] + layer["wait_s"]
    total, busy = document["totals"]["seconds"], sum(spent.values())
    passed = max(total - document["setup"]["seconds"], 0.0)
    scale = min(1.0, passed / busy) if busy else 0.0
    seconds = {family: spent[family] * scale / len(slices) for family in SHOWN}
    return {**seconds, REST: total / len(slices) - sum(seconds.values())}


def rows_of(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each run, after one for each run of the float model: of other weights, of another size, and so on.

    entries: lines of the sweep's journal (identity, point, document) of points with a volume.
    """
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        facts = {key: value for key, value in entry["point"].items() if key not in SECURE_FACTS}
        runs.setdefault(json.dumps(facts, sort_keys=True), []).append(entry)
    rows: list[dict[str, Any]] = []
    for alike in runs.values():
        point, clear = alike[0]["point"], alike[0]["document"]["run"]["float"]
        rows.append(
            {
                **{key: point[key] for key in told(point) if key not in SECURE_FACTS},
                "format": FLOAT,
                "seconds_per_slice": clear["seconds_per_slice"],
                "dice_float": 1.0,
                "dice_truth": clear["dice_truth"],
            }
        )
        rows += [_row(entry) for entry in alike]
    return rows


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    point, document = entry["point"], entry["document"]
    totals, count = document["totals"], len(document["slices"])
    return {
        **{key: point[key] for key in told(point)},
        "protocols": words("protocols", point["protocols"]),
        "seconds_per_slice": totals["seconds"] / count,
        **{f"{family}_s": seconds for family, seconds in seconds_by_family(document).items()},
        "bytes_per_slice": (totals["bytes_sent"] + totals["bytes_received"]) // count,
        "dice_float": document["dice"]["float"],
        "dice_truth": document["dice"]["truth"],
        "verified": document["verified"],
        **beyond_of(document),
    }


def write(folder: Path, title: str, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`accuracy.csv` and, for people, `accuracy.md`; returns the rows."""
    rows = rows_of(entries)
    facts = dict.fromkeys(key for entry in entries for key in told(entry["point"]) if key not in FIRST)
    write_csv(folder / "accuracy.csv", rows, (*FIRST, *facts, *RESULTS))
    text = markdown(rows, title, entries)

    def put(stream: IO[bytes]) -> None:
        stream.write(text.encode())

    write_atomic(folder / "accuracy.md", put)
    return rows


def markdown(rows: Sequence[Mapping[str, Any]], title: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table in Markdown; facts that all runs share stand below it."""
    points = [entry["point"] for entry in entries]
    apart = varied(points, but=FIRST)
    heads = [
        *FIRST,
        *apart,
        "s a slice",
        *(f"{family} s" for family in (*SHOWN, REST)),
        "MiB a slice",
        "Dice against the float model",
        "Dice against the truth",
        "verified",
        "beyond",
        "input beyond %",
    ]
    lines = [f"# {title}", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = [row["weights"], row["format"], *(str(row.get(fact, "")) for fact in apart)]
        cells += [_number(row.get(key), 2) for key in ("seconds_per_slice", *(f"{family}_s" for family in (*SHOWN, REST)))]
        traffic = row.get("bytes_per_slice")
        cells += ["" if traffic is None else _number(traffic / (1 << 20), 0)]
        cells += [dice_text(row["dice_float"]), _number(row.get("dice_truth"), 4)]  # there need be no truth
        cells += [{True: "yes", False: "NO"}.get(row.get("verified"), "")]  # type: ignore[arg-type]
        cells += ["" if row.get("beyond") is None else str(row["beyond"])]
        cells += ["" if row.get("input_beyond") is None else f"{100 * row['input_beyond']:.2g}"]
        lines.append(f"| {' | '.join(cells)} |")
    point, document = entries[0]["point"], entries[0]["document"]
    shared = name_of(point, [key for key in told(point) if key not in (*FIRST, *apart, *COMMON, "volume", "axis")])
    places = "; ".join(f"{one['axis']} {one['index']}" for one in document["slices"])
    where = document.get("environment", {})
    lines += [
        "",
        f"Volume {point['volume']}, slices {places}; {shared}.",
        "`rest`: extensions, truncations, readout, and the set-up's share. Float: numpy, in the clear, no network.",
        "`beyond`: values of compared layers beyond calibration, where masks may be wrong; `input beyond %`: of the input's.",
        f"Machine: {where.get('cpu', 'unknown')}, {where.get('cores', '?')} core(s) of each party.",
        "",
    ]
    return "\n".join(lines)


def _number(value: Any, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
