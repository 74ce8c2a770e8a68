"""Find the settings that a function reads, in the code that its handler can reach."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.paths import ROOT

PACKAGE = ROOT / "layers" / "core" / "geminichat"

type Definition = tuple[str, str]
"""A module of our package and a name that it defines at its top level, "" for all other code."""


@dataclass(frozen=True)
class Module:
    """A module's definitions, and the definitions behind its imported names."""

    code: dict[str, list[ast.stmt]]
    imported: dict[str, Definition]


def settings_of(handler: Path, names: set[str]) -> set[str]:
    """Return those settings in `names` that occur in code that a handler can reach."""
    start = _read(handler)
    found: set[str] = set()
    seen: set[Definition] = set()
    ahead: list[Definition] = []
    for statements in start.code.values():
        for statement in statements:
            found |= _texts(statement)
            ahead += _references(statement, "app", start)
    while ahead:
        definition = ahead.pop()
        if definition not in seen:
            seen.add(definition)
            texts, references = _content(definition)
            found |= texts
            ahead += references
    return found & names


@functools.cache
def _content(definition: Definition) -> tuple[set[str], list[Definition]]:
    """Return the strings in a definition, and the definitions that it names or depends on."""
    name, what = definition
    module = _module(name)
    if module is None:
        return set(), []
    texts: set[str] = set()
    references = [(name, "")]
    for statement in module.code.get(what, []):
        texts |= _texts(statement)
        references += _references(statement, name, module)
    return texts, references


def _texts(statement: ast.stmt) -> set[str]:
    return {
        node.value
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _references(statement: ast.stmt, name: str, module: Module) -> Iterator[Definition]:
    """Yield the definitions of our package that a statement names."""
    for node in ast.walk(statement):
        match node:
            case ast.Attribute(value=ast.Name(id=alias), attr=what) if alias in module.imported:
                parent, child = module.imported[alias]
                yield (f"{parent}.{child}".strip("."), what)
                yield (parent, child)
            case ast.Name(id=what) if what in module.imported:
                yield module.imported[what]
            case ast.Name(id=what) if what in module.code:
                yield (name, what)


@functools.cache
def _module(name: str) -> Module | None:
    path = PACKAGE / (name.replace(".", "/") + ".py")
    return _read(path) if path.exists() else None


def _read(path: Path) -> Module:
    tree = ast.parse(path.read_text())
    code: dict[str, list[ast.stmt]] = {"": []}
    for statement in tree.body:
        for defined in _names_of(statement) or [""]:
            code.setdefault(defined, []).append(statement)
    imported: dict[str, Definition] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("geminichat"):
            parent = (node.module or "").removeprefix("geminichat").removeprefix(".")
            for alias in node.names:
                imported[alias.asname or alias.name] = (parent, alias.name)
    return Module(code, imported)


def _names_of(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []
