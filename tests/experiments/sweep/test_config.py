"""Experiment files: what is accepted, and how what is not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bunet.experiments.sweep import reading
from bunet.experiments.sweep.reading import ConfigError, load, parse

EXPERIMENTS = Path(reading.__file__).parents[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mapping with `name` and `grid`"),
        ("- 1", "mapping with `name` and `grid`"),
        ("name: [", "line 1: not valid YAML"),
        ("name: x\nname: y", "line 2: not valid YAML: key 'name' stands twice"),
        ("slices: 3", "name: this key is missing"),
        ("name: ../x", "name: "),
        ("name: x\nsicles: 3", "sicles: unknown key; known are name, title, slices"),
        ("name: x\ngrid:\n  linkz: [lan]", "grid.linkz: unknown key; known are links, protocols"),
        ("name: x\ngrid:\n  links: [{bandwidth: 1Mbit, rtt: 1ms, foo: 3}]", "grid.links[0].foo: unknown key"),
        ("name: x\ngrid:\n  links: [lan, lann]", "grid.links[1]: unknown link 'lann'"),
        ("name: x\ngrid:\n  links: [{bandwidth: 1Mbit}]", "grid.links[0]: a link needs"),
        ("name: x\ngrid:\n  in_flight: [65]", "grid.in_flight[0]: must be a whole number from 1 to 64, not 65"),
        ("name: x\ngrid:\n  links: [3]", "grid.links[0]: a link is"),
        ("name: x\ngrid:\n  links: []", "grid.links: the list is empty"),
        ("name: x\ngrid:\n  formats: [8.4]", "grid.formats[0]: write a format in quotes"),
        ("name: x\ngrid:\n  formats: ['8']", "grid.formats[0]: format '8' is not"),
        ("name: x\ngrid:\n  sizes: [128, 100]", "grid.sizes[1]: 100 is not a multiple of 16"),
        ("name: x\ngrid:\n  sizes: [big]", "grid.sizes[0]: input should be a valid integer"),
        ("name: x\ngrid:\n  sizes: [2048]", "grid.sizes[0]: 2048 is not a multiple of 16 from 16 to 1024"),
        ("name: x\ngrid:\n  activations: [tanh]", "grid.activations[0]: 'tanh' is not one of relu, square, hybrid"),
        ("name: x\ngrid:\n  pools: [mean]", "grid.pools[0]: 'mean' is not one of avg, max"),
        ("name: x\ngrid:\n  ot: [kos]", "grid.ot[0]: 'kos' is not one of iknp, softspoken-2"),
        ("name: x\nslices: 0", "slices: "),
        ("name: x\nslices: yes", "slices: "),
        ("name: x\nverify: 1", "verify: "),
        ("name: x\ngrid:\n  protocols: [{rely: gc}]", "grid.protocols[0].rely: no such operation"),
        ("name: x\ngrid:\n  protocols: [{relu: magic}]", "grid.protocols[0].relu: no protocol 'magic'"),
        ("name: x\ngrid:\n  links: [lan, {preset: lan, name: office}]", "two points are one and the same run: lan, relu"),
        ("name: x\ngrid:\n  links: [lan, {preset: lan, name: office}]", "; and office, relu gc-sign"),
        ("name: x\ngrid:\n  ot: [iknp, iknp]", "grid: a point stands twice: "),
        ("name: x\nintensity: HU", "intensity: 'HU' is not one of auto, unit, hu"),
        ("name: x\nfield_of_view: part", "field_of_view: 'part' is not one of auto, whole"),
    ],
)
def test_what_is_wrong_is_named_by_its_path_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "grid.yaml")
    sentence = str(caught.value)
    assert sentence.startswith("grid.yaml")
    assert message in sentence
    assert "\n" not in sentence


def test_the_grid_is_the_product_of_its_lists() -> None:
    config = parse(
        "name: x\nslices: 3\ngrid:\n  links: [lan, wan, {bandwidth: 1Mbit, rtt: 5ms, name: slow}]\n"
        "  protocols: [{relu: gc}, {relu: gc-sign}]\n  formats: ['8.4', '12.4']\n  in_flight: [1, 2]\n",
        "grid.yaml",
    )
    points = list(config.points())
    assert len(points) == 3 * 2 * 2 * 2
    assert len({point.identity() for point in points}) == len(points)
    assert {point.settings.slices for point in points} == {3}
    assert [point.link_name for point in points[:3]] == ["lan", "wan", "slow"]
    assert points[2].settings.run.link.bandwidth_bps == 1e6
    settings = points[0].settings
    assert (settings.run.protocols, settings.format, settings.slices) == ({"relu": "gc"}, "8.4", 3)


def test_identity_is_of_what_is_run_not_of_its_name() -> None:
    def only(text: str) -> str:
        (point,) = parse(text, "x").points()
        return point.identity()

    plain = only("name: a\ngrid:\n  links: [lan]")
    assert only("name: b\ntitle: other\ngrid:\n  links: [{preset: lan, name: office}]") == plain
    assert only("name: a\nseed: 1\ngrid:\n  links: [lan]") != plain
    assert only("name: a\ngrid:\n  links: [wan]") != plain


def test_a_folder_of_a_sweep_that_was_begun_before_is_gone_on_with() -> None:
    """Identities and columns are those that version 0.1.0 wrote."""
    text = "name: x\ngrid:\n  protocols: [{}, {relu: gc, maxpool: gc}]\n  links: [{preset: lan, name: office, rtt: 7ms}]\n"
    first, second = parse(text, "x").points()
    assert (first.identity(), second.identity()) == ("82daa0f3dcfd1950", "62c8171731380ba0")
    assert " ".join(first.describe()) == (
        "link bandwidth_bps rtt_s jitter_s protocols ot format in_flight size features activation pool slices seed cores verify"
    )
    assert first.describe()["protocols"] == {}, "a default is not noted"


def test_settings_that_do_not_fit_are_a_sentence_of_the_file() -> None:
    with pytest.raises(ConfigError, match="x: --slices must be a whole number from 1 to 4096, not 5000"):
        parse("name: x\nslices: 5000", "x")


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_experiment_files_of_the_project_can_be_run(path: Path) -> None:
    config = load(path)
    assert len(list(config.points())) > 1


def test_there_are_at_least_two_experiment_files() -> None:
    assert len(list(EXPERIMENTS.glob("*.yaml"))) >= 2


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "binary.yaml")
