"""Every DynamoDB call of every account endpoint fails in turn: no partial state, no lockout."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from geminichat.domain.identities import Identity
from tests.support.http_api import Reply
from tests.support.lambdas import Api
from tests.support.person import OTHER_PASSWORD, PASSWORD, PROOF, Person, new_email, new_mobile
from tests.support.stored import purge_of, record_of, users_named
from tests.support.wire import ALWAYS, BATCH_GET, TRANSACT, UPDATE, WIRE, Died

NOW = datetime.now(UTC) + timedelta(hours=3)
"""Three hours ahead, so that every record stored at the real time is older."""
BEFORE = NOW - timedelta(hours=2)
LATER = NOW + timedelta(minutes=1)
LATEST = NOW + timedelta(minutes=2)

WAYS = ["refused", "lost", "conflict", "dies before", "dies after"]
MAY_CONFLICT = {UPDATE, TRANSACT}
STEPS = [
    "sign up",
    "sign up over an unproven user",
    "log in",
    "verify",
    "first proof",
    "first proof with the account's token",
    "reset",
    "first proof by a reset",
    "change password",
    "add an identity",
    "add an identity that an unproven user has",
    "replace an identity",
    "restore a replaced identity",
    "refresh",
    "log out",
    "log out everywhere",
]
CLEANUP = [("log out", BATCH_GET), ("log out everywhere", BATCH_GET)]
"""Calls that may fail after the change: they read the connections of ended sessions."""
TRANSACTIONS = [step for step in STEPS if step != "refresh"]


def prepare(step: str, ann: Person) -> Callable[[], Reply]:
    """Prepare a person for a step, and return a function that sends the step's request."""
    match step:
        case "sign up":
            return lambda: ann.sign_up(at=LATER)
        case "sign up over an unproven user":
            ann.sign_up("the stranger's password", at=BEFORE)
            return lambda: ann.sign_up(at=LATER)
        case "verify":
            ann.ask_for_code(at=NOW)
            code = ann.code()
            return lambda: ann.verify(code, at=LATER)
        case "first proof":
            ann.sign_up("the stranger's password", at=NOW)
            code = ann.code()
            return lambda: ann.verify(code, at=LATER)
        case "first proof with the account's token":
            token = ann.sign_up(at=NOW).data["token"]
            code = ann.code()
            return lambda: ann.verify(code, at=LATER, token=token)
        case "first proof by a reset":
            ann.sign_up("the stranger's password", at=BEFORE)
            ann.forget_password(at=NOW)
            code = ann.code()
            return lambda: ann.reset(code, PASSWORD, at=LATER)
        case "reset":
            ann.prove(at=NOW - timedelta(minutes=1))
            ann.forget_password(at=NOW)
            code = ann.code()
            return lambda: ann.reset(code, PASSWORD, at=LATER)
        case "log in":
            ann.sign_up(at=NOW)
            return lambda: ann.log_in(at=LATER)
    tokens = ann.prove(at=BEFORE)
    match step:
        case "refresh":
            return lambda: ann.refresh(tokens["refreshToken"], at=LATER)
        case "change password":
            proof = ann.confirm(at=NOW)
            return lambda: ann.change_password(PASSWORD, proof, at=LATER)
        case "log out":
            return lambda: ann.post("/auth/logout", {}, at=LATER)
        case "log out everywhere":
            return lambda: ann.post("/auth/logout", {"everywhere": True}, at=LATER)
    second = Person(ann.api, new_email() if step.startswith("add") else new_mobile())
    ann.second = second
    if step.endswith("unproven user has"):
        second.sign_up("the stranger's password", at=NOW)
    if step == "restore a replaced identity":
        assert ann.add_identity(second, at=NOW).status == 200
        ann.ask_for_code(at=LATER)
        code = ann.code()
        return lambda: ann.verify(code, at=LATER)
    second.ask_for_code("link", at=NOW)
    body = second.named | {"otp": second.code()} | ann.confirm(at=NOW)
    return lambda: ann.post("/user/identity", body, at=LATER)


def list_calls(step: str, api: Api) -> list[str]:
    """Return the DynamoDB calls that a step makes if nothing fails."""
    act = prepare(step, Person(api, new_mobile()))
    with WIRE.watch() as tries:
        assert act().status < 300
    return [seen.call for seen in tries if seen.call.startswith("dynamodb.")]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("step", STEPS)
