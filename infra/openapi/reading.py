"""What an endpoint takes, answers with and refuses, read from its code.

From the handler on, every function of ours that it may reach is read once: which struct it takes
from the body, which query parameters and headers it looks at, which statuses and headers it
answers with, and which errors it constructs. So the document needs no second list beside the code,
and can't part from it.

Names are looked up in the running modules, so a call is followed where it goes. What can't be told
without running it (a method of a value whose type nobody wrote down) is followed to every method of
ours that has that name: a document may then name an error too many, never one too few.
"""

import ast
import functools
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from geminichat import api
from geminichat.errors import AppError, Unavailable
from geminichat.tables.table import Table

OURS = ("geminichat.", "functions.")
NOT_DOCUMENTED = {
    "accept-encoding",
    "authorization",
    "content-type",
    "host",
    "x-forwarded-proto",
}
"""Headers of a request that are HTTP's own, or that OpenAPI has other places for."""


@dataclass(frozen=True)
class Refusal:
    """One error an endpoint may answer with; `detail` where the code has it in plain words."""

    error: type[AppError]
    code: str
    detail: str | None = None
    headers: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()
    pointer: str | None = None
    """Where in the body it is; empty where only a body can tell, None where it is not about one."""


@dataclass
class Reading:
    """What was read so far."""

    bodies: set[tuple[type, bool]] = field(default_factory=set)
    """Structs taken from the body, and whether the body may be missing."""
    raw: set[bool] = field(default_factory=set)
    """Whether the body is taken as it stands."""
    query: set[str] = field(default_factory=set)
    headers: set[str] = field(default_factory=set)
    statuses: set[int] = field(default_factory=set)
    """Of answers that are no errors."""
    sent: set[str] = field(default_factory=set)
    """Headers of answers that are no errors."""
    content_types: set[str] = field(default_factory=set)
    """Of answers that are sent as they stand."""
    messages: set[str] = field(default_factory=set)
    """What they say to a person, where the code has it in plain words."""
    extensions: set[tuple[str, Any]] = field(default_factory=set)
    """What stands beside `data` in the envelope, with its value where that is always the same."""
    refusals: set[Refusal] = field(default_factory=set)
    added: set[tuple[type, str]] = field(default_factory=set)
    """Headers that are put on an error of some class where it is caught."""

    def add(self, other: "Reading") -> None:
        """Take in what another function was found to do."""
        for part in fields(self):
            getattr(self, part.name).update(getattr(other, part.name))


@dataclass(frozen=True)
class _Value:
    """Some value of a class that is known."""

    kind: type


def read(handler: Callable[..., Any]) -> Reading:
    """Return what an `@endpoint` does: its own code's, and what the decorator adds."""
    found = Reading()
    found.add(_read(inspect.unwrap(handler)))
    if not is_public(handler):
        found.add(_read(api._authenticate))
    found.refusals.add(Refusal(AppError, AppError.code, "Something went wrong on our side."))
    found.headers -= NOT_DOCUMENTED
    found.refusals = {
        replace(refusal, headers=refusal.headers | _added(found, refusal.error))
        for refusal in found.refusals
    }
    return found


def _added(found: Reading, error: type) -> set[str]:
    return {name for kind, name in found.added if issubclass(error, kind)}


def is_public(handler: Callable[..., Any]) -> bool:
    """Say whether it answers without an access token."""
    return bool(inspect.getclosurevars(handler).nonlocals["public"])


def reply(handler: Callable[..., Any]) -> Any:
    """Return the type of the reply's data, which the handler's annotation names; None for none."""
    answer = typing.get_type_hints(inspect.unwrap(handler))["return"]
    return typing.get_args(answer)[0] if typing.get_args(answer) else None


_known: dict[Any, Reading] = {}


def _read(function: Any) -> Reading:
    function = inspect.unwrap(function)
    if function not in _known:
        _known[function] = Reading()  # for a function that comes back to itself
        _known[function] = _Reader(function).run()
    return _known[function]


