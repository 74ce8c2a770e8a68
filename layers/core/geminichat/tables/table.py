"""The base of all tables: one connection, batch reads, and transactions of named writes.

The deadlines keep two tries of a call within six seconds.
"""

import random
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import batched
from typing import Any, Literal

import msgspec
from pynamodb.exceptions import PutError, TransactWriteError, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.pagination import ResultIterator

from geminichat.config import setting
from geminichat.errors import AppError, Contended, Unavailable
from geminichat.runtime import aws_client, deadlines, http_client
from geminichat.runtime.dynamodb import SharedConnection, SharedModel, TransactWrite

CONNECT_TIMEOUT = 1.0
"""Seconds."""
READ_TIMEOUT = 2.0
"""Seconds."""
ATTEMPTS = 2

CONFLICT_LIMIT = 4.0
"""Seconds for which a write is retried while other transactions lock its item."""

CONFLICTS = {"TransactionConflict", "TransactionInProgressException"}
THROTTLED = {"ThrottlingError", "ProvisionedThroughputExceeded"}
"""Reasons of a cancellation: a retry of the transaction may succeed."""

BATCH = 25
"""The maximum number of writes in one BatchWriteItem."""

_client = aws_client.Client(
    "dynamodb", connect=CONNECT_TIMEOUT, read=READ_TIMEOUT, attempts=ATTEMPTS
)


class Table(SharedModel):
    """A PynamoDB model on the shared connection; the setting `Meta.setting` names the table."""

    shared = SharedConnection(_client, Unavailable)

    @staticmethod
    def read_setting(name: str) -> str:
        return setting(name)


class Key(msgspec.Struct, frozen=True):
    """The key of one item of a table."""

    table: type[Table]
    hash_key: Any
    range_key: Any = None


def find_item[T: Table](table: type[T], hash_key: Any, range_key: Any = None) -> T | None:
    """Return the item with this key, or None; strongly consistent."""
    try:
        return table.get(hash_key, range_key, consistent_read=True)
    except table.DoesNotExist:
        return None


def batch_get(*keys: Key) -> list[Any]:
    """Return the items with these keys, in the same order, and None for a missing item.

    The read is one network call and strongly consistent. Raises Unavailable when DynamoDB leaves
    some of the keys unprocessed three times.
    """
    requests: dict[str, dict[str, Any]] = {}
    requested: list[tuple[str, dict[str, Any]]] = []
    for one in keys:
        name, key = one.table.table_name(), one.table.item_key(one.hash_key, one.range_key)
        request = requests.setdefault(name, {"ConsistentRead": True, "Keys": []})
        if key not in request["Keys"]:
            request["Keys"].append(key)
        requested.append((name, key))

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in requests}
    for attempt in range(3):
        if attempt:
            time.sleep(random.uniform(0, 0.05 * 2**attempt))
        answer = Table.shared.dispatch("BatchGetItem", {"RequestItems": requests})
        for name, items in answer["Responses"].items():
            found[name].extend(items)
        requests = answer.get("UnprocessedKeys") or {}
        if not requests:
            break
    else:
        raise Unavailable()

    return [
        next(
            (one.table.from_raw_data(dict(item)) for item in found[name] if _has_key(item, key)),
            None,
        )
        for one, (name, key) in zip(keys, requested, strict=True)
    ]


def _has_key(item: dict[str, Any], key: dict[str, Any]) -> bool:
    return all(item.get(attribute) == value for attribute, value in key.items())


def read_page(query: ResultIterator[Any]) -> tuple[list[dict[str, Any]], bool]:
    """Return the items of one call of a query, and whether more may follow.

    One call returns at most the query's limit and a megabyte. The items are mappings with numbers
    as text: models would take ten times as long.
    """
    page: dict[str, Any] = next(query.page_iter)
    items = [
        {name: value for name, typed in item.items() for value in typed.values()}
        for item in page["Items"]
    ]
    return items, bool(items) and "LastEvaluatedKey" in page


