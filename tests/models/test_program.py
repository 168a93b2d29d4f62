"""The layer program: type checking, its text and its digest."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from bunet.models.program import Format, Node, Program, ProgramError, TensorType

KNOWN_DIGEST = "305b33619fca1c60e185d08e1364b413d83cc5785d80e61b6ef598a19cc0916e"


def small_program(kind: str = "argmax") -> Program:
    """input -> conv -> truncate -> relu -> extend -> avgpool -> conv -> readout."""
    wide, narrow = TensorType((3, 4, 6), 20, 8, 18), TensorType((3, 4, 6), 10, 2, 8)
    last = TensorType((2, 2, 3), 18, 9, 16)
    label = TensorType((1, 2, 3), 2, 0, 1) if kind == "argmax" else last
    return Program(
        Format(8, 4),
        (
            Node("in", "input", (), TensorType((1, 4, 6), 20, 4, 11)),
            Node("c", "conv", ("in",), wide, {"out_channels": 3, "kernel": 3, "norm_bits": 9}),
            Node("t", "truncate", ("c",), narrow, {"shift": 6}),
            Node("r", "relu", ("t",), narrow),
            Node("e", "extend", ("r",), TensorType((3, 4, 6), 18, 2, 8)),
            Node("p", "avgpool", ("e",), TensorType((3, 2, 3), 18, 4, 10)),
            Node("d", "conv", ("p",), last, {"out_channels": 2, "kernel": 1, "norm_bits": 8}),
            Node("out", "readout", ("d",), label, {"kind": kind}),
        ),
    )


def test_text_round_trip_and_known_digest() -> None:
    program = small_program()
    again = Program.from_json(program.to_json())
    assert again == program
    assert again.digest() == program.digest() == KNOWN_DIGEST
    assert small_program("logits").digest() != program.digest()


def test_the_digest_sees_every_public_fact() -> None:
    document = json.loads(small_program("share").to_json())
    digests = {small_program("share").digest()}
    for index, change in (
        (1, {"bound": 17}),
        (2, {"width": 9, "bound": 8}),
        (1, {"attributes": {"out_channels": 3, "kernel": 3, "norm_bits": 10}}),
    ):
        entry = json.loads(json.dumps(document))
        entry["nodes"][index].update(change)
        if index == 2:
            entry["nodes"] = [{**n, "width": 9} if n["name"] == "r" else n for n in entry["nodes"]]
            entry["nodes"][2]["bound"] = entry["nodes"][3]["bound"] = 7
            entry["nodes"][4]["bound"] = 8
        digests.add(Program.from_json(json.dumps(entry)).digest())
    digests.add(Program.from_json(json.dumps({**document, "format": "12.4"})).digest())
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("c", {"width": 21}, "stays in its input's ring"),
        ("c", {"shape": (3, 4, 5)}, "does not follow"),
        ("t", {"frac": 3}, "frac"),
        ("t", {"width": 15}, "do not leave"),
        ("e", {"width": 9, "bound": 8}, "widen"),
        ("p", {"frac": 2}, "frac"),
        ("out", {"bound": 0, "shape": (2, 2, 3)}, "one channel"),
    ],
)
def test_wrong_types_are_refused_with_the_node_s_name(name: str, change: dict[str, Any], message: str) -> None:
    nodes = [
        dataclasses.replace(node, type=dataclasses.replace(node.type, **change)) if node.name == name else node
        for node in small_program()
    ]
    with pytest.raises(ProgramError, match=f"^{name} .*{message}"):
        Program(Format(8, 4), tuple(nodes))


def with_calibrated(value: int | str) -> Program:
    nodes = list(small_program())
    nodes[0] = dataclasses.replace(nodes[0], attributes={"calibrated": value})
    return Program(Format(8, 4), tuple(nodes))


def test_the_calibrated_range_of_the_input_is_public_and_within_its_bound() -> None:
    assert small_program().calibrated is None
    bound = small_program().input.type.bound
    most = with_calibrated((1 << bound) - 1)
    assert Program.from_json(most.to_json()).calibrated == (1 << bound) - 1
    assert most.digest() != with_calibrated(1).digest() != small_program().digest()
    for wrong in (0, -1, 1 << bound, "1"):
        with pytest.raises(ProgramError, match=r"input.* calibrated"):
            with_calibrated(wrong)


def test_extension_without_headroom_is_refused() -> None:
    nodes = list(small_program())
    tight = dataclasses.replace(nodes[2].type, bound=9)
    nodes[2:4] = [dataclasses.replace(node, type=tight) for node in nodes[2:4]]
    with pytest.raises(ProgramError, match="headroom"):
        Program(Format(8, 4), tuple(nodes))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"version": 1, "format": "8.4", "nodes": []}',
        '{"version": 99, "format": "8.4", "nodes": []}',
        "[" * 100_000,
    ],
)
def test_what_is_no_program_is_refused(text: str) -> None:
    with pytest.raises(ProgramError):
        Program.from_json(text)


@pytest.mark.parametrize("text", ["8", "8.", "a.b", "-8.4", "1.0", "20.20", "8.4.2"])
def test_wrong_formats_are_refused(text: str) -> None:
    with pytest.raises(ProgramError, match="format"):
        Format.parse(text)


def test_formats_count_their_bits() -> None:
    assert [Format.parse(text).bits for text in ("8.4", "12.4", "8.8")] == [12, 16, 16]


@pytest.mark.parametrize("text", ["c\x1b[2J", "c\n", "", "x" * 65, "c\u202e", "\u0441"])
@pytest.mark.parametrize("place", ["name", "operation", "key", "text"])
def test_texts_of_a_program_are_short_and_plain(place: str, text: str) -> None:
    """The program is Bob's, and Alice's terminal shows its names."""
    document = json.loads(small_program().to_json())
    node = document["nodes"][3]
    if place in ("name", "operation"):
        node[place] = text
    else:
        node["attributes"].update({text: 1} if place == "key" else {"kind": text})
    with pytest.raises(ProgramError, match="printable ASCII characters") as caught:
        Program.from_json(json.dumps(document))
    assert str(caught.value).isprintable()


def test_a_version_that_is_a_text_is_shown_plainly() -> None:
    with pytest.raises(ProgramError) as caught:
        Program.from_json(json.dumps({"version": "\x1b[2J" * 100}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 120
