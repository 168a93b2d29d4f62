"""The report's text: self-contained, escaped, whole, its voxels exact; what it adds up of the sessions."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.experiments.report import costs
from bunet.experiments.report.data import ReportData, Score, Stage
from bunet.experiments.report.images import MAX_SIDE, MAX_VOXELS, centre, embed, kept_slices
from bunet.experiments.report.page import page, write_report
from bunet.models.metrics import Agreement
from bunet.models.volumes.content.intensity import Windowed
from tests.experiments.report.made_up_report import document, report_data

HOSTILE = "<script>alert('&\"x')</script><!-- </title> ${style} $grey --><img src=https://evil.example/x>"


class _Page(HTMLParser):
    """Tags with their attributes, the text of script elements by id, and all other text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.style = self.text = ""
        self.inside: tuple[str, dict[str, str | None]] = ("", {})
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag, dict(attrs)
        self.tags.append(self.inside)

    def handle_endtag(self, tag: str) -> None:
        self.inside = "", {}

    def handle_data(self, data: str) -> None:
        tag, attributes = self.inside
        if tag == "script":
            key = attributes.get("id") or ""
            self.scripts[key] = self.scripts.get(key, "") + data
        elif tag == "style":
            self.style += data
        else:
            self.text += data


def unpacked(text: str) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """(view, grey, labels) as the page's script makes them."""
    scripts = _Page(text).scripts
    view = json.loads(scripts["view"])
    grey, labels = (
        np.frombuffer(zlib.decompress(base64.b64decode(scripts[name])), np.uint8).reshape(view["shape"])
        for name in ("grey", "labels")
    )
    return view, np.cumsum(grey, axis=2, dtype=np.uint8), labels


def test_a_small_volume_comes_back_voxel_for_voxel() -> None:
    data = report_data()
    view, grey, labels = unpacked(page(data))
    np.testing.assert_array_equal(grey, np.rint(np.asarray(data.volume) * 255))
    assert view["masks"] == ["secure", "float", "truth", "lung"]
    for bit, key in enumerate(view["masks"]):
        np.testing.assert_array_equal(labels >> bit & 1, data.masks[key])
    assert (view["first"], view["steps"], view["millimetres"]) == ([0, 0, 0], [1, 1, 1], [2.0, 2.0, 2.0])
    assert view["slices"] == list(range(24))
    assert labels[tuple(view["start"])] & 1, "the page begins where the mask is"


def test_a_large_volume_is_cut_down_one_slice_at_a_time() -> None:
    """1028 slices of 520x300 that no array holds: rows in blocks of three, columns of two, five slices of eight."""
    rows = np.linspace(0, 1, 520, dtype=np.float32)[None, :, None]
    volume = Windowed(np.broadcast_to(rows, (1028, 520, 300)), 1.0, 0.0)
    mask = np.broadcast_to(np.arange(520)[None, :, None] >= 257, (1028, 520, 300))
    embedded = embed(volume, {"secure": mask})
    assert embedded.grey.shape == (642, 174, 150)
    assert max(embedded.grey.shape[1:]) <= MAX_SIDE
    assert MAX_VOXELS - 174 * 150 < embedded.grey.size <= MAX_VOXELS
    assert (embedded.block, embedded.levels, embedded.whole) == ((3, 2), 128, False)
    means = rows[0, :519, 0].reshape(173, 3).mean(axis=1)
    assert np.abs(embedded.grey[7, :173, 11] - 127 * means).max() <= 0.51
    assert embedded.grey[0, 173, 0] == 127, "the last block holds one row, the brightest"
    # Row 257 is the last of three in block 85: a third of the block is inside, which is less than half.
    assert [int(v) for v in embedded.labels[0, 84:88, 3]] == [0, 0, 1, 1]


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 301, 512, 513, 2000])
def test_kept_slices_are_evenly_spaced(count: int) -> None:
    kept, extent = kept_slices(count, 256, (0, count))
    assert len(kept) == min(count, 256)
    assert extent == (0, count)
    step = count / len(kept)
    assert all(abs(index + 0.5 - (k + 0.5) * step) <= 0.5 for k, index in enumerate(kept)), "amid each of equal parts"
    assert sorted(set(kept)) == list(kept)


@pytest.mark.parametrize(
    ("bounds", "first"), [((107, 111), 9), ((20, 24), 0), ((290, 301), 101), ((0, 200), 0), ((101, 301), 101)]
)
def test_a_part_is_kept_with_what_is_around_it(bounds: tuple[int, int], first: int) -> None:
    kept, extent = kept_slices(301, 200, bounds)
    assert extent == (first, first + 200)
    assert kept == tuple(range(*extent))
    assert set(range(*bounds)) <= set(kept), "no segmented slice is left out"


