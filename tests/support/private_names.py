"""Find the private names of libraries that our package uses: names that begin with one underscore.

Four uses are found:
- a private module or name that is imported, or named in a string
- a private attribute of an imported name
- a private attribute or keyword that our package does not define, also in a call of `getattr`
- a private name that our class defines and that only a library reads
"""

import ast
import builtins
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE = re.compile(r"[a-z]\w*(\.\w+)*\.(_[A-Za-z]\w*)(\.\w+)*")
"""A dotted name with a private part."""

OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}
"""Names that are public in spite of their underscore."""

ACCESSORS = {"delattr", "getattr", "hasattr", "setattr"}

NOT_LIBRARIES = {*sys.stdlib_module_names, *dir(builtins), "geminichat"}


def is_private(name: str) -> bool:
    """Return whether a name begins with a single underscore."""
    return bool(re.match("_[^_]", name)) and name not in OF_NAMED_TUPLES


def find_uses(package: Path) -> dict[str, set[str]]:
    """Return the private names that each module of a package uses, by the module's name."""
    trees = {
        ".".join(path.relative_to(package).with_suffix("").parts): ast.parse(path.read_text())
        for path in sorted(package.rglob("*.py"))
    }
    defined = {name for tree in trees.values() for name in find_definitions(tree)}
    read = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load)
    }
    found = {
        module: {
            *find_imports(tree),
            *find_accesses(tree, defined),
            *(name for name in find_in_classes(tree) if name not in read),
        }
        for module, tree in trees.items()
    }
    return {module: names for module, names in found.items() if names}


def find_definitions(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module defines: functions, classes, variables, attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name


def find_imports(tree: ast.Module) -> Iterator[str]:
    """Yield the private modules and names of libraries that are imported or named in a string."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names if MODULE.fullmatch(name.name))
            case ast.ImportFrom(module=str(module), names=names) if is_library(module):
                dotted = [module, *(f"{module}.{name.name}" for name in names)]
                yield from (name for name in dotted if MODULE.fullmatch(name))
            case ast.Constant(value=str(text)) if is_library(text) and MODULE.fullmatch(text):
                yield text


def is_library(module: str) -> bool:
    """Return whether a module belongs to a third-party library."""
    return module.partition(".")[0] not in NOT_LIBRARIES


def find_accesses(tree: ast.Module, defined: set[str]) -> Iterator[str]:
    """Yield private names that are read from libraries or `super()`, or that we do not define."""
    owners = {*find_library_names(tree), "super()"}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, value=value) if is_private(name):
                if name not in defined or ast.unparse(value) in owners:
                    yield name
            case ast.keyword(arg=str(name)) if is_private(name) and name not in defined:
                yield name
            case ast.Call(func=ast.Name(id=called), args=[_, ast.Constant(value=str(name)), *_]):
                if called in ACCESSORS and is_private(name) and name not in defined:
                    yield name


def find_library_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module's imports of libraries define."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if is_library(module):
                yield from (name.asname or name.name for name in names)
            case ast.Import(names=names):
                yield from (name.asname or name.name for name in names if is_library(name.name))


def find_in_classes(tree: ast.Module) -> Iterator[str]:
    """Yield the private names that the bodies of a module's classes define."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from filter(is_private, find_definitions(ast.Module(node.body, [])))


def find_overrides(module: str) -> set[str]:
    """Return the private names in library classes that a module's classes override."""
    loaded = importlib.import_module(module)
    written = set(find_in_classes(ast.parse(inspect.getsource(loaded))))
    return {
        name
        for kind in vars(loaded).values()
        if inspect.isclass(kind) and kind.__module__ == module
        for base in kind.__mro__[1:]
        if is_library(base.__module__)
        for name in written & vars(kind).keys() & vars(base).keys()
    }
