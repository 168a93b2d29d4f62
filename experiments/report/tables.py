"""The tables of a report as HTML, every text from outside escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from bunet.experiments.report.costs import Cost, by_family, by_layer, by_protocol
from bunet.experiments.report.data import Score, Stage
from bunet.models.metrics import Agreement, dice_text
from bunet.parties.words import duration, mebibytes, number

GIB = 1 << 30
WARNING = "WARNING"  # how a remark begins that says why a mask may be wrong
VERIFIED = {True: "yes", False: "<b class=bad>NO</b>", None: "not compared"}


def tiles(
    scores: Sequence[Score],
    shares: Sequence[tuple[str, float]],
    volumes: Sequence[tuple[str, int, float | None]],
    scope: str,
    documents: Sequence[Mapping[str, Any]],
) -> str:
    """The figures to read first; each says what it is of and, a Dice, against what."""
    beside = f"; {scope}" * bool(scope)
    shown = []
    for score in scores[:2]:
        of, _, against = score.name.partition(" against ")
        dice = dice_text(score.agreement.known()["dice"])
        shown.append((f"Dice against {against}" if against else "Dice", dice, f"{of}{beside}"))
    shown += [("Share", f"{percent:.2f}&nbsp;%", f"{name}{beside}") for name, percent in shares[:1]]
    shown += [("Volume", f"{_ml(ml)}&nbsp;ml", f"{name}{beside}") for name, _, ml in volumes[:1] if ml is not None]
    if documents:
        totals = [document["totals"] for document in documents]
        slices = sum(map(_slices, documents))
        sessions = f"{len(documents)} session{'s' if len(documents) > 1 else ''}, {slices} slice{'s' if slices > 1 else ''}"
        shown.append(("Time", _time(sum(t["seconds"] for t in totals)), sessions))
        traffic = sum(t["bytes_sent"] + t["bytes_received"] for t in totals)
        shown.append(("Traffic", _bytes(traffic), "both ways, on the wire"))
    items = "".join(
        f"<div class=tile><dt>{escape(title)}</dt><dd><b>{value}</b><span>{escape(name)}</span></dd></div>"
        for title, value, name in shown
    )
    return f"<dl class=tiles>{items}</dl>" if items else ""


def toggles(masks: Mapping[str, str]) -> str:
    """A switch for every mask. masks: key to name; the first is filled. The float model's is off beside the secure one, which
    it all but equals.
    """
    return "".join(
        f'<label class=toggle><input type=checkbox data-mask="{bit}"{" checked" if bit == 0 or key != "float" else ""}>'
        f'<span class="swatch {key}{"" if bit else " filled"}"></span>{escape(name)}</label>'
        for bit, (key, name) in enumerate(masks.items())
    )


def scores(
    lines: Sequence[Score], shares: Sequence[tuple[str, float]], volumes: Sequence[tuple[str, int, float | None]], scope: str
) -> str:
    """Dice, overlap, sensitivity and counts of voxels; then the volumes and the shares."""
    of = f" ({escape(scope)})" * bool(scope)
    body = [
        [
            escape(line.name), *_figures(line.agreement), _count(line.agreement.found), _count(line.agreement.true),
            _count(line.agreement.both),
        ]
        for line in lines
    ]  # fmt: skip
    head = ["Comparison", "Dice", "Overlap", "Sensitivity", "Found, voxels", "True, voxels", "Both, voxels"]
    text = _table(f"How well masks agree{of}", head, body) if lines else "<p>There was nothing to compare the mask with.</p>"
    if any("float model" in line.name for line in lines):
        text += (
            "<p class=hint>The float model is the same network in the clear. A Dice against it tells what privacy cost, not "
            "how good the segmentation is; that, only one against a label tells.</p>"
        )
    if volumes:
        known = any(ml is not None for _, _, ml in volumes)
        cells = [[escape(name), _count(voxels), *([_ml(ml)] if known else [])] for name, voxels, ml in volumes]
        text += _table(f"Volumes{of}", ["Mask", "Voxels", *(["ml"] if known else [])], cells, short=True)
        if not known:
            text += "<p class=hint>No millilitres: the input does not tell its spacing.</p>"
    if shares:
        cells = [[escape(name), f"{percent:.2f}"] for name, percent in shares]
        text += _table(f"Shares{of}", ["Share", "Per cent"], cells, short=True)
    return text


def _figures(agreement: Agreement) -> list[str]:
    """Dice, overlap, sensitivity; of nothing against nothing there is none."""
    first, *rest = agreement.known().values()
    return [dice_text(first), *("" if value is None else f"{value:.4f}" for value in rest)]


# Window and level in Hounsfield units, as radiologists set them.
WINDOWS = {"Lung": (1500, -600), "Mediastinum": (400, 40)}


def windows() -> str:
    """A choice of windows; the script knows how to draw them."""
    options = "".join(
        f'<option value="{width},{level}">{name} W{width} L{str(level).replace("-", "&minus;")}</option>'
        for name, (width, level) in WINDOWS.items()
    )
    return (
        '<label class=slide><span>Window</span><select id=window><option value="">All the network sees</option>'
        f"{options}</select></label>"
    )


def remarks(lines: Sequence[str]) -> str:
    """What was remarked of the input and of what was found, but for what `warnings` shows."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines if not line.startswith(WARNING))
    return f"<h3>Remarks</h3><ul class=remarks>{items}</ul>" if items else ""


