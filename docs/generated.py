"""What `make docs` makes while it builds: pages from the commands, from the docstrings, and from files outside docs/.

A hook of mkdocs, and an extension of griffe (which reads the docstrings). No page of it lies on the disk, so none can be older
than the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("experiments", "parties", "protocols", "net", "models")  # from the top floor down
FROM_OUTSIDE = {
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "models/demo/MODEL_CARD.md": "demo-weights.md",
    "clinical/bunet_clinical/MODEL_CARD.md": "clinical-weights.md",
}

ERRORS = """
## Errors

An error is one sentence on standard error, said once. `BUNET_DEBUG=1` shows where in the program it arose.

| exit status | when |
|---|---|
| 1 | a run failed, on this side or the peer's; a layer disagrees with the oracle; the disk is full |
| 2 | what was asked, or a file, does not do: options, files, keys or addresses that cannot be, results of another run |
| 130 | it was interrupted |
| 141 | nobody read its output |
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the API reference at the end of the navigation: a section for each floor, a page for each package."""
    if config.nav is None:
        raise PluginError("mkdocs.yml has no nav")
    floors = [{floor: [{package: _api_page(package)} for package in _packages(floor)]} for floor in FLOORS]
    config.nav.append({"API reference": floors})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made here."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    for floor in FLOORS:
        for package in _packages(floor):
            files.append(File.generated(config, _api_page(package), content=api_page(package)))
    for path, name in FROM_OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they stand in the repository (`../SECURITY.md`, `docs/network.md`) become links between pages."""
    markdown = _lists_apart(markdown)
    for path, name in FROM_OUTSIDE.items():
        markdown = re.sub(rf"\]\((?:\.\./)*{re.escape(path)}", f"]({name}", markdown)
    return re.sub(r"\]\((?:\.\./)*docs/", "](", markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuses a site that would fetch something from another host."""
    found = [f"{page.name}: {address}" for page in Path(config.site_dir).rglob("*.html") for address in _fetched(page)]
    for style in Path(config.site_dir).rglob("*.css"):
        urls = re.findall(r"url\([\"']?((?:https?:)?//[^)]*)", style.read_text(encoding="utf-8"))
        found += [f"{style.name}: {url}" for url in urls]
    if found:
        raise PluginError("the site would ask other hosts: " + "; ".join(found[:5]))


def commands_page() -> str:
    """The reference of `bunet`, from the commands themselves: what each does, its examples, its options."""
    import typer.main

    from bunet.experiments.commands.app import app

    root = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "Made from the commands: the same text as `bunet COMMAND --help`. An option without a default is off, or is chosen as",
        "its line says.",
        "",
        "| command | for |",
        "|---|---|",
    ]
    commands = list(_commands(root, "bunet"))
    lines += [f"| [`{name}`](#{_slug(name)}) | {_first_sentence(command.help)} |" for name, command in commands]
    lines += ["", ERRORS]
    for name, command in commands:
        lines += ["", f"## {name} {{ #{_slug(name)} }}", "", *_help_text(command.help), "", *_usage(name, command), ""]
    return "\n".join(lines) + "\n"


def api_page(package: str) -> str:
    """One page of the API reference: a package and its modules, their public names by docstring and signature."""
    folder = _folder(package)
    names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    lines = [f"# {package}", "", f"::: {package}", "    options:", "      show_root_heading: false", "      members: false", ""]
    for name in names:
        lines += [f"::: {package}.{name}", ""]
    return "\n".join(lines)


def _folder(package: str) -> Path:
    return ROOT.joinpath(*package.split(".")[1:])


def _packages(floor: str) -> list[str]:
    """The packages of one floor, in the order of their names, without tests and data."""
    starts = sorted((ROOT / floor).rglob("__init__.py"))
    return [".".join(["bunet", *start.parent.relative_to(ROOT).parts]) for start in starts]


def _api_page(package: str) -> str:
    return f"api/{package.removeprefix('bunet.')}.md"


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield name, command
        return
    for child in sorted(children):
        yield from _commands(children[child], f"{name} {child}")


def _slug(name: str) -> str:
    return name.replace(" ", "-")


def _first_sentence(text: str | None) -> str:
    return _escaped(re.split(r"(?<=\.)\s", " ".join((text or "").split("\n\n")[0].split()))[0])


def _help_text(text: str | None) -> list[str]:
    """Paragraphs of a command's docstring; the examples, each a paragraph of its own, become one block of code."""
    lines: list[str] = []
    for paragraph in (text or "").split("\n\n"):
        words = " ".join(paragraph.split())
        lines += [f"    {words}"] if words.startswith("bunet ") else ["", _escaped(words), ""]
    return lines


def _usage(name: str, command: Any) -> list[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    rows = [record for each in command.params if (record := each.get_help_record(context))]
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = ["Usage:", "", f"    {usage}", "", "| option | what it says |", "|---|---|"]
    return lines + [f"| `{option.strip()}` | {_escaped(text)} |" for option, text in rows]


def _escaped(text: str) -> str:
    for sign in ("\\", "|", "*", "_", "<", "["):
        text = text.replace(sign, f"&#{ord(sign)};")
    return text


def _lists_apart(text: str) -> str:
    """CommonMark's lists for Python-Markdown: a blank line before the first item, code in an item two columns further in."""
    lines: list[str] = []
    in_list = fenced = False
    for line in text.split("\n"):
        bare = line.lstrip(" ")
        indent = len(line) - len(bare)
        fenced ^= bare.startswith("```")
        if not fenced and bare and indent < 4:
            item = re.match(r"(?:[-*]|\d+\.) ", bare) is not None
            if item and not in_list and lines and lines[-1]:
                lines.append("")
            in_list = item or (in_list and indent >= 2)
        lines.append("  " + line if in_list and indent >= 6 else line)
    return "\n".join(lines)


class PlainDocstrings(griffe.Extension):
    """Docstrings are plain words: what Markdown would take for its own signs is escaped, but for code and lists."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every module, class, function and attribute that it has read."""
        if obj.docstring is not None:
            blocks = [line if line.startswith("    ") else self._line(line) for line in obj.docstring.value.split("\n")]
            obj.docstring.value = _lists_apart("\n".join(blocks))

    @staticmethod
    def _line(line: str) -> str:
        bullet = re.match(r"\s*(?:[-*]|\d+\.) ", line)
        start = bullet.end() if bullet else 0
        parts = re.split(r"(`[^`]*`)", line[start:])
        return line[:start] + "".join(part if part.startswith("`") else _escaped(part) for part in parts)


class _Fetched(HTMLParser):
    """Addresses that a browser fetches by itself when it shows the page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        for key in ("src", "srcset", "data", "poster"):
            self.addresses.append(known.get(key) or "")
        if tag == "link" and known.get("rel") not in ("canonical", "prev", "next"):
            self.addresses.append(known.get("href") or "")


def _fetched(page: Path) -> list[str]:
    parser = _Fetched()
    parser.feed(page.read_text(encoding="utf-8"))
    return [address for address in parser.addresses if re.match(r"(?:https?:)?//", address)]
