"""Sessions: refreshes, reused and forged refresh tokens, expiry and logouts."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from geminichat.domain import ids
from geminichat.domain.sessions import RefreshToken
from geminichat.tables.sessions import Session
from tests.support.every_route import request_every_route
from tests.support.lambdas import Api
from tests.support.parallel import at_once
from tests.support.person import OTHER_PASSWORD, PASSWORD, PROOF, Person, check_problem
from tests.support.stored import NO_MESSAGE, NO_ROOM, sessions_of

NOW = datetime.now(UTC)


def test_a_refresh_token_is_exchanged_for_the_next_pair(api: Api) -> None:
    ann = Person(api)
    first = ann.sign_up().data
    reply = ann.refresh(first["refreshToken"])
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    assert set(reply.data) == {
        "deviceToken",
        "token",
        "tokenType",
        "expiresIn",
        "refreshToken",
        "refreshExpiresIn",
    }
    assert reply.data["refreshToken"] != first["refreshToken"]
    assert ann.me(reply.data["token"]).data["id"] == first["user"]["id"]
    assert ann.refresh(reply.data["refreshToken"]).status == 200


def test_reuse_of_a_refresh_token_after_twenty_seconds_ends_its_session_family_only(
    api: Api,
) -> None:
    ann = Person(api)
    stolen = ann.sign_up(at=NOW).data
    other = ann.log_in(at=NOW).data
    thief = ann.refresh(stolen["refreshToken"], at=NOW).data
    later = NOW + timedelta(seconds=20)
    check_problem(ann.refresh(stolen["refreshToken"], at=later), 401, "token-reused")
    check_problem(ann.refresh(thief["refreshToken"], at=later), 401, "unauthorized")
    check_problem(ann.me(thief["token"]), 401, "unauthorized")
    check_problem(ann.me(stolen["token"]), 401, "unauthorized")
    assert ann.me(other["token"]).status == 200
    assert ann.refresh(other["refreshToken"]).status == 200


@pytest.mark.parametrize("seconds", [0, 1, 19.9])
def test_reuse_of_a_refresh_token_within_twenty_seconds_yields_the_same_pair(
    api: Api, seconds: float
) -> None:
    ann = Person(api)
    first = ann.sign_up(at=NOW).data
    pair = ann.refresh(first["refreshToken"], at=NOW).data
    again = ann.refresh(first["refreshToken"], at=NOW + timedelta(seconds=seconds))
    for name in ("token", "refreshToken", "deviceToken"):
        assert again.data[name] == pair[name]
    for name in ("expiresIn", "refreshExpiresIn"):
        assert 0 <= pair[name] - again.data[name] - int(seconds) <= 1
    assert ann.me(again.data["token"], at=NOW).status == 200
    assert ann.refresh(again.data["refreshToken"], at=NOW + timedelta(seconds=40)).status == 200


def test_a_spent_refresh_token_is_a_401_after_the_session_has_ended(api: Api) -> None:
    ann = Person(api)
    first = ann.sign_up(at=NOW).data
    pair = ann.refresh(first["refreshToken"], at=NOW).data
    assert api.post("/auth/logout", token=pair["token"], at=NOW).status == 200
    check_problem(ann.refresh(first["refreshToken"], at=NOW), 401, "unauthorized")
    check_problem(ann.refresh(pair["refreshToken"], at=NOW), 401, "unauthorized")


def test_two_tabs_that_refresh_at_once_both_stay_logged_in(api: Api) -> None:
    ann = Person(api)
    first = ann.sign_up().data["refreshToken"]
    replies = at_once([lambda: ann.refresh(first)] * 8)
    assert [reply.status for reply in replies] == [200] * 8
    assert len({reply.data["refreshToken"] for reply in replies}) == 1
    assert len({reply.data["token"] for reply in replies}) == 1
    assert ann.me(replies[0].data["token"]).status == 200


def test_reuse_of_a_refresh_token_after_several_refreshes_ends_its_session_family(api: Api) -> None:
    ann = Person(api)
    first = newest = ann.sign_up().data["refreshToken"]
    for _ in range(4):
        newest = ann.refresh(newest).data["refreshToken"]
    check_problem(ann.refresh(first), 401, "token-reused")
    check_problem(ann.refresh(newest), 401, "unauthorized")


def test_a_forged_refresh_token_is_a_401_and_ends_no_session(api: Api) -> None:
    ann = Person(api)
    data = ann.sign_up().data
    good = RefreshToken.read(data["refreshToken"])
    forged = [
        RefreshToken(
            user_id=good.user_id, session_id=good.session_id, family="x" * 43, secret=good.secret
        ),
        RefreshToken(
            user_id=good.user_id, session_id=ids.new("s"), family=good.family, secret=good.secret
        ),
        RefreshToken(
            user_id=ids.new("u"), session_id=good.session_id, family=good.family, secret=good.secret
        ),
    ]
    for token in forged:
        check_problem(ann.refresh(token.text()), 401, "unauthorized")
    for junk in ("x", data["token"], good.text() + "x"):
        check_problem(ann.refresh(junk), 401, "unauthorized")
    assert ann.refresh(good.text()).status == 200


@pytest.mark.parametrize("body", [{}, {"refreshToken": {"$gt": ""}}, {"refreshToken": "x" * 2001}])
def test_a_malformed_refresh_token_is_a_400_with_a_pointer(api: Api, body: object) -> None:
    reply = check_problem(api.post("/auth/refresh", body), 400, "bad-request")
    assert [error["pointer"] for error in reply.json["errors"]] == ["/refreshToken"]


def test_a_session_expires_thirty_days_after_its_last_use(api: Api) -> None:
    ann = Person(api)
    unused = ann.sign_up(at=NOW).data["refreshToken"]
    used = ann.log_in(at=NOW).data["refreshToken"]
    day_29 = NOW + timedelta(days=29)
    used = ann.refresh(used, at=day_29).data["refreshToken"]
    check_problem(ann.refresh(unused, at=NOW + timedelta(days=30)), 401, "unauthorized")
    assert ann.refresh(used, at=day_29 + timedelta(days=29)).status == 200


def test_an_access_token_expires_after_fifteen_minutes(api: Api) -> None:
    ann = Person(api)
    token = ann.sign_up(at=NOW).data["token"]
    assert ann.me(token, at=NOW + timedelta(minutes=14, seconds=59)).status == 200
    reply = check_problem(ann.me(token, at=NOW + timedelta(minutes=15)), 401, "unauthorized")
    assert "expired" in reply.json["detail"]


def test_a_session_ends_after_ninety_days_even_if_it_is_used(api: Api) -> None:
    ann = Person(api)
    newest = ann.sign_up(at=NOW).data
    for day in range(10, 90, 10):
        newest = ann.refresh(newest["refreshToken"], at=NOW + timedelta(days=day)).data
        left = min(30, 90 - day)
        assert (newest["refreshExpiresIn"], newest["expiresIn"]) == (left * 86_400, 900)
    last = NOW + timedelta(days=90)
    newest = ann.refresh(newest["refreshToken"], at=last - timedelta(minutes=1)).data
    assert (newest["refreshExpiresIn"], newest["expiresIn"]) == (60, 60)
    check_problem(ann.me(newest["token"], at=last), 401, "unauthorized")
    check_problem(ann.refresh(newest["refreshToken"], at=last), 401, "unauthorized")


def test_the_twenty_first_session_of_a_user_ends_the_oldest(api: Api) -> None:
    ann = Person(api)
    ann.sign_up(at=NOW)
    logins = [ann.log_in(at=NOW + timedelta(seconds=n)) for n in range(1, 23)]
    tokens = [reply.data["token"] for reply in logins]
    assert len(sessions_of(ann.id)) == 20
    for old in tokens[:2]:
        check_problem(ann.me(old), 401, "unauthorized")
    for kept in tokens[2:]:
        assert ann.me(kept).status == 200


def test_parallel_logins_do_not_exceed_twenty_sessions(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    for _ in range(18):
        ann.log_in()
    replies = at_once([ann.log_in] * 6)
    assert {reply.status for reply in replies} <= {200, 409}
    assert len(sessions_of(ann.id)) == 20


def test_the_table_of_sessions_contains_no_refresh_token(api: Api) -> None:
    ann = Person(api)
    first = ann.sign_up().data["refreshToken"]
    second = ann.refresh(first).data["refreshToken"]
    [session] = Session.query(ann.id)
    kept = str(session.attribute_values)
    for token in map(RefreshToken.read, (first, second)):
        assert token.secret not in kept
        assert token.family not in kept


def test_a_logout_ends_only_its_own_session(api: Api) -> None:
    ann = Person(api)
    here, there = ann.sign_up().data, ann.log_in().data
    reply = api.post("/auth/logout", token=here["token"])
    assert (reply.status, reply.data) == (200, None)
    check_problem(ann.me(here["token"]), 401, "unauthorized")
    check_problem(ann.refresh(here["refreshToken"]), 401, "unauthorized")
    assert ann.me(there["token"]).status == 200
    check_problem(api.post("/auth/logout", {}, token=here["token"]), 401, "unauthorized")


def test_logout_everywhere_ends_every_session(api: Api) -> None:
    ann = Person(api)
    all_ = [ann.sign_up().data, ann.log_in().data, ann.log_in().data]
    assert api.post("/auth/logout", {"everywhere": True}, token=all_[0]["token"]).status == 200
    for session in all_:
        check_problem(ann.me(session["token"]), 401, "unauthorized")
        check_problem(ann.refresh(session["refreshToken"]), 401, "unauthorized")
    assert ann.me(ann.log_in().data["token"]).status == 200


@pytest.mark.parametrize(
    ("body", "pointer"), [({"everywhere": "yes"}, "/everywhere"), ({"all": True}, "/all")]
)
def test_an_invalid_logout_body_is_a_400(api: Api, body: object, pointer: str) -> None:
    token = Person(api).sign_up().data["token"]
    reply = check_problem(api.post("/auth/logout", body, token=token), 400, "bad-request")
    assert reply.json["errors"][0]["pointer"] == pointer


def test_a_stolen_access_token_is_refused_after_a_password_change(api: Api) -> None:
    ann = Person(api)
    stolen = ann.sign_up().data
    mine = ann.log_in().data
    reply = ann.change_password(OTHER_PASSWORD, PROOF)
    assert reply.status == 200
    for path in ("/auth/me", "/user/me"):
        check_problem(api.get(path, token=stolen["token"]), 401, "unauthorized")
    again = {"currentPassword": OTHER_PASSWORD, "newPassword": PASSWORD}
    check_problem(
        api.post("/auth/change-password", again, token=stolen["token"]), 401, "unauthorized"
    )
    check_problem(ann.refresh(stolen["refreshToken"]), 401, "unauthorized")
    check_problem(ann.me(mine["token"]), 401, "unauthorized")
    assert ann.me(reply.data["token"]).status == 200
    assert ann.refresh(reply.data["refreshToken"]).status == 200


def test_every_route_that_is_not_public_requires_a_token(api: Api) -> None:
    for token in ("x", ""):
        for _, reply in request_every_route(api, partial(str, token), NO_ROOM, NO_MESSAGE, NOW):
            check_problem(reply, 401, "unauthorized")
