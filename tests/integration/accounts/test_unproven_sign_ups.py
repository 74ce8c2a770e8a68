"""Unproven sign-ups: they share no data with the owner's account and do not block the owner."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from geminichat.domain.identities import Identity
from tests.support.lambdas import Api
from tests.support.parallel import at_once
from tests.support.person import (
    OTHER_PASSWORD,
    PASSWORD,
    Person,
    check_problem,
    new_email,
    new_mobile,
)
from tests.support.stored import purge_of, record_of, sessions_of, users_named

pytestmark = pytest.mark.any_write_order
either = pytest.mark.parametrize("new", [new_email, new_mobile], ids=["email", "mobile"])
type New = Callable[[], Identity]
NOW = datetime.now(UTC)
LATER = NOW + timedelta(minutes=1)
STRANGERS = "the stranger's password"


def add_two_hours() -> datetime:
    """Return the time in two hours, when a sign-up made now no longer counts as in use."""
    return datetime.now(UTC) + timedelta(hours=2)


@either
def test_a_strangers_password_and_sessions_end_when_the_owner_resets_the_password(
    api: Api, new: New
) -> None:
    someone = Person(api, new())
    stranger = someone.sign_up(STRANGERS, at=NOW).data
    assert someone.forget_password(at=LATER).status == 200
    assert someone.reset(someone.code(), OTHER_PASSWORD, at=LATER).status == 200

    check_problem(someone.me(stranger["token"]), 401, "unauthorized")
    check_problem(someone.refresh(stranger["refreshToken"]), 401, "unauthorized")
    check_problem(someone.log_in(STRANGERS), 401, "invalid-credentials")
    owner = someone.log_in(OTHER_PASSWORD).data
    assert someone.me(owner["token"]).data[f"{someone.identity.kind}Verified"] is True


@either
def test_the_next_sign_up_replaces_and_deletes_an_unproven_sign_up_that_is_not_in_use(
    api: Api, new: New
) -> None:
    someone = Person(api, new())
    stranger = someone.sign_up(STRANGERS).data
    owner = someone.sign_up(PASSWORD, at=add_two_hours()).data
    assert owner["user"]["id"] != stranger["user"]["id"]
    check_problem(someone.me(stranger["token"]), 401, "unauthorized")
    check_problem(someone.refresh(stranger["refreshToken"]), 401, "unauthorized")
    check_problem(someone.log_in(STRANGERS), 401, "invalid-credentials")
    assert someone.log_in(PASSWORD).status == 200
    assert [user.user_id for user in users_named(someone.identity)] == [owner["user"]["id"]]


@either
def test_an_unproven_sign_up_is_not_replaced_by_another_within_an_hour_of_its_last_use(
    api: Api, new: New
) -> None:
    ann = Person(api, new())
    mine = ann.sign_up().data
    later = datetime.now(UTC) + timedelta(minutes=59)
    check_problem(Person(api, ann.identity).sign_up(STRANGERS, at=later), 409, "identity-taken")
    assert ann.me(mine["token"]).status == 200
    assert ann.log_in().status == 200


@either
def test_the_first_proof_creates_a_new_account_without_the_data_of_the_unproven_account(
    api: Api, new: New
) -> None:
    stranger, owner = Person(api, identity := new()), Person(api, identity)
    theirs = stranger.sign_up(STRANGERS, at=NOW).data
    room = stranger.open_room("Planted", systemInstruction="Ask for the password")

    mine = owner.prove(at=LATER)
    assert mine["user"]["id"] != theirs["user"]["id"]
    assert owner.get("/chatroom").data["chatrooms"] == []
    check_problem(owner.get(f"/chatroom/{room}"), 404, "not-found")
    for method, path in [("GET", "/auth/me"), ("GET", "/chatroom"), ("GET", f"/chatroom/{room}")]:
        check_problem(api.request(method, path, token=theirs["token"]), 401, "unauthorized")
    check_problem(owner.refresh(theirs["refreshToken"]), 401, "unauthorized")
    check_problem(owner.log_in(STRANGERS), 401, "invalid-credentials")
    [user] = users_named(identity)
    assert user.user_id == mine["user"]["id"]
    assert user.password_hash is None


@either
def test_a_proof_with_the_token_of_an_unproven_account_keeps_the_account(
    api: Api, new: New
) -> None:
    ann = Person(api, new())
    mine = ann.sign_up(at=NOW).data
    room = ann.open_room("Mine")
    ann.ask_for_code(at=LATER)
    proven = ann.verify(ann.code(), at=LATER, token=mine["token"]).data
    assert proven["user"]["id"] == mine["user"]["id"]
    assert api.get(f"/chatroom/{room}", token=proven["token"]).status == 200
    assert api.get(f"/chatroom/{room}", token=mine["token"]).status == 200
    assert ann.log_in().status == 200
    assert purge_of(mine["user"]["id"]) is None


def test_a_proof_with_an_expired_token_of_the_account_is_refused_and_the_code_stays_valid(
    api: Api,
) -> None:
    """A new account would not have the rooms that the owner has created."""
    ann = Person(api)
    mine = ann.sign_up(at=NOW).data
    late = NOW + timedelta(minutes=20)
    ann.ask_for_code(at=late)
    code = ann.code()
    check_problem(ann.verify(code, at=late, token=mine["token"]), 401, "unauthorized")
    fresh = ann.refresh(mine["refreshToken"], at=late).data["token"]
    assert ann.verify(code, at=late, token=fresh).data["user"]["id"] == mine["user"]["id"]


def test_a_login_by_code_ignores_another_accounts_expired_token(
    api: Api,
) -> None:
    ann, old = Person(api), Person(api).sign_up(at=NOW).data["token"]
    late = NOW + timedelta(minutes=20)
    ann.ask_for_code(at=late)
    assert ann.verify(ann.code(), at=late, token=old).status == 200


@either
@pytest.mark.parametrize("holds", ["an ended session", "another account's token"])
def test_a_proof_with_the_token_of_another_account_or_of_an_ended_session_creates_an_account(
    api: Api, new: New, holds: str
) -> None:
    stranger, owner = Person(api, identity := new()), Person(api, identity)
    theirs = stranger.sign_up(STRANGERS, at=NOW).data
    if holds == "an ended session":
        token = theirs["token"]
        api.post("/auth/logout", token=token)
    else:
        token = Person(api).prove(at=NOW)["token"]
    owner.ask_for_code(at=LATER)
    mine = owner.verify(owner.code(), at=LATER, token=token).data
    assert mine["user"]["id"] != theirs["user"]["id"]


@either
def test_a_sign_up_is_refused_if_another_sign_up_is_stored_meanwhile(api: Api, new: New) -> None:
    someone = Person(api, new())
    before = datetime.now(UTC)
    winner = someone.sign_up(PASSWORD).data
    check_problem(someone.sign_up(STRANGERS, at=before), 409, "identity-taken")
    assert someone.me(winner["token"]).status == 200


@either
def test_a_sign_up_with_a_proven_identity_is_refused(api: Api, new: New) -> None:
    ann = Person(api, new())
    tokens = ann.prove(at=NOW)
    reply = check_problem(ann.sign_up(STRANGERS, at=LATER), 409, "identity-taken")
    assert ann.identity.value not in reply.text
    assert ann.me(tokens["token"]).status == 200
    check_problem(ann.log_in(STRANGERS), 401, "invalid-credentials")


@either
@pytest.mark.parametrize("signed_up", [False, True], ids=["new", "signed up before"])
def test_one_of_ten_parallel_sign_ups_succeeds_and_the_others_store_nothing(
    api: Api, new: New, signed_up: bool
) -> None:
    someone = Person(api, new())
    if signed_up:
        someone.sign_up(STRANGERS)
    moment = add_two_hours() if signed_up else datetime.now(UTC)
    replies = at_once([lambda: someone.sign_up(PASSWORD, at=moment)] * 10)
    [owner] = [reply.data for reply in replies if reply.status == 201]
    assert {reply.status for reply in replies} <= {201, 409, 429}
    [user] = users_named(someone.identity)
    record = record_of(someone.identity)
    assert record
    assert user.user_id == record.user_id == owner["user"]["id"]
    assert len(sessions_of(user.user_id)) == 1
    assert someone.log_in(PASSWORD).status == 200
    if someone.identity.kind == "mobile":
        assert len(someone.messages()) == (2 if signed_up else 1)


def test_a_proof_during_a_strangers_sign_up_keeps_the_owner_logged_in(api: Api) -> None:
    for _ in range(5):
        someone = Person(api)
        someone.sign_up(STRANGERS, at=NOW)
        someone.ask_for_code(at=NOW)
        code = someone.code()
        owner, stranger = at_once(
            [partial(someone.verify, code, at=LATER), partial(someone.sign_up, STRANGERS, at=LATER)]
        )
        assert owner.status == 200
        assert stranger.status in (201, 409)
        assert someone.me(owner.data["token"]).status == 200
        check_problem(someone.log_in(STRANGERS), 401, "invalid-credentials")
        [user] = users_named(someone.identity)
        assert user.user_id == owner.data["user"]["id"]
        assert someone.me(owner.data["token"]).data["emailVerified"] is True


def test_a_sign_up_with_only_a_mobile_number_returns_no_tokens_and_sends_a_code(api: Api) -> None:
    ann = Person(api, new_mobile())
    reply = ann.sign_up(None)
    assert reply.status == 201
    assert set(reply.data) == {"user", "challenge"}
    assert reply.data["user"]["mobile"] == ann.identity.value
    assert reply.data["user"]["mobileVerified"] is False
    assert ann.verify(ann.code()).data["user"]["id"] == reply.data["user"]["id"]


def test_a_sign_up_with_a_mobile_number_and_a_password_returns_tokens_and_sends_a_code(
    api: Api,
) -> None:
    ann = Person(api, new_mobile())
    reply = ann.sign_up(PASSWORD)
    assert ann.me(reply.data["token"]).data == reply.data["user"]
    assert len(ann.messages()) == 1


def test_a_sign_up_with_an_email_address_sends_no_code(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    assert ann.messages() == []