class _Reader(ast.NodeVisitor):
    """Reads one function."""

    def __init__(self, function: types.FunctionType) -> None:
        self.found = Reading()
        self._function = function
        self._globals = function.__globals__
        hints = _hints(function)
        self._locals: dict[str, Any] = {
            name: _Value(kind)
            for name, hint in hints.items()
            if name != "return" and (kind := _class_of(hint))
        }
        self._errors: dict[str, list[type[AppError]]] = {}
        """Variables that stand for one error or another."""
        owner = _owner(function)
        if owner:
            self._locals |= {"self": _Value(owner), "cls": owner}

    def run(self) -> Reading:
        """Return what the function, and all it may reach, does."""
        node = _node_of(self._function)
        for part in node.body if isinstance(node, ast.FunctionDef) else [node.body]:
            self.visit(part)
        return self.found

    # What binds a name.

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = importlib.import_module(node.module or "")
        for name in node.names:
            value = getattr(module, name.name, None)
            if value is None:
                value = importlib.import_module(f"{node.module}.{name.name}")
            self._locals[name.asname or name.name] = value

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._bind(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)
            self._bind(node.target, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._bind(node.target, node.value)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if isinstance(item.optional_vars, ast.Name):
                self._bind(item.optional_vars, item.context_expr)
        for statement in node.body:
            self.visit(statement)

    def _bind(self, target: ast.expr, to: ast.expr) -> None:
        if not isinstance(target, ast.Name):
            self.visit(target)
            return
        value = self._resolve(to)
        if isinstance(value, _Value):
            self._locals[target.id] = value
        elif error := _error_of(value):
            self._errors.setdefault(target.id, []).append(error)

    # What is caught here reaches no caller.

    def visit_Try(self, node: ast.Try) -> None:
        outer, self.found = self.found, Reading()
        for statement in node.body:
            self.visit(statement)
        caught = tuple(
            kind
            for handler in node.handlers
            if not any(isinstance(n, ast.Raise) and n.exc is None for n in ast.walk(handler))
            for kind in self._classes(handler.type)
        )
        self.found.refusals = {r for r in self.found.refusals if not issubclass(r.error, caught)}
        outer.add(self.found)
        self.found = outer
        for part in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(part)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        for statement in node.body:
            match statement:
                case ast.Assign(
                    targets=[ast.Attribute(value=ast.Name(id=name), attr="headers")]
                ) if name == node.name:
                    added = self._sent_in(statement.value)
                    self.found.added |= {
                        (kind, header) for kind in self._classes(node.type) for header in added
                    }
                case _:
                    self.visit(statement)

    def _classes(self, node: ast.expr | None) -> Iterator[type]:
        if node is None:
            yield BaseException
        elif isinstance(node, ast.Tuple):
            for one in node.elts:
                yield from self._classes(one)
        elif isinstance(kind := self._resolve(node), type):
            yield kind

    # What is used.

    def visit_Name(self, node: ast.Name) -> None:
        self._reach(self._resolve(node))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        base = self._resolve(node.value)
        if isinstance(base, _Value):
            if (
                _is_request(base)
                and node.attr == "raw"
                and self._function.__module__ != api.__name__
            ):
                self.found.raw.add(True)
            self._reach(_attribute(base.kind, node.attr))
        elif base is not None:
            self._reach(self._resolve(node))

    def visit_Raise(self, node: ast.Raise) -> None:
        error = self._resolve(node.exc) if node.exc else None
        if isinstance(error, type) and issubclass(error, AppError):
            self.found.refusals.add(Refusal(error, error.code))
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.generic_visit(node)
        self._look_at_request(node.value, node.slice)

    def visit_Dict(self, node: ast.Dict) -> None:
        self.generic_visit(node)
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                self._sends(key.value, *self._texts(value))

    def visit_Call(self, node: ast.Call) -> None:
        called = self._resolve(node.func)
        errors = [error] if (error := _error_of(called)) else []
        if isinstance(node.func, ast.Name):
            errors += self._errors.get(node.func.id, [])
        for error in errors:
            self._refuses(error, node)
        if errors:
            return
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(value=part, attr="get") if node.args:
                self._look_at_request(part, node.args[0])
            case ast.Attribute(value=base, attr=name) if self._resolve(
                base
            ) is None and not name.startswith("__"):
                for method in _methods_named(name):
                    self._reach(method)
        if called is api.Response and node.args:
            constants = (n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant))
            self.found.statuses |= {status for status in constants if isinstance(status, int)}
        elif called is api.Request.body:
            kind = self._resolve(node.args[0])
            if not isinstance(kind, type):
                raise TypeError("request.body() must be given its struct by name")
            optional = any(word.arg == "optional" for word in node.keywords)
            self.found.bodies.add((kind, optional))
        elif called in (api.ok, api.created, api.accepted):
            said = self._constant(node.args[1])
            self.found.messages |= {said} if said else set()
            for word in node.keywords:
                if word.arg and word.arg != "headers":
                    fixed = word.value.value if isinstance(word.value, ast.Constant) else None
                    self.found.extensions.add((word.arg, fixed))

    # What it means.

    def _refuses(self, error: type[AppError], node: ast.Call) -> None:
        """Note an error that is made here; what it says to send along is its own."""
        headers = self._sent_in(node)
        words = {word.arg: word.value for word in node.keywords}
        code = self._constant(words.get("code") or (node.args[1] if len(node.args) > 1 else None))
        detail, pointer, extensions = None, None, frozenset[str]()
        first = node.args[0] if node.args else words.get("detail")
        if isinstance(first, ast.Dict):
            pointer = self._constant(first.keys[0]) or ""
            first = first.values[0]
        if first is not None:
            detail = self._constant(first)
        if isinstance(given := words.get("extensions"), ast.Dict):
            extensions = frozenset(
                key.value
                for key in given.keys
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            )
        self.found.refusals.add(
            Refusal(error, code or error.code, detail, headers, extensions, pointer)
        )

    def _sent_in(self, node: ast.AST) -> frozenset[str]:
        """Visit a part that is about an error, and return the headers in it: they go with that."""
        outer, self.found = self.found, Reading()
        if isinstance(node, ast.Call):
            self.generic_visit(node)
        else:
            self.visit(node)
        headers, self.found.sent = frozenset(self.found.sent), set()
        outer.add(self.found)
        self.found = outer
        return headers

    def _look_at_request(self, part: ast.expr, key: ast.expr) -> None:
        """Note `request.query["x"]`, `request.headers.get("x")` and their like."""
        name = self._constant(key)
        if name and isinstance(part, ast.Attribute) and _is_request(self._resolve(part.value)):
            if part.attr == "query":
                self.found.query.add(name)
            elif part.attr == "headers":
                self.found.headers.add(name)

    def _sends(self, name: str, *values: str) -> None:
        if name == "content-type":  # doors send some too, to others
            if self._function.__module__.startswith("functions."):
                self.found.content_types.update(values)
        elif name == name.lower() and (name in api_headers()):
            self.found.sent.add(name)

    def _reach(self, value: Any) -> None:
        """Read what the function can get to here."""
        if isinstance(value, property):
            value = value.fget
        value = inspect.unwrap(getattr(value, "__func__", value)) if callable(value) else value
        if isinstance(value, types.FunctionType) and _is_ours(value):
            self.found.add(_read(value))
        elif isinstance(value, type) and _is_ours(value) and not issubclass(value, Exception):
            for kind in value.__mro__:
                if isinstance(check := kind.__dict__.get("__post_init__"), types.FunctionType):
                    self.found.add(_read(check))
            if issubclass(value, Table):  # PynamoDB, which is not ours, takes it from there
                self.found.refusals.add(Refusal(Unavailable, Unavailable.code))
        elif isinstance(value, Mapping) and value is not self._globals:
            for name, item in value.items():
                if isinstance(name, str):
                    self._sends(name, *([item] if isinstance(item, str) else []))

    # What an expression stands for.

    def _resolve(self, node: ast.expr | None) -> Any:
        """Return the module, class, function or _Value that the expression is, None if unknown."""
        match node:
            case ast.Name(id=name):
                return self._locals.get(name, self._globals.get(name))
            case ast.Attribute(value=value, attr=name):
                base = self._resolve(value)
                if isinstance(base, _Value):
                    member = _attribute(base.kind, name)
                    if isinstance(member, property):
                        return _value(_hints(member.fget).get("return"))
                    return member if member is not None else _field(base.kind, name)
                return getattr(base, name, None) if _has_members(base) else None
            case ast.Call(func=function):
                called = self._resolve(function)
                if isinstance(called, type):
                    return _Value(called)
                if callable(called) and isinstance(inspect.unwrap(called), types.FunctionType):
                    return _value(_hints(inspect.unwrap(called)).get("return"))
            case ast.Await(value=value) | ast.NamedExpr(value=value):
                return self._resolve(value)
        return None

    def _texts(self, node: ast.expr) -> list[str]:
        """Return the texts that the expression may be: one, or any value of a table."""
        if isinstance(node, ast.Subscript):
            table = self._resolve(node.value)
            return list(table.values()) if isinstance(table, Mapping) else []
        text = self._constant(node)
        return [text] if text else []

    def _constant(self, node: ast.expr | None) -> str | None:
        """Return the text that the expression is, where that takes no running of the function."""
        if node is None or not isinstance(node, ast.Constant | ast.JoinedStr | ast.Name):
            return None
        expression = ast.fix_missing_locations(ast.Expression(node))
        try:
            value = eval(compile(expression, "", "eval"), dict(self._globals))  # noqa: S307 # nosec B307
        except NameError:
            return None
        return value if isinstance(value, str) else None


