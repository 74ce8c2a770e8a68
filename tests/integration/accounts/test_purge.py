"""The purge of unproven users that expired or were replaced."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from geminichat.errors import Unavailable
from geminichat.tables import live
from geminichat.tables.chatrooms import Chatroom
from tests.support.aftermath import run_purge, run_sweep
from tests.support.lagging_index import delay_index
from tests.support.lambdas import Api, Poller, invoke
from tests.support.person import PASSWORD, Person, check_problem, new_mobile
from tests.support.stored import forget_purges, items_of, purge_of, record_of, users_named
from tests.support.template import Values
from tests.support.wire import ALWAYS, TRANSACT, WIRE, Died

NOW = datetime.now(UTC)
LATER = NOW + timedelta(minutes=1)
WEEK = timedelta(days=7)


@pytest.fixture(autouse=True)
def no_other_purge() -> None:
    forget_purges()


def sign_up_stranger(api: Api, identity: Person) -> tuple[str, str]:
    """Sign up with a person's identity and use the API; return the user's id and the room's id."""
    stranger = Person(api, identity.identity)
    stranger.sign_up(PASSWORD, at=NOW)
    room = stranger.open_room("Planted")
    stranger.ask(room, key="once")
    live.open_connection(stranger.id, "c1", stranger.session_id, "nonce", NOW)
    return stranger.id, room


def test_a_replaced_user_is_purged_with_all_its_data(api: Api, worker: Poller) -> None:
    owner = Person(api, new_mobile())
    user_id, room = sign_up_stranger(api, owner)
    owner.prove(at=LATER)
    assert set(items_of(user_id, room)) == {
        "rooms",
        "messages",
        "usage",
        "keys",
        "sessions",
        "connections",
        "purge",
    }
    run_purge(LATER + timedelta(minutes=2))
    worker.drain()
    run_sweep(timedelta(minutes=10))
    run_purge(LATER + timedelta(minutes=12))
    assert items_of(user_id, room) == {}
    assert owner.me(at=LATER).status == 200
    assert purge_of(owner.id) is None


def test_an_unproven_user_is_purged_after_seven_days(api: Api) -> None:
    ann = Person(api)
    user_id, room = sign_up_stranger(api, ann)
    run_purge(NOW + WEEK - timedelta(minutes=1))
    assert [user.user_id for user in users_named(ann.identity)] == [user_id]
    run_purge(NOW + WEEK)
    assert users_named(ann.identity) == []
    run_sweep(WEEK + timedelta(minutes=10))
    run_purge(NOW + WEEK + timedelta(minutes=10))
    assert items_of(user_id, room) == {}
    assert record_of(ann.identity) is None
    assert ann.sign_up(at=NOW + WEEK).status == 201


@pytest.mark.both_engines
def test_a_purge_that_a_lagging_index_still_shows_is_not_repeated(api: Api, values: Values) -> None:
    stranger = Person(api)
    stranger.sign_up(at=NOW)
    with delay_index(WIRE, values, "PurgesTable", "by-due-date"):
        run_purge(NOW + WEEK)
        assert users_named(stranger.identity) == []
        assert run_purge(NOW + WEEK) == {"purged": 0, "failed": 0}
    assert purge_of(stranger.id) is None


def test_the_scheduled_function_purges_all_users_that_are_due(api: Api) -> None:
    ann = Person(api)
    ann.sign_up(at=datetime.now(UTC) - timedelta(days=8))
    while invoke("UserPurge", {})["purged"]:
        continue
    assert users_named(ann.identity) == []
    assert purge_of(ann.id) is None
    assert record_of(ann.identity) is None


def test_an_expired_identity_can_be_proven_before_its_user_is_purged(api: Api) -> None:
    ann = Person(api)
    first, _ = sign_up_stranger(api, ann)
    assert ann.prove(at=NOW + WEEK)["user"]["id"] != first
    run_purge(NOW + WEEK)
    assert ann.me(at=NOW + WEEK).status == 200
    [user] = users_named(ann.identity)
    assert user.user_id == ann.id


@pytest.mark.parametrize("new", ["email", "mobile"])
def test_a_proven_user_is_never_purged(api: Api, new: str) -> None:
    ann = Person(api) if new == "email" else Person(api, new_mobile())
    token = ann.sign_up(at=NOW).data["token"]
    ann.ask_for_code(at=LATER)
    ann.verify(ann.code(), at=LATER, token=token)
    run_purge(NOW + 2 * WEEK)
    assert ann.me(at=NOW + 2 * WEEK).status == 200


def test_a_proof_during_a_purge_keeps_the_owner_logged_in(api: Api) -> None:
    ann = Person(api)
    token = ann.sign_up(at=NOW).data["token"]
    late = NOW + WEEK - timedelta(minutes=5)
    ann.ask_for_code(at=late)
    code = ann.code()
    WIRE.cut(
        TRANSACT,
        "meanwhile",
        nth=2,
        do=lambda: run_purge(NOW + WEEK),
        holding=("sessions",),
    )
    reply = ann.verify(code, at=late, token=ann.token_at(late))
    del token
    assert reply.status in (200, 409)
    assert ann.prove(at=late + timedelta(minutes=1))
    [user] = users_named(ann.identity)
    assert user.user_id == ann.id


@pytest.mark.parametrize("how", ["dies before", "dies after", "refused"])
def test_the_next_run_continues_a_purge_that_crashed_at_any_step(api: Api, how: str) -> None:
    calls = list_purge_calls(api)
    for place, call in enumerate(calls):
        owner = Person(api, new_mobile())
        user_id, room = sign_up_stranger(api, owner)
        owner.prove(at=LATER)
        times = ALWAYS if how == "refused" else 1
        WIRE.cut(call, how, nth=calls[: place + 1].count(call), times=times)
        with suppress(Died, ConnectionError, Unavailable):
            run_purge(LATER + timedelta(minutes=2))
        WIRE.breaks.clear()
        run_purge(LATER + timedelta(minutes=3))
        run_sweep(timedelta(minutes=10))
        run_purge(LATER + timedelta(minutes=14))
        assert items_of(user_id, room) == {}, f"{how} {call}"
        assert owner.me(at=LATER).status == 200


def list_purge_calls(api: Api) -> list[str]:
    run_purge(LATER + timedelta(minutes=2))
    owner = Person(api, new_mobile())
    sign_up_stranger(api, owner)
    owner.prove(at=LATER)
    with WIRE.watch() as tries:
        run_purge(LATER + timedelta(minutes=2))
    return [seen.call for seen in tries if seen.call.startswith("dynamodb.")]


def test_a_room_cannot_be_created_while_its_user_is_replaced(api: Api) -> None:
    owner = Person(api, new_mobile())
    stranger = Person(api, owner.identity)
    stranger.sign_up(PASSWORD, at=NOW)
    WIRE.cut(TRANSACT, "meanwhile", do=lambda: owner.prove(at=LATER))
    reply = stranger.post("/chatroom", {"title": "Late"})
    check_problem(reply, 401, "unauthorized")
    assert list(Chatroom.query(stranger.id)) == []
