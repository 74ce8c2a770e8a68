"""The restore drill: tables are restored to an earlier time, and the stage is reconciled.

MiniStack restores a table only to its present state. Therefore `Past` gives the restored copy the
items of the earlier time. Everything else is as on AWS.
"""

import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from infra.command import CommandError
from infra.stages.restore import NOT_WITH_ALL, choose, parse_moment, restore, scan
from tests.support.aftermath import check, recover, run_purge, run_sweep
from tests.support.billing import reconcile
from tests.support.cloud import DYNAMODB_LOCAL
from tests.support.lambdas import Poller
from tests.support.person import Person
from tests.support.stored import forget_purges, items_of, messages_in, purge_of
from tests.support.template import TABLES, Values

pytestmark = pytest.mark.skipif(DYNAMODB_LOCAL, reason="DynamoDB Local restores no tables")

CALL = "after-call.dynamodb.RestoreTableToPointInTime"


class Past:
    """Restores tables to the items that they had at an earlier time."""

    def __init__(self, values: Values) -> None:
        """Read the names of the tables."""
        self._names = {table: values.refs[table] for table in TABLES}

    def remember(self) -> None:
        """Remember the items of all tables; `restore` restores this state."""
        self.moment = datetime.now(UTC)
        self._items = {name: list(scan(name)) for name in self._names.values()}

    def restore(self, *tables: str, dry_run: bool = False) -> dict[str, tuple[int, int, int]]:
        """Restore tables (by default all with lasting data); return the differences per table."""
        chosen = choose(self._names, tables)
        found = restore(list(chosen.values()), self.moment, print, dry_run=dry_run)
        return {table: found[name] for table, name in chosen.items() if any(found[name])}

    def replace_items(self, parsed: Any, **_: Any) -> None:
        """Replace the items of a restored copy with the remembered items."""
        if "TableDescription" not in parsed:
            return
        name = parsed["TableDescription"]["TableName"]
        copy = boto3.resource("dynamodb").Table(name)
        keys = [key["AttributeName"] for key in copy.key_schema]
        then = {str(item): item for item in self._items[name.partition("-at-")[0]]}
        now = {str(item): item for item in scan(name)}
        with copy.batch_writer() as batch:
            for text in now.keys() - then.keys():
                batch.delete_item(Key={key: now[text][key] for key in keys})
        with copy.batch_writer() as batch:
            for text in then.keys() - now.keys():
                batch.put_item(Item=then[text])


@pytest.fixture
def past(values: Values) -> Iterator[Past]:
    """A `Past` that replaces the items of every restored copy."""
    past = Past(values)
    assert boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION.events.register(CALL, past.replace_items)
    yield past
    boto3.DEFAULT_SESSION.events.unregister(CALL, past.replace_items)


def list_shown_prompts(user: Person, room: str) -> list[str]:
    """Return the prompts that the room shows, each with its status unless it is answered."""
    return [
        one["content"] if one["status"] == "answered" else f"{one['content']} {one['status']}"
        for one in user.page(room)
        if one["sender"] == "user"
    ]


def test_a_prompt_follows_the_last_message_after_only_the_rooms_were_restored(
    payer: Person, worker: Poller, past: Past
) -> None:
    room, deleted = payer.open_room("Kept"), payer.open_room("Deleted")
    payer.ask(room, "one")
    worker.drain()
    past.remember()
    payer.ask(room, "two")
    worker.drain()
    payer.delete(deleted)
    payer.open_room("New")

    assert past.restore("ChatroomsTable", dry_run=True) == {"ChatroomsTable": (1, 1, 1)}
    assert past.restore("ChatroomsTable") == {"ChatroomsTable": (1, 1, 1)}
    assert past.restore("ChatroomsTable") == {}
    titles = [one["title"] for one in payer.get("/chatroom?limit=100").data["chatrooms"]]
    assert sorted(titles) == ["Deleted", "Kept"]
    assert list_shown_prompts(payer, room) == ["one", "two"]
    payer.ask(room, "three")
    recover(worker, [room])
    assert list_shown_prompts(payer, room) == ["one", "two", "three"]
    check(payer, [room])


def test_a_restored_stage_catches_up_with_stripe_and_queued_prompts_and_deletions(
    payer: Person, worker: Poller, past: Past
) -> None:
    forget_purges()
    reconcile()
    room = payer.open_room("Kept")
    payer.ask(room, "one")
    worker.drain()
    payer.ask(room, "two")
    leaver = Person(payer.api)
    leaver.prove(at=datetime.now(UTC) - timedelta(minutes=5))
    secret = leaver.open_room("Secret")
    past.remember()
    worker.drain()
    payer.ask(room, "three", key="k-1")
    assert payer.buy() == "pro"
    assert leaver.request("DELETE", "/user", json=leaver.confirm()).status == 202

    began = time.monotonic()
    differed = past.restore()
    print(f"restored after {time.monotonic() - began:.1f} s")
    assert set(differed) == {
        "ChatroomsTable",
        "IdempotencyKeysTable",
        "MessagesTable",
        "SubscriptionsTable",
        "UsageTable",
        "UsersTable",
    }
    assert list_shown_prompts(payer, room) == ["one", "two queued"]
    assert payer.plan() == "basic"

    assert reconcile()["fixed"] == 1
    assert payer.plan() == "pro"
    recover(worker, [room])  # the queue has a message for "three" and none for "two"
    assert list_shown_prompts(payer, room) == ["one", "two"]
    check(payer, [room])
    payer.ask(room, "three", key="k-1")
    recover(worker, [room])
    assert list_shown_prompts(payer, room) == ["one", "two", "three"]
    check(payer, [room])

    later = datetime.now(UTC) + timedelta(days=15)
    assert purge_of(leaver.id)
    run_purge(later)
    run_sweep(timedelta(days=15))
    run_purge(later + timedelta(hours=2))
    assert items_of(leaver.id, secret) == {}


def test_prompts_are_answered_again_after_only_the_messages_were_restored(
    payer: Person, worker: Poller, past: Past
) -> None:
    room = payer.open_room("Kept")
    payer.ask(room, "one")
    past.remember()
    worker.drain()
    payer.ask(room, "two")
    worker.drain()
    past.restore("MessagesTable")
    assert list_shown_prompts(payer, room) == ["one queued"]
    recover(worker, [room])
    payer.ask(room, "three")
    recover(worker, [room])
    assert list_shown_prompts(payer, room) == ["one", "three"]
    assert [int(one.seq) for one in messages_in(room)] == [1, 2, 5, 6]


def test_the_tables_to_restore_are_chosen_by_logical_id() -> None:
    names = {table: f"dev-{table}" for table in TABLES}
    assert set(names) - set(choose(names, [])) == NOT_WITH_ALL
    assert choose(names, ["UsageTable"]) == {"UsageTable": "dev-UsageTable"}
    with pytest.raises(CommandError, match="There is no Usage"):
        choose(names, ["Usage"])


def test_a_restore_refuses_a_time_without_a_time_zone() -> None:
    assert parse_moment("2026-11-25T13:00:00+01:00") == datetime(2026, 11, 25, 12, tzinfo=UTC)
    for text, why in (("2026-11-25T12:00:00", "needs a zone"), ("noon", "is not a time")):
        with pytest.raises(ArgumentTypeError, match=why):
            parse_moment(text)
