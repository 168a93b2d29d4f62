"""Sweeps over a CT volume with trained weights: a pair that computes with the oracle, the table, what is missing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.experiments.bench.data import CtData
from bunet.experiments.bench.slices import Bench
from bunet.experiments.sweep import accuracy_table
from bunet.experiments.sweep import data as sweep_data
from bunet.experiments.sweep.data import Asked
from bunet.experiments.sweep.grid import SweepConfig
from bunet.experiments.sweep.points import Point
from bunet.experiments.sweep.reading import parse
from bunet.experiments.sweep.run import run_sweep
from bunet.models.errors import UsageError
from bunet.models.network import weights
from bunet.models.network.architecture import Architecture
from bunet.models.network.seeded import seeded_weights
from bunet.models.volumes import formats
from bunet.models.volumes.reading import VolumeReading
from bunet.models.volumes.volume import Volume
from tests.experiments.command_line import Bunet
from tests.experiments.test_demo import pretend

GRID = "grid:\n  links: [lan]\n  formats: ['8.4', '12.4']\n  sizes: [32]\n  features: [1]\n  activations: [relu, hybrid]\n"
FILE = (
    "name: test\ntitle: Made up\nslices: 2\naxis: y\nvolume: $CT_FOLDER/case.npz\n"
    "weights: {{relu: {0}/r.safetensors, hybrid: {0}/h.safetensors}}\n"
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A case of 12 slices of 32x32 with an infection, and weights for two activations."""
    generator = np.random.default_rng(1)
    ct = (generator.integers(0, 60, (12, 32, 32)) + 150).astype(np.uint8)
    infection = np.zeros(ct.shape, np.uint8)
    infection[3:9, 10:20, 5:15] = 1
    np.savez(tmp_path / "case.npz", ct=ct, infection=infection)
    for name, activation in (("r", "relu"), ("h", "hybrid")):
        weights.save(seeded_weights(Architecture(features=1, activation=activation)), tmp_path / f"{name}.safetensors")
    (tmp_path / "test.yaml").write_text(FILE.format(tmp_path) + GRID)
    monkeypatch.setenv("CT_FOLDER", str(tmp_path))
    return tmp_path


def config_of(place: Path) -> SweepConfig:
    return parse((place / "test.yaml").read_text(), "test.yaml")


def runner(point: Point) -> dict[str, Any]:
    return Bench(pretend(beyond={"first": 2, "second": 3}))(point.settings, verify=point.verify, data=point.data).document


