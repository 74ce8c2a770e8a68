"""Stripe's manner of speaking: nested form parameters, errors, idempotency keys, expansion."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

type Json = dict[str, Any]

DAY = 86_400
MAX_LIMIT = 100


class Refused(Exception):
    """A call that Stripe answers with an error."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        error: Json = {"message": message, "type": kind}
        if code:
            error["code"] = code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        if param:
            error["param"] = param
        self.body: Json = {"error": error}


def missing(kind: str, object_id: str, param: str = "id", status: int = 404) -> Refused:
    """Return the error for an object that does not exist."""
    message = f"No such {kind}: '{object_id}'"
    return Refused(message, status=status, code="resource_missing", param=param)


def parse(encoded: str) -> Json:
    """Return form parameters as the tree that their brackets draw: `a[b][0]=c`, `a[]=c`."""
    tree: Json = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        head, brackets = re.match(r"([^\[]*)(.*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
        path = [head, *re.findall(r"\[([^\]]*)\]", brackets)]
        place = tree
        for step in path[:-1]:
            place = place.setdefault(step or str(len(place)), {})
            if not isinstance(place, dict):
                raise Refused(f"Invalid {head}: it is both a value and a hash", param=head)
        place[path[-1] or str(len(place))] = value
    return {name: _listed(value) for name, value in tree.items()}


def _listed(value: Any) -> Any:
    """Turn hashes that count from 0 into lists."""
    if not isinstance(value, dict):
        return value
    if value and list(value) == [str(number) for number in range(len(value))]:
        return [_listed(item) for item in value.values()]
    return {name: _listed(item) for name, item in value.items()}


class Params:
    """A call's parameters; reading one checks it, and what nobody read is unknown."""

    def __init__(self, tree: Json) -> None:
        self._tree = dict(tree)
        self.expand: list[str] = list(self._tree.pop("expand", []))

    def text(self, name: str, default: str | None = None, *, required: bool = False) -> str | None:
        """Return a string parameter; an empty one unsets, and is None."""
        value = self._tree.pop(name, default)
        if required and not value:
            raise Refused(f"Missing required param: {name}.", code="parameter_missing", param=name)
        if value is not None and not isinstance(value, str):
            raise Refused(f"Invalid string: {value!r}", param=name)
        return value or None

    def need(self, name: str) -> str:
        """Return a string parameter that has to be there."""
        return self.text(name, required=True) or ""

    def number(self, name: str, default: int | None = None) -> int | None:
        """Return an integer parameter; None where it is not given or unset."""
        value = self._tree.pop(name, None)
        if value in (None, ""):
            return default
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]+", value):
            raise Refused(f"Invalid integer: {value}", code="parameter_invalid_integer", param=name)
        return int(value)

    def flag(self, name: str) -> bool | None:
        """Return a boolean parameter; None where it is not given."""
        value = self._tree.pop(name, None)
        if value is not None and value not in ("true", "false"):
            raise Refused(f"Invalid boolean: {value}", param=name)
        return None if value is None else value == "true"

    def hash(self, name: str) -> Json:
        """Return a hash parameter, {} where it is not given."""
        value = self._tree.pop(name, {})
        if not isinstance(value, dict):
            raise Refused("Invalid object", param=name)
        return value

    def list(self, name: str) -> list[Any]:
        """Return a list parameter, [] where it is not given."""
        value = self._tree.pop(name, [])
        if not isinstance(value, list):
            raise Refused("Invalid array", param=name)
        return value

    def given(self, name: str) -> bool:
        """Say whether the parameter was given and not read yet."""
        return name in self._tree

    def done(self) -> None:
        """Refuse the call if it has a parameter that nobody read."""
        for name in self._tree:
            raise Refused(
                f"Received unknown parameter: {name}", code="parameter_unknown", param=name
            )


