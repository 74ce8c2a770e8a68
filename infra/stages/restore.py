"""Restore tables of a stage to an earlier moment: `make restore`.

Point-in-time recovery restores a table as a copy with another name, without indexes. This command
then writes the differences to the stage's own table, and deletes the copy. Stop the stage before,
and reconcile it afterwards: RUNBOOK.md, "Backup and restore". An interrupted run may be repeated.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import batched
from typing import Any, NamedTuple

import boto3
from botocore.exceptions import ClientError

from infra.command import CommandError
from infra.stages import stage as stages
from infra.stages.command import command, parser

type Item = dict[str, Any]

NOT_WITH_ALL = {
    "AuditTable",
    "CodesTable",
    "ExportsTable",
    "LimitsTable",
    "LiveTable",
    "PiecesTable",
    "PurgesTable",
    "StripeEventsTable",
}
"""Tables that are restored only if an argument names them: their items expire within days, protect
a secret, record the acts of operators, or (purges) list the users who are still to be deleted."""

BATCH = 100
"""The most keys in one BatchGetItem."""
PATIENCE = {"Delay": 20, "MaxAttempts": 3 * 60 * 24}
"""The wait for a restored table: a check every 20 s for a day. Large tables take hours."""


class Differences(NamedTuple):
    """How many items of a table were changed, deleted and added since a moment."""

    changed: int
    deleted: int
    added: int

    def __str__(self) -> str:
        return f"{self.changed} changed since, {self.deleted} deleted since, {self.added} new"


@command
def main(arguments: list[str]) -> None:
    """Restore the tables after a confirmation, and print the differences of each table."""
    known = parser("restore", __doc__)
    known.add_argument("moment", type=parse_moment, help="a time such as 2026-11-25T12:00:00Z")
    known.add_argument("tables", nargs="*", help="logical ids (default: tables with lasting data)")
    known.add_argument("--dry-run", action="store_true", help="only print the differences")
    known.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    options = known.parse_args(arguments)
    stage = stages.connect(options.stage)
    tables = choose(stages.resources(stage, "AWS::DynamoDB::Table"), options.tables)
    print(f"Tables: {', '.join(tables)}. Moment: {options.moment:%Y-%m-%d %H:%M:%S} UTC.")
    if not (options.dry_run or options.yes) and input("Is the stage stopped? [y/N] ") != "y":
        raise CommandError("Nothing was changed. RUNBOOK.md says how to stop a stage.")
    restore(list(tables.values()), options.moment, print, dry_run=options.dry_run)


def parse_moment(text: str) -> datetime:
    """Return the moment in an RFC 3339 text. Raises ArgumentTypeError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not a time: {error}.") from error
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} needs a zone, such as Z.")
    return moment.astimezone(UTC)


def choose(names: dict[str, str], chosen: Sequence[str]) -> dict[str, str]:
    """Return the names of the chosen tables by logical id (default: tables with lasting data).

    Raises CommandError.
    """
    if unknown := sorted(set(chosen) - set(names)):
        raise CommandError(f"There is no {unknown[0]}. There are: {', '.join(sorted(names))}.")
    return {one: names[one] for one in chosen or sorted(set(names) - NOT_WITH_ALL)}


def restore(
    tables: Sequence[str], moment: datetime, show: Callable[[str], Any], *, dry_run: bool = False
) -> dict[str, Differences]:
    """Restore tables to a moment in the past, and return the differences of each table.

    A dry run changes nothing, and keeps the copies for a later run.
    """
    dynamodb = boto3.client("dynamodb")
    copies = {table: _start(table, moment) for table in tables}
    found = {}
    for table, copy in copies.items():
        dynamodb.get_waiter("table_exists").wait(TableName=copy, WaiterConfig=PATIENCE)  # type: ignore[arg-type]
        found[table] = _copy(copy, table, dry_run=dry_run)
        show(f"{table}: {found[table]}{'; nothing was changed' if dry_run else ''}")
        if not dry_run:
            dynamodb.delete_table(TableName=copy)
    return found


def _start(table: str, moment: datetime) -> str:
    """Start to restore a table as a copy, unless the copy exists; return the copy's name."""
    copy = f"{table[:230]}-at-{moment:%Y%m%dT%H%M%SZ}"
    try:
        boto3.client("dynamodb").restore_table_to_point_in_time(
            SourceTableName=table,
            TargetTableName=copy,
            RestoreDateTime=moment,
            GlobalSecondaryIndexOverride=[],
            LocalSecondaryIndexOverride=[],
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "TableAlreadyExistsException":
            raise
    return copy


def _copy(source: str, target: str, *, dry_run: bool) -> Differences:
    """Make the items of `target` equal to the items of `source`, and return the differences."""
    table = boto3.resource("dynamodb").Table(target)
    names = [key["AttributeName"] for key in table.key_schema]

    def key_of(item: Item) -> tuple[Any, ...]:
        return tuple(item[name] for name in names)

    def read(other: str, items: Iterable[Item]) -> dict[tuple[Any, ...], Item]:
        keys = [{name: item[name] for name in names} for item in items]
        return {key_of(item): item for item in _read(other, keys)}

    changed = deleted = added = 0
    with table.batch_writer() as batch:
        for items in batched(scan(source), BATCH, strict=False):
            now = read(target, items)
            for item in items:
                changed += key_of(item) in now and now[key_of(item)] != item
                deleted += key_of(item) not in now
                if now.get(key_of(item)) != item and not dry_run:
                    batch.put_item(Item=item)
        for items in batched(scan(target), BATCH, strict=False):
            then = read(source, items)
            for item in items:
                added += key_of(item) not in then
                if key_of(item) not in then and not dry_run:
                    batch.delete_item(Key={name: item[name] for name in names})
    return Differences(changed, deleted, added)


def scan(table: str) -> Iterator[Item]:
    """Yield every item of a table."""
    more: Any = {"ConsistentRead": True}
    while True:
        page = boto3.resource("dynamodb").Table(table).scan(**more)
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        more["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _read(table: str, keys: Sequence[Item]) -> list[Item]:
    """Return the items of a table that have one of these keys."""
    dynamodb = boto3.resource("dynamodb")
    found: list[Item] = []
    asked: Any = {table: {"Keys": keys, "ConsistentRead": True}}
    while asked:
        answer = dynamodb.batch_get_item(RequestItems=asked)
        found += answer["Responses"].get(table, [])
        asked = answer.get("UnprocessedKeys")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
