"""Cards of models and wishes for them: what is read, what is refused, what fits what."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from bunet.models.model_card import ModelCard, ModelCardError, ModelWish, card_of_notes, intensity_of, parse_model

CARD = ModelCard("infection", "z", "infection-z", "2", 128)
WINDOW = "window -1250..250 HU on 0..1"


def test_a_card_in_words() -> None:
    assert str(CARD) == f"infection along z, `infection-z` version 2, trained at 128 pixels, values {WINDOW}"
    assert CARD.short == "infection along z (infection-z@2)"
    assert "of unknown training size, values as-is" in str(replace(CARD, size=None, intensity="as-is"))


def test_documents_are_read_back() -> None:
    for card in (CARD, replace(CARD, size=None, target="l\N{LATIN SMALL LETTER E WITH ACUTE}sion", intensity="as-is")):
        assert ModelCard.from_document(card.to_document()) == card
    wish = ModelWish("lung", version="3")
    assert ModelWish.from_document(asdict(wish)) == wish


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": ""}, "target is not a text of 1 to 64"),
        ({"target": None}, "target is not a text"),
        ({"name": "x" * 65}, "name is not a text of 1 to 64"),
        ({"version": 2}, "version is not a text"),
        ({"name": "\x1b[2J"}, "name holds characters that cannot be printed"),
        ({"target": " lung"}, "spaces at an end"),
        ({"intensity": "a\nb"}, "intensity holds characters"),
        ({"target": "\u202egnul"}, "target holds characters"),
        ({"axis": "w"}, "axis 'w' is not one of x, y, z"),
        ({"axis": ["z"]}, "axis is not a text"),
        ({"name": "a@b"}, "name 'a@b' holds an @"),
        ({"version": "@"}, "version '@' holds an @"),
        ({"size": 0}, "size is not a number"),
        ({"size": True}, "size is not a number"),
        ({"size": "128"}, "size is not"),
        ({"size": 1 << 20}, "size is not a number of pixels from 1 to 4096"),
        ({"more": 1}, "not a table of"),
    ],
)
def test_what_is_no_card_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelCardError, match=words):
        ModelCard.from_document({**CARD.to_document(), **changes})


def test_what_is_no_table_is_refused() -> None:
    documents: tuple[Any, ...] = (None, [], "card", {}, {"axis": "z"})
    for document in documents:
        for kind in (ModelCard, ModelWish):
            with pytest.raises(ModelCardError, match="not a table of"):
                kind.from_document(document)
    with pytest.raises(ModelCardError, match="axis"):
        ModelWish(axis="zz")


@pytest.mark.parametrize(
    ("wish", "fits"),
    [
        (ModelWish(), True),
        (ModelWish.of(CARD), True),
        (ModelWish(axis="z"), True),
        (ModelWish(axis="x"), False),
        (ModelWish("lung"), False),
        (ModelWish("infection", "z"), True),
        (ModelWish(name="infection-z", version="1"), False),
    ],
)
def test_what_fits(wish: ModelWish, fits: bool) -> None:
    assert wish.fits(CARD) is fits
    assert wish.fits(None) is (wish == ModelWish())


def test_wishes_in_words() -> None:
    assert str(ModelWish()) == ""
    assert str(ModelWish("lung", "x", "l", "3")) == "target lung, axis x, model l version 3"
    assert str(ModelWish(version="3")) == "version 3"


def test_names_with_versions() -> None:
    assert parse_model("infection-z") == ("infection-z", None)
    assert parse_model("infection z@2.1") == ("infection z", "2.1")
    for wrong in ("", "@1", "a@", "a\n@1"):
        with pytest.raises(ModelCardError):
            parse_model(wrong)


def test_weights_say_what_they_are_unless_it_is_said_otherwise() -> None:
    notes = {"target": "infection", "axis": "z", "size": 128, "seed": 3}
    said = {"name": None, "version": None, "target": None, "axis": None}
    assert card_of_notes(notes, "infection-z", said) == replace(CARD, version="1")
    own = {**notes, "name": "theirs", "version": 7, "intensity": "as-is"}
    assert card_of_notes(own, "file", said) == ModelCard("infection", "z", "theirs", "7", 128, "as-is")
    assert card_of_notes(own, "file", {**said, "name": "mine", "axis": "x"}) == ModelCard(
        "infection", "x", "mine", "7", 128, "as-is"
    )
    for missing in ("target", "axis"):
        with pytest.raises(ModelCardError, match=f"the weights do not say their {missing}: say --{missing}"):
            card_of_notes({key: value for key, value in notes.items() if key != missing}, "file", said)
    with pytest.raises(ModelCardError, match="name is not a text"):
        card_of_notes(notes, "x" * 65, said)


def test_what_rules_put_on_the_scale_means() -> None:
    assert intensity_of("as-is") == "as-is"
    assert {intensity_of(rule) for rule in ("hu", "hu+1024", "windowed", "tissue", "unit")} == {WINDOW}