@functools.cache
def api_headers() -> frozenset[str]:
    """Return the headers that answers may carry: those that the document has words for."""
    from infra.openapi import words

    return frozenset(words.ANSWER_HEADERS)


@functools.cache
def _functions_in(path: str) -> Mapping[int, ast.FunctionDef | ast.Lambda]:
    """Return the functions of a file by the line they begin on."""
    found: dict[int, ast.FunctionDef | ast.Lambda] = {}
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, ast.FunctionDef):
            found[min([node.lineno, *(part.lineno for part in node.decorator_list)])] = node
        elif isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, node)
    return found


def _node_of(function: types.FunctionType) -> ast.FunctionDef | ast.Lambda:
    code = function.__code__
    return _functions_in(code.co_filename)[code.co_firstlineno]


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).startswith(OURS)


def _is_request(value: Any) -> bool:
    return isinstance(value, _Value) and value.kind is api.Request


def _has_members(base: Any) -> bool:
    return isinstance(base, types.ModuleType | type)


def _error_of(called: Any) -> type[AppError] | None:
    """Return the error that calling it makes: a class, or a class method of one."""
    if isinstance(called, types.MethodType):
        called = called.__self__
    return called if isinstance(called, type) and issubclass(called, AppError) else None


def _hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        return {}


def _class_of(hint: Any) -> type | None:
    """Return the class that a hint names, the first one of ours in a union or a generator."""
    if isinstance(hint, typing.TypeAliasType):
        hint = hint.__value__
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint if _is_ours(hint) else None
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union, Iterator):
        return next(filter(None, map(_class_of, typing.get_args(hint))), None)
    return origin if isinstance(origin, type) and _is_ours(origin) else None


def _value(hint: Any) -> _Value | None:
    kind = _class_of(hint)
    return _Value(kind) if kind else None


def _attribute(kind: type, name: str) -> Any:
    """Return a class's own method, property or class method of that name."""
    for owner in kind.__mro__:
        member = owner.__dict__.get(name)
        if isinstance(member, property | types.FunctionType):
            return member
        if isinstance(member, classmethod | staticmethod):
            return getattr(kind, name)
    return None


def _field(kind: type, name: str) -> Any:
    if is_dataclass(kind) or issubclass(kind, msgspec.Struct):
        return _value(_hints(kind).get(name))
    return None


def _owner(function: types.FunctionType) -> type | None:
    """Return the class that a method belongs to."""
    name, _, _ = function.__qualname__.rpartition(".")
    owner = getattr(sys.modules[function.__module__], name, None) if name else None
    return owner if isinstance(owner, type) else None


def _methods_named(name: str) -> Iterator[Any]:
    """Return every method of ours with that name, of whatever class."""
    for module in list(sys.modules.values()):
        if not str(getattr(module, "__name__", "")).startswith(OURS):
            continue
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                member = kind.__dict__.get(name)
                if isinstance(member, types.FunctionType):
                    yield member