def overlap[A, B](first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Return the results of two independent reads, which run at the same time.

    A room's page takes 7 ms instead of 13 ms if the table answers in 5 ms.
    """
    return http_client.overlap(first, second)


def delete_partition(table: type[Table], hash_key: Any) -> None:
    """Delete every item with a hash key."""
    found = table.query(hash_key, consistent_read=True)
    batch_delete(table, (Key(table, *item.key_values()) for item in found))


def batch_put(table: type[Table], items: Iterable[Table]) -> None:
    """Put items, 25 per call. Raises Unavailable; some items may be stored by then."""
    _batch_write(table, ({"PutRequest": {"Item": item.serialize()}} for item in items))


def batch_delete(table: type[Table], keys: Iterable[Key]) -> None:
    """Delete the items with these keys, 25 per call.

    Raises Unavailable; some items may be deleted by then.
    """
    named = (table.item_key(key.hash_key, key.range_key) for key in keys)
    _batch_write(table, ({"DeleteRequest": {"Key": key}} for key in named))


def _batch_write(table: type[Table], requests: Iterable[dict[str, Any]]) -> None:
    """Send requests to a table, and resend those that DynamoDB leaves unprocessed."""
    for batch in batched(requests, BATCH, strict=False):
        _send_batch({table.table_name(): list(batch)})


def _send_batch(left: dict[str, Any]) -> None:
    def attempt() -> None:
        nonlocal left
        answer = Table.shared.dispatch("BatchWriteItem", {"RequestItems": left})
        left = answer.get("UnprocessedItems") or {}
        if left:
            raise _Throttled()

    _retry_conflicts(attempt)


def update_if(item: Table, actions: list[Action], condition: Condition) -> bool:
    """Update an item if the condition holds; return False if it does not.

    After an update, `item` has all attributes of the stored item. Retries with jitter while a
    transaction locks the item. Raises Contended if the lock lasts.
    """
    return _write_if(lambda: item.update(actions=actions, condition=condition))


def put_if(item: Table, condition: Condition | None) -> bool:
    """Put an item if the condition holds for the stored item; return False if it does not.

    Retries with jitter while a transaction locks the item. Raises Contended if the lock lasts.
    """
    return _write_if(lambda: item.save(condition))


def _write_if(write: Callable[[], object]) -> bool:
    """Perform a conditional write; return False if its condition fails."""

    def attempt() -> bool:
        try:
            write()
        except (PutError, UpdateError) as error:
            if error.cause_response_code == "ConditionalCheckFailedException":
                return False
            if error.cause_response_code == "TransactionConflictException":
                raise _Conflict() from error
            raise
        return True

    return _retry_conflicts(attempt)


class Write(msgspec.Struct, frozen=True):
    """A named write of a transaction; ConditionsFailed has the names of the writes that failed."""

    name: str
    kind: Literal["check", "delete", "put", "update"]
    item: Table
    condition: Condition | None = None
    actions: Sequence[Action] = ()


def check(name: str, item: Table, condition: Condition) -> Write:
    """Return a write that only checks a condition of an item; `item` requires only its key."""
    return Write(name, "check", item, condition)


def delete(name: str, item: Table, condition: Condition | None = None) -> Write:
    """Return a write that deletes an item; `item` requires only its key."""
    return Write(name, "delete", item, condition)


def put(name: str, item: Table, condition: Condition | None = None) -> Write:
    """Return a write that puts an item."""
    return Write(name, "put", item, condition)


def update(
    name: str, item: Table, actions: Sequence[Action], condition: Condition | None = None
) -> Write:
    """Return a write that updates an item; `item` requires only its key."""
    return Write(name, "update", item, condition, actions)


class ConditionsFailed(Exception):
    """A transaction was cancelled because conditions of its writes failed; nothing was written."""

    def __init__(self, names: Sequence[str]) -> None:
        """Store the names of the writes that failed."""
        super().__init__(", ".join(names))
        self.names = frozenset(names)

    def of(self, name: str) -> bool:
        """Return whether the condition of the write with this name failed."""
        return name in self.names

    def has_only(self, *names: str) -> bool:
        """Return whether only writes with these names failed."""
        return self.names <= set(names)


order_writes: Callable[[Sequence[Write]], Sequence[Write]] = list
"""The function that orders a transaction's writes; a test shuffles the writes with it."""

_KINDS = ("check", "delete", "put", "update")
"""The order in which PynamoDB sends a transaction's writes."""


def transact(*writes: Write) -> None:
    """Commit all writes or none, with retries while other transactions lock an item.

    AWS cancels conflicting transactions with TransactionConflict. A retry is safe, since it has the
    same client request token. Raises ConditionsFailed, Contended if the conflict lasts, and
    Unavailable if throttling lasts.
    """
    ordered = sorted(order_writes(writes), key=lambda write: _KINDS.index(write.kind))
    if len({write.name for write in ordered}) < len(ordered):
        raise ValueError("Two writes of a transaction have the same name.")
    token = secrets.token_hex(16)

    def commit() -> None:
        try:
            with TransactWrite(connection=Table.shared, client_request_token=token) as transaction:
                for write in ordered:
                    _add(transaction, write)
        except TransactWriteError as error:
            reasons = [reason.code if reason else "" for reason in error.cancellation_reasons]
            failed = [
                write.name
                for write, code in zip(ordered, reasons, strict=False)
                if code == "ConditionalCheckFailed"
            ]
            if failed:
                raise ConditionsFailed(failed) from error
            causes = {code for code in reasons if code} or {error.cause_response_code or ""}
            if causes <= CONFLICTS:
                raise _Conflict() from error
            if causes <= CONFLICTS | THROTTLED:
                raise _Throttled() from error
            raise

    _retry_conflicts(commit)


def transact_if(*writes: Write) -> bool:
    """Commit all writes as `transact` does; return False if a condition fails."""
    try:
        transact(*writes)
    except ConditionsFailed:
        return False
    return True


def _add(transaction: TransactWrite, write: Write) -> None:
    match write.kind:
        case "check":
            hash_key, range_key = write.item.key_values()
            transaction.condition_check(type(write.item), hash_key, range_key, write.condition)
        case "delete":
            transaction.delete(write.item, write.condition)
        case "put":
            transaction.save(write.item, write.condition)
        case "update":
            transaction.update(write.item, list(write.actions), write.condition)


class _Conflict(Exception):
    """Another transaction has locked one of the items."""

    lasting: type[AppError] = Contended


class _Throttled(_Conflict):
    """DynamoDB throttles writes to one of the items."""

    lasting = Unavailable


def _retry_conflicts[T](attempt: Callable[[], T]) -> T:
    ends = time.monotonic() + min(CONFLICT_LIMIT, deadlines.time_left())
    pause = 0.02
    while True:
        try:
            return attempt()
        except _Conflict as error:
            if time.monotonic() + pause > ends:
                raise error.lasting() from error
        time.sleep(random.uniform(0, pause))
        pause = min(pause * 2, 0.5)
