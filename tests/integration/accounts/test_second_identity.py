"""An account's email address and mobile number: adding, replacing and restoring them."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tests.support.http_api import Reply
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
from tests.support.stored import purge_of, record_of, users_named

pytestmark = pytest.mark.any_write_order
NOW = datetime.now(UTC)
LATER = NOW + timedelta(minutes=1)
LATEST = NOW + timedelta(minutes=2)


def add(ann: Person, second: Person, at: datetime = LATER, **proof: str) -> Reply:
    return ann.add_identity(second, proof or None, at)


def new_proven(api: Api, at: datetime = NOW, new: Any = new_email) -> Person:
    """Return a person who has proven an identity."""
    ann = Person(api, new())
    ann.prove(at=at)
    return ann


def new_with_two_identities(api: Api) -> tuple[Person, Person]:
    """Return two persons, one for each identity of the same new account."""
    email, mobile = new_proven(api), Person(api, new_mobile())
    assert add(email, mobile).status == 200
    return email, mobile


def test_a_user_can_log_in_with_either_identity(api: Api) -> None:
    email, mobile = new_with_two_identities(api)
    user = email.me().data
    assert (user["email"], user["emailVerified"]) == (email.identity.value, True)
    assert (user["mobile"], user["mobileVerified"]) == (mobile.identity.value, True)
    at = LATEST + timedelta(minutes=1)
    assert email.change_password(PASSWORD, email.confirm(at=at), at=at).status == 200
    for one in (email, mobile):
        assert one.me(one.log_in().data["token"]).data == user
        check_problem(one.sign_up(at=at + timedelta(minutes=2)), 409, "identity-taken")


def test_a_reset_by_either_identity_sets_the_same_password(api: Api) -> None:
    email, mobile = new_with_two_identities(api)
    mobile.forget_password(at=LATEST)
    assert mobile.reset(mobile.code(), OTHER_PASSWORD, at=LATEST).status == 200
    check_problem(email.me(), 401, "unauthorized")
    assert email.log_in(OTHER_PASSWORD).status == 200
    assert mobile.log_in(OTHER_PASSWORD).status == 200


def test_adding_an_identity_requires_a_fresh_proof(api: Api) -> None:
    ann, second, eve = new_proven(api), Person(api, new_mobile()), new_proven(api)
    assert second.ask_for_code("link", at=LATER).status == 200
    code = second.named | {"otp": second.code()}
    wrong = [
        ({}, 400, "bad-request"),
        ({"currentPassword": "not it"}, 401, "invalid-credentials"),
        ({"currentOtp": second.code()}, 400, "invalid-code"),
        (eve.confirm(at=LATER), 400, "invalid-code"),
    ]
    for proof, status, problem_code in wrong:
        reply = api.post("/user/identity", code | proof, token=ann.token_at(LATER), at=LATER)
        check_problem(reply, status, problem_code)
    right = code | ann.confirm(at=LATER)
    assert api.post("/user/identity", right, token=ann.token_at(LATER), at=LATER).status == 200


def test_the_password_is_accepted_as_a_fresh_proof(api: Api) -> None:
    ann, second = Person.with_password(api, at=NOW), Person(api, new_mobile())
    assert add(ann, second, currentPassword=PASSWORD).status == 200


def test_a_code_for_a_login_adds_no_identity(api: Api) -> None:
    ann, second = new_proven(api), Person(api, new_mobile())
    second.ask_for_code(at=LATER)
    body = second.named | {"otp": second.code()} | ann.confirm(at=LATER)
    reply = api.post("/user/identity", body, token=ann.token_at(LATER), at=LATER)
    check_problem(reply, 400, "invalid-code")


def test_a_code_for_adding_an_identity_does_not_log_in(api: Api) -> None:
    second = Person(api, new_mobile())
    second.ask_for_code("link", at=LATER)
    check_problem(second.verify(second.code(), at=LATER), 400, "invalid-code")


def test_a_proven_identity_of_another_account_cannot_be_added(api: Api) -> None:
    ann, bob = new_proven(api), new_proven(api, new=new_mobile)
    check_problem(add(ann, bob), 409, "identity-taken")
    assert bob.me().data["mobile"] == bob.identity.value
    assert ann.me().data["mobile"] is None


@pytest.mark.parametrize("has_room", [False, True], ids=["without a room", "with a room"])
def test_adding_an_identity_deletes_its_unproven_sign_up(api: Api, has_room: bool) -> None:
    ann, someone = new_proven(api), Person(api, new_mobile())
    stranger = someone.sign_up("the stranger's password", at=NOW).data
    if has_room:
        someone.open_room("Planted")
    reply = add(ann, someone)
    assert reply.data["mobile"] == someone.identity.value
    check_problem(api.get("/chatroom", token=stranger["token"]), 401, "unauthorized")
    check_problem(someone.log_in("the stranger's password"), 401, "invalid-credentials")
    [user] = users_named(someone.identity)
    assert user.user_id == ann.id
    assert purge_of(stranger["user"]["id"])


def test_an_account_without_a_proven_identity_cannot_add_a_second_identity(api: Api) -> None:
    """The two identities of an unproven account could have different owners."""
    ann, second = Person(api), Person(api, new_mobile())
    ann.sign_up(at=NOW)
    check_problem(add(ann, second, currentPassword=PASSWORD), 409, "identity-not-verified")
    assert record_of(second.identity) is None


@pytest.mark.parametrize("new", [new_email, new_mobile])
def test_an_added_identity_replaces_the_identity_of_the_same_kind(api: Api, new: Any) -> None:
    old, fresh = new_proven(api, new=new), Person(api, new())
    reply = add(old, fresh, at=LATEST)
    assert reply.data[fresh.identity.kind] == fresh.identity.value
    assert fresh.prove(at=LATEST + timedelta(minutes=1))["user"]["id"] == old.id
    assert "was replaced" in old.messages()[-1]
    assert "within 7 days" in old.messages()[-1]


def test_replacing_an_identity_ends_every_other_session(api: Api) -> None:
    ann, second = new_proven(api), Person(api)
    other = ann.token
    ann.prove(at=LATER)
    assert add(ann, second, at=LATEST).status == 200
    check_problem(ann.me(other), 401, "unauthorized")
    assert ann.me(ann.token).status == 200


@pytest.mark.parametrize("by", ["code", "reset"])
def test_a_replaced_identity_can_be_restored_within_seven_days(api: Api, by: str) -> None:
    """A thief with a session and a password cannot take over the account for good."""
    ann, thief = new_proven(api), Person(api)
    assert add(ann, thief).status == 200
    stolen = ann.token_at(LATEST)
    later = LATER + timedelta(days=6, hours=23)
    if by == "code":
        assert ann.prove(at=later)["user"]["id"] == ann.id
    else:
        ann.forget_password(at=later)
        assert ann.reset(ann.code(), OTHER_PASSWORD, at=later).status == 200
        assert ann.log_in(OTHER_PASSWORD, at=later).status == 200
    me = ann.me(at=later).data
    assert (me["email"], me["emailVerified"]) == (ann.identity.value, True)
    check_problem(ann.me(stolen, at=LATEST), 401, "unauthorized")
    assert record_of(thief.identity) is None
    thief.prove(at=later + timedelta(minutes=1))
    assert thief.id != ann.id


@pytest.mark.parametrize("by", ["code", "reset"])
@pytest.mark.parametrize("moves", ["onwards", "back and onwards", "back"])
def test_an_identity_that_a_thief_added_and_then_replaced_cannot_be_restored(
    api: Api, moves: str, by: str
) -> None:
    """The owner's identity can be restored; the thief's identities cannot."""
    ann, thief, other = new_proven(api), Person(api), Person(api)
    at = LATER
    steps = {"onwards": [thief, other], "back": [thief, ann]}.get(moves, [thief, ann, other])
    held = ann
    for step in steps:
        code = step.named | {"otp": request_code(step, "link", at)} | request_proof(held, at)
        assert api.post("/user/identity", code, token=ann.token_at(at), at=at).status == 200
        held, at = step, at + timedelta(minutes=40)
    log_in_or_reset(ann, by, at)
    at += timedelta(hours=2)
    for one in (thief, other):
        one.prove(at=at)
        assert one.id != ann.id
    assert ann.me(ann.prove(at=at)["token"]).data["email"] == ann.identity.value


@pytest.mark.parametrize("by", ["code", "reset"])
@pytest.mark.parametrize("first", ["added", "replaced"])
def test_the_restoration_of_an_identity_removes_every_identity_that_was_added_later(
    api: Api, first: str, by: str
) -> None:
    ann, thief, number = new_proven(api), Person(api), Person(api, new_mobile())
    pairs = [(number, LATER), (thief, LATER + timedelta(minutes=40))]
    if first == "replaced":
        pairs = [(thief, LATER), (number, LATER + timedelta(minutes=40))]
    held = ann
    for step, at in pairs:
        code = step.named | {"otp": request_code(step, "link", at)} | request_proof(held, at)
        assert api.post("/user/identity", code, token=ann.token_at(at), at=at).status == 200
        held = thief if thief.identity.kind == step.identity.kind else held
    at = LATER + timedelta(hours=2)
    log_in_or_reset(ann, by, at)
    user = ann.me(ann.prove(at=at + timedelta(minutes=1))["token"]).data
    assert (user["email"], user["mobile"]) == (ann.identity.value, None)
    number.prove(at=at + timedelta(minutes=1))
    assert number.id != ann.id


def test_a_reset_removes_an_identity_that_was_added_within_seven_days(api: Api) -> None:
    """The notice of an added identity tells the owner to reset the password after a theft."""
    ann, number = new_proven(api), Person(api, new_mobile())
    assert add(ann, number).status == 200
    assert "reset your password now" in ann.messages()[-1]
    log_in_or_reset(ann, "reset", LATEST)
    assert ann.me(ann.prove(at=LATEST + timedelta(minutes=1))["token"]).data["mobile"] is None
    number.prove(at=LATEST + timedelta(minutes=1))
    assert number.id != ann.id


def test_a_reset_keeps_an_identity_that_was_added_more_than_seven_days_ago(api: Api) -> None:
    ann, number = new_proven(api), Person(api, new_mobile())
    assert add(ann, number).status == 200
    later = LATEST + timedelta(days=7)
    log_in_or_reset(ann, "reset", later)
    assert number.prove(at=later)["user"]["id"] == ann.id


def test_a_reset_with_a_code_to_an_added_identity_keeps_the_first_identity(api: Api) -> None:
    email, mobile = new_with_two_identities(api)
    log_in_or_reset(mobile, "reset", LATEST)
    assert email.prove(at=LATEST + timedelta(minutes=1))["user"]["id"] == email.id


def request_code(person: Person, purpose: str, at: datetime) -> str:
    """Request a code for a purpose, and return the code."""
    assert person.ask_for_code(purpose, at=at).status == 200
    return person.code()


def request_proof(held: Person, at: datetime) -> dict[str, str]:
    """Return a fresh proof: a code that is requested 31 s after `at`."""
    return held.confirm(at=at + timedelta(seconds=31))


def log_in_or_reset(ann: Person, by: str, at: datetime) -> None:
    """Log in by code, or reset the password if `by` is "reset"."""
    if by == "code":
        assert ann.prove(at=at)["user"]["id"] == ann.id
        return
    ann.forget_password(at=at)
    assert ann.reset(ann.code(), OTHER_PASSWORD, at=at).status == 200


def test_a_replaced_identity_can_be_used_for_a_new_account_after_seven_days(api: Api) -> None:
    ann, fresh = new_proven(api), Person(api)
    assert add(ann, fresh).status == 200
    first = ann.id
    check_problem(
        Person(api, ann.identity).sign_up(at=LATER + timedelta(days=6)), 409, "identity-taken"
    )
    late = LATEST + timedelta(days=7)
    assert ann.prove(at=late)["user"]["id"] != first
    assert fresh.prove(at=late)["user"]["id"] == first


def test_a_code_for_adding_an_identity_is_required_and_is_valid_once(api: Api) -> None:
    ann, second = new_proven(api), Person(api, new_mobile())
    second.ask_for_code("link", at=LATER)
    code, proof = second.code(), ann.confirm(at=LATER)
    wrong = f"{(int(code) + 1) % 1_000_000:06}"

    def post(otp: str) -> Reply:
        body = second.named | {"otp": otp} | proof
        return api.post("/user/identity", body, token=ann.token_at(LATER), at=LATER)

    check_problem(post(wrong), 400, "invalid-code")
    assert post(code).status == 200
    check_problem(post(code), 400, "invalid-code")


def test_one_of_two_mobile_numbers_added_in_parallel_is_kept(api: Api) -> None:
    ann = Person.with_password(api, at=NOW)
    numbers = [Person(api, new_mobile()) for _ in range(3)]
    replies = at_once([partial(add, ann, one, currentPassword=PASSWORD) for one in numbers])
    assert {reply.status for reply in replies} <= {200, 409}
    kept = ann.me().data["mobile"]
    owned = [one.identity.value for one in numbers if _is_owned(one)]
    assert owned == [kept]


def _is_owned(number: Person) -> bool:
    record = record_of(number.identity)
    return record is not None and not record.replaced


def test_a_mobile_number_added_by_two_users_in_parallel_belongs_to_only_one_user(api: Api) -> None:
    number, people = Person(api, new_mobile()), [new_proven(api), new_proven(api)]
    number.ask_for_code("link", at=LATER)
    code = number.named | {"otp": number.code()}
    acts = [
        partial(
            api.post,
            "/user/identity",
            code | one.confirm(at=LATER),
            token=one.token_at(LATER),
            at=LATER,
        )
        for one in people
    ]
    replies = at_once(acts)
    assert sorted(reply.status for reply in replies) in ([200, 400], [200, 409])
    assert len(users_named(number.identity)) == 1