def test_a_sweep_over_a_volume_leaves_table_and_picture(place: Path) -> None:
    config = config_of(place)
    data = sweep_data.chosen_data(config)
    said: list[str] = []
    summary = run_sweep(config, place / "out", runner, said.append, data=data)
    assert (summary.points, summary.ran, summary.failed) == (4, 4, 0)
    with open(place / "out" / "accuracy.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["format"] for row in rows] == ["float", "8.4", "12.4"] * 2
    assert [Path(row["weights"]).stem for row in rows] == ["r"] * 3 + ["h"] * 3
    for row in rows:
        assert float(row["seconds_per_slice"]) > 0
        assert 0 <= float(row["dice_truth"]) <= 1
    for row in (row for row in rows if row["format"] != "float"):
        families = [float(row[f"{family}_s"]) for family in ("activation", "convolution", "pooling", "rest")]
        assert sum(families) == pytest.approx(float(row["seconds_per_slice"]))
        assert min(families) > 0
    entries = [json.loads(line) for line in (place / "out" / "points.jsonl").read_text().splitlines()]
    secure = [row for row in rows if row["format"] != "float"]
    assert [(row["format"], float(row["dice_float"])) for row in secure] == [
        (entry["point"]["format"], entry["document"]["dice"]["float"]) for entry in entries
    ]
    assert all(entry["document"]["run"]["calibration"] == "ranges measured on synthetic chests" for entry in entries)
    text = (place / "out" / "accuracy.md").read_text()
    assert text.startswith("# Made up\n")
    assert "Volume case.npz, slices y " in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 6
    assert len({line.count("|") for line in lines}) == 1
    assert "| verified | beyond | input beyond % |" in text
    assert {(row["beyond"], row["input_beyond"]) for row in secure} == {("5", "0.0")}
    assert [path.name for path in summary.pictures][2:] in ([], ["seconds_by_kind.png"])
    with open(place / "out" / "points.csv", newline="") as stream:
        assert {(row["volume"], row["axis"]) for row in csv.DictReader(stream)} == {("case.npz", "y")}
    again = run_sweep(config, place / "out", runner, said.append, data=sweep_data.chosen_data(config))
    assert (again.ran, again.skipped) == (0, 4)


def test_a_point_is_told_by_content_not_by_name(place: Path) -> None:
    config = config_of(place)

    def identities() -> list[str]:
        return [point.identity() for point in config.points(sweep_data.chosen_data(config))]

    before = identities()
    assert not set(before) & {point.identity() for point in config.points()}
    moved = place / "elsewhere.npz"
    (place / "case.npz").rename(moved)
    assert before == [p.identity() for p in config.points(sweep_data.chosen_data(config, Asked(moved)))]
    np.savez(place / "case.npz", ct=np.full((12, 32, 32), 100, np.uint8))
    assert not set(before) & set(identities())
    moved.rename(place / "case.npz")
    weights.save(seeded_weights(Architecture(features=1), 5), place / "r.safetensors")
    assert [a == b for a, b in zip(before, identities(), strict=True)] == [False, False, True, True]


def test_every_size_has_a_float_model_of_its_own_and_every_extension_a_row() -> None:
    entries: list[dict[str, Any]] = []
    for point in parse("name: a\ngrid: {links: [lan], sizes: [32, 64], ot: [iknp, softspoken-4]}", "x").points():
        document = {
            "run": {"float": {"seconds_per_slice": point.settings.size, "dice_truth": 1 / point.settings.size}},
            "slices": [{"axis": "z", "index": 1, "layers": []}], "setup": {"seconds": 0.0}, "verified": True,
            "totals": {"seconds": 9.0, "bytes_sent": 1, "bytes_received": 1}, "dice": {"float": 1.0, "truth": 0.5},
        }  # fmt: skip
        facts = {**point.describe(), "volume": "v", "weights": "w", "axis": "z", "data": "d"}
        entries.append({"identity": point.identity(), "point": facts, "document": document})
    rows = accuracy_table.rows_of(entries)
    assert [(row["format"], row["size"], row.get("ot")) for row in rows] == [
        ("float", 32, None), ("8.4", 32, "iknp"), ("8.4", 32, "softspoken-4"),
        ("float", 64, None), ("8.4", 64, "iknp"), ("8.4", 64, "softspoken-4"),
    ]  # fmt: skip
    assert [row["seconds_per_slice"] for row in rows if row["format"] == "float"] == [32, 64]
    text = accuracy_table.markdown(rows, "t", entries)
    assert "| weights | format | ot | size |" in text
    assert "Dice against the float model | Dice against the truth" in text
    entries[0]["document"]["dice"]["float"] = None  # of two empty masks
    text = accuracy_table.markdown(accuracy_table.rows_of(entries), "t", entries)
    cells = [line.split(" | ")[-5] for line in text.splitlines() if line.startswith("| w | 8.4")]
    assert cells == ["both are empty", "1.0000", "1.0000", "1.0000"]


def test_points_keep_their_identity() -> None:
    (point,) = parse("name: a\ngrid:\n  links: [lan]", "x").points()
    assert point.identity() == "94ec8986a40af2f7"  # as before there were volumes
    data = CtData(Path("ct.npz"), None, "infection-z", "z", "0-1", VolumeReading(label_values=(3,)))
    (point,) = parse("name: a\ngrid:\n  links: [lan]", "x").points({"relu": data})
    assert point.identity() == "4e2832bd901499d4"  # as before there were series, intensities and fields of view


def test_seconds_by_family_add_up_and_are_scaled_where_slices_interleave() -> None:
    layers = [
        {"operation": operation, "compute_s": 1.0, "wait_s": 0.5}
        for operation in ("conv", "conv_transpose", "relu", "square", "avgpool", "extend", "readout")
    ]
    document = {"slices": [{"layers": layers}] * 2, "setup": {"seconds": 1.0}, "totals": {"seconds": 22.0}}
    found = accuracy_table.seconds_by_family(document)
    assert found == {"activation": 3.0, "convolution": 3.0, "pooling": 1.5, "rest": 3.5}
    document["totals"] = {"seconds": 11.5}
    found = accuracy_table.seconds_by_family(document)
    assert found == {"activation": 1.5, "convolution": 1.5, "pooling": 0.75, "rest": 2.0}


def test_what_is_missing_is_one_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (place / "test.yaml").read_text()

    def message(change: tuple[str, str], volume: Path | None = None, truth: Path | None = None) -> str:
        with pytest.raises(UsageError) as caught:
            sweep_data.chosen_data(parse(text.replace(*change), "test.yaml"), Asked(volume, truth))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "names no volume: add --volume FILE" in message(("volume: $CT_FOLDER/case.npz\n", ""))
    assert "--volume nowhere.npz: there is no such file" in message(("", ""), Path("nowhere.npz"))
    assert "--truth nowhere.npz: there is no such file" in message(("", ""), None, Path("nowhere.npz"))
    assert "an environment variable that is not set" in message(("CT_FOLDER", "NO_SUCH_VARIABLE"))
    assert "names none for activation hybrid" in message((", hybrid:", ", square:"))
    assert "--weights nowhere: no weight file" in message((f"{place}/r.safetensors", "nowhere"))
    weightless = parse("name: a\ngrid:\n  links: [lan]", "x")
    with pytest.raises(UsageError, match="a volume needs `weights`"):
        sweep_data.chosen_data(weightless, Asked(place / "case.npz"))
    assert sweep_data.chosen_data(weightless) == {}


def test_the_command_says_it_before_the_first_run(place: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet) -> None:
    monkeypatch.chdir(place)
    result = bunet("sweep", "test.yaml", "--dry-run")
    assert result.status == 0, result.error
    assert "case.npz, " in result.out
    assert "h.safetensors, axis y" in result.out
    (place / "test.yaml").write_text((place / "test.yaml").read_text().replace("features: [1]", "features: [1, 2]"))
    for arguments, words in (
        (("test.yaml",), "holds 1 features"),
        (("test.yaml", "--volume", "no.npz"), "--volume no.npz: there is no such file"),
    ):
        result = bunet("sweep", *arguments)
        assert result.status == 2
        assert words in result.error
    assert not (place / "runs").exists()


def test_how_a_volume_is_read_is_part_of_the_point(place: Path) -> None:
    text, said = (place / "test.yaml").read_text(), list[str]()

    def point(keys: str = "", **asked: Any) -> Point:
        config = parse(keys + text, "test.yaml")
        return next(config.points(sweep_data.chosen_data(config, Asked(**asked), said.append)))

    plain = point()
    assert set(plain.describe()) & {"series", "intensity", "field_of_view"} == set()
    assert point(intensity="auto", field_of_view="auto").identity() == plain.identity()
    by_key, by_option = point("intensity: tissue\n"), point(intensity="tissue")
    assert by_key.identity() == by_option.identity() != plain.identity()
    assert by_key.describe()["intensity"] == "tissue"
    assert point("intensity: tissue\n", intensity="windowed").describe()["intensity"] == "windowed"
    assert point("field_of_view: whole\n").identity() == point(field_of_view="whole").identity() != plain.identity()
    with pytest.raises(UsageError, match="is no DICOM folder, of which --series 2 could choose"):
        point("series: 2\n")
    one, other = [Bench()._slices(each.settings, each.data).images[0] for each in (plain, by_key) if each.data is not None]
    assert not np.array_equal(one, other)


def test_what_the_file_says_of_its_data_is_not_for_others(place: Path) -> None:
    with np.load(place / "case.npz") as case:
        np.savez(place / "other.npz", **case)
        np.save(place / "label.npy", case["infection"])
        np.save(place / "threes.npy", case["infection"] * 3)
    text = "label_value: 3\nintensity: tissue\ntruth: $CT_FOLDER/threes.npy\n" + (place / "test.yaml").read_text()
    config = parse(text, "test.yaml")

    def found(**asked: Any) -> tuple[tuple[int, ...], str, list[str]]:
        said: list[str] = []
        data = sweep_data.chosen_data(config, Asked(**asked), said.append)["relu"]
        return data.reading.label_values, data.reading.rule, [line for line in said if "not for these" in line]

    assert found() == ((3,), "tissue", [])
    assert found(truth=place / "threes.npy", volume=place / "case.npz") == ((3,), "tissue", [])
    assert found(truth=place / "label.npy")[:2] == ((), "tissue")
    assert found(truth=place / "label.npy", label_value=(1,)) == ((1,), "tissue", [])
    values, rule, said = found(volume=place / "other.npz")
    assert (values, rule) == ((3,), "auto")
    assert said == ["`intensity` of the experiment file is for the data that it names, not for these: --intensity is"]


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("", ("--label-value", "3")),
        ("", ("--truth", "t.npy")),
        ("", ("--series", "1")),
        ("", ("--intensity", "hu")),
        ("", ("--field-of-view", "whole")),
        ("label_value: 3\n", ()),
        ("field_of_view: whole\n", ()),
    ],
)
def test_an_experiment_without_data_refuses_what_is_said_of_data(
    key: str, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("n.yaml").write_text(f"name: n\n{key}grid:\n  links: [lan]\n")
    result = bunet("sweep", "n.yaml", *options, "--dry-run")
    assert result.status == 2
    assert f"{options[0] if options else '`' + key.partition(':')[0] + '`'} is for a volume" in result.error


def test_a_dry_run_says_how_the_volume_is_read_and_refuses_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    monkeypatch.chdir(place)
    result = bunet("sweep", "test.yaml", "--dry-run")
    assert result.out.startswith("intensities of case.npz: rule `")
    assert bunet("sweep", "test.yaml", "--intensity", "windowed", "--dry-run").out.startswith(
        "intensities of case.npz: rule `windowed`"
    )
    np.savez(place / "case.npz", ct=np.full((12, 32, 32), 30.5, np.float32))
    result = bunet("sweep", "test.yaml", "--dry-run")
    assert result.status == 2
    assert "--intensity" in result.error


def test_results_do_not_go_into_the_volume_that_the_file_names(
    place: Path, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    series = place / "series"
    pytest.importorskip("pydicom", reason="needs the extra `clinical`")
    place_of = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1.0]])
    formats.write(Volume((np.random.default_rng(0).random((8, 32, 32)) * 1200 - 1000).astype(np.int16), place_of), series)
    text = (place / "test.yaml").read_text().replace("case.npz", "series")
    (place / "test.yaml").write_text(text)
    result = bunet("sweep", str(place / "test.yaml"), "--out", str(series / "out"), "--dry-run")
    assert (result.status, "lies in the input" in result.error) == (2, True), result.error