def test_values_that_are_no_grey_are_drawn_at_the_ends() -> None:
    volume = np.array([[[np.nan, -3.0, 0.5, 7.0, np.inf]]], dtype=np.float32)
    assert embed(volume, {"secure": np.zeros((1, 1, 5))}).grey.ravel().tolist() == [0, 0, 128, 255, 255]


def test_the_centre_lies_in_the_mask() -> None:
    mask = np.zeros((6, 8, 9), np.uint8)
    mask[4, 2:5, [0, 8]] = 1  # two parts: their mean is in neither
    mask[1, 6, 3] = 1
    assert mask[centre(mask, [(0, 6), (0, 8), (0, 9)])] == 1
    assert centre(np.zeros((6, 8, 9)), [(2, 4), (0, 8), (0, 9)]) == (2, 3, 4)


def test_text_from_outside_is_escaped() -> None:
    data = report_data(
        title=HOSTILE, case=HOSTILE, created=HOSTILE, facts=[(HOSTILE, HOSTILE)], scores=[Score(HOSTILE, Agreement(1, 2, 3))],
        shares=[(HOSTILE, 3.0)], volumes=[(HOSTILE, 5, 1.5)], scope=HOSTILE, remarks=[HOSTILE],
        stages=[Stage(HOSTILE, hostile_document()), Stage(HOSTILE, None)],
    )  # fmt: skip
    text = page(data)
    harmless, parsed = _Page(page(report_data())), _Page(text)
    assert "alert" not in "".join(parsed.scripts.values())
    assert [tag for tag, _ in parsed.tags].count("script") == [tag for tag, _ in harmless.tags].count("script")
    assert "img" not in [tag for tag, _ in parsed.tags]
    assert HOSTILE not in text
    assert parsed.text.count(HOSTILE) >= 12, "shown as it is, wherever it stands"
    assert all(not name.startswith("on") for _, attributes in parsed.tags for name in attributes)


def hostile_document() -> dict[str, Any]:
    made = document()
    for layer in made["slices"][0]["layers"]:
        layer.update(name=HOSTILE, operation=HOSTILE, protocol=HOSTILE)
    return made


def test_nothing_leads_out_of_the_file() -> None:
    parsed = _Page(page(report_data()))
    names = {name for _, attributes in parsed.tags for name in attributes}
    assert not names & {"src", "href", "srcset", "action", "formaction", "data", "poster", "ping", "background", "style"}
    assert not re.search(r"https?:|//[a-z]|url\(|@import|data:", parsed.style + parsed.text)
    assert not re.search(r"https?:|url\(|\bimport\b|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|eval\(", parsed.scripts[""])
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"link", "iframe", "object", "embed", "base", "form", "a"})


