"""What a later `bunet alice` may replace, and what belongs to a mask: its warnings, its model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bunet.experiments.alice import warnings
from bunet.models.compiled import Compiled
from bunet.models.volumes import formats
from bunet.models.volumes.volume import Volume
from bunet.parties import alice as alice_party
from tests.experiments.command_line import Bunet
from tests.experiments.commands.test_party import Session, alice
from tests.experiments.commands.test_party import compiled as compiled
from tests.experiments.commands.test_party import session as session
from tests.experiments.commands.test_party import volume as volume
from tests.parties.programs import CARD


def part(bunet: Bunet, volume: Path, which: str, *more: str) -> tuple[int, str, str]:
    return alice(bunet, volume, "--size", "16", "--slices", which, *more)


def listed(out: Path) -> dict[str, list[str]]:
    return json.loads((out / "result.json").read_text())["files"]


@pytest.mark.parametrize("name", ["ct_prediction.npy", "mask.npz"])
def test_a_mask_that_was_corrected_by_hand_is_not_written_over(name: str, volume: Path, session: Session, bunet: Bunet) -> None:
    out = volume.parent / "out"
    assert part(bunet, volume, "0:2")[0] == 0
    by_hand = formats.read(out / name).copy()
    by_hand[0, 3, 4] = 1 - by_hand[0, 3, 4]
    formats.write(Volume(by_hand), out / name)
    before = (out / name).read_bytes()
    for which in ("0:2", "0:3"):
        status, _, error = part(bunet, volume, which)
        assert status == 2
        assert f"{out / name} holds another mask than this run wrote: move it away" in error
    assert len(session.requests) == 1, "nothing was run"
    assert (out / name).read_bytes() == before
    (out / name).rename(volume.parent / "mine")
    status, _, error = part(bunet, volume, "0:3")
    assert status == 0, error
    assert formats.read(out / name)[:3].all()
    (out / name).write_bytes(b"damaged")
    assert "holds another mask than this run wrote" in part(bunet, volume, "0:3")[2]


def test_a_mask_that_another_command_wrote_meanwhile_stays(
    volume: Path, compiled: Compiled, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    """Such as `predict` with the same --out, while slices are run."""
    out, pretended = volume.parent / "out", Session(compiled)

    def meanwhile(*given: Any, **more: Any) -> None:
        np.save(out / "ct_prediction.npy", np.ones((20, 30, 40), np.uint8))
        pretended(*given, **more)

    monkeypatch.setattr(alice_party, "run", meanwhile)
    status, _, error = part(bunet, volume, "0:2")
    assert status == 2
    assert "ct_prediction.npy is there already" in error

    def later(*given: Any, **more: Any) -> None:
        pretended(*given, **more)
        np.save(out / "ct_prediction.npy", np.ones((20, 30, 40), np.uint8))

    (out / "ct_prediction.npy").unlink()
    monkeypatch.setattr(alice_party, "run", later)
    status, _, error = part(bunet, volume, "0:2")
    assert status == 2
    assert "holds another mask than this run wrote: move it away" in error
    assert np.load(out / "ct_prediction.npy").all()
    (out / "ct_prediction.npy").unlink()
    assert part(bunet, volume, "0:2")[0] == 0


@pytest.mark.parametrize("at", ["before", "between", "after"])
def test_a_kill_while_masks_are_replaced_can_be_gone_on_with(
    at: str, volume: Path, session: Session, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    out, write = volume.parent / "out", formats.write
    written: list[Any] = []
    assert part(bunet, volume, "0:2")[0] == 0
    old = listed(out)

    def killed(mask: Volume, path: Path, *more: Any) -> None:
        if len(written) == ("before", "between", "after").index(at):
            raise KeyboardInterrupt
        written.append(path)
        write(mask, path, *more)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(formats, "write", killed)
    part(bunet, volume, "0:3")
    assert {name: len(digests) for name, digests in listed(out).items()} == {"ct_prediction.npy": 2, "mask.npz": 2}
    assert all(digests[0] == old[name][0] for name, digests in listed(out).items())
    monkeypatch.setattr(formats, "write", write)
    status, _, error = part(bunet, volume, "0:3")
    assert status == 0, error
    assert [len(digests) for digests in listed(out).values()] == [1, 1]
    assert formats.read(out / "mask.npz")[:3].all()


def test_only_what_will_be_written_is_in_the_way(
    volume: Path, session: Session, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    """With `--out .` the case's label and masks of other targets lie beside."""
    for name in ("ct_label.npy", "ct_lung.npy"):
        np.save(volume.parent / name, np.zeros(3))
    monkeypatch.chdir(volume.parent)
    status, _, error = part(bunet, volume, "0:2", "--out", ".")
    assert status == 0, error
    assert np.load("ct_lung.npy").shape == (3,)


