"""How a command fails: a sentence on standard error and a status that says whose fault it was."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from bunet.experiments.commands.failure import STOPPED, UNREAD, OneSentence, explain
from bunet.models.errors import LocalError, PeerError, UsageError
from bunet.models.files import sealed
from bunet.net.channel import AddressError, InsecureChannel, PeerGone
from bunet.net.frame import MalformedFrame
from bunet.net.keys import BadKey
from bunet.protocols.steps import ProtocolError
from tests.experiments.command_line import Bunet


def failing(error: BaseException) -> Result:
    """A command that raises it, run by the command line."""
    group = typer.Typer(cls=OneSentence, pretty_exceptions_enable=False)

    @group.callback()
    def nothing() -> None: ...

    @group.command()
    def fail() -> None:
        raise error

    return CliRunner().invoke(group, ["fail"])


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UsageError("--x is wrong"), 2, "--x is wrong"),
        (LocalError("the disk is full"), 1, "the disk is full"),
        (PeerError("Bob is gone"), 1, "Bob is gone"),
        (PeerGone("no sign of the peer"), 1, "no sign of the peer"),
        (MalformedFrame("a message has no parts"), 1, "a message has no parts"),
        (ProtocolError("a point outside the group"), 1, "a point outside the group"),
        (BadKey("the key is bad"), 2, "the key is bad"),
        (AddressError("no such host"), 2, "no such host"),
        (InsecureChannel("refusing"), 2, "refusing"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "xx"), 2, "xx: File name too long"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), 1, "no room in /a: the disk is full"),
        (MemoryError("Unable to allocate 1. TiB"), 1, "there is not enough memory: Unable to allocate 1. TiB"),
        (KeyError("x"), 1, "internal error: KeyError: 'x' (BUNET_DEBUG=1 shows where)"),
        (ValueError("width 65"), 1, "internal error: ValueError: width 65 (BUNET_DEBUG=1 shows where)"),
    ],
)
def test_every_error_becomes_a_sentence(error: Exception, status: int, words: str) -> None:
    assert explain(error) == (words, status)
    result = failing(error)
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", f"bunet: {words}\n")


@pytest.mark.parametrize(
    ("sentence", "remedy", "words"),
    [
        ("x.model is damaged", None, "x.model is damaged"),
        ("x.model is damaged", "compile it again", "x.model is damaged: compile it again"),
        (
            "no room in /a: the disk is full",
            "TMPDIR can name another",
            "no room in /a: the disk is full; TMPDIR can name another",
        ),
    ],
)
def test_a_remedy_follows_the_sentence(sentence: str, remedy: str | None, words: str) -> None:
    error = LocalError(sentence, remedy)
    assert (error.sentence, error.remedy, str(error)) == (sentence, remedy, words)
    assert str(type(error)(*error.args)) == words, "channels raise copies"
    assert failing(error).stderr == f"bunet: {words}\n"


def test_the_remedy_of_a_file_reaches_the_command_line(tmp_path: Path, bunet: Bunet) -> None:
    path = tmp_path / "m.model"
    path.write_bytes(b"nonsense")
    with pytest.raises(sealed.SealError) as caught:
        sealed.load(path, sealed.FileFormat("bunet-compiled", 2, "a compiled model", "compile it again"))
    assert caught.value.remedy == "compile it again"
    status, _, error = bunet("bob", "--model", path)
    assert status == 2
    assert "m.model is damaged or not a compiled model: compile it again (`bunet compile`)\n" in error


def test_who_stops_it_and_who_reads_no_more_get_a_status_of_their_own() -> None:
    stopped = failing(KeyboardInterrupt())
    assert (stopped.exit_code, stopped.stderr) == (STOPPED, "\nbunet: stopped\n")
    unread = failing(BrokenPipeError())
    assert (unread.exit_code, unread.output) == (UNREAD, "")


def test_a_traceback_is_for_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUNET_DEBUG", "1")
    error = UsageError("--x is wrong")
    assert failing(error).exception is error


def test_a_tier_that_cannot_be_is_one_sentence() -> None:
    environment = {**os.environ, "BUNET_TIER": "quantum"}
    done = subprocess.run(
        [sys.executable, "-m", "bunet.experiments", "plan"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "bunet: BUNET_TIER='quantum' is not a tier; choose one of vaes, aesni, portable"