def warnings(lines: Sequence[str]) -> str:
    """A box of those remarks that say why a mask may be wrong: to be read before any figure."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines if line.startswith(WARNING))
    return f"<ul class=warnings>{items}</ul>" if items else ""


def stages(lines: Sequence[Stage]) -> str:
    """One line a session, and their sums. What no session tells has no column."""
    if not lines:
        return "<p>No session is recorded.</p>"
    head = [
        "Session", "Slices", "Time", "s a slice", "Set-up, s", "MiB out", "MiB in", "Rounds", "GiB, Alice + Bob",
        "Dice against the float model", "Verified",
    ]  # fmt: skip
    body = [_stage(line) for line in lines]
    documents = [line.document for line in lines if line.document is not None]
    if len(documents) > 1:
        totals = [document["totals"] for document in documents]
        count = sum(map(_slices, documents))
        seconds = sum(t["seconds"] for t in totals)
        body.append([
            "All sessions", str(count), _time(seconds), number(seconds / count) if count else "",
            number(sum(document["setup"]["seconds"] for document in documents)),
            mebibytes(sum(t["bytes_sent"] for t in totals)), mebibytes(sum(t["bytes_received"] for t in totals)),
            _count(sum(t["rounds"] for t in totals)), "", "", "",
        ])  # fmt: skip
    told = [column for column in range(len(head)) if any(row[column] for row in body)]
    head, body = [head[column] for column in told], [[row[column] for column in told] for row in body]
    return _table("Sessions", head, body, last_is_sum=len(documents) > 1)


def _stage(line: Stage) -> list[str]:
    document = line.document
    if document is None:
        return [escape(line.title), *[""] * 9, "no protocol"]
    totals, count = document["totals"], _slices(document)
    each = number(totals["seconds"] / count) if count else ""
    dice = document["dice"]["float"]
    memory = [totals["peak_memory_bytes"][role] for role in ("alice", "bob")]
    return [
        escape(line.title), str(count) if count else "", _time(totals["seconds"]), each,
        number(document["setup"]["seconds"]), mebibytes(totals["bytes_sent"]), mebibytes(totals["bytes_received"]),
        _count(totals["rounds"]), " + ".join("?" if m is None else f"{m / GIB:.2f}" for m in memory),
        "" if dice is None else f"{dice:.4f}", VERIFIED[document["verified"]],
    ]  # fmt: skip


def costs(documents: Sequence[Mapping[str, Any]]) -> str:
    """Two charts, of families of operations and of protocols, over all sessions."""
    if not documents:
        return "<p>The masks were computed in the clear: no protocol ran.</p>"
    return _chart("By kind of operation", "Kind", by_family(documents)) + _chart(
        "By protocol", "Protocol", by_protocol(documents)
    )


def _chart(title: str, what: str, sums: Mapping[str, Cost]) -> str:
    most_s = max((cost.seconds for cost in sums.values()), default=0.0) or 1.0
    most_bytes = max((cost.bytes for cost in sums.values()), default=0) or 1
    whole_s = sum(cost.seconds for cost in sums.values()) or 1.0
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}"
        f"<td>{number(cost.seconds)}<small>{100 * cost.seconds / whole_s:.0f}&nbsp;%</small>"
        f"<td class=plot>{_bar(most_s, compute=cost.compute_s, wait=cost.wait_s, unsplit=cost.unsplit_s)}"
        f"<td>{mebibytes(cost.bytes)}"
        f"<td class=plot>{_bar(most_bytes, sent=cost.bytes_sent, received=cost.bytes_received)}</tr>"
        for name, cost in sums.items()
    )
    return (
        f"<table class=chart><caption>{title}</caption><thead><tr><th scope=col>{what}<th scope=col>s<td>"
        f"<th scope=col>MiB<td></tr></thead><tbody>{rows}</tbody></table>"
    )


def _bar(most: float, **parts: float) -> str:
    """Parts side by side, of a bar that is full at `most`. The figures stand beside it: it is hidden from readers."""
    at, drawn = 0.0, ""
    for part, value in parts.items():
        width = 100 * value / most
        if width > 0:
            drawn += f'<rect class={part} x="{at:.2f}" width="{width:.2f}" height="10"/>'
        at += width
    return f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'


def layers(lines: Sequence[Stage]) -> str:
    """Every session's layers, folded away."""
    head = ["Layer", "Operation", "Protocol", "Shape", "Computing, s", "Waiting, s", "MiB out", "MiB in", "Rounds"]
    text = ""
    for line in lines:
        if line.document is None:
            continue
        body = [
            [
                escape(layer.name).replace(".", ".<wbr>"), escape(layer.operation), escape(layer.protocol),
                "x".join(map(str, layer.shape)),
                number(layer.cost.compute_s), number(layer.cost.wait_s), mebibytes(layer.cost.bytes_sent),
                mebibytes(layer.cost.bytes_received), _count(layer.cost.rounds),
            ]
            for layer in by_layer(line.document)
        ]  # fmt: skip
        title = escape(line.title)
        table = _table(f"{title}, layer by layer", head, body, texts=4)
        text += f"<details><summary>{title}: {len(body)} layers</summary>{table}</details>"
    return text


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return f"<dl class=facts>{items}</dl>" if items else ""


