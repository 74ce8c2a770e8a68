"""Every route that requires a token refuses the first request after the session has ended."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from geminichat.operations import purge_user
from geminichat.tables.chatrooms import Chatroom
from geminichat.tables.purges import Purge
from tests.support import operators
from tests.support.every_route import request_every_route
from tests.support.lambdas import Api
from tests.support.person import OTHER_PASSWORD, PROOF, Person, check_problem
from tests.support.stored import messages_in

NOW = datetime.now(UTC)
LATER = NOW + timedelta(minutes=1)


def log_out(ann: Person) -> None:
    ann.api.post("/auth/logout", {}, token=ann.token_at(NOW), at=NOW)


def log_out_everywhere(ann: Person) -> None:
    other = Person(ann.api, ann.identity)
    other.log_in(at=NOW)
    other.post("/auth/logout", {"everywhere": True})


def change_the_password(ann: Person) -> None:
    other = Person(ann.api, ann.identity)
    other.log_in(at=NOW)
    assert other.change_password(OTHER_PASSWORD, PROOF).status == 200


def reset_the_password(ann: Person) -> None:
    ann.forget_password(at=NOW)
    assert ann.reset(ann.code(), at=NOW).status == 200


def replace_the_identity(ann: Person) -> None:
    other = Person(ann.api, ann.identity)
    other.log_in(at=NOW)
    assert other.add_identity(Person(ann.api), PROOF, NOW).status == 200


def reuse_a_refresh_token(ann: Person) -> None:
    ann.refresh(ann.refresh_token, at=NOW)
    late = NOW + timedelta(seconds=30)
    check_problem(ann.refresh(ann.refresh_token, at=late), 401, "token-reused")


def end_sessions_as_the_operator(ann: Person) -> None:
    said = operators.act("end-sessions", ann.id)["message"]
    assert re.fullmatch(rf"[12] sessions of {ann.id} end\.", said)


PROVEN: list[Callable[[Person], None]] = [
    log_out,
    log_out_everywhere,
    change_the_password,
    reset_the_password,
    replace_the_identity,
    reuse_a_refresh_token,
    end_sessions_as_the_operator,
]


def prove_the_identity(ann: Person) -> None:
    Person(ann.api, ann.identity).prove(at=LATER)


def add_the_identity_to_another_account(ann: Person) -> None:
    owner = Person(ann.api)
    owner.prove(at=NOW)
    assert owner.add_identity(Person(ann.api, ann.identity), at=LATER).status == 200


def sign_up_two_hours_later(ann: Person) -> None:
    late = NOW + timedelta(hours=2)
    assert Person(ann.api, ann.identity).sign_up(OTHER_PASSWORD, at=late).status == 201


def wait_seven_days(ann: Person) -> None:
    now = NOW + timedelta(days=7, minutes=1)
    # Purges this user only, because other tests leave more due users than one run purges.
    purge_user.continue_purge(Purge.get(ann.id), now)


UNPROVEN = [
    log_out,
    prove_the_identity,
    reset_the_password,
    add_the_identity_to_another_account,
    sign_up_two_hours_later,
    wait_seven_days,
]


@pytest.mark.parametrize(
    ("end", "is_proven"),
    [(end, True) for end in PROVEN] + [(end, False) for end in UNPROVEN],
    ids=lambda value: getattr(value, "__name__", "proven" if value else "unproven"),
)
def test_every_route_refuses_an_ended_session(
    api: Api, end: Callable[[Person], None], is_proven: bool
) -> None:
    ann = Person(api)
    ann.sign_up(at=NOW)
    if is_proven:
        ann.ask_for_code(at=NOW - timedelta(minutes=1))
        ann.verify(ann.code(), at=NOW, token=ann.token)
        log_in = Person(api, ann.identity)
        log_in.log_in(at=NOW)
        ann.post("/auth/logout")
        ann = log_in
    room = ann.open_room("Mine")
    message = ann.ask(room, key="once")
    before = [item.attribute_values for item in messages_in(room)]
    rooms = [one.attribute_values for one in Chatroom.query(ann.id)]
    token = ann.token_at(LATER)
    end(ann)
    for route, reply in request_every_route(api, lambda: token, room, message, LATER):
        assert reply.status == 401, f"{route}: {reply.text}"
        assert reply.json["type"].endswith(":unauthorized"), route
        assert room not in reply.text
    assert [item.attribute_values for item in messages_in(room)][-len(before) :] == before
    assert [one.attribute_values for one in Chatroom.query(ann.id)] in ([], rooms)


@pytest.mark.parametrize("key", [None, "once"])
@pytest.mark.parametrize("is_spent", [False, True], ids=["quota left", "quota spent"])
def test_a_prompt_with_the_token_of_an_ended_session_is_a_401_and_reserves_no_position(
    api: Api, *, key: str | None, is_spent: bool
) -> None:
    ann = Person.new_proven(api)
    room = ann.open_room("Mine")
    for _ in range(5 if is_spent else 1):
        ann.ask(room)
    if is_spent:
        check_problem(ann.send(room), 429, "quota-exceeded")
    [before] = [one.attribute_values for one in Chatroom.query(ann.id)]
    ended = ann.token
    ann.post("/auth/logout")
    body, headers = {"content": "Hello"}, {} if key is None else {"idempotency-key": key}
    url = f"/chatroom/{room}/message"
    check_problem(api.post(url, body, token=ended, headers=headers), 401, "unauthorized")
    assert [one.attribute_values for one in Chatroom.query(ann.id)] == [before]


def test_every_route_accepts_the_token_of_a_session_that_has_not_ended(api: Api) -> None:
    ann = Person(api)
    ann.sign_up(at=NOW)
    room = ann.open_room("Mine")
    message = ann.ask(room, key="once")
    for route, reply in request_every_route(api, lambda: ann.token_at(LATER), room, message, LATER):
        if reply.status == 401:
            assert reply.json["type"].endswith(":invalid-credentials"), route
        if route == "POST /auth/logout":
            ann.log_in(at=LATER)
