"""Operators' queries and acts: audit items, crashes, repeated requests and signatures."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from geminichat.domain import ids, times
from geminichat.errors import AccountSuspended
from geminichat.operations import login
from geminichat.tables import subscriptions, users
from geminichat.tables.audit import Audit
from geminichat.tables.exports import StoredExport
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.usage import Usage
from geminichat.tables.users import User
from geminichat.upstash import prompt_limits, redis
from tests.support import operators
from tests.support.every_route import request_every_route
from tests.support.lambdas import Api, invoke
from tests.support.parallel import repeat_at_once
from tests.support.person import PROOF, Person, check_problem, new_mobile
from tests.support.stored import prompts
from tests.support.wire import ALWAYS, SEND, TRANSACT, WIRE, Died, list_calls

NOW = datetime.now(UTC)
UNTIL = times.text(NOW + timedelta(days=30))
ACTS: dict[str, dict[str, Any]] = {
    "grant": {"until": UNTIL},
    "revoke": {},
    "give-back": {"prompts": 2},
    "end-sessions": {},
    "ban": {},
    "unban": {},
    "delete": {},
    "export": {},
}
ONCE = ["grant", "give-back", "end-sessions", "ban", "delete", "export"]
"""The acts that work on a user in any state."""


@pytest.fixture
def ann(api: Api) -> Person:
    return Person.with_password(api)


def prepare(name: str, api: Api) -> Person:
    """Return a user who has three counted prompts and to whom the act can be applied."""
    person = Person(api)
    assert person.me().status == 200
    Usage(person.id, times.day(NOW), prompts=3, attempts=4).save()
    if name == "revoke":
        operators.act("grant", person.id, until=UNTIL)
    if name == "unban":
        operators.act("ban", person.id)
    return person


def read_state(user_id: str) -> tuple[Any, ...]:
    """Return everything that an act may change about a user."""
    user, [today] = users.find(user_id), list(Usage.query(user_id))
    assert user
    granted = subscriptions.load(user_id).granted_until
    counts = int(today.prompts), int(today.attempts)
    export = [one.export_id for one in StoredExport.query(user_id, consistent_read=True)]
    return granted, counts, users.sessions_of(user), user.purge_at, export, bool(user.banned_at)


def test_an_operator_finds_a_user_by_each_id_and_each_identity(ann: Person) -> None:
    second = Person(ann.api, new_mobile())
    assert ann.add_identity(second, PROOF).status == 200
    customer = f"cus_{ids.new('x')}"
    subscriptions.store_customer(ann.id, customer)
    number = second.identity.value
    spelled = f"{number[:2]} ({number[2:5]}) {number[5:8]}-{number[8:]}"
    for named in (ann.id, ann.identity.value.upper(), number, spelled, customer):
        assert operators.ask(ask="who", named=f" {named} ") == {"data": {"userId": ann.id}}


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ("u_" + "a" * 26, "not-found"),
        ("nobody@example.com", "not-found"),
        ("cus_none", "not-found"),
        ("no name", "bad-request"),
        ("ann@", "bad-request"),
    ],
)
def test_an_error_about_an_unknown_user_quotes_the_operators_argument(
    named: str, code: str
) -> None:
    answer = operators.ask(ask="who", named=named)
    assert answer["error"] == code
    assert named in answer["message"]


def test_the_description_of_an_account_has_no_prompt_and_no_title_and_no_secret(
    ann: Person,
) -> None:
    room = ann.open_room("A secret title")
    failed = ann.ask(room, "A secret question")
    [prompt] = prompts(room)
    prompt.update(
        [
            StoredMessage.error_code.set("blocked"),
            StoredMessage.failed_at.set(UNTIL),
            StoredMessage.status.set("failed"),
        ]
    )
    operators.act("grant", ann.id, until=UNTIL)
    found = operators.describe(ann.id)
    assert found["account"]["email"] == ann.identity.value
    assert (found["account"]["plan"], found["subscription"]["grantedUntil"]) == ("pro", UNTIL)
    assert found["account"]["usage"]["used"] == 1
    assert (found["attempts"], found["inFlight"]) == (1, 1)
    assert found["failures"] == [{"messageId": failed, "failedAt": UNTIL, "error": "blocked"}]
    assert (found["bannedAt"], found["purgeAt"], found["connections"]) == (None, None, 0)
    user = users.find(ann.id)
    assert user
    assert set(found["sessions"]) == set(users.sessions_of(user))
    for secret in ("secret", str(user.password_hash), ann.token, ann.refresh_token):
        assert secret not in str(found)


@pytest.mark.parametrize("name", ACTS)
def test_the_audit_records_who_made_an_act_and_when_and_why(api: Api, name: str) -> None:
    ann = prepare(name, api)
    before, began = read_state(ann.id), times.text(datetime.now(UTC))
    act = operators.new_act(name, ann.id, **ACTS[name])
    assert operators.send(act)["data"]["doneBefore"] is False
    assert read_state(ann.id) != before
    entry = Audit.get(ann.id, act["id"])
    assert (entry.act, entry.operator, entry.reason) == (name, operators.ROOT, "ticket 41")
    assert began <= entry.at <= times.text(datetime.now(UTC))
    assert ann.identity.value not in str(entry.attribute_values)

    of_user = operators.ask(ask="audit", userId=ann.id)["data"]["acts"]
    of_day = operators.ask(ask="audit", day=entry.day)["data"]["acts"]
    expected = {"act": name, "at": entry.at, "details": ACTS[name], "operator": operators.ROOT}
    [shown] = [one for one in of_user if one["at"] == entry.at]
    assert shown | expected == shown
    assert shown in of_day
    assert [one["at"] for one in of_day] == sorted(one["at"] for one in of_day)


@pytest.mark.parametrize("name", ACTS)
def test_a_dry_run_shows_the_message_of_the_act_and_changes_nothing(api: Api, name: str) -> None:
    ann = prepare(name, api)
    before, recorded = read_state(ann.id), len(operators.read_audit(ann.id))
    with WIRE.watch() as tries:
        said = operators.act(name, ann.id, **ACTS[name], dryRun=True)["message"]
    assert {seen.call.partition(".")[2] for seen in tries} <= {
        "GetCallerIdentity",
        "BatchGetItem",
        "GetItem",
    }
    assert (read_state(ann.id), len(operators.read_audit(ann.id))) == (before, recorded)
    done = operators.act(name, ann.id, **ACTS[name])["message"]
    assert re.sub(r":\d\d\.\d{3}Z", "", done) == re.sub(r":\d\d\.\d{3}Z", "", said)


@pytest.mark.parametrize("how", ["lost", "dies before", "dies after"])
@pytest.mark.parametrize("name", ACTS)
def test_an_interrupted_act_can_be_repeated_and_is_recorded_only_if_it_took_effect(
    api: Api, name: str, how: str
) -> None:
    other = prepare(name, api).id
    with WIRE.watch() as tries:
        operators.act(name, other, **ACTS[name])
    calls = [call for call in list_calls(tries) if call != "sts.GetCallerIdentity"]
    for place, call in enumerate(calls):
        ann = prepare(name, api)
        before = read_state(ann.id)
        act = operators.new_act(name, ann.id, **ACTS[name])
        WIRE.cut(call, how, nth=calls[: place + 1].count(call))
        died = False
        try:
            operators.send(act)
        except Died:
            died = True
        WIRE.breaks.clear()
        assert died == how.startswith("dies")
        recorded = [one for one in operators.read_audit(ann.id) if one.act_id == act["id"]]
        assert (read_state(ann.id) != before) == bool(recorded), call

        operators.send(act)
        after = read_state(ann.id)
        assert after != before
        assert operators.send(act)["data"]["doneBefore"] is True
        assert read_state(ann.id) == after
        assert [one.act_id for one in operators.read_audit(ann.id)].count(act["id"]) == 1


@pytest.mark.parametrize("name", ONCE)
def test_an_act_that_is_sent_eight_times_at_once_takes_effect_once(api: Api, name: str) -> None:
    ann = prepare(name, api)
    act = operators.new_act(name, ann.id, **ACTS[name])
    answers = repeat_at_once(lambda _: operators.send(act), 8)
    done = [one["data"]["doneBefore"] for one in answers if "data" in one]
    assert done.count(False) == 1
    assert len(operators.read_audit(ann.id)) == 1
    if name == "give-back":
        assert read_state(ann.id)[1] == (1, 2)


def test_eight_parallel_acts_give_each_prompt_back_at_most_once(api: Api) -> None:
    ann = prepare("give-back", api)
    answers = repeat_at_once(
        lambda _: operators.send(operators.new_act("give-back", ann.id, prompts=1)), 8
    )
    done = [one for one in answers if "data" in one]
    counts = read_state(ann.id)[1]
    assert counts == (3 - len(done), 4 - len(done))
    assert 1 <= len(done) == len(operators.read_audit(ann.id)) <= 3


def test_one_of_eight_parallel_bans_takes_effect(api: Api) -> None:
    ann = prepare("ban", api)
    answers = repeat_at_once(lambda _: operators.send(operators.new_act("ban", ann.id)), 8)
    assert sum("data" in one for one in answers) == 1
    assert len(operators.read_audit(ann.id)) == 1


@pytest.mark.parametrize(
    ("name", "wrong", "code"),
    [
        ("grant", {"until": times.text(NOW - timedelta(days=1))}, "bad-request"),
        ("grant", {"until": times.text(NOW + timedelta(days=4_000))}, "bad-request"),
        ("grant", {"until": "2030-01-01T00:00:00"}, "bad-request"),
        ("grant", {}, "bad-request"),
        ("give-back", {"prompts": 0}, "bad-request"),
        ("give-back", {"prompts": 1, "more": 1}, "bad-request"),
        ("revoke", {}, "conflict"),
        ("unban", {}, "conflict"),
        ("ban", {"reason": "ann@example.com asked"}, "bad-request"),
        ("ban", {"reason": "call +14155550100"}, "bad-request"),
        ("ban", {"reason": "call +1 (415) 555-0100"}, "bad-request"),
        (
            "ban",
            {"reason": "ticket 41\n2026-11-25  unban  by arn:aws:iam::1:user/ann"},
            "bad-request",
        ),
        ("ban", {"reason": "\x1b[2Jticket 41"}, "bad-request"),
        ("ban", {"reason": "\u202eticket 41"}, "bad-request"),
        ("ban", {"reason": " "}, "bad-request"),
        ("ban", {"reason": ""}, "bad-request"),
        ("ban", {"id": "a_1"}, "bad-request"),
        ("ban", {"userId": "u_" + "a" * 26}, "not-found"),
        ("export", {"userId": "u_" + "a" * 26}, "not-found"),
        ("delete", {"userId": "u_" + "a" * 26}, "not-found"),
        ("promote", {}, "bad-request"),
    ],
)
def test_an_invalid_act_is_refused_and_not_recorded(
    api: Api, name: str, wrong: dict[str, Any], code: str
) -> None:
    ann = prepare("grant", api)
    before = read_state(ann.id)
    assert operators.send(operators.new_act(name, ann.id, **wrong))["error"] == code
    assert (read_state(ann.id), operators.read_audit(ann.id)) == (before, [])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prompts": 0}, "The request is invalid. prompts: Expected `int` >= 1."),
        ({}, "The request is invalid. Object missing required field `prompts`."),
    ],
)
def test_the_refusal_of_an_act_names_the_invalid_or_missing_field(
    ann: Person, wrong: dict[str, Any], message: str
) -> None:
    refused = operators.send(operators.new_act("give-back", ann.id, **wrong))
    assert (refused["error"], refused["message"]) == ("bad-request", message)


def test_an_operator_cannot_give_back_prompts_that_are_in_flight_or_not_counted(
    ann: Person, api: Api
) -> None:
    room = ann.open_room()
    ann.ask(room)
    refused = operators.send(operators.new_act("give-back", ann.id, prompts=1))
    assert refused["error"] == "conflict"
    stranger = Person.new(api)
    Usage(stranger.id, times.day(NOW), prompts=3, attempts=3).save()
    refused = operators.send(operators.new_act("give-back", stranger.id, prompts=1))
    assert "no verified email" in refused["message"]


def test_the_number_of_prompts_that_were_given_back_is_recorded(api: Api) -> None:
    ann = prepare("give-back", api)
    done = operators.act("give-back", ann.id, prompts=1_000)
    assert done["message"] == f"{ann.id} gets 3 of today's 3 prompts back."
    [entry] = operators.ask(ask="audit", userId=ann.id)["data"]["acts"]
    assert entry["details"] == done["details"] == {"prompts": 3}


def test_a_user_can_send_as_many_new_prompts_as_an_operator_has_given_back(ann: Person) -> None:
    room = ann.open_room()
    Usage(ann.id, times.day(NOW), prompts=5, attempts=5).save()
    check_problem(ann.send(room), 429, "quota-exceeded")
    operators.act("give-back", ann.id, prompts=2)
    assert [ann.send(room).status for _ in range(3)] == [202, 202, 429]


def test_an_export_by_an_operator_is_announced_to_every_identity_and_shown_only_to_the_user(
    ann: Person,
) -> None:
    second = Person(ann.api, new_mobile())
    assert ann.add_identity(second, PROOF).status == 200
    said = operators.act("export", ann.id)
    assert "http" not in str(said), "the operator is shown the URL of the archive"
    for identity in (ann, second):
        assert "copy of all data" in identity.messages()[-1]
    assert ann.get("/user/export").data["status"] == "preparing"
    twice = operators.send(operators.new_act("export", ann.id))
    assert (twice["error"], len(operators.read_audit(ann.id))) == ("too-many-requests", 1)


def test_an_operator_cannot_export_a_banned_account(api: Api) -> None:
    ann = prepare("unban", api)
    refused = operators.send(operators.new_act("export", ann.id))
    assert (refused["error"], "cannot fetch" in refused["message"]) == ("conflict", True)
    assert read_state(ann.id)[4] == []


def test_a_banned_users_deletion_notice_does_not_say_that_a_login_keeps_the_account(
    ann: Person,
) -> None:
    operators.act("ban", ann.id)
    said = operators.act("delete", ann.id)["message"]
    assert "a login" not in said
    assert said.endswith("a new account may then have the email or number.")
    assert "Your suspended Gemini Chat account will be deleted on " in ann.messages()[-1]
    assert "log in" not in ann.messages()[-1]


def test_no_export_is_stored_for_a_user_who_is_deleted_at_the_same_time(api: Api) -> None:
    ann = prepare("export", api)
    WIRE.cut(
        TRANSACT,
        "meanwhile",
        do=lambda: User(ann.id).delete(),
        holding=("export_id",),
    )
    refused = operators.send(operators.new_act("export", ann.id))
    assert refused["error"] == "concurrent-requests"
    assert list(StoredExport.query(ann.id, consistent_read=True)) == []
    assert operators.read_audit(ann.id) == []


def test_an_export_by_an_operator_can_be_requested_again_if_it_could_not_be_queued(
    api: Api,
) -> None:
    ann = prepare("export", api)
    WIRE.cut(SEND, "failing", times=ALWAYS)
    assert operators.send(operators.new_act("export", ann.id))["error"] == "unavailable"
    WIRE.breaks.clear()
    assert operators.act("export", ann.id)["doneBefore"] is False


# ── Signatures ──────────────────────────────────────────────────────────────────────────────────


SCHEME = "AWS4-HMAC-SHA256 Credential=test/20261125/us-east-1/sts/aws4_request"
BOUND = "SignedHeaders=host;x-amz-date;x-geminichat-act"
SIGNATURE = f"Signature={'0' * 64}"


@pytest.mark.parametrize(
    "proof",
    [
        {"authorization": ""},
        {"authorization": SCHEME},
        {"authorization": f"{SCHEME}, SignedHeaders=host;x-amz-date, {SIGNATURE}"},
        {"authorization": f"{SCHEME}, SignedHeaders=host;x-geminichat-act, {SIGNATURE}"},
        {"authorization": f"{SCHEME}, X{BOUND}, SignedHeaders=host;x-amz-date, {SIGNATURE}"},
        {"authorization": f"{SCHEME}, {BOUND}, SignedHeaders=host;x-amz-date, {SIGNATURE}"},
        {"x-amz-date": "20261125T000000Z\r\nhost: example.com"},
        {"x-amz-date": "\u0662\u0660261125T000000Z"},
        {"x-amz-security-token": "a\nb"},
    ],
)
def test_an_act_without_a_valid_signature_is_refused(api: Api, proof: dict[str, str]) -> None:
    ann = prepare("ban", api)
    refused = operators.send(operators.new_act("ban", ann.id), **proof)
    assert refused["error"] == "unauthorized"
    assert (read_state(ann.id)[-1], operators.read_audit(ann.id)) == (False, [])


def test_an_operator_of_another_aws_account_is_refused(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = prepare("ban", api)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "222222222222")
    refused = operators.send(operators.new_act("ban", ann.id))
    monkeypatch.undo()
    assert "another account" in refused["message"]
    assert operators.read_audit(ann.id) == []


def test_an_act_fails_as_unavailable_while_sts_cannot_identify_the_operator(api: Api) -> None:
    ann = prepare("ban", api)
    WIRE.cut("sts.GetCallerIdentity", "refused")
    assert operators.send(operators.new_act("ban", ann.id))["error"] == "unavailable"
    assert operators.read_audit(ann.id) == []


@pytest.mark.parametrize(
    "event",
    [{}, {"request": 1}, {"request": "{"}, {"request": "[]"}, {"request": "\ud800"}],
)
@pytest.mark.parametrize(
    "function", ["AdminShow", "AdminChange", "AdminDelete", "AdminExport", "AdminRedrive"]
)
def test_a_malformed_invocation_of_an_admin_function_is_a_bad_request(
    function: str, event: dict[str, Any]
) -> None:
    assert invoke(function, event)["error"] == "bad-request"


# ── Grants ──────────────────────────────────────────────────────────────────────────────────────


def test_a_granted_pro_plan_begins_at_once_and_ends_on_time_even_if_redis_still_says_pro(
    ann: Person,
) -> None:
    begins = datetime.now(UTC)
    until = begins + timedelta(seconds=40)
    room = ann.open_room()
    Usage(ann.id, times.day(begins), prompts=5, attempts=5).save()
    check_problem(ann.send(room, at=begins), 429, "quota-exceeded")
    operators.act("grant", ann.id, until=times.text(until))
    assert ann.send(room, at=begins).status == 202
    assert ann.send(room, at=until - timedelta(milliseconds=2)).status == 202
    assert read_redis_plan(ann) == "pro"
    check_problem(ann.send(room, at=until), 429, "quota-exceeded")


def read_redis_plan(person: Person) -> Any:
    """Return the person's plan from the cache in Redis."""
    return redis.evaluate(
        "return redis.call('HGET', KEYS[1], 'plan')",
        [prompt_limits.quota_key(person.id, times.day(NOW))],
        [],
    )