def _table(
    caption: str,
    head: Sequence[str],
    body: Sequence[Sequence[str]],
    texts: int = 1,
    last_is_sum: bool = False,
    short: bool = False,
) -> str:
    """A table of cells that are HTML already. texts: how many columns hold words; the others are aligned as figures.
    short: no broader than it needs to be.
    """
    classes = ["" if column < texts else " class=n" for column in range(len(head))]
    top = "".join(f"<th scope=col{name}>{cell}" for name, cell in zip(classes, head, strict=True))
    rows = []
    for place, row in enumerate(body):
        cells = "".join(f"<td{name}>{cell}" for name, cell in zip(classes[1:], row[1:], strict=True))
        last = " class=sum" if last_is_sum and place == len(body) - 1 else ""
        rows.append(f"<tr{last}><th scope=row>{row[0]}{cells}")
    width = " class=short" if short else ""
    # A table that is wider than the screen scrolls by itself, with the keyboard too.
    return (
        f'<div class=wide role=region tabindex=0 aria-label="{caption}"><table{width}><caption><span>{caption}</span></caption>'
        f"<thead><tr>{top}</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _slices(document: Mapping[str, Any]) -> int:
    """How many slices a session segmented; a vote's one pass over the volume is none."""
    return sum(record["axis"] in ("x", "y", "z") for record in document["slices"])


def _time(seconds: float) -> str:
    return f"{number(seconds)} s" if seconds < 60 else duration(seconds)


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")


def _ml(value: float | None) -> str:
    return "" if value is None else _count(round(value)) if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if value < 1000:
            return f"{value:.3g}&nbsp;{unit}"
        value /= 1024
    return f"{value:.1f}&nbsp;GiB"
