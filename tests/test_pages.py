"""What the pages speak of exists: commands and their options, files, modules, links, sentences, names in scripts."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import textwrap
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
CARDS = [ROOT / "models/demo/MODEL_CARD.md", *sorted(ROOT.glob("clinical/bunet_clinical/*.md"))]
HELD = [*TODAY, *CARDS]
NAMES = [str(page.relative_to(ROOT)) for page in HELD]
SCRIPT = re.compile(r"python - <<'END'\n(.*?)^ *END$|python -c (['\"])(.*?)\2", re.DOTALL | re.MULTILINE)
SCRIPTS = [
    pytest.param(textwrap.dedent(script[1] or script[3]), id=f"{page.relative_to(ROOT)}-{number}")
    for page in HELD
    for number, script in enumerate(SCRIPT.finditer(page.read_text(encoding="utf-8")))
]


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


@pytest.mark.parametrize("page", HELD, ids=NAMES)
def test_commands_and_options_exist(page: Path) -> None:
    for words in command_lines(page):
        if words[1] == "COMMAND":
            continue
        command, rest = find_command(words)
        assert words[1].startswith("-") or command.name != "bunet", f"{page.name}: no command in {' '.join(words)!r}"
        known = {option for each in command.params for option in [*each.opts, *each.secondary_opts]} | {"--help"}
        asked = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert asked <= known, f"{page.name}: {' '.join(words)!r}"


@pytest.mark.parametrize("page", HELD, ids=NAMES)
def test_files_and_modules_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(rf"`((?:{FLOORS})/[\w/.-]+)`", text):
        assert (ROOT / path).exists(), f"{page.name}: {path}"
    for module in re.findall(r"(?:python -m|from|import) (bunet(?:\.\w+)+)", text):
        assert importlib.util.find_spec(module) is not None, f"{page.name}: {module}"


def names_of_ours(script: str) -> set[str]:
    """Dotted paths of all that a script takes of BUNET: what it imports, and the attributes of that which it names."""
    tree = ast.parse(script)
    imported: dict[str, str] = {}
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
            imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*"}
    attributes = {
        f"{imported[node.value.id]}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported
    }
    return {path for path in {*modules, *imported.values(), *attributes} if path.startswith("bunet")}


def resolve(path: str) -> Any:
    """The module, or what one holds. ImportError or AttributeError where there is neither."""
    module, _, name = path.rpartition(".")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        if not module:
            raise
        return getattr(resolve(module), name)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_use_what_exists(script: str) -> None:
    names = sorted(names_of_ours(script))
    if any("training" in path or "unet" in path for path in names):
        pytest.importorskip("torch")
    for path in names:
        resolve(path)


def test_a_script_that_uses_what_is_gone_is_seen() -> None:
    assert len(SCRIPTS) >= 5
    script = "from bunet.models import extras\nextras.how('x')"
    assert names_of_ours(script) == {"bunet.models", "bunet.models.extras", "bunet.models.extras.how"}
    assert resolve("bunet.models.extras.how") is resolve("bunet.models.extras").how
    for gone in ("bunet.models.extras.gone", "bunet.models.gone", "bunet.gone.how"):
        with pytest.raises(AttributeError):
            resolve(gone)


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