def test_only_the_pages_own_script_and_style_may_run() -> None:
    parsed = _Page(page(report_data()))
    policies = [a["content"] for tag, a in parsed.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    policy = html.unescape(policies[0] or "")
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for kind, content in (("script-src", parsed.scripts[""]), ("style-src", parsed.style)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy


def test_a_part_and_what_a_file_does_not_tell_are_said() -> None:
    data = report_data(region=(slice(4, 20), slice(None), slice(None)), spacing=None)
    text = _Page(page(data)).text
    assert "Segmented was z 4 to 19" in text
    assert "does not tell its orientation or spacing" in text
    assert "sides are not lettered" in text
    assert unpacked(page(data))[0]["oriented"] is False
    assert unpacked(page(report_data()))[0]["oriented"] is True
    assert unpacked(page(data))[0]["region"] == [[4, 20], [0, 64], [0, 64]]
    spaced = page(report_data(oriented=False))
    assert "does not tell its orientation: the patient's sides are not lettered" in _Page(spaced).text
    assert unpacked(spaced)[0]["oriented"] is False


def test_a_job_in_the_clear_has_no_costs_and_says_so() -> None:
    data = report_data(stages=[Stage("float", None)], scores=[], shares=[])
    text = _Page(page(data)).text
    assert "in the clear: no protocol ran" in text
    assert "no protocol" in text
    assert "nothing to compare" in text


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", report_data(case="case \udcff"))
    assert "case ?" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        ({"secure": np.zeros((2, 3, 4)), "liver": np.zeros((2, 3, 4))}, "no mask 'liver'"),
        ({"truth": np.zeros((2, 3, 4))}, "secure mask or the float"),
        ({"float": np.zeros((2, 3, 5))}, "the float mask of shape"),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ReportData("t", "c", "2026", [], np.zeros((2, 3, 4), np.float32), masks)


def test_costs_are_added_up_by_family_protocol_and_layer() -> None:
    both = [document(2), document(1)]  # three slices in all
    families = costs.by_family(both)
    assert list(families) == ["activation", "convolution", "pooling", "resizing", "read-out", "set-up"]
    assert families["activation"] == costs.Cost(6.0, 3.0, 0.0, 6 << 20, 6 << 10, 6)
    assert families["set-up"] == costs.Cost(0.0, 0.0, 2.0, 2000, 4000, 4)
    protocols = costs.by_protocol(both)
    assert list(protocols) == ["argmax", "local", "ot", "gc-sign", "pahe-coefficient", "set-up"], "the costliest first"
    assert sum(c.bytes for c in protocols.values()) == sum(c.bytes for c in families.values()) == 45 * ((1 << 20) + 1024) + 6000
    layers = costs.by_layer(both[0])
    assert [(line.name, line.operation, line.shape) for line in layers[:2]] == [
        ("encoder1.conv1", "conv", (16, 64, 64)), ("encoder1.relu1", "relu", (16, 64, 64)),
    ]  # fmt: skip
    assert layers[3].cost.seconds == 2 * (4 + 2)


def test_the_tables_hold_the_figures() -> None:
    data = report_data()
    text = _Page(page(data)).text
    score = data.scores[0].agreement
    for figure in (score.dice, score.overlap, score.sensitivity, 0.9876):
        assert f"{figure:.4f}" in text
    assert f"{data.shares[0][1]:.2f}" in text
    assert text.count("encoder1.relu1.extend") == 2, "once for each session with a document"
    assert "1:00" in text, "two sessions of thirty seconds"


def tiles_of(text: str) -> list[tuple[str, str, str]]:
    """(kind, figure, what it is of) of each tile."""
    pattern = r"<div class=tile><dt>(.*?)</dt><dd><b>(.*?)</b><span>(.*?)</span>"
    return [(kind, html.unescape(figure), html.unescape(of)) for kind, figure, of in re.findall(pattern, text)]


def test_every_figure_says_what_it_is_of_and_a_dice_against_what() -> None:
    data = report_data(
        scores=[Score("secure mask against the float model's mask", Agreement(4, 4, 4)), *report_data().scores],
        volumes=[("secure mask", 12_345, 98.76), ("lung", 550_000, 4400.0)],
    )  # fmt: skip
    dice = f"{data.scores[1].agreement.dice:.4f}"
    scope = "in 24 of 240 slices, maximum filter off"
    found = tiles_of(page(data))
    assert [(html.unescape(kind), of) for kind, _, of in found[:4]] == [
        ("Dice against the float model's mask", f"secure mask; {scope}"),
        ("Dice against the experts' label", f"secure mask; {scope}"),
        ("Share", f"infected share of the lung, found; {scope}"), ("Volume", f"secure mask; {scope}"),
    ]  # fmt: skip
    assert [figure for _, figure, _ in found[:2]] == ["1.0000", dice]
    assert found[3][1] == "98.8\xa0ml"
    text = _Page(page(data)).text
    for caption in ("How well masks agree", "Volumes", "Shares"):
        assert f"{caption} ({scope})" in text
    assert "what privacy cost, not how good" in text
    assert "4\u202f400" in text
    assert "Dice against the float model" in text
    assert "Dice to" not in text


def test_without_spacing_there_are_voxels_and_no_millilitres() -> None:
    text = page(report_data(volumes=[("secure mask", 12_345, None)]))
    assert "12\u202f345" in text
    assert "No millilitres" in text
    assert "ml" not in [kind for kind, _, _ in tiles_of(text)]
    assert "Volume" not in [kind for kind, _, _ in tiles_of(text)]


def test_windows_are_offered_where_values_are_hounsfield_units() -> None:
    text = page(report_data())
    assert '<option value="1500,-600">Lung W1500 L&minus;600</option>' in text
    assert '<option value="400,40">Mediastinum W400 L40</option>' in text
    assert unpacked(text)[0]["hu"] == [-1250.0, 250.0]
    without = page(report_data(hu=None))
    assert "<select" not in without
    assert unpacked(without)[0]["hu"] is None


def test_what_was_remarked_of_the_input_is_shown() -> None:
    assert "the scanner's table is within the volume" in _Page(page(report_data())).text
    assert "Remarks" not in _Page(page(report_data(remarks=[]))).text


def test_warnings_stand_above_the_figures_and_are_said_once() -> None:
    warning = "WARNING: no lung was found (0 voxels)"
    text = page(report_data(remarks=[warning, "the table is within the volume"]))
    assert text.index(warning) < text.index("<dl class=tiles>")
    assert text.count(warning) == text.count("the table is within the volume") == 1
    assert "<ul class=warnings>" not in page(report_data())


def test_two_empty_masks_do_not_agree_perfectly() -> None:
    text = page(report_data(scores=[Score("secure mask against the float model's mask", Agreement(0, 0, 0))]))
    assert tiles_of(text)[0][1] == "both are empty"
    table = _Page(text).text.partition("How well masks agree")[2].partition("Volumes")[0]
    assert "both are empty" in table
    assert "1.0000" not in table
