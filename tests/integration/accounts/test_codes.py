"""Codes: guessed, used, outlived and asked for too often."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from geminichat.domain.identities import Identity
from infra.local.standins.faults import StandIn
from tests.support.lambdas import Api
from tests.support.parallel import at_once
from tests.support.person import PASSWORD, Person, new_email, new_mobile, problem
from tests.support.stored import claim_on, code_item, sessions_of, users_named

either = pytest.mark.parametrize("new", [new_email, new_mobile], ids=["email", "mobile"])
type New = Callable[[], Identity]


def wrong(code: str, step: int = 1) -> str:
    return f"{(int(code) + step) % 1_000_000:06}"


@either
def test_a_code_makes_an_unknown_identity_a_user_and_not_before(api: Api, new: New) -> None:
    ann = Person(api, new())
    reply = ann.ask_for_code()
    assert (reply.status, reply.data) == (200, {"expiresIn": 600})
    assert reply.headers["cache-control"] == "no-store"
    assert claim_on(ann.identity) is None
    assert users_named(ann.identity) == []

    reply = ann.verify(ann.code())
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    user = reply.data["user"]
    assert user[ann.identity.kind] == ann.identity.value
    assert user[f"{ann.identity.kind}Verified"] is True
    assert user["plan"] == "basic"
    assert ann.me(reply.data["token"]).data == user
    claim = claim_on(ann.identity)
    assert claim
    assert claim.verified


@either
def test_the_next_code_leads_to_the_same_user_and_ends_no_session(api: Api, new: New) -> None:
    ann = Person(api, new())
    now = datetime.now(UTC)
    first = ann.prove(at=now)
    second = ann.prove(at=now + timedelta(seconds=30))
    assert second["user"]["id"] == first["user"]["id"]
    assert ann.me(first["token"]).status == 200


def test_fifty_wrong_guesses_in_parallel_are_five_tries_and_burn_the_code(api: Api) -> None:
    ann = Person(api, new_mobile())
    ann.ask_for_code()
    code = ann.code()
    replies = at_once([partial(ann.verify, wrong(code, n)) for n in range(1, 51)])
    for reply in replies:
        problem(reply, 400, "invalid-code")
    assert code_item(ann.identity).tries_left == 0
    problem(ann.verify(code), 400, "invalid-code")
    assert claim_on(ann.identity) is None


def test_the_fifth_try_may_still_be_right(api: Api) -> None:
    ann = Person(api)
    ann.ask_for_code()
    code = ann.code()
    for step in range(1, 5):
        problem(ann.verify(wrong(code, step)), 400, "invalid-code")
    assert ann.verify(code).status == 200


@either
@pytest.mark.parametrize("known", [False, True])
def test_two_verifications_of_one_code_at_the_same_moment_one_wins(
    api: Api, new: New, known: bool
) -> None:
    ann = Person(api, new())
    later = datetime.now(UTC) + timedelta(minutes=1)
    if known:
        ann.prove()
    ann.ask_for_code(at=later)
    code = ann.code()
    before = len(sessions_of(users_named(ann.identity)[0].user_id)) if known else 0
    replies = at_once([lambda: ann.verify(code, at=later)] * 4)
    assert sorted(reply.status for reply in replies) == [200, 400, 400, 400]
    for reply in replies:
        if reply.status == 400:
            problem(reply, 400, "invalid-code")
    [user] = users_named(ann.identity)
    assert len(sessions_of(user.user_id)) == before + 1


def test_wrong_expired_used_burnt_and_never_sent_get_the_same_answer(api: Api) -> None:
    now = datetime.now(UTC)
    used = Person(api)
    used.ask_for_code(at=now)
    spent = used.code()
    assert used.verify(spent, at=now).status == 200

    late = Person(api)
    late.ask_for_code(at=now)

    burnt = Person(api)
    burnt.ask_for_code(at=now)
    right = burnt.code()
    for _ in range(5):
        burnt.verify(wrong(right), at=now)

    guessed = Person(api)
    guessed.ask_for_code(at=now)

    replies = [
        used.verify(spent, at=now),
        late.verify(late.code(), at=now + timedelta(minutes=10)),
        burnt.verify(right, at=now),
        guessed.verify(wrong(guessed.code()), at=now),
        Person(api).verify("123456", at=now),
    ]
    shown = set()
    for reply in replies:
        body = problem(reply, 400, "invalid-code").json
        assert body["errors"][0]["pointer"] == "/otp"
        shown.add(tuple(sorted((k, str(v)) for k, v in body.items() if k != "instance")))
    assert len(shown) == 1


def test_a_code_is_good_to_the_end_of_its_ten_minutes(api: Api) -> None:
    ann, now = Person(api), datetime.now(UTC)
    ann.ask_for_code(at=now)
    last = now + timedelta(minutes=10) - timedelta(milliseconds=2)
    assert ann.verify(ann.code(), at=last).status == 200


def test_only_the_newest_code_counts(api: Api) -> None:
    ann, now = Person(api), datetime.now(UTC)
    ann.ask_for_code(at=now)
    older = ann.code()
    later = now + timedelta(seconds=30)
    ann.ask_for_code(at=later)
    newer = ann.code()
    if older != newer:  # they are equal once in a million times
        problem(ann.verify(older, at=later), 400, "invalid-code")
    assert ann.verify(newer, at=later).status == 200


def test_a_code_is_bound_to_its_purpose_and_its_identity(api: Api) -> None:
    ann, bob = Person(api), Person(api)
    now = datetime.now(UTC)
    ann.sign_up(at=now)
    ann.forget_password(at=now)
    bob.ask_for_code(at=now)
    problem(ann.verify(ann.code(), at=now), 400, "invalid-code")
    later = now + timedelta(seconds=30)
    ann.ask_for_code(at=later)
    problem(ann.reset(ann.code(), at=later), 400, "invalid-code")
    if ann.code() != bob.code():
        problem(bob.verify(ann.code(), at=later), 400, "invalid-code")


def test_nothing_in_the_table_tells_the_code(api: Api) -> None:
    ann = Person(api)
    ann.ask_for_code()
    kept = code_item(ann.identity).attribute_values
    assert ann.code() not in str(kept["digest"])
    assert set(kept) == {
        "identity",
        "digest",
        "kid",
        "tries_left",
        "good_until",
        "sends",
        "expires_at",
    }


@either
def test_a_code_is_sent_every_thirty_seconds_and_five_times_an_hour(api: Api, new: New) -> None:
    ann, now = Person(api, new()), datetime.now(UTC)
    first = ann.ask_for_code(at=now)
    assert first.headers["ratelimit"] == '"pause";r=0;t=30, "hour";r=4;t=3600'
    assert first.headers["ratelimit-policy"] == '"pause";q=1;w=30, "hour";q=5;w=3600'
    refused = problem(ann.ask_for_code(at=now + timedelta(seconds=29)), 429, "too-many-requests")
    assert refused.headers["retry-after"] == "1"
    assert "ratelimit" in refused.headers
    for n in range(1, 5):
        assert ann.ask_for_code(at=now + timedelta(seconds=30 * n)).status == 200
    refused = problem(ann.ask_for_code(at=now + timedelta(minutes=5)), 429, "too-many-requests")
    assert refused.headers["retry-after"] == "3300"
    assert len(ann.messages()) == 5
    assert ann.ask_for_code(at=now + timedelta(hours=1)).status == 200


def test_the_limit_is_the_identitys_however_it_is_written_and_whatever_asks(api: Api) -> None:
    ann, now = Person(api, new_mobile()), datetime.now(UTC)
    assert ann.ask_for_code(at=now).status == 200
    number = ann.identity.value
    spelt = f"{number[:2]} {number[2:5]}-{number[5:]}"
    problem(api.post("/auth/send-otp", {"mobile": spelt}, at=now), 429, "too-many-requests")
    problem(ann.forget_password(at=now), 429, "too-many-requests")
    problem(ann.sign_up(at=now), 429, "too-many-requests")
    assert users_named(ann.identity) == []

    bob = Person(api)
    assert bob.ask_for_code(at=now).status == 200
    shouted = bob.identity.value.upper()
    problem(api.post("/auth/send-otp", {"email": shouted}, at=now), 429, "too-many-requests")


def test_the_limit_holds_without_redis_and_when_the_code_was_used(api: Api, redis: StandIn) -> None:
    redis.fault("error", times="always")
    ann, now = Person(api), datetime.now(UTC)
    ann.prove(at=now)
    problem(ann.ask_for_code(at=now + timedelta(seconds=5)), 429, "too-many-requests")


def test_codes_asked_for_at_the_same_moment_are_one_code(api: Api) -> None:
    ann, now = Person(api, new_mobile()), datetime.now(UTC)
    replies = at_once([lambda: ann.ask_for_code(at=now)] * 10)
    assert sorted(reply.status for reply in replies) == [200] + [429] * 9
    assert len(ann.messages()) == 1
    assert ann.verify(ann.code(), at=now).status == 200


def test_a_message_that_cannot_be_sent_is_said_to_be(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_FROM", "nobody@unverified.example")
    ann = Person(api)
    reply = problem(ann.ask_for_code(), 502, "delivery-failed")
    assert "30 seconds" in reply.json["detail"]
    assert ann.messages() == []


def test_answers_show_no_code_unless_the_stage_is_for_development(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    later = now + timedelta(seconds=30)
    ann = Person(api, new_mobile())
    for reply in (ann.sign_up(at=now), ann.ask_for_code(at=later)):
        assert "otp" not in reply.data
        assert ann.code() not in reply.text

    monkeypatch.setenv("OTP_DELIVERY", "response")
    bob = Person(api, new_mobile())
    assert bob.sign_up(PASSWORD, at=now).data["otp"] == bob.code()
    assert bob.ask_for_code(at=later).data["otp"] == bob.code()
    latest = later + timedelta(seconds=30)
    assert bob.forget_password(at=latest).data["otp"] == bob.code()
    monkeypatch.setenv("MAIL_FROM", "nobody@unverified.example")
    eve = Person(api)
    assert eve.verify(eve.ask_for_code().data["otp"]).status == 200


# ── Many identities, one address ────────────────────────────────────────────────────────────────

LIMIT = 3


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODES_PER_ADDRESS", str(LIMIT))


def ask_from(api: Api, source: str, how: str, at: datetime) -> int:
    """Ask for a code for somebody new from an address; return the status."""
    ann = Person(api, new_mobile())
    acts = {"send": ann.ask_for_code, "forgot": ann.forget_password}
    if how == "sign up":
        return ann.sign_up(None, at=at, source=source).status
    return acts[how](at=at, source=source).status


@pytest.mark.usefixtures("limited")
def test_an_address_gets_so_many_codes_an_hour_however_they_are_asked_for(api: Api) -> None:
    at = datetime(2026, 1, 1, 9, 59, 50, tzinfo=UTC)
    asked = [ask_from(api, "198.51.100.1", how, at) for how in ("send", "forgot", "sign up")]
    assert asked == [200, 200, 201]
    for how in ("send", "forgot", "sign up"):
        assert ask_from(api, "198.51.100.1", how, at) == 429
    reply = Person(api).ask_for_code(at=at, source="198.51.100.1")
    problem(reply, 429, "too-many-requests")
    assert reply.headers["retry-after"] == "10"
    assert reply.headers["ratelimit-policy"] == '"address";q=3;w=3600'
    assert reply.headers["ratelimit"] == '"address";r=0;t=10'
    assert ask_from(api, "198.51.100.2", "send", at) == 200
    assert ask_from(api, "198.51.100.1", "send", at + timedelta(seconds=10)) == 200


@pytest.mark.usefixtures("limited")
def test_codes_asked_for_in_parallel_share_an_addresss_limit(api: Api) -> None:
    at = datetime(2026, 1, 2, 9, tzinfo=UTC)
    people = [Person(api, new_mobile()) for _ in range(12)]
    source = "2001:db8:0:1::7"
    replies = at_once([partial(one.ask_for_code, at=at, source=source) for one in people])
    assert sorted(reply.status for reply in replies) == [200] * LIMIT + [429] * (12 - LIMIT)
    assert sum(bool(one.messages()) for one in people) == LIMIT
    assert ask_from(api, "2001:db8:0:1:ffff::1", "send", at) == 429, "its /64 is one customer's"


@pytest.mark.usefixtures("limited")
def test_an_address_is_not_counted_for_an_account_without_a_code(api: Api) -> None:
    at = datetime(2026, 1, 3, 9, tzinfo=UTC)
    for _ in range(LIMIT + 1):
        assert Person(api).sign_up(at=at, source="198.51.100.9").status == 201


@pytest.mark.usefixtures("limited")
def test_whoever_asks_for_a_code_is_told_what_is_left_to_the_address(api: Api) -> None:
    at = datetime(2026, 1, 4, 9, tzinfo=UTC)
    ann, bob = Person(api, new_mobile()), Person(api, new_mobile())
    signed_up = ann.sign_up(at=at, source="198.51.100.3")
    assert signed_up.status == 201
    again = problem(ann.ask_for_code(at=at, source="198.51.100.3"), 429, "too-many-requests")
    third = bob.forget_password(at=at, source="198.51.100.3")
    assert third.status == 200
    for reply, left in [(signed_up, 2), (again, 1), (third, 0)]:
        policy = '"pause";q=1;w=30, "hour";q=5;w=3600, "address";q=3;w=3600'
        assert reply.headers["ratelimit-policy"] == policy
        limits = f'"pause";r=0;t=30, "hour";r=4;t=3600, "address";r={left};t=3600'
        assert reply.headers["ratelimit"] == limits
