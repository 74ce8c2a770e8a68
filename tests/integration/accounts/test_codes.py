"""One-time codes: wrong, used and expired codes, and too many requests for codes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from geminichat.domain.identities import Identity
from tests.support.lambdas import Api
from tests.support.parallel import at_once
from tests.support.person import PASSWORD, Person, check_problem, new_email, new_mobile
from tests.support.standins import StandIn
from tests.support.stored import codes_of, record_of, sessions_of, users_named, wrong_codes
from tests.support.wire import Wire

either = pytest.mark.parametrize("new", [new_email, new_mobile], ids=["email", "mobile"])
type New = Callable[[], Identity]


def make_wrong_code(code: str, step: int = 1) -> str:
    return f"{(int(code) + step) % 1_000_000:06}"


@either
def test_a_user_is_created_when_the_code_is_verified_and_not_before(api: Api, new: New) -> None:
    ann = Person(api, new())
    reply = ann.ask_for_code()
    assert (reply.status, reply.data["expiresIn"]) == (200, 600)
    assert set(reply.data) == {"expiresIn", "challenge"}
    assert reply.headers["cache-control"] == "no-store"
    assert record_of(ann.identity) is None
    assert users_named(ann.identity) == []

    reply = ann.verify(ann.code())
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    user = reply.data["user"]
    assert user[ann.identity.kind] == ann.identity.value
    assert user[f"{ann.identity.kind}Verified"] is True
    assert user["plan"] == "basic"
    assert ann.me(reply.data["token"]).data == user
    record = record_of(ann.identity)
    assert record
    assert record.proven


@either
def test_a_later_code_logs_in_the_same_user_and_ends_no_session(api: Api, new: New) -> None:
    ann = Person(api, new())
    now = datetime.now(UTC)
    first = ann.prove(at=now)
    second = ann.prove(at=now + timedelta(seconds=30))
    assert second["user"]["id"] == first["user"]["id"]
    assert ann.me(first["token"]).status == 200


@pytest.mark.parametrize("holds", ["a challenge", "no challenge"])
def test_only_five_of_fifty_parallel_wrong_codes_are_compared(api: Api, holds: str) -> None:
    ann = Person(api, new_mobile())
    asked = ann.ask_for_code().data
    more = {"challenge": asked["challenge"]} if holds == "a challenge" else {}
    code = ann.code()
    replies = at_once([partial(ann.verify, make_wrong_code(code, n), **more) for n in range(1, 51)])
    for reply in replies:
        check_problem(reply, 400, "invalid-code")
    check_problem(ann.verify(code, **more), 400, "invalid-code")
    assert record_of(ann.identity) is None
    assert wrong_codes(ann.identity) == 5


def test_the_wrong_codes_of_one_caller_do_not_use_up_the_tries_of_another_caller(api: Api) -> None:
    ann = Person(api, new_mobile())
    ann.ask_for_code()
    code = ann.code()
    for step in range(1, 9):
        check_problem(
            ann.verify(make_wrong_code(code, step), source="198.51.100.7"), 400, "invalid-code"
        )
    assert ann.verify(code).status == 200


def test_the_wrong_codes_of_one_challenge_do_not_use_up_the_tries_of_another_challenge(
    api: Api,
) -> None:
    ann, now = Person(api, new_mobile()), datetime.now(UTC)
    strangers = ann.ask_for_code(at=now, source="198.51.100.8").data["challenge"]
    mine = ann.ask_for_code(at=now).data["challenge"]
    code = ann.code()
    for step in range(1, 6):
        reply = ann.verify(
            make_wrong_code(code, step), challenge=strangers, source="198.51.100.8", at=now
        )
        check_problem(reply, 400, "invalid-code")
    check_problem(ann.verify(code, challenge=strangers, at=now), 400, "invalid-code")
    assert ann.verify(code, challenge=mine, at=now).status == 200


def test_a_caller_has_nine_tries_per_hour_for_all_its_challenges_together(api: Api) -> None:
    ann = Person(api, new_mobile())
    now = datetime.now(UTC).replace(minute=0) + timedelta(hours=1)
    for n in range(2):
        moment = now + timedelta(seconds=30 * n)
        challenge = ann.ask_for_code(at=moment).data["challenge"]
        code = ann.code()
        for step in range(1, 6):
            ann.verify(make_wrong_code(code, step), challenge=challenge, at=moment)
    assert wrong_codes(ann.identity, at=moment) == 9


def test_the_right_code_is_accepted_on_the_fifth_and_last_try(api: Api) -> None:
    ann = Person(api)
    ann.ask_for_code()
    code = ann.code()
    for step in range(1, 5):
        check_problem(ann.verify(make_wrong_code(code, step)), 400, "invalid-code")
    assert ann.verify(code).status == 200


@pytest.mark.any_write_order
@either
@pytest.mark.parametrize("known", [False, True])
def test_one_of_two_parallel_verifications_of_a_code_succeeds(
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
            check_problem(reply, 400, "invalid-code")
    [user] = users_named(ann.identity)
    assert len(sessions_of(user.user_id)) == before + 1


def test_wrong_expired_used_and_unknown_codes_get_the_same_answer(api: Api) -> None:
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
        burnt.verify(make_wrong_code(right), at=now)

    guessed = Person(api)
    guessed.ask_for_code(at=now)

    replies = [
        used.verify(spent, at=now),
        late.verify(late.code(), at=now + timedelta(minutes=10)),
        burnt.verify(right, at=now),
        guessed.verify(make_wrong_code(guessed.code()), at=now),
        Person(api).verify("123456", at=now),
    ]
    shown = set()
    for reply in replies:
        body = check_problem(reply, 400, "invalid-code").json
        assert body["errors"][0]["pointer"] == "/otp"
        shown.add(tuple(sorted((k, str(v)) for k, v in body.items() if k != "instance")))
    assert len(shown) == 1


def test_an_earlier_code_stays_valid_after_the_same_caller_has_requested_a_new_code(
    api: Api,
) -> None:
    ann, now = Person(api), datetime.now(UTC)
    ann.ask_for_code(at=now)
    older, later = ann.code(), now + timedelta(seconds=30)
    ann.ask_for_code(at=later)
    assert ann.verify(older, at=later).status == 200


def test_using_a_code_leaves_other_codes_valid(
    api: Api,
) -> None:
    ann, now = Person(api), datetime.now(UTC)
    first = ann.ask_for_code(at=now).data["challenge"]
    older, later = ann.code(), now + timedelta(seconds=30)
    second = ann.ask_for_code(at=later).data["challenge"]
    newer = ann.code()
    if older != newer:  # they are equal in one of a million runs
        check_problem(ann.verify(older, challenge=second, at=later), 400, "invalid-code")
    assert ann.verify(older, challenge=first, at=later).status == 200
    check_problem(ann.verify(older, challenge=first, at=later), 400, "invalid-code")
    assert ann.verify(newer, challenge=second, at=later).status == 200


@pytest.mark.parametrize("challenge", ["", "c_1", "c_" + "A" * 26, "x" * 1_000])
def test_a_challenge_that_was_never_issued_is_a_400(api: Api, challenge: str) -> None:
    reply = Person(api).verify("123456", challenge=challenge)
    assert check_problem(reply, 400, "bad-request").json["errors"][0]["pointer"] == "/challenge"
    check_problem(Person(api).verify("123456", challenge="c_" + "a" * 26), 400, "invalid-code")


def test_spaces_in_an_entered_code_are_ignored(api: Api) -> None:
    ann = Person(api)
    ann.ask_for_code()
    code = ann.code()
    assert ann.verify(f" {code[:3]} {code[3:]} ").status == 200


def test_a_code_is_bound_to_its_purpose_and_its_identity(api: Api) -> None:
    ann, bob = Person(api), Person(api)
    now = datetime.now(UTC)
    ann.sign_up(at=now)
    ann.forget_password(at=now)
    bob.ask_for_code(at=now)
    check_problem(ann.verify(ann.code(), at=now), 400, "invalid-code")
    later = now + timedelta(seconds=30)
    ann.ask_for_code(at=later)
    check_problem(ann.reset(ann.code(), at=later), 400, "invalid-code")
    if ann.code() != bob.code():
        check_problem(bob.verify(ann.code(), at=later), 400, "invalid-code")


def test_the_table_of_codes_contains_no_code_and_no_ip_address_of_a_caller(
    api: Api, source: str
) -> None:
    ann = Person(api)
    ann.ask_for_code()
    kept = str(codes_of(ann.identity).attribute_values)
    assert ann.code() not in kept
    assert source not in kept


@either
def test_an_identity_gets_at_most_one_code_per_thirty_seconds_and_five_per_hour(
    api: Api, new: New
) -> None:
    ann, now = Person(api, new()), datetime.now(UTC)
    first = ann.ask_for_code(at=now)
    assert first.headers["ratelimit"] == '"pause";r=0;t=30, "hour";r=4;t=3600'
    assert first.headers["ratelimit-policy"] == '"pause";q=1;w=30, "hour";q=5;w=3600'
    refused = check_problem(
        ann.ask_for_code(at=now + timedelta(seconds=29)), 429, "too-many-requests"
    )
    assert refused.headers["retry-after"] == "1"
    assert "ratelimit" in refused.headers
    for n in range(1, 5):
        assert ann.ask_for_code(at=now + timedelta(seconds=30 * n)).status == 200
    refused = check_problem(
        ann.ask_for_code(at=now + timedelta(minutes=5)), 429, "too-many-requests"
    )
    assert refused.headers["retry-after"] == "3300"
    assert len(ann.messages()) == 5
    assert ann.ask_for_code(at=now + timedelta(hours=1)).status == 200


def test_all_spellings_of_an_identity_and_all_endpoints_share_one_limit_of_codes(api: Api) -> None:
    ann, now = Person(api, new_mobile()), datetime.now(UTC)
    assert ann.ask_for_code(at=now).status == 200
    number = ann.identity.value
    spelt = f"{number[:2]} {number[2:5]}-{number[5:]}"
    check_problem(api.post("/auth/send-otp", {"mobile": spelt}, at=now), 429, "too-many-requests")
    check_problem(ann.forget_password(at=now), 429, "too-many-requests")
    check_problem(ann.sign_up(at=now), 429, "too-many-requests")
    assert users_named(ann.identity) == []

    bob = Person(api)
    assert bob.ask_for_code(at=now).status == 200
    shouted = bob.identity.value.upper()
    check_problem(api.post("/auth/send-otp", {"email": shouted}, at=now), 429, "too-many-requests")


def test_the_limit_of_codes_applies_without_redis_and_after_a_code_was_used(
    api: Api, redis: StandIn
) -> None:
    redis.fault("error", times="always")
    ann, now = Person(api), datetime.now(UTC)
    ann.prove(at=now)
    check_problem(ann.ask_for_code(at=now + timedelta(seconds=5)), 429, "too-many-requests")


def test_parallel_requests_for_a_code_send_one_code(api: Api) -> None:
    ann, now = Person(api, new_mobile()), datetime.now(UTC)
    replies = at_once([lambda: ann.ask_for_code(at=now)] * 10)
    assert sorted(reply.status for reply in replies) == [200] + [429] * 9
    assert len(ann.messages()) == 1
    assert ann.verify(ann.code(), at=now).status == 200


def test_a_code_that_cannot_be_sent_is_a_502(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_FROM", "nobody@unverified.example")
    ann = Person(api)
    reply = check_problem(ann.ask_for_code(), 502, "delivery-failed")
    assert "30 seconds" in reply.json["detail"]
    assert ann.messages() == []
    check_problem(Person(api).forget_password(), 502, "delivery-failed")


def test_a_sign_up_is_a_502_if_its_text_message_cannot_be_sent(api: Api, wire: Wire) -> None:
    wire.cut("sns.Publish", "refused", times=2)
    check_problem(Person(api, new_mobile()).sign_up(), 502, "delivery-failed")


def test_answers_show_codes_only_on_a_stage_for_development(
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


def request_code_from(api: Api, source: str, how: str, at: datetime) -> int:
    """Request a code for a new person from the IP address; return the status."""
    ann = Person(api, new_mobile())
    acts = {"send": ann.ask_for_code, "forgot": ann.forget_password}
    if how == "sign up":
        return ann.sign_up(None, at=at, source=source).status
    return acts[how](at=at, source=source).status


@pytest.mark.usefixtures("limited")
def test_an_ip_address_gets_a_limited_number_of_codes_per_hour_on_all_routes(api: Api) -> None:
    at = datetime(2026, 1, 1, 9, 59, 50, tzinfo=UTC)
    asked = [
        request_code_from(api, "198.51.100.1", how, at) for how in ("send", "forgot", "sign up")
    ]
    assert asked == [200, 200, 201]
    for how in ("send", "forgot", "sign up"):
        assert request_code_from(api, "198.51.100.1", how, at) == 429
    reply = Person(api).ask_for_code(at=at, source="198.51.100.1")
    check_problem(reply, 429, "too-many-requests")
    assert reply.headers["retry-after"] == "10"
    assert reply.headers["ratelimit-policy"] == '"address";q=3;w=3600'
    assert reply.headers["ratelimit"] == '"address";r=0;t=10'
    assert request_code_from(api, "198.51.100.2", "send", at) == 200
    assert request_code_from(api, "198.51.100.1", "send", at + timedelta(seconds=10)) == 200


@pytest.mark.usefixtures("limited")
def test_parallel_requests_for_codes_share_the_limit_of_their_ip_address(api: Api) -> None:
    at = datetime(2026, 1, 2, 9, tzinfo=UTC)
    people = [Person(api, new_mobile()) for _ in range(12)]
    source = "2001:db8:0:1::7"
    replies = at_once([partial(one.ask_for_code, at=at, source=source) for one in people])
    assert sorted(reply.status for reply in replies) == [200] * LIMIT + [429] * (12 - LIMIT)
    assert sum(bool(one.messages()) for one in people) == LIMIT
    assert request_code_from(api, "2001:db8:0:1:ffff::1", "send", at) == 429, (
        "another IP address of the same /64 has a limit of its own"
    )


@pytest.mark.usefixtures("limited")
def test_a_sign_up_without_a_code_does_not_count_towards_the_limit_of_an_ip_address(
    api: Api,
) -> None:
    at = datetime(2026, 1, 3, 9, tzinfo=UTC)
    for _ in range(LIMIT + 1):
        assert Person(api).sign_up(at=at, source="198.51.100.9").status == 201


@pytest.mark.usefixtures("limited")
def test_the_headers_show_the_remaining_codes_of_the_caller_and_of_its_ip_address(api: Api) -> None:
    at = datetime(2026, 1, 4, 9, tzinfo=UTC)
    ann, bob = Person(api, new_mobile()), Person(api, new_mobile())
    signed_up = ann.sign_up(at=at, source="198.51.100.3")
    assert signed_up.status == 201
    check_problem(ann.ask_for_code(at=at, source="198.51.100.3"), 429, "too-many-requests")
    second = bob.forget_password(at=at, source="198.51.100.3")
    for reply, left in [(signed_up, 2), (second, 1)]:
        policy = '"pause";q=1;w=30, "hour";q=5;w=3600, "address";q=3;w=3600'
        assert reply.headers["ratelimit-policy"] == policy
        limits = f'"pause";r=0;t=30, "hour";r=4;t=3600, "address";r={left};t=3600'
        assert reply.headers["ratelimit"] == limits


@pytest.mark.usefixtures("limited")
def test_the_headers_do_not_show_the_codes_that_other_callers_requested(api: Api) -> None:
    at = datetime(2026, 1, 5, 9, tzinfo=UTC)
    ann = Person(api, new_mobile())
    for n in range(3):
        assert ann.ask_for_code(at=at, source=f"198.51.101.{n}").status == 200
    mine = ann.ask_for_code(at=at, source="198.51.102.1")
    assert mine.headers["ratelimit"] == (
        '"pause";r=0;t=30, "hour";r=4;t=3600, "address";r=2;t=3600'
    )


@pytest.mark.usefixtures("limited")
def test_codes_are_counted_per_ipv6_prefix_of_64_and_56_and_48_bits(api: Api) -> None:
    at = datetime(2026, 1, 6, 9, tzinfo=UTC)
    asked = [request_code_from(api, f"2001:db8:1:{n:x}::1", "send", at) for n in range(14)]
    assert asked == [200] * 12 + [429] * 2, "the limit of a /56 is not four times that of a /64"
    asked = [request_code_from(api, f"2001:db8:1:{256 * n:x}::1", "send", at) for n in range(1, 50)]
    assert asked.count(200) == 36, "the limit of a /48 is not sixteen times that of a /64"


@pytest.mark.usefixtures("limited")
def test_wrong_codes_from_one_ip_address_for_several_identities_share_one_limit(api: Api) -> None:
    at = datetime(2026, 1, 7, 9, tzinfo=UTC)
    tries = [Person(api).verify("123456", at=at, source="198.51.100.4") for _ in range(7)]
    assert [reply.status for reply in tries] == [400] * 6 + [429]
    assert tries[-1].headers["retry-after"] == "3600"
    reset = Person(api).reset("123456", at=at, source="198.51.100.4")
    check_problem(reset, 429, "too-many-requests")


# ── A hundred wrong codes ───────────────────────────────────────────────────────────────────────


def enter_wrong_codes(ann: Person, times: int, at: datetime) -> list[int]:
    """Enter wrong codes for a person, each from another IP address; return the statuses."""
    return [
        ann.verify("000000", at=at, source=f"198.18.{n // 250}.{n % 250}").status
        for n in range(times)
    ]


def test_codes_are_refused_for_a_day_after_a_hundred_wrong_codes_in_a_row(api: Api) -> None:
    ann, bob = Person(api), Person(api)
    day = datetime(2026, 3, 1, 9, tzinfo=UTC)
    for n in range(4):  # wrong codes of several days count together
        enter_wrong_codes(ann, 25, day + timedelta(days=n))
    last = day + timedelta(days=3)
    ann.ask_for_code(at=last)
    check_problem(ann.verify(ann.code(), at=last), 429, "too-many-requests")
    assert bob.prove(at=last)
    later = last + timedelta(days=1)
    assert ann.prove(at=later)["user"]["email"] == ann.identity.value
    assert wrong_codes(ann.identity, at=later) == 0


def test_parallel_wrong_codes_are_refused_after_exactly_a_hundred_in_a_row(api: Api) -> None:
    ann = Person(api)
    day = datetime(2026, 3, 2, 9, tzinfo=UTC)
    enter_wrong_codes(ann, 90, day)
    later = day + timedelta(hours=1)
    tries = [partial(ann.verify, "000000", at=later, source=f"198.19.1.{n}") for n in range(30)]
    replies = at_once(tries)
    assert sorted(reply.status for reply in replies) == [400] * 10 + [429] * 20
    assert wrong_codes(ann.identity, at=later) == 100
    next_day = later + timedelta(days=1)
    check_problem(ann.verify("000000", at=next_day), 400, "invalid-code")
    assert ann.prove(at=next_day), "one wrong code after the pause blocked codes again"


def test_codes_are_accepted_again_after_a_login_by_password(api: Api) -> None:
    day = datetime(2026, 3, 3, 9, tzinfo=UTC)
    ann = Person.with_password(api, at=day)
    enter_wrong_codes(ann, 100, day)
    later = day + timedelta(minutes=5)
    ann.ask_for_code(at=later)
    check_problem(ann.verify(ann.code(), at=later), 429, "too-many-requests")
    assert ann.log_in(at=later).status == 200
    assert ann.verify(ann.code(), at=later).status == 200


def test_logins_of_a_stranger_who_signed_up_first_do_not_reset_the_count_of_wrong_codes(
    api: Api,
) -> None:
    ann = Person(api)
    day = datetime(2026, 3, 4, 9, tzinfo=UTC)
    ann.sign_up(at=day)
    enter_wrong_codes(ann, 99, day)
    assert ann.log_in(at=day).status == 200
    assert wrong_codes(ann.identity, at=day) == 99


def test_a_right_code_resets_the_count_of_wrong_codes(api: Api) -> None:
    ann = Person(api)
    day = datetime(2026, 3, 1, 9, tzinfo=UTC)
    enter_wrong_codes(ann, 60, day)
    ann.prove(at=day)
    enter_wrong_codes(ann, 60, day)
    assert ann.prove(at=day + timedelta(minutes=1))


def test_wrong_codes_of_strangers_do_not_block_a_device_that_logged_in_before(
    api: Api,
) -> None:
    ann = Person(api)
    day = datetime(2026, 3, 1, 9, tzinfo=UTC)
    device = ann.prove(at=day)["deviceToken"]
    enter_wrong_codes(ann, 100, day)
    later = day + timedelta(hours=1)
    ann.ask_for_code(at=later)
    check_problem(ann.verify(ann.code(), at=later), 429, "too-many-requests")
    challenge = ann.ask_for_code(at=later, device_token=device).data["challenge"]
    assert ann.verify(ann.code(), challenge=challenge, at=later).status == 200


def test_a_known_device_gets_a_reset_code_while_other_callers_have_to_wait(api: Api) -> None:
    ann = Person(api)
    device = ann.prove(at=datetime(2026, 3, 1, tzinfo=UTC))["deviceToken"]
    now = datetime.now(UTC)
    assert ann.ask_for_code(at=now).status == 200
    check_problem(ann.forget_password(at=now), 429, "too-many-requests")
    body = ann.named | {"deviceToken": device}
    asked = api.post("/auth/forgot-password", body, at=now)
    assert asked.status == 200
    body = {"otp": ann.code(), "newPassword": PASSWORD, "challenge": asked.data["challenge"]}
    assert api.post("/auth/reset-password", ann.named | body, at=now).status == 200


@pytest.mark.parametrize(
    "token",
    ["", "d_1.2", f"u_{'a' * 26}.d_{'a' * 26}.{'0' * 64}", "x" * 150],
    ids=["empty", "short", "of no user", "long"],
)
def test_a_device_token_that_was_never_issued_changes_nothing(api: Api, token: str) -> None:
    ann = Person(api)
    ann.prove(at=datetime(2026, 3, 1, tzinfo=UTC))
    now = datetime.now(UTC)
    assert ann.ask_for_code(at=now, device_token=token).status == 200
    check_problem(ann.ask_for_code(at=now, device_token=token), 429, "too-many-requests")


# ── Text messages ───────────────────────────────────────────────────────────────────────────────


def test_text_messages_are_sent_only_to_numbers_of_the_allowed_countries(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMS_COUNTRIES", "DE,US")
    french = api.post("/auth/send-otp", {"mobile": "+33 6 12 34 56 78"})
    assert check_problem(french, 400, "bad-request").json["errors"][0]["pointer"] == "/mobile"
    assert Person(api, new_mobile()).ask_for_code().status == 200


def test_the_daily_limit_of_text_messages_per_stage_does_not_apply_to_emails(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime(2025, 1, 1, 23, 59, tzinfo=UTC)
    monkeypatch.setenv("TEXTS_PER_DAY", "3")
    sent = [Person(api, new_mobile()).ask_for_code(at=at).status for _ in range(5)]
    assert sent == [200] * 3 + [429] * 2
    refused = Person(api, new_mobile()).sign_up(at=at)
    check_problem(refused, 429, "too-many-requests")
    assert refused.headers["retry-after"] == "60"
    assert Person(api).ask_for_code(at=at).status == 200
    assert Person(api, new_mobile()).ask_for_code(at=at + timedelta(minutes=1)).status == 200
