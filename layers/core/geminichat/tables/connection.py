"""One DynamoDB connection for all tables: one client, one set of deadlines.

PynamoDB gives each model a connection, and so a TLS handshake, of its own; here they share one.
"""

import random
import secrets
import time
from collections.abc import Callable
from threading import Lock
from typing import Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004
from pynamodb.connection.base import Connection
from pynamodb.connection.table import TableConnection
from pynamodb.exceptions import PutError, TransactWriteError, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from geminichat import aws, deadline
from geminichat.errors import Unavailable
from geminichat.tables.plain import PlainModel

CONNECT_TIMEOUT = 1.0
READ_TIMEOUT = 2.0
RETRIES = 1
"""Seconds, seconds, and how often a call is tried again: two tries stay within six seconds."""

CONTENTION = 4.0
"""Seconds for which a write is tried again while others hold its items."""

CONTENDED = {
    "TransactionConflict",
    "TransactionInProgressException",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
}
"""Why DynamoDB cancels a transaction that would pass a moment later."""

OUT_OF_ORDER = {
    "InternalServerError",
    "ServiceUnavailable",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
}
"""What DynamoDB answers when the fault is not the request's."""


class _SharedConnection(Connection):
    """PynamoDB's connection on a client of ours, safe to use from threads.

    Raises Unavailable where DynamoDB does not answer, or not now; a write may have happened then.
    """

    @property
    def client(self) -> Any:
        return _client

    def dispatch(self, operation_name: str, operation_kwargs: dict[str, Any]) -> Any:
        # PynamoDB's asks for the capacity that was used, to log it, and tells signals of each call.
        return self._make_api_call(operation_name, operation_kwargs)

    def _make_api_call(self, operation_name: str, operation_kwargs: dict[str, Any]) -> Any:
        try:
            return super()._make_api_call(operation_name, operation_kwargs)
        except (ConnectionError, HTTPClientError) as error:
            raise Unavailable() from error
        except ClientError as error:
            if error.response["Error"]["Code"] in OUT_OF_ORDER:
                raise Unavailable() from error
            raise


_client = aws.Client("dynamodb", connect=CONNECT_TIMEOUT, read=READ_TIMEOUT, attempts=1 + RETRIES)
_shared = _SharedConnection()


_tables_lock = Lock()


def shared() -> Connection:
    """Return the connection that all tables share."""
    return _shared


class Table(PlainModel):
    """A PynamoDB model on the shared connection."""

    @classmethod
    def _get_connection(cls) -> TableConnection:
        if cls._connection is not None and cls._connection.connection is _shared:
            return cls._connection
        with _tables_lock:
            table = super()._get_connection()
            if table.table_name not in _shared._tables:
                _shared.add_meta_table(table.get_meta_table())
            table.connection = _shared
            return table


def get_together(*wanted: tuple[type[Model], Any, Any]) -> list[Any]:
    """Read items of any tables, strongly consistent, in one network call.

    Each of `wanted` is (model, hash key, range key or None). Returns them in that order, None where
    there is no such item. Raises Unavailable when DynamoDB keeps back some of them three times.
    """
    requests: dict[str, dict[str, Any]] = {}
    places: list[tuple[str, dict[str, Any], type[Model]]] = []
    for model, hash_key, range_key in wanted:
        table = model._get_connection()
        serialized = model._serialize_keys(hash_key, range_key)
        key: dict[str, Any] = _shared.get_identifier_map(table.table_name, *serialized)["Key"]
        request = requests.setdefault(table.table_name, {"ConsistentRead": True, "Keys": []})
        if key not in request["Keys"]:
            request["Keys"].append(key)
        places.append((table.table_name, key, model))

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in requests}
    for attempt in range(3):
        if attempt:
            time.sleep(random.uniform(0, 0.05 * 2**attempt))
        answer = _shared._make_api_call("BatchGetItem", {"RequestItems": requests})
        for name, items in answer["Responses"].items():
            found[name].extend(items)
        requests = answer.get("UnprocessedKeys") or {}
        if not requests:
            break
    else:
        raise Unavailable()

    def pick(name: str, key: dict[str, Any], model: type[Model]) -> Any:
        for item in found[name]:
            if all(item.get(attribute) == value for attribute, value in key.items()):
                return model.from_raw_data(dict(item))
        return None

    return [pick(*place) for place in places]


def update_if(item: Model, actions: list[Action], condition: Condition) -> bool:
    """Update an item if the condition holds, and say whether it did; the item then shows all of it.

    Tries again with jitter while a transaction holds the item. Raises Unavailable when that lasts.
    """
    return _holds(lambda: item.update(actions=actions, condition=condition))


def put_if(item: Model, condition: Condition) -> bool:
    """Put an item if the condition holds for what is there, and say whether it did.

    Tries again with jitter while a transaction holds the item. Raises Unavailable when that lasts.
    """
    return _holds(lambda: item.save(condition))


def _holds(write: Callable[[], object]) -> bool:
    """Make a write that has a condition, and say whether that held."""

    def attempt() -> bool:
        try:
            write()
        except (PutError, UpdateError) as error:
            if error.cause_response_code == "ConditionalCheckFailedException":
                return False
            if error.cause_response_code == "TransactionConflictException":
                raise _Contended() from error
            raise
        return True

    return _while_contended(attempt)


def transact_if(write: Callable[[TransactWrite], None]) -> bool:
    """Commit as `transact` does if all conditions hold, and say whether they did."""
    try:
        transact(write)
    except TransactWriteError as error:
        if any(failed_conditions(error)):
            return False
        raise
    return True


def transact(write: Callable[[TransactWrite], None]) -> None:
    """Commit what `write` adds to a transaction; try again with jitter while others hold an item.

    On AWS transactions that meet on one item are cancelled with TransactionConflict; the same
    client request token makes trying again safe. Raises TransactWriteError with its cancellation
    reasons when a condition failed, Unavailable when the conflict lasts.
    """
    token = secrets.token_hex(16)

    def commit() -> None:
        try:
            with TransactWrite(connection=_shared, client_request_token=token) as transaction:
                write(transaction)
        except TransactWriteError as error:
            codes = {reason.code for reason in error.cancellation_reasons if reason}
            if (codes or {error.cause_response_code or ""}) <= CONTENDED:
                raise _Contended() from error
            raise

    _while_contended(commit)


class _Contended(Exception):
    """Someone else's transaction holds an item of this one."""


def _while_contended[T](attempt: Callable[[], T]) -> T:
    ends = time.monotonic() + min(CONTENTION, deadline.time_left())
    pause = 0.02
    while True:
        try:
            return attempt()
        except _Contended as error:
            if time.monotonic() + pause > ends:
                raise Unavailable() from error
        time.sleep(random.uniform(0, pause))
        pause = min(pause * 2, 0.5)


def failed_conditions(error: TransactWriteError) -> list[bool]:
    """Say, for each action of a cancelled transaction in its order, whether its condition failed.

    PynamoDB orders them: condition checks, deletes, puts, updates.
    """
    return [
        bool(reason and reason.code == "ConditionalCheckFailed")
        for reason in error.cancellation_reasons
    ]
