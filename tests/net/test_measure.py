from __future__ import annotations

import json

import pytest

from bunet.net.measure import main


def test_the_command_measures_and_never_beats_the_ideal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--link", "500Mbit,2ms", "--kib", "1", "--kib", "256", "--seconds", "0.01", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["version"] == 1
    assert [(row["link"], row["nbytes"]) for row in document["rows"]] == [
        ("500 Mbit/s, 2 ms", 1024),
        ("500 Mbit/s, 2 ms", 262144),
    ]
    for row in document["rows"]:
        for timed in (row["one_way"], row["stream"]):
            assert timed["ideal_s"] <= timed["low_s"] <= timed["median_s"] <= timed["high_s"] < 20
    assert document["rows"][1]["one_way"]["ideal_s"] == pytest.approx(262144 * 8 / 500e6 + 1e-3, rel=1e-3)


def test_bad_options_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--link", "lann"], ["--kib", "0"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert "lan-10g" in capsys.readouterr().err
