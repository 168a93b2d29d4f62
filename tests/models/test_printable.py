"""What a peer sent is fit for a terminal before anyone sees it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bunet.models.printable import MAX_PEER_TEXT, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("all is well", "all is well"),
        ("two\nlines\r\nand a\ttab", "two lines and a tab"),
        ("\x1b[2J\x1b]0;title\x07red", "[2J ]0;title red"),
        ("nul\x00del\x7fcsi\x9bm", "nul del csi m"),
        ("\u202eright to left\u2066\u200b", "right to left"),
        ("line\u2028and paragraph\u2029end", "line and paragraph end"),
        ("  spaces   between  ", "spaces between"),
        ("naïve Größe 切片", "naïve Größe 切片"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("", ""),
        (None, "None"),
        (7, "7"),
        (["a\n"], "['a\\n']"),
        (b"\x1b[m", "b'\\x1b[m'"),
    ],
)
def test_control_characters_and_newlines_become_spaces(text: str | list[str], shown: str) -> None:
    assert plain(text) == shown


def test_a_long_text_is_cut() -> None:
    assert plain("x" * MAX_PEER_TEXT) == "x" * MAX_PEER_TEXT
    assert plain("x" * (MAX_PEER_TEXT + 1)) == "x" * MAX_PEER_TEXT + "..."
    assert plain("y" * 10_000_000) == "y" * MAX_PEER_TEXT + "..."
    assert len(plain("a\n" * 10_000)) <= MAX_PEER_TEXT + 3


def test_what_is_cut_off_is_said_to_be() -> None:
    """Spaces alone may fill what is looked at, but a text that goes on is never shown as if it were whole."""
    assert plain("start" + " " * 10_000 + "end").endswith("...")


@given(st.text() | st.text(alphabet=st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Zs", "Cs"])))
def test_any_text_is_one_short_printable_line(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert len(shown) <= MAX_PEER_TEXT + 3
    assert len(shown.splitlines()) <= 1
    assert plain(shown) == shown
    shown.encode()
