"""What README and the pages of docs/ speak of exists: commands and their options, files, modules, links, sentences."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from bunet.experiments.commands.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TODAY = [page for page in PAGES if page.name != "CHANGELOG.md"]  # it tells of earlier versions too
FLOORS = "experiments|models|net|parties|protocols|tests|docs"
GENERATED = {"commands.md"}  # made by `make docs`
NAMES = [page.name for page in TODAY]


def command_lines(page: Path) -> Iterator[list[str]]:
    """The words of every `bunet ...` line: in indented blocks, whoever's prompt stands before it, and in backticks."""
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"^ {4,}(?:\w+\$ +)?(?:\.venv/bin/)?(bunet .*?)(?:  +#.*|\\)?$", text, re.MULTILINE):
        yield shlex.split(line, comments=True)
    for line in re.findall(r"`(bunet [^`]+)`", text):
        yield shlex.split(line)


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while rest and getattr(command, "commands", None) and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@pytest.mark.parametrize("page", TODAY, ids=NAMES)
def test_commands_and_options_exist(page: Path) -> None:
    for words in command_lines(page):
        if words[1] == "COMMAND":
            continue
        command, rest = find_command(words)
        assert words[1].startswith("-") or command.name != "bunet", f"{page.name}: no command in {' '.join(words)!r}"
        known = {option for each in command.params for option in [*each.opts, *each.secondary_opts]} | {"--help"}
        asked = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert asked <= known, f"{page.name}: {' '.join(words)!r}"


@pytest.mark.parametrize("page", TODAY, ids=NAMES)
def test_files_and_modules_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(rf"`((?:{FLOORS})/[\w/.-]+)`", text):
        assert (ROOT / path).exists(), f"{page.name}: {path}"
    for module in re.findall(r"(?:python -m|from|import) (bunet(?:\.\w+)+)", text):
        assert importlib.util.find_spec(module) is not None, f"{page.name}: {module}"


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists() or target in GENERATED, f"{page.name}: {target}"


@pytest.mark.parametrize("page", ["hospital.md", "provider.md", "researcher.md"])
def test_sentences_of_trouble_are_the_programs(page: str) -> None:
    """Of each sentence that a table `it says` quotes, three words in a row stand in the source (the rest may be filled in)."""
    table = (ROOT / "docs" / page).read_text(encoding="utf-8").partition("| it says | do |")[2].partition("\n\n")[0]
    quoted = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    floors = (ROOT / floor for floor in ("experiments", "parties", "protocols", "net", "models"))
    source = " ".join(path.read_text(encoding="utf-8") for floor in floors for path in floor.rglob("*.py"))
    assert len(quoted) >= 5
    for sentence in quoted:
        words = sentence.split()
        runs = [" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))]
        assert any(run in source for run in runs), f"{page}: nothing says {sentence!r}"