def test_a_failed_call_leaves_no_partial_state_and_the_owner_can_log_in(
    api: Api, step: str, how: str
) -> None:
    for place, call in enumerate(calls := list_calls(step, api)):
        if how == "conflict" and call not in MAY_CONFLICT:
            continue
        nth = calls[: place + 1].count(call)
        ann = Person(api, new_mobile())
        act = prepare(step, ann)
        broken = WIRE.cut(call, how, nth=nth)
        try:
            status = act().status
        except Died:
            status = 0
        WIRE.breaks.clear()
        assert broken.happened == 1
        if not how.startswith("dies"):
            assert status in (200, 201), f"{call}: one failure was not retried"
        assert_whole(ann)
        assert ann.me(ann.prove(at=LATEST)["token"]).status == 200
        assert_whole(ann)


@pytest.mark.parametrize("step", STEPS)
def test_a_call_that_always_fails_causes_a_5xx_and_changes_nothing(api: Api, step: str) -> None:
    for call in set(list_calls(step, api)):
        if (step, call) in CLEANUP:
            continue
        ann = Person(api, new_mobile())
        act = prepare(step, ann)
        before = read_state(ann)
        WIRE.cut(call, "failing", times=ALWAYS)
        assert act().status in (500, 503)
        WIRE.breaks.clear()
        assert read_state(ann) == before
        assert_whole(ann)


@pytest.mark.parametrize(("step", "call"), CLEANUP)
def test_a_request_succeeds_even_if_its_cleanup_always_fails(
    api: Api, step: str, call: str
) -> None:
    ann = Person(api, new_mobile())
    act = prepare(step, ann)
    WIRE.cut(call, "failing", times=ALWAYS)
    assert act().status == 200
    WIRE.breaks.clear()
    assert_whole(ann)


def list_identities(ann: Person) -> list[Identity]:
    return [ann.identity, *([ann.second.identity] if ann.second else [])]


def read_state(ann: Person) -> object:
    """Return the stored users and identity records of a person."""
    users = [user.attribute_values for one in list_identities(ann) for user in users_named(one)]
    records = [record_of(one) for one in list_identities(ann)]
    return repr(users), [record and repr(record.attribute_values) for record in records]


def assert_whole(ann: Person) -> None:
    """Check that users, identity records and purges are consistent."""
    for identity in list_identities(ann):
        record, users = record_of(identity), users_named(identity)
        owned = record is not None and not record.replaced
        assert [user.user_id for user in users] == ([record.user_id] if owned and record else [])
        for user in users:
            assert record
            proven = user.email_verified if identity.kind == "email" else user.mobile_verified
            assert proven == record.proven
            assert (purge_of(user.user_id) is None) == record.proven


@pytest.mark.parametrize("step", TRANSACTIONS)
def test_the_retry_of_a_transaction_is_byte_for_byte_the_same(api: Api, step: str) -> None:
    """DynamoDB refuses a different request with the same client request token."""
    act = prepare(step, Person(api, new_mobile()))
    WIRE.cut(TRANSACT, "conflict", times=3)
    with WIRE.watch() as tries:
        assert act().status in (200, 201)
    asked = [seen.body for seen in tries if seen.call == TRANSACT]
    assert len(set(asked[:4])) == 1


def test_a_lost_answer_to_a_refresh_does_not_count_as_reuse(api: Api) -> None:
    """The SDK retries the same request, which is not a reuse by a thief."""
    ann = Person(api)
    tokens = ann.sign_up(at=NOW).data
    WIRE.cut(UPDATE, "lost")
    reply = ann.refresh(tokens["refreshToken"], at=LATER)
    assert reply.status == 200
    assert ann.refresh(reply.data["refreshToken"], at=LATER).status == 200


def test_a_password_change_is_stored_even_if_dynamodbs_answer_is_lost(api: Api) -> None:
    ann = Person(api)
    ann.sign_up(at=NOW)
    WIRE.cut(TRANSACT, "lost")
    assert ann.change_password(OTHER_PASSWORD, PROOF, at=LATER).status == 200
    assert ann.log_in(OTHER_PASSWORD, at=LATER).status == 200


def test_a_code_is_sent_once_and_valid_even_if_dynamodbs_answer_is_lost(api: Api) -> None:
    ann = Person(api, new_mobile())
    WIRE.cut(TRANSACT, "lost")
    assert ann.ask_for_code(at=NOW).status == 200
    assert len(ann.messages()) == 1
    assert ann.verify(ann.code(), at=NOW).status == 200


def test_a_text_message_is_not_sent_twice_if_the_answer_of_sns_is_lost(api: Api) -> None:
    ann = Person(api, new_mobile())
    WIRE.cut("sns.Publish", "lost")
    assert ann.ask_for_code(at=NOW).status == 502
    assert len(ann.messages()) == 1
    assert ann.verify(ann.code(), at=NOW).status == 200
