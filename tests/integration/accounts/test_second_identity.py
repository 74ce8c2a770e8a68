"""An account with both an email and a mobile: how the second one comes to it."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tests.support.http_api import Reply
from tests.support.lambdas import Api
from tests.support.parallel import at_once
from tests.support.person import OTHER_PASSWORD, PASSWORD, Person, new_email, new_mobile, problem
from tests.support.stored import claim_on, users_named

pytestmark = pytest.mark.any_write_order
NOW = datetime.now(UTC)
LATER = NOW + timedelta(minutes=1)
LATEST = NOW + timedelta(minutes=2)


def add(token: str, second: Person, otp: str, at: datetime = NOW, **more: str) -> Reply:
    body = second.named | {"otp": otp, **more}
    return second.api.post("/user/identity", body, token=token, at=at)


def both(api: Api) -> tuple[Person, Person, Any]:
    """Return someone's email, their mobile, and the tokens of one session."""
    email, mobile = Person(api), Person(api, new_mobile())
    tokens = email.prove(at=NOW)
    mobile.ask_for_code(at=NOW)
    assert add(tokens["token"], mobile, mobile.code()).status == 200
    return email, mobile, tokens


def test_either_identity_then_lets_its_owner_in(api: Api) -> None:
    email, mobile, tokens = both(api)
    user = email.me(tokens["token"]).data
    assert (user["email"], user["emailVerified"]) == (email.identity.value, True)
    assert (user["mobile"], user["mobileVerified"]) == (mobile.identity.value, True)
    assert email.prove(at=LATER)["user"] == mobile.prove(at=LATER)["user"] == user
    api.post("/auth/change-password", {"newPassword": PASSWORD}, token=tokens["token"])
    for one in (email, mobile):
        assert email.me(one.log_in().data["token"]).data == user
        problem(one.sign_up(at=LATEST), 409, "identity-taken")


def test_a_reset_by_either_sets_the_one_password(api: Api) -> None:
    email, mobile, tokens = both(api)
    mobile.forget_password(at=LATER)
    assert mobile.reset(mobile.code(), OTHER_PASSWORD, at=LATER).status == 200
    problem(email.me(tokens["token"]), 401, "unauthorized")
    assert email.log_in(OTHER_PASSWORD).status == 200
    assert mobile.log_in(OTHER_PASSWORD).status == 200


def test_the_password_is_wanted_where_there_is_one(api: Api) -> None:
    email, mobile = Person(api), Person(api, new_mobile())
    token = email.prove(at=NOW)["token"]
    reply = api.post("/auth/change-password", {"newPassword": PASSWORD}, token=token)
    token = reply.data["token"]
    mobile.ask_for_code(at=NOW)
    code = mobile.code()
    problem(add(token, mobile, code), 401, "invalid-credentials")
    problem(add(token, mobile, code, currentPassword="not it"), 401, "invalid-credentials")
    assert add(token, mobile, code, currentPassword=PASSWORD).status == 200


def test_an_identity_that_is_somebodys_stays_theirs(api: Api) -> None:
    ann, bob = Person(api), Person(api, new_mobile())
    mine, theirs = ann.prove(at=NOW), bob.prove(at=NOW)
    bob.ask_for_code(at=LATER)
    reply = add(mine["token"], bob, bob.code(), at=LATER)
    problem(reply, 409, "identity-taken")
    assert bob.me(theirs["token"]).data["mobile"] == bob.identity.value
    assert ann.me(mine["token"]).data["mobile"] is None


def test_an_unproven_claim_gives_way_to_the_proof(api: Api) -> None:
    ann, someone = Person(api), Person(api, new_mobile())
    mine = ann.prove(at=NOW)
    stranger = someone.sign_up("the stranger's password", at=NOW).data
    reply = add(mine["token"], someone, someone.code())
    assert reply.data["mobile"] == someone.identity.value
    problem(someone.me(stranger["token"]), 401, "unauthorized")
    problem(someone.log_in("the stranger's password"), 401, "invalid-credentials")
    [user] = users_named(someone.identity)
    assert user.user_id == mine["user"]["id"]


def test_an_account_that_proved_nothing_yet_adds_nothing(api: Api) -> None:
    """Else whoever proves its first identity later would come to share it."""
    ann, second = Person(api), Person(api, new_mobile())
    token = ann.sign_up(at=NOW).data["token"]
    second.ask_for_code(at=NOW)
    reply = add(token, second, second.code(), currentPassword=PASSWORD)
    problem(reply, 409, "identity-not-verified")
    assert claim_on(second.identity) is None


@pytest.mark.parametrize("new", [new_email, new_mobile])
def test_another_of_its_kind_takes_an_identitys_place(api: Api, new: Any) -> None:
    old, fresh = Person(api, new()), Person(api, new())
    tokens = old.prove(at=NOW)
    fresh.ask_for_code(at=NOW)
    reply = add(tokens["token"], fresh, fresh.code())
    assert reply.data[fresh.identity.kind] == fresh.identity.value
    assert claim_on(old.identity) is None
    assert fresh.prove(at=LATER)["user"]["id"] == tokens["user"]["id"]
    assert old.prove(at=LATER)["user"]["id"] != tokens["user"]["id"]


def test_the_code_is_wanted_and_spent(api: Api) -> None:
    ann, second = Person(api), Person(api, new_mobile())
    token = ann.prove(at=NOW)["token"]
    second.ask_for_code(at=NOW)
    code = second.code()
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    problem(add(token, second, wrong), 400, "invalid-code")
    assert add(token, second, code).status == 200
    problem(add(token, second, code), 400, "invalid-code")
    problem(second.verify(code, at=NOW), 400, "invalid-code")


def test_a_session_that_has_ended_adds_nothing(api: Api) -> None:
    ann, second = Person(api), Person(api, new_mobile())
    token = ann.prove(at=NOW)["token"]
    api.post("/auth/logout", {}, token=token)
    second.ask_for_code(at=NOW)
    problem(add(token, second, second.code()), 401, "unauthorized")


def test_two_numbers_added_at_the_same_moment_leave_one_claim(api: Api) -> None:
    ann = Person(api)
    token = ann.prove(at=NOW)["token"]
    numbers = [Person(api, new_mobile()) for _ in range(3)]
    for number in numbers:
        number.ask_for_code(at=NOW)
    replies = at_once([partial(add, token, number, number.code()) for number in numbers])
    assert {reply.status for reply in replies} <= {200, 503}
    kept = ann.me(token).data["mobile"]
    claimed = [number.identity.value for number in numbers if claim_on(number.identity)]
    assert claimed == [kept]


def test_one_number_added_by_two_at_the_same_moment_is_ones(api: Api) -> None:
    number = Person(api, new_mobile())
    tokens = [Person(api).prove(at=NOW)["token"] for _ in range(2)]
    number.ask_for_code(at=NOW)
    code = number.code()
    replies = at_once([partial(add, token, number, code) for token in tokens])
    assert sorted(reply.status for reply in replies) in ([200, 400], [200, 409])
    assert len(users_named(number.identity)) == 1


def test_an_unproven_account_that_has_a_room_is_not_lost_to_a_proof_elsewhere(api: Api) -> None:
    ann, number = Person(api), Person(api, new_mobile())
    mine = ann.prove(at=NOW)
    other = number.sign_up(at=NOW).data
    api.post("/chatroom", {"title": "Kept"}, token=other["token"])
    problem(add(mine["token"], number, number.code()), 409, "identity-taken")
    assert number.me(other["token"]).status == 200