def test_another_command_s_document_is_not_written_over(volume: Path, session: Session, bunet: Bunet) -> None:
    out = volume.parent / "out"
    out.mkdir()
    (out / "result.json").write_text("mine")
    status, _, error = part(bunet, volume, "0:2")
    assert (status, session.requests) == (2, [])
    assert "result.json is there already" in error
    (out / "result.json").unlink()
    assert part(bunet, volume, "0:2")[0] == 0
    for text in ("mine", "[]", '{"version": 2, "files": ["a"]}', '{"version": 1, "files": {}}'):
        (out / "result.json").write_text(text)
        status, _, error = part(bunet, volume, "0:3")
        assert status == 2
        assert "result.json is not what this run wrote: move it away" in error
        assert (out / "result.json").read_text() == text


def test_warnings_stay_with_the_slices_and_are_said_again(
    volume: Path, compiled: Compiled, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    other, out = replace(compiled, card=replace(CARD, intensity="as-is")), volume.parent / "out"
    for which, beyond in (("0:2", {"z1": 0.25}), ("2:4", {}), ("4:6", {"z5": 0.5})):
        monkeypatch.setattr(alice_party, "run", Session(other, beyond=beyond))
        status, _, error = part(bunet, volume, which)
        assert status == 0, error
    limit = np.ldexp(compiled.program.calibrated, -compiled.program.input.type.frac)
    expected = [
        "the model takes values as-is, and this volume has values window -1250..250 HU on 0..1 (rule `unit`): "
        "the mask may be wrong",
        "values of 2 of 6 slices, at most 50.0 % of them (slice z5), lie beyond what the model was calibrated for "
        f"(-{limit:g}..{limit:g}): the mask may be wrong there",
    ]
    for _ in range(2):
        document = json.loads((out / "result.json").read_text())
        assert document["remarks"][-2:] == expected
        assert document["input_beyond_calibration"] == {"z1": 0.25, "z5": 0.5}
        assert (document["model"], document["commitment"]) == (other.card.to_document(), other.commitment)
        monkeypatch.setattr(alice_party, "run", None)
        status, said, error = part(bunet, volume, "0:6")  # nothing is left to run
        assert status == 0, error
        assert all(sentence in said for sentence in expected)


def test_warnings_of_slices_that_were_never_run_are_not_the_mask_s(
    volume: Path, compiled: Compiled, monkeypatch: pytest.MonkeyPatch, bunet: Bunet
) -> None:
    out = volume.parent / "out"
    monkeypatch.setattr(alice_party, "run", Session(compiled, 1, {"z0": 0.25, "z1": 0.5}))
    assert part(bunet, volume, "0:2")[0] == 1
    assert warnings.read(out).beyond == {"z0": 0.25, "z1": 0.5}
    monkeypatch.setattr(alice_party, "run", Session(compiled))
    assert part(bunet, volume, "0:1")[0] == 0
    assert json.loads((out / "result.json").read_text())["input_beyond_calibration"] == {"z0": 0.25}
    (out / warnings.FILE).write_text("{")
    status, _, error = part(bunet, volume, "0:2")
    assert status == 2
    assert f"{warnings.FILE} cannot be read" in error


def test_a_program_that_does_not_say_its_range_is_said_again(tmp_path: Path) -> None:
    warnings.keep(tmp_path, None, ["z1"], {}, None)
    (sentence,) = warnings.read(tmp_path).sentences("z", [1])
    assert "does not say for which values it was calibrated" in sentence
