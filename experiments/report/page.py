"""report.html: one self-contained file with the slices and masks of a job, how well they agree, and what they cost.

The file holds the patient's images and nothing that leads out of it: its Content-Security-Policy forbids every
connection, and lets only the page's own script and style run, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from typing import IO, Any

from bunet.experiments.report import tables
from bunet.experiments.report.images import Embedded, centre, embed, pack_grey, pack_labels
from bunet.experiments.report.tables import Score, Stage
from bunet.experiments.storage.results import write_whole
from bunet.models.volumes.volume import Sliceable

# What a mask is called, in the order the masks are listed. The first that is there is filled, the others are outlined.
MASKS = {"secure": "Secure mask", "float": "Float model's mask", "truth": "Label", "lung": "Lung"}


@dataclass(frozen=True)
class ReportData:
    """What a report shows. Texts may hold anything: they are escaped.

    created: a date, as text. facts: (name, value) of the job, such as its model, format and link. volume: (Z, H, W) in [0, 1],
    which may be computed where it is cut. masks: under keys of MASKS, `secure` or `float` among them, of the volume's shape,
    non-zero inside. region: what was segmented; outside of it the masks have no opinion. spacing: millimetres between slices,
    rows and columns; None where the file does not tell. oriented: whether it tells how the patient lies; the patient's sides
    are lettered only where it tells both. shares: (name, per cent), such as the infected share of the lung. volumes: (name of
    a mask, voxels, millilitres or None). scope: said beside every figure, such as `in 2 of 200 slices, maximum filter off`.
    hu: the Hounsfield units of 0 and 1 in the volume, where it has any: windows can be chosen then. remarks: what people
    should know of the input and of what was found; those that begin with WARNING stand above all figures. Raises ValueError
    for masks that do not fit.
    """

    title: str
    case: str
    created: str
    facts: Sequence[tuple[str, str]]
    volume: Sliceable
    masks: Mapping[str, Any]
    region: tuple[slice, slice, slice] = (slice(None), slice(None), slice(None))
    spacing: tuple[float, float, float] | None = None
    oriented: bool = True
    scores: Sequence[Score] = ()
    shares: Sequence[tuple[str, float]] = ()
    volumes: Sequence[tuple[str, int, float | None]] = ()
    scope: str = ""
    hu: tuple[float, float] | None = None
    remarks: Sequence[str] = ()
    stages: Sequence[Stage] = ()

    def __post_init__(self) -> None:
        if unknown := set(self.masks) - set(MASKS):
            raise ValueError(f"a report has no mask {sorted(unknown)[0]!r}; it knows {', '.join(MASKS)}")
        if not {"secure", "float"} & set(self.masks):
            raise ValueError("a report needs the secure mask or the float model's")
        for name, mask in self.masks.items():
            if tuple(mask.shape) != tuple(self.volume.shape):
                raise ValueError(f"the {name} mask of shape {mask.shape} does not lie on a volume of {self.volume.shape}")

    @property
    def lettered(self) -> bool:
        """Whether the patient's sides are known."""
        return self.oriented and self.spacing is not None

    @property
    def ordered_masks(self) -> dict[str, Any]:
        """The masks in the order of MASKS; the first is what the job found."""
        return {key: self.masks[key] for key in MASKS if key in self.masks}

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First and one past the last index of the region, for each axis."""
        return [part.indices(n)[:2] for part, n in zip(self.region, self.volume.shape, strict=True)]


def write_report(path: Path, data: ReportData) -> None:
    """One HTML file, whole or not at all. Raises OSError where the folder cannot be written."""
    text = page(data)

    def write(stream: IO[bytes]) -> None:
        # A file's name may hold bytes that are no text.
        stream.write(text.encode("utf-8", errors="replace"))

    write_whole(path, write)


def page(data: ReportData) -> str:
    """The whole page as text."""
    masks = data.ordered_masks
    embedded = embed(data.volume, masks, data.bounds[0])
    style, script = _asset("page.css"), _asset("page.js")
    documents = [stage.document for stage in data.stages if stage.document is not None]
    return string.Template(_asset("page.html")).substitute(
        policy=(
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"
        ),
        style=style,
        script=script,
        title=escape(data.title),
        case=escape(data.case),
        created=escape(data.created),
        warnings=tables.warnings(data.remarks),
        tiles=tables.tiles(data.scores, data.shares, data.volumes, data.scope, documents),
        toggles=tables.toggles({key: MASKS[key] for key in masks}),
        drawn=_drawn(data, embedded),
        windows=tables.windows() if data.hu else "",
        scores=tables.scores(data.scores, data.shares, data.volumes, data.scope),
        stages=tables.stages(data.stages),
        costs=tables.costs(documents),
        layers=tables.layers(data.stages),
        facts=tables.facts(data.facts) + tables.remarks(data.remarks),
        view=_json(_view(data, embedded)),
        grey=pack_grey(embedded.grey),
        labels=pack_labels(embedded.labels),
    )


def _view(data: ReportData, embedded: Embedded) -> dict[str, Any]:
    """What the page's script needs to know of the voxels it unpacks."""
    start, stop = embedded.extent
    steps = ((stop - start) / len(embedded.slices), *embedded.block)
    spacing = data.spacing or (1.0, 1.0, 1.0)
    return {
        "shape": embedded.grey.shape,
        "source": embedded.shape,
        "slices": embedded.slices,
        "first": [start, 0, 0],
        "steps": steps,
        "millimetres": [step * mm for step, mm in zip(steps, spacing, strict=True)],
        "levels": embedded.levels,
        "region": data.bounds,
        "start": _start(data, embedded),
        "masks": list(data.ordered_masks),
        "oriented": data.lettered,
        "hu": data.hu,
    }


