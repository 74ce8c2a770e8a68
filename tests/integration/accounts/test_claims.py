"""Whose an identity is: nothing but its code proves it, and nobody is locked out of their own."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from geminichat.domain import times
from geminichat.domain.identities import Identity
from geminichat.tables.subscriptions import Subscription
from tests.support.lambdas import Api
from tests.support.parallel import at_once
from tests.support.person import OTHER_PASSWORD, PASSWORD, Person, new_email, new_mobile, problem
from tests.support.stored import claim_on, sessions_of, user_of, users_named

pytestmark = pytest.mark.any_write_order
either = pytest.mark.parametrize("new", [new_email, new_mobile], ids=["email", "mobile"])
type New = Callable[[], Identity]
NOW = datetime.now(UTC)
LATER = NOW + timedelta(minutes=1)
THEIRS = "the stranger's password"


def in_a_minute() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


@either
def test_a_strangers_password_and_sessions_die_when_the_owner_verifies(api: Api, new: New) -> None:
    someone = Person(api, new())
    stranger = someone.sign_up(THEIRS, at=NOW).data
    assert someone.me(stranger["token"]).status == 200

    owner = someone.prove(at=LATER)
    problem(someone.me(stranger["token"]), 401, "unauthorized")
    problem(someone.refresh(stranger["refreshToken"]), 401, "unauthorized")
    problem(someone.log_in(THEIRS), 401, "invalid-credentials")
    assert someone.me(owner["token"]).status == 200
    assert user_of(someone.identity).password_hash is None


@either
def test_a_strangers_password_and_sessions_die_when_the_owner_resets(api: Api, new: New) -> None:
    someone = Person(api, new())
    stranger = someone.sign_up(THEIRS, at=NOW).data
    assert someone.forget_password(at=LATER).status == 200
    assert someone.reset(someone.code(), OTHER_PASSWORD, at=LATER).status == 200

    problem(someone.me(stranger["token"]), 401, "unauthorized")
    problem(someone.refresh(stranger["refreshToken"]), 401, "unauthorized")
    problem(someone.log_in(THEIRS), 401, "invalid-credentials")
    owner = someone.log_in(OTHER_PASSWORD).data
    assert someone.me(owner["token"]).data[f"{someone.identity.kind}Verified"] is True


@either
def test_an_unproven_claim_gives_way_to_the_next_sign_up_and_leaves_nothing(
    api: Api, new: New
) -> None:
    someone = Person(api, new())
    stranger = someone.sign_up(THEIRS).data
    owner = someone.sign_up(PASSWORD, at=in_a_minute()).data
    assert owner["user"]["id"] != stranger["user"]["id"]
    problem(someone.me(stranger["token"]), 401, "unauthorized")
    problem(someone.refresh(stranger["refreshToken"]), 401, "unauthorized")
    problem(someone.log_in(THEIRS), 401, "invalid-credentials")
    assert someone.log_in(PASSWORD).status == 200
    assert [user.user_id for user in users_named(someone.identity)] == [owner["user"]["id"]]


@either
def test_an_unproven_account_that_has_a_room_gives_way_to_a_proof_alone(api: Api, new: New) -> None:
    ann = Person(api, new())
    mine = ann.sign_up().data
    room = api.post("/chatroom", {"title": "Mine"}, token=mine["token"]).data["id"]
    problem(ann.sign_up(THEIRS, at=in_a_minute()), 409, "identity-taken")
    assert api.get(f"/chatroom/{room}", token=mine["token"]).status == 200
    assert ann.log_in().status == 200

    owner = ann.prove(at=in_a_minute())
    assert owner["user"]["id"] == mine["user"]["id"]
    assert api.get(f"/chatroom/{room}", token=owner["token"]).status == 200


def test_an_account_whose_rooms_are_gone_gives_way_to_the_next_sign_up(api: Api) -> None:
    ann = Person(api)
    token = ann.sign_up().data["token"]
    room = api.post("/chatroom", {}, token=token).data["id"]
    assert api.delete(f"/chatroom/{room}", token=token).status == 204
    assert ann.sign_up(at=in_a_minute()).status == 201


@either
def test_a_sign_up_that_came_before_the_claim_was_made_loses_to_it(api: Api, new: New) -> None:
    someone = Person(api, new())
    before = datetime.now(UTC)
    winner = someone.sign_up(PASSWORD).data
    problem(someone.sign_up(THEIRS, at=before), 409, "identity-taken")
    assert someone.me(winner["token"]).status == 200


@either
def test_a_proven_identity_is_taken(api: Api, new: New) -> None:
    ann = Person(api, new())
    tokens = ann.prove(at=NOW)
    reply = problem(ann.sign_up(THEIRS, at=LATER), 409, "identity-taken")
    assert ann.identity.value not in reply.text
    assert ann.me(tokens["token"]).status == 200
    problem(ann.log_in(THEIRS), 401, "invalid-credentials")


def test_a_claim_whose_user_came_to_pay_gives_way_to_a_proof_alone(api: Api) -> None:
    ann = Person(api)
    payer = ann.sign_up(at=NOW).data
    Subscription(payer["user"]["id"], pro_until=times.text(NOW + timedelta(days=30))).save()
    problem(ann.sign_up(THEIRS, at=LATER), 409, "identity-taken")
    assert ann.me(payer["token"]).data["plan"] == "pro"
    assert ann.prove(at=LATER)["user"]["id"] == payer["user"]["id"]


@either
@pytest.mark.parametrize("claimed", [False, True], ids=["new", "claimed before"])
def test_ten_sign_ups_of_one_identity_at_the_same_moment_one_wins_and_nothing_is_half_made(
    api: Api, new: New, claimed: bool
) -> None:
    someone = Person(api, new())
    if claimed:
        someone.sign_up(THEIRS)
    texted = claimed and someone.identity.kind == "mobile"
    moment = in_a_minute() if texted else datetime.now(UTC)  # its next code has to wait
    replies = at_once([lambda: someone.sign_up(PASSWORD, at=moment)] * 10)
    [owner] = [reply.data for reply in replies if reply.status == 201]
    assert {reply.status for reply in replies} <= {201, 409, 429}
    [user] = users_named(someone.identity)
    claim = claim_on(someone.identity)
    assert claim
    assert user.user_id == claim.user_id == owner["user"]["id"]
    assert len(sessions_of(user.user_id)) == 1
    assert someone.log_in(PASSWORD).status == 200
    if someone.identity.kind == "mobile":
        assert len(someone.messages()) == (2 if claimed else 1)


def test_a_sign_up_and_a_proof_at_the_same_moment_leave_the_owner_in(api: Api) -> None:
    for _ in range(5):
        someone = Person(api)
        someone.sign_up(THEIRS, at=NOW)
        someone.ask_for_code(at=NOW)
        code = someone.code()
        owner, stranger = at_once(
            [partial(someone.verify, code, at=LATER), partial(someone.sign_up, THEIRS, at=LATER)]
        )
        assert owner.status == 200
        assert stranger.status in (201, 409)
        assert someone.me(owner.data["token"]).status == 200
        problem(someone.log_in(THEIRS), 401, "invalid-credentials")
        [user] = users_named(someone.identity)
        assert user.user_id == owner.data["user"]["id"]
        assert someone.me(owner.data["token"]).data["emailVerified"] is True


def test_a_number_alone_signs_up_without_tokens_and_is_sent_its_code(api: Api) -> None:
    ann = Person(api, new_mobile())
    reply = ann.sign_up(None)
    assert reply.status == 201
    assert set(reply.data) == {"user"}
    assert reply.data["user"]["mobile"] == ann.identity.value
    assert reply.data["user"]["mobileVerified"] is False
    assert ann.verify(ann.code()).data["user"]["id"] == reply.data["user"]["id"]


def test_a_number_with_a_password_signs_up_with_tokens_and_is_sent_its_code(api: Api) -> None:
    ann = Person(api, new_mobile())
    reply = ann.sign_up(PASSWORD)
    assert ann.me(reply.data["token"]).data == reply.data["user"]
    assert len(ann.messages()) == 1


def test_an_email_that_signs_up_is_sent_nothing(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    assert ann.messages() == []