def test_the_subscription_status_shows_a_granted_pro_plan_until_it_is_revoked(ann: Person) -> None:
    assert ann.status()["grantedUntil"] is None
    operators.act("grant", ann.id, until=UNTIL)
    status = ann.status()
    assert (status["plan"], status["status"], status["grantedUntil"]) == ("pro", "none", UNTIL)
    operators.act("revoke", ann.id)
    assert (ann.plan(), ann.status()["grantedUntil"]) == ("basic", None)


# ── Bans ────────────────────────────────────────────────────────────────────────────────────────


def test_a_banned_user_is_refused_by_every_route_and_every_login_until_the_ban_ends(
    ann: Person, api: Api
) -> None:
    room = ann.open_room()
    message = ann.ask(room, key="once")
    home, office = {"source": "10.250.0.1"}, {"source": "10.250.0.2"}
    ann.forget_password(**home)
    reset_code = ann.code()
    ann.ask_for_code(**office)
    code = ann.code()
    operators.act("ban", ann.id)

    check_problem(ann.send(room), 403, "account-suspended")
    for route, reply in request_every_route(
        api, lambda: ann.token, room, message, datetime.now(UTC)
    ):
        assert reply.status in (401, 403), f"{route}: {reply.text}"
        assert reply.json["type"].endswith((":unauthorized", ":account-suspended")), route
    check_problem(ann.log_in(), 403, "account-suspended")
    check_problem(ann.log_in("a wrong password"), 401, "invalid-credentials")
    check_problem(ann.refresh(ann.refresh_token), 403, "account-suspended")
    check_problem(ann.verify(code, **office), 403, "account-suspended")
    check_problem(ann.reset(reset_code, **home), 403, "account-suspended")
    check_problem(ann.verify("000000", **office), 400, "invalid-code")
    assert operators.describe(ann.id)["bannedAt"]

    operators.act("unban", ann.id)
    check_problem(ann.refresh(ann.refresh_token), 401, "unauthorized")
    assert ann.log_in().status == 200
    assert ann.send(room).status == 202


def test_no_session_begins_if_the_user_is_banned_after_the_password_was_checked(
    ann: Person,
) -> None:
    attempt = login.admit(ann.identity, None, "10.0.0.1", datetime.now(UTC))
    user = users.find(ann.id)
    assert user
    operators.act("ban", ann.id)
    with pytest.raises(AccountSuspended):
        login.begin_session(attempt, user)
    banned = User.get(ann.id, consistent_read=True)
    assert users.sessions_of(banned) == {}