def _start(data: ReportData, embedded: Embedded) -> tuple[int, int, int]:
    """Where the page begins, as an index of the embedded voxels for each axis."""
    bounds = []
    for axis, (low, high) in enumerate(data.bounds):
        kept = range(embedded.shape[axis])[:: embedded.block[axis - 1]] if axis else embedded.slices
        within = [place for place, index in enumerate(kept) if low <= index < high]
        bounds.append((within[0], within[-1] + 1) if within else (0, len(kept)))
    return centre(embedded.labels & 1, bounds)


def _drawn(data: ReportData, embedded: Embedded) -> str:
    """Sentences on how the pictures differ from the volume."""
    count, height, width = embedded.shape
    says = []
    if embedded.whole:
        says.append(f"All {count} slices of {height}x{width} pixels, in 256 shades.")
    else:
        rows, columns = embedded.block
        kept = len(embedded.slices)
        start, stop = embedded.extent
        where = "evenly spaced" if stop - start == count else "those around what was segmented"
        which = f"all {count} slices" if kept == count else f"{kept} of {count} slices, {where}"
        pixels = "" if embedded.block == (1, 1) else f", averaged over blocks of {rows}x{columns} pixels"
        says.append(
            f"To keep this file small it shows {which}{pixels}, in {embedded.levels} shades. "
            "The figures are of the volume's own voxels, and so is the mask that was written beside this report."
        )
    parts = [
        f"{axis} {low} to {high - 1}"
        for axis, (low, high), n in zip("zyx", data.bounds, embedded.shape, strict=True)
        if (low, high) != (0, n)
    ]
    if parts:
        says.append(f"Segmented was {', '.join(parts)}; the rest is dimmed, and the masks say nothing of it.")
    if data.spacing is None:
        says.append(
            "The input does not tell its orientation or spacing: the patient's sides are not lettered, the views are named as "
            "if slices ran from feet to head, and voxels are drawn as cubes."
        )
    elif not data.lettered:
        says.append(
            "The input does not tell its orientation: the patient's sides are not lettered, and the views are named as if "
            "slices ran from feet to head."
        )
    return " ".join(says)


def _asset(name: str) -> str:
    return (resources.files("bunet.experiments.report") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(document: Mapping[str, Any]) -> str:
    """JSON that may stand in a script element: nothing in it ends the element or opens a comment."""
    return json.dumps(document).replace("<", "\\u003c")
