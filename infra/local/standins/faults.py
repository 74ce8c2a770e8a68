"""Faults on demand and a journal of requests: what every stand-in lets a test ask of it.

    POST   /_faults     a fault or a list of them: {"kind": "error", "status": 503, "times": 2}
    GET    /_faults     the ones still to come
    DELETE /_faults     forget them
    GET    /_requests   what was asked so far, oldest first
    DELETE /_requests   forget it

A fault meets the first request whose text contains its `match` (any request without one), after
letting `after` such requests pass, and is used up after `times` of them (1 unless told, or
"always"). Faults are tried in the order they came. The other fields belong to the kind.
"""

import json
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiohttp import web

JOURNAL_LENGTH = 5_000

type Rule = type[str] | type[float] | type[list[Any]] | type[object] | Collection[object]
"""What a setting may be: a string, a number, a list, anything, or one of some values."""


class BadFault(ValueError):
    """A fault that this stand-in cannot do; the message says what it can."""


@dataclass
class Fault:
    """One fault, and how often it is still to happen (None: always)."""

    kind: str
    match: str = ""
    after: int = 0
    times: int | None = 1
    settings: dict[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """Return the fault as it would be posted."""
        times = "always" if self.times is None else self.times
        own = {"kind": self.kind, "match": self.match, "after": self.after, "times": times}
        return own | self.settings


class StandIn:
    """A stand-in as a test sees it: its address, the faults to ask of it, what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, trust_env=False, verify=False)  # noqa: S501 # nosec B501 (http)

    def fault(self, kind: str, **settings: Any) -> None:
        """Ask for one fault."""
        answer = self._http.post("/_faults", json={"kind": kind} | settings)
        if answer.status_code != 201:
            raise BadFault(answer.json()["error"])

    def requests(self) -> list[dict[str, Any]]:
        """Return what it was asked so far, oldest first."""
        seen: list[dict[str, Any]] = self._http.get("/_requests").json()["requests"]
        return seen

    def reset(self) -> None:
        """Forget faults and requests."""
        self._http.delete("/_faults")
        self._http.delete("/_requests")


class Faults:
    """The faults a stand-in still has to show; `kinds` says which settings each kind takes."""

    def __init__(self, kinds: Mapping[str, Mapping[str, Rule]]) -> None:
        self._kinds = kinds
        self._pending: list[Fault] = []

    def add(self, spec: Any) -> None:
        """Take a fault, or a list of them, as posted. Raises BadFault, and then takes none."""
        specs = spec if isinstance(spec, list) else [spec]
        self._pending += [self._parse(one) for one in specs]

    def take(self, text: str, meets: Callable[[Fault], bool] = lambda _: True) -> Fault | None:
        """Return the fault that this request meets, if any, and count it.

        A fault is also passed over if the stand-in says that it does not meet this request.
        """
        for fault in self._pending:
            if fault.match not in text or not meets(fault):
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
        """Forget every fault."""
        self._pending.clear()

    def pending(self) -> list[dict[str, Any]]:
        """Return the faults still to come."""
        return [fault.described() for fault in self._pending]

    def _parse(self, spec: Any) -> Fault:
        if not isinstance(spec, dict):
            raise BadFault("A fault is a JSON object with a kind")
        settings = dict(spec)
        kind = settings.pop("kind", None)
        match = settings.pop("match", "")
        after = settings.pop("after", 0)
        times = settings.pop("times", 1)
        if kind not in self._kinds:
            raise BadFault(f"kind {kind!r} is none of {', '.join(sorted(self._kinds))}")
        if not isinstance(match, str):
            raise BadFault("match is a string")
        if not isinstance(after, int) or after < 0:
            raise BadFault("after is a number of requests, 0 or more")
        if times != "always" and (not isinstance(times, int) or times < 1):
            raise BadFault('times is a number of requests, 1 or more, or "always"')
        for name, value in settings.items():
            _check(kind, name, value, self._kinds[kind])
        return Fault(kind, match, after, None if times == "always" else times, settings)


def _check(kind: str, name: str, value: Any, rules: Mapping[str, Rule]) -> None:
    if name not in rules:
        raise BadFault(f"{kind} takes {', '.join(rules) or 'no settings'}, not {name}")
    rule = rules[name]
    if rule is str and not isinstance(value, str):
        raise BadFault(f"{name} is a string")
    if rule is float and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise BadFault(f"{name} is a number")
    if rule is list and not isinstance(value, list):
        raise BadFault(f"{name} is a list")
    if not isinstance(rule, type) and value not in rule:
        raise BadFault(f"{name} is one of {', '.join(map(str, rule))}")


class Journal:
    """The requests a stand-in saw, oldest first; only the newest are kept."""

    def __init__(self) -> None:
        self._entries: deque[Mapping[str, Any]] = deque(maxlen=JOURNAL_LENGTH)

    def note(self, entry: Mapping[str, Any]) -> None:
        """Keep one request."""
        self._entries.append(entry)

    def entries(self) -> list[Mapping[str, Any]]:
        """Return what was seen."""
        return list(self._entries)

    def clear(self) -> None:
        """Forget what was seen."""
        self._entries.clear()


def admin_routes(faults: Faults, journal: Journal) -> list[web.RouteDef]:
    """Return the routes under /_faults and /_requests."""

    async def add(request: web.Request) -> web.Response:
        try:
            faults.add(await request.json())
        except json.JSONDecodeError:
            return web.json_response({"error": "The body is not JSON"}, status=400)
        except BadFault as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"faults": faults.pending()}, status=201)

    async def pending(_request: web.Request) -> web.Response:
        return web.json_response({"faults": faults.pending()})

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
