"""How a pair runs: checked once, and the same after a file."""

import math

import pytest
from pydantic import ValidationError

from bunet.net.link import PRESETS, Link
from bunet.parties.run_options import MAX_IN_FLIGHT, RunOptions


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(),
        RunOptions(link=PRESETS["wan"], in_flight=MAX_IN_FLIGHT, cores=3),
        RunOptions(link=Link(math.inf, 1 / 3, 1e-7), protocols={"relu": "gc"}, settings={"ot": "softspoken-4"}),
    ],
)
def test_a_file_gives_back_what_was_written(options: RunOptions) -> None:
    assert RunOptions.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("in_flight", 0, "must be a whole number from 1 to 64, not 0"),
        ("in_flight", 65, "must be a whole number from 1 to 64, not 65"),
        ("in_flight", True, "valid integer"),
        ("cores", 0, "must be a whole number from 1 to 4096, not 0"),
        ("settings", {"to": "iknp"}, "there is no setting 'to'; known are garbler, ot"),
        ("settings", {"ot": "ferret"}, "setting ot=ferret is not one of iknp"),
        ("protocols", {"relu": 1}, "valid string"),
        ("cors", 1, "Extra inputs"),
        ("link", {"bandwidth_bps": 0, "rtt_s": 0, "jitter_s": 0}, "not a link: the bandwidth of a link must be above 0 bit/s"),
        ("link", {"bandwidth_bps": 1e9, "rtt_s": 0}, "not a link: 'jitter_s'"),
        ("link", "wan", "not a link"),
    ],
)
def test_what_is_wrong_is_found_when_it_is_made(field: str, value: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RunOptions.model_validate({field: value})


def test_the_extension_is_iknp_where_nobody_asks() -> None:
    assert RunOptions().ot == "iknp"
    assert RunOptions(settings={"ot": "softspoken-2"}).ot == "softspoken-2"