def listed(url: str, found: Iterable[Json], params: Params) -> Json:
    """Return one page of what was found (newest first), as `limit` and the cursors ask."""
    limit = params.number("limit", 10) or 0
    if not 1 <= limit <= MAX_LIMIT:
        raise Refused(
            f"This value must be between 1 and {MAX_LIMIT} (it currently is '{limit}').",
            param="limit",
        )
    after, before = params.text("starting_after"), params.text("ending_before")
    items = list(found)
    ids = [item["id"] for item in items]
    for cursor in filter(None, (after, before)):
        if cursor not in ids:
            raise missing("object", cursor, "starting_after" if after else "ending_before", 400)
    if after:
        items = items[ids.index(after) + 1 :]
        page = items[:limit]
    elif before:
        items = items[: ids.index(before)]
        page = items[-limit:]
    else:
        page = items[:limit]
    return {"object": "list", "data": page, "has_more": len(items) > len(page), "url": url}


def within(value: int, bounds: Any) -> bool:
    """Say whether a time lies within `created`: a number, or a hash of gt, gte, lt, lte."""
    if not isinstance(bounds, Mapping):
        return not bounds or value == int(bounds)
    tests: dict[str, Callable[[int], bool]] = {
        "gt": lambda bound: value > bound,
        "gte": lambda bound: value >= bound,
        "lt": lambda bound: value < bound,
        "lte": lambda bound: value <= bound,
    }
    return all(tests[name](int(bound)) for name, bound in bounds.items())


def expanded(answer: Json, paths: Iterable[str], find: Callable[[str], Json | None]) -> Json:
    """Return a copy of the answer with the objects that `expand` names in the place of ids."""
    copy: Json = json.loads(json.dumps(answer))
    for path in paths:
        _expand(copy, path.split("."), path, find)
    return copy


def _expand(place: Any, steps: list[str], whole: str, find: Callable[[str], Json | None]) -> None:
    if isinstance(place, list):
        for item in place:
            _expand(item, steps, whole, find)
        return
    step = steps[0]
    if not isinstance(place, dict) or step not in place:
        raise Refused(f"This property cannot be expanded ({whole}).", param="expand")
    if isinstance(place[step], str):
        found = find(place[step])
        if found is None:
            raise Refused(f"This property cannot be expanded ({whole}).", param="expand")
        place[step] = json.loads(json.dumps(found))
    if len(steps) > 1 and place[step] is not None:
        _expand(place[step], steps[1:], whole, find)


@dataclass
class _Saved:
    fingerprint: str
    at: float
    answer: tuple[int, Json] | None = None


class IdempotencyKeys:
    """Answers by idempotency key: a key gets the same answer for a day, be it a 500."""

    def __init__(self) -> None:
        self._saved: dict[str, _Saved] = {}

    def begin(
        self, key: str, method: str, path: str, body: str, now: float
    ) -> tuple[int, Json] | None:
        """Return the answer that the key had before; None where it is new, and taken now."""
        fingerprint = hashlib.sha256(f"{method} {path}\n{body}".encode()).hexdigest()
        saved = self._saved.get(key)
        if saved is None or now - saved.at >= DAY:
            self._saved[key] = _Saved(fingerprint, now)
            return None
        if saved.fingerprint != fingerprint:
            raise Refused(
                "Keys for idempotent requests can only be used with the same parameters they "
                f"were first used with. Try using a key other than '{key}' if you meant to "
                "execute a different request.",
                kind="idempotency_error",
            )
        if saved.answer is None:
            raise Refused(
                "There is currently another in-progress request using this Idempotent Key "
                f"(that probably means you submitted twice, and the other request is still "
                f"going through): {key}. Please try again later.",
                status=409,
                kind="idempotency_error",
                code="idempotency_key_in_use",
            )
        return saved.answer

    def finish(self, key: str, status: int, body: Json) -> None:
        """Keep the answer; a request that was refused unexecuted leaves its key free."""
        if not 400 <= status < 500 or status == 402:
            self._saved[key].answer = (status, body)

    def release(self, key: str) -> None:
        """Free a key whose request was never executed."""
        saved = self._saved.get(key)
        if saved and saved.answer is None:
            del self._saved[key]
