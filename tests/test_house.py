"""The rules of the house, read off the source without importing it: circles, owners of heavy libraries, sizes, packages.

What is counted as an import: every `import` and `from … import` of a file, wherever it stands: at the top, under
TYPE_CHECKING and inside functions. `from a import b` is an import of the module `a.b` where there is one, else of `a`. That
Python also runs the `__init__` of the folders above is not counted. That imports run downwards from floor to floor, and that
torch is not reached even by detours, import-linter holds (setup.cfg, `make check`).
"""

import ast
import configparser
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOP = ("experiments", "models", "net", "parties", "protocols")

OWNERS = {
    "typer": ("bunet.experiments.commands",),
    "numba": ("bunet.protocols.kernels",),
    "llvmlite": ("bunet.protocols.kernels",),
    "zmq": ("bunet.net",),
    "rich": ("bunet.parties.console", "bunet.experiments.commands", "bunet.experiments.bench"),
}
MOST_MODULES = 15  # of a folder
CROWDED = ("protocols/layers",)  # a file for each protocol, by design
MOST_LINES = 60  # of a function, from `def` to its end
MOST_PARAMETERS = 8  # of a function, but for self and cls
LONG = ("protocols/kernels", "experiments/commands")  # kernels are unrolled by hand; a command's parameters are its options


@cache
def sources() -> Mapping[str, Path]:
    """Path by the name of its module, for every file of the five packages."""
    files = (path for top in TOP for path in (ROOT / top).rglob("*.py"))
    return {_name(path): path for path in sorted(files)}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(sources()[name].read_text(encoding="utf-8"))


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("bunet", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def _package(name: str) -> str:
    """The package that relative imports of a module start from."""
    return name if sources()[name].name == "__init__.py" else name.rpartition(".")[0]


@cache
def imported(name: str) -> list[tuple[str, int]]:
    """(dotted name, line) of everything that a module imports."""
    return list(_imported(name))


def _imported(name: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = _package(name).split(".")
            start = above[: len(above) - node.level + 1] if node.level else []
            module = ".".join((*start, *([node.module] if node.module else [])))
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def _module(dotted: str) -> str | None:
    """The module of ours that an imported name lies in, None where it is another's."""
    while dotted and dotted not in sources():
        dotted = dotted.rpartition(".")[0]
    return dotted or None


def imports_of_ours() -> dict[str, list[str]]:
    """By module, the modules of ours that it imports."""
    targets = {name: {_module(dotted) for dotted, _ in imported(name)} for name in sources()}
    return {name: sorted(target for target in found if target and target != name) for name, found in targets.items()}


def circles(graph: Mapping[str, list[str]]) -> list[list[str]]:
    """The groups of nodes that reach each other (strongly connected components of two nodes and more), Tarjan 1972."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for target in graph[node]:
            if target not in number:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], number[target])
        if low[node] == number[node]:
            at = stack.index(node)
            groups.append(sorted(stack[at:]))
            del stack[at:]

    for node in graph:
        if node not in number:
            visit(node)
    return sorted(group for group in groups if len(group) > 1)


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(name)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of what a function takes, `*args` and `**kwargs` included, self and cls left out."""
    arguments = function.args
    ordinary = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    own = ordinary[1:] if ordinary[:1] in (["self"], ["cls"]) else ordinary
    rest = [argument.arg for argument in (arguments.vararg, *arguments.kwonlyargs, arguments.kwarg) if argument]
    return [*own, *rest]


def _beneath(path: Path, folders: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(ROOT / folder) for folder in folders)


def _all_functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """(where it stands, the function) outside of kernels and commands."""
    for name, path in sources().items():
        if not _beneath(path, LONG):
            yield from ((f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node) for node in functions(name))


def test_circles_are_found() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["b", "d"], "d": [], "e": ["a", "e"]}) == [["b", "c"]]
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"]}) == [["a", "b", "c"]]


def test_imports_are_found() -> None:
    graph = imports_of_ours()
    assert len(graph) > 200
    assert "bunet.experiments.commands.app" in graph["bunet.experiments.__main__"]
    assert any(dotted.startswith("numba") for dotted, _ in imported("bunet.protocols.kernels.machine.simd"))


def test_no_modules_import_each_other_in_a_circle() -> None:
    found = circles(imports_of_ours())
    assert not found, "\n".join(" <-> ".join(group) for group in found)


@pytest.mark.parametrize("library", OWNERS)
def test_a_heavy_library_has_one_owner(library: str) -> None:
    owners = OWNERS[library]
    others = [name for name in sources() if not any(name == owner or name.startswith(f"{owner}.") for owner in owners)]
    lines = {(name, line) for name in others for dotted, line in imported(name) if dotted.split(".")[0] == library}
    wrong = [f"{sources()[name].relative_to(ROOT)}:{line}" for name, line in sorted(lines)]
    assert not wrong, f"{library} is imported outside of {', '.join(owners)}:\n" + "\n".join(wrong)


