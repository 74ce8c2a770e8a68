"""Faults on demand and a journal of requests, for tests of every stand-in.

    POST   /_faults     add a fault or a list: {"kind": "error", "status": 503, "times": 2}
    GET    /_faults     list the pending faults
    DELETE /_faults     delete the pending faults
    GET    /_requests   list the received requests, oldest first
    DELETE /_requests   delete this list

A fault applies to requests that contain its `match` (default: all requests). The fault skips the
first `after` of these requests (default 0), and then applies `times` times (default 1, or
"always"). If several faults apply, the oldest fault is used. The other fields depend on the kind.

`Faults` only needs the standard library, because MiniStack's Python also imports this module.
"""

import json
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

JOURNAL_LENGTH = 5_000

type Rule = type[str] | type[float] | type[list[Any]] | type[object] | Collection[object]
"""The type of a setting's values (`object`: any), or a collection of all allowed values."""


class BadFault(ValueError):
    """The posted fault is not valid; the message names the valid kinds, settings or values."""


@dataclass
class Fault:
    """One fault; `times` is how often the fault still applies (None: always)."""

    kind: str
    match: str = ""
    after: int = 0
    times: int | None = 1
    settings: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fault as the JSON that a test posts."""
        times = "always" if self.times is None else self.times
        own = {"kind": self.kind, "match": self.match, "after": self.after, "times": times}
        return own | self.settings


class Faults:
    """The pending faults of a stand-in; `kinds` has the settings of each kind."""

    def __init__(self, kinds: Mapping[str, Mapping[str, Rule]]) -> None:
        self._kinds = kinds
        self._pending: list[Fault] = []

    def add(self, spec: Any) -> None:
        """Add a fault or a list; if one is invalid, add nothing. Raises BadFault."""
        specs = spec if isinstance(spec, list) else [spec]
        self._pending += [self._parse(one) for one in specs]

    def take(self, text: str, applies: Callable[[Fault], bool] = lambda _: True) -> Fault | None:
        """Return the fault that applies to a request with this text, or None; count the request.

        A fault is skipped if `applies` returns False for it.
        """
        for fault in self._pending:
            if fault.match not in text or not applies(fault):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._pending.remove(fault)
            return fault
        return None

    def clear(self) -> None:
        """Delete every fault."""
        self._pending.clear()

    def list_pending(self) -> list[dict[str, Any]]:
        return [fault.to_json() for fault in self._pending]

    def _parse(self, spec: Any) -> Fault:
        if not isinstance(spec, dict):
            raise BadFault("A fault must be a JSON object with a kind")
        settings = dict(spec)
        kind = settings.pop("kind", None)
        match = settings.pop("match", "")
        after = settings.pop("after", 0)
        times = settings.pop("times", 1)
        if kind not in self._kinds:
            raise BadFault(f"kind {kind!r} is not one of {', '.join(sorted(self._kinds))}")
        if not isinstance(match, str):
            raise BadFault("match must be a string")
        if not isinstance(after, int) or after < 0:
            raise BadFault("after must be a number of requests, 0 or more")
        if times != "always" and (not isinstance(times, int) or times < 1):
            raise BadFault('times must be a number of requests, 1 or more, or "always"')
        for name, value in settings.items():
            _check(kind, name, value, self._kinds[kind])
        return Fault(kind, match, after, None if times == "always" else times, settings)


def _check(kind: str, name: str, value: Any, rules: Mapping[str, Rule]) -> None:
    if name not in rules:
        raise BadFault(f"{kind} takes {', '.join(rules) or 'no settings'}, not {name}")
    rule = rules[name]
    if rule is str and not isinstance(value, str):
        raise BadFault(f"{name} must be a string")
    if rule is float and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise BadFault(f"{name} must be a number")
    if rule is list and not isinstance(value, list):
        raise BadFault(f"{name} must be a list")
    if not isinstance(rule, type) and value not in rule:
        raise BadFault(f"{name} must be one of {', '.join(map(str, rule))}")


class Journal:
    """The newest requests to a stand-in, at most JOURNAL_LENGTH, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Mapping[str, Any]] = deque(maxlen=JOURNAL_LENGTH)

    def note(self, entry: Mapping[str, Any]) -> None:
        """Add an entry that describes a request."""
        self._entries.append(entry)

    def entries(self) -> list[Mapping[str, Any]]:
        """Return all entries, oldest first."""
        return list(self._entries)

    def clear(self) -> None:
        """Delete all entries."""
        self._entries.clear()


def admin_routes(faults: Faults, journal: Journal) -> "list[web.RouteDef]":
    """Return the routes under /_faults and /_requests."""
    from aiohttp import web

    async def add(request: web.Request) -> web.Response:
        try:
            faults.add(await request.json())
        except json.JSONDecodeError:
            return web.json_response({"error": "The body is not JSON"}, status=400)
        except BadFault as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"faults": faults.list_pending()}, status=201)

    async def pending(_request: web.Request) -> web.Response:
        return web.json_response({"faults": faults.list_pending()})

    async def forget_faults(_request: web.Request) -> web.Response:
        faults.clear()
        return web.Response(status=204)

    async def seen(_request: web.Request) -> web.Response:
        return web.json_response({"requests": journal.entries()})

    async def forget_seen(_request: web.Request) -> web.Response:
        journal.clear()
        return web.Response(status=204)

    return [
        web.post("/_faults", add),
        web.get("/_faults", pending),
        web.delete("/_faults", forget_faults),
        web.get("/_requests", seen),
        web.delete("/_requests", forget_seen),
    ]
