"""Stripe's protocol: nested form parameters, errors, pages of lists, idempotency keys."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

type Json = dict[str, Any]

DAY = 86_400
MAX_LIMIT = 100


class Rejected(Exception):
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


def not_found(kind: str, object_id: str, param: str = "id", status: int = 404) -> Rejected:
    """Return the error for an object that does not exist."""
    message = f"No such {kind}: '{object_id}'"
    return Rejected(message, status=status, code="resource_missing", param=param)


def parse_form(encoded: str) -> Json:
    """Return form parameters as a tree: the brackets in `a[b][0]=c` and `a[]=c` nest the values."""
    tree: Json = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        head, brackets = re.match(r"([^\[]*)(.*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
        path = [head, *re.findall(r"\[([^\]]*)\]", brackets)]
        place = tree
        for step in path[:-1]:
            place = place.setdefault(step or str(len(place)), {})
            if not isinstance(place, dict):
                raise Rejected(f"Invalid {head}: one parameter is both value and hash", param=head)
        place[path[-1] or str(len(place))] = value
    return {name: _to_lists(value) for name, value in tree.items()}


def _to_lists(value: Any) -> Any:
    """Convert hashes with the keys 0, 1, 2 and so on to lists."""
    if not isinstance(value, dict):
        return value
    if value and list(value) == [str(number) for number in range(len(value))]:
        return [_to_lists(item) for item in value.values()]
    return {name: _to_lists(item) for name, item in value.items()}


class Params:
    """A call's parameters, validated when read; `reject_unknown` rejects unread parameters."""

    def __init__(self, tree: Json) -> None:
        self._tree = dict(tree)

    def text(self, name: str, default: str | None = None, *, required: bool = False) -> str | None:
        """Return a string parameter, or None if it is missing, or empty, which unsets a field."""
        value = self._tree.pop(name, default)
        if required and not value:
            raise Rejected(f"Missing required param: {name}.", code="parameter_missing", param=name)
        if value is not None and not isinstance(value, str):
            raise Rejected(f"Invalid string: {value!r}", param=name)
        return value or None

    def require(self, name: str) -> str:
        """Return a required string parameter. Raises Rejected."""
        return self.text(name, required=True) or ""

    def number(self, name: str, default: int | None = None) -> int | None:
        """Return an integer parameter, or the default if it is missing or empty."""
        value = self._tree.pop(name, None)
        if value in (None, ""):
            return default
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]+", value):
            raise Rejected(
                f"Invalid integer: {value}", code="parameter_invalid_integer", param=name
            )
        return int(value)

    def flag(self, name: str) -> bool | None:
        """Return a boolean parameter, or None if it is missing."""
        value = self._tree.pop(name, None)
        if value is not None and value not in ("true", "false"):
            raise Rejected(f"Invalid boolean: {value}", param=name)
        return None if value is None else value == "true"

    def hash(self, name: str) -> Json:
        """Return a hash parameter, or {} if it is missing."""
        value = self._tree.pop(name, {})
        if not isinstance(value, dict):
            raise Rejected("Invalid object", param=name)
        return value

    def list(self, name: str) -> list[Any]:
        """Return a list parameter, or [] if it is missing."""
        value = self._tree.pop(name, [])
        if not isinstance(value, list):
            raise Rejected("Invalid array", param=name)
        return value

    def is_present(self, name: str) -> bool:
        """Return whether a parameter is present and was not read yet."""
        return name in self._tree

    def reject_unknown(self) -> None:
        """Raise Rejected if a parameter was not read."""
        for name in self._tree:
            raise Rejected(
                f"Received unknown parameter: {name}", code="parameter_unknown", param=name
            )


def paginate(url: str, found: Iterable[Json], params: Params) -> Json:
    """Return the page of these objects that the call's parameters select, newest first."""
    limit = params.number("limit", 10) or 0
    if not 1 <= limit <= MAX_LIMIT:
        raise Rejected(
            f"This value must be between 1 and {MAX_LIMIT} (it currently is '{limit}').",
            param="limit",
        )
    after = params.text("starting_after")
    items = list(found)
    if after:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise not_found("object", after, "starting_after", 400)
        items = items[ids.index(after) + 1 :]
    page = items[:limit]
    return {"object": "list", "data": page, "has_more": len(items) > len(page), "url": url}


@dataclass
class _Saved:
    fingerprint: str
    at: float
    answer: tuple[int, Json] | None = None


class IdempotencyKeys:
    """The answers by idempotency key, kept for a day to repeat them; even a 500 is repeated."""

    def __init__(self) -> None:
        self._saved: dict[str, _Saved] = {}

    def begin(
        self, key: str, method: str, path: str, body: str, now: float
    ) -> tuple[int, Json] | None:
        """Return the answer stored for a key, or reserve a new key and return None.

        Raises Rejected if the key is in use or was used with other parameters.
        """
        fingerprint = hashlib.sha256(f"{method} {path}\n{body}".encode()).hexdigest()
        saved = self._saved.get(key)
        if saved is None or now - saved.at >= DAY:
            self._saved[key] = _Saved(fingerprint, now)
            return None
        if saved.fingerprint != fingerprint:
            raise Rejected(
                "Keys for idempotent requests can only be used with the same parameters they "
                f"were first used with. Try using a key other than '{key}' if you meant to "
                "execute a different request.",
                kind="idempotency_error",
            )
        if saved.answer is None:
            raise Rejected(
                "There is currently another in-progress request using this Idempotent Key "
                f"(that probably means you submitted twice, and the other request is still "
                f"going through): {key}. Please try again later.",
                status=409,
                kind="idempotency_error",
                code="idempotency_key_in_use",
            )
        return saved.answer

    def finish(self, key: str, status: int, body: Json) -> None:
        """Store the answer, unless the request was rejected before it was executed."""
        if not 400 <= status < 500 or status == 402:
            self._saved[key].answer = (status, body)

    def release(self, key: str) -> None:
        """Release the key of a request that was not executed."""
        saved = self._saved.get(key)
        if saved and saved.answer is None:
            del self._saved[key]