def test_no_folder_is_crowded() -> None:
    folders = {path.parent for path in sources().values()}
    counts = {str(folder.relative_to(ROOT)): len({*folder.glob("*.py")} - {folder / "__init__.py"}) for folder in folders}
    crowded = {folder: count for folder, count in counts.items() if count > MOST_MODULES and folder not in CROWDED}
    assert not crowded, f"more than {MOST_MODULES} modules: {crowded}"


def test_no_function_is_long() -> None:
    lengths = ((where, (node.end_lineno or node.lineno) - node.lineno + 1) for where, node in _all_functions())
    long = [f"{where}: {length} lines" for where, length in lengths if length > MOST_LINES]
    assert not long, "\n".join(long)


def test_no_function_takes_many_parameters() -> None:
    counts = ((where, len(parameters(node))) for where, node in _all_functions())
    many = [f"{where}: {count} parameters" for where, count in counts if count > MOST_PARAMETERS]
    assert not many, "\n".join(many)


def test_the_package_list_is_what_is_on_disk() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    folders = {path.parent for path in sources().values()}
    bare = sorted(str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file())
    assert not bare, f"no __init__.py: {bare}"
    found = {"bunet." + ".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert sorted(found) == sorted(parser["options"]["packages"].split())


# `a.b` and `a/b` in docstrings. A name of one part may be anything: a parameter, a key, a word of a file.
DOTTED = re.compile(r"`([A-Za-z_]\w*(?:[./]\w+)+)/?`")
DATA_FILES = ("csv", "dcm", "html", "json", "jsonl", "md", "npz")
NO_NAMES_OF_OURS = {
    "ID/ID.npz", "out/name", "runs/NAME",  # a user's files
    "encoder1.conv1", "enc1.conv1", "enc1.con1", "encoder1.enc1conv1.weight", "conv.bias",  # layers and their weights
    "run.float", "integer.fraction",  # a document's key, a format's spelling
    "type.width", "dtype.kind",  # of a thing that was just spoken of
    "ctx.ot.extension",  # what a context holds
}  # fmt: skip


def _docstrings(name: str) -> Iterator[tuple[str, list[str]]]:
    """(the docstring, the parameters that it may speak of) of a module, its classes and functions."""
    for node in ast.walk(tree(name)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            known = parameters(node) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else []
            yield ast.get_docstring(node) or "", known


def _defined(node: ast.Module | ast.ClassDef) -> dict[str, ast.AST]:
    """What a module or a class defines by name: functions, classes, variables, and what its methods give to `self`."""
    names: dict[str, ast.AST] = {}
    for each in node.body:
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names[each.name] = each
        elif isinstance(each, (ast.Assign, ast.AnnAssign)):
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            names.update((part.id, each) for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))
    if isinstance(node, ast.ClassDef):
        own = (each for each in ast.walk(node) if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name))
        names.update((each.attr, each) for each in own if isinstance(each.value, ast.Name) and each.value.id == "self")
    return names


def _holds(node: ast.Module | ast.ClassDef, parts: list[str]) -> bool:
    if not parts:
        return True
    inner = _defined(node).get(parts[0])
    return inner is not None and (len(parts) == 1 or (isinstance(inner, ast.ClassDef) and _holds(inner, parts[1:])))


@cache
def resolves(name: str) -> bool:
    """Whether a dotted name or a path is one of ours: a file, a module called by the end of its name, something in one of
    these, or a class with a member.
    """
    if "/" in name:
        return any((folder / name).exists() for folder in (ROOT, *(ROOT / top for top in TOP)))
    parts = name.split(".")
    for module in sources():
        path = module.split(".")
        for k in range(1, len(parts) + 1):
            if path[-k:] == parts[:k] and _holds(tree(module), parts[k:]):
                return True
        if len(parts) > 1 and isinstance(_defined(tree(module)).get(parts[0]), ast.ClassDef) and _holds(tree(module), parts):
            return True
    return False


def test_names_are_resolved() -> None:
    for name in ("models/errors.py", "volumes/formats.py", "formats.load", "slicing.slices", "VolumeReading.load"):
        assert resolves(name), name
    for name in ("bunet.net.shaper", "dicom.folder.Series.label", "registry.names", "Protocol.prepare"):
        assert resolves(name), name
    for name in ("volumes/format.py", "sweep_data.chosen_data", "whole.write_atomic", "formats.loads", "VolumeReading.write"):
        assert not resolves(name), name


def test_docstrings_name_what_there_is() -> None:
    wrong = []
    for module, path in sources().items():
        for text, known in _docstrings(module):
            for name in DOTTED.findall(text):
                first, last = re.split(r"[./]", name)[0], name.rpartition(".")[2]
                foreign = first in {"np", *sys.stdlib_module_names} or last in DATA_FILES or name in NO_NAMES_OF_OURS
                if not foreign and first not in known and not resolves(name):
                    wrong.append(f"{path.relative_to(ROOT)}: `{name}`")
    assert not wrong, "there is no such module, class or function:\n" + "\n".join(wrong)
