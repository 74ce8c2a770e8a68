"""The calls and hashes per request, which are the same whether or not the account exists."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher

from tests.support.http_api import Reply
from tests.support.lambdas import Api
from tests.support.person import PASSWORD, Person, new_email, new_mobile
from tests.support.standins import StandIn
from tests.support.wire import BATCH_GET, GET, TRANSACT, UPDATE, WIRE, list_calls

NOW = datetime.now(UTC)
MAIL, TEXT, REDIS = "ses.SendEmail", "sns.Publish", "redis"


@dataclass
class Work:
    """The calls in their order, and the number of passwords that were hashed."""

    calls: list[str]
    hashes: int = 0


class WorkCounter:
    """Counts the calls to AWS and Redis, and the passwords that argon2 hashes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, redis: StandIn) -> None:
        """Patch argon2 so that its hashes are counted."""
        self._redis = redis
        self._hashes = 0
        for name in ("hash", "verify"):
            original = getattr(PasswordHasher, name)

            def count_hash(*given: Any, _original: Any = original) -> Any:
                self._hashes += 1
                return _original(*given)

            monkeypatch.setattr(PasswordHasher, name, count_hash)

    @contextmanager
    def count(self) -> Iterator[Work]:
        """Yield the work that the block does."""
        work = Work([])
        asked, hashed = len(self._redis.requests()), self._hashes
        with WIRE.watch() as tries:
            yield work
        work.calls += [REDIS] * (len(self._redis.requests()) - asked)
        work.calls += list_calls(tries)
        work.hashes = self._hashes - hashed


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch, redis: StandIn, api: Api) -> WorkCounter:
    """A counter that starts after the handlers have read their secrets."""
    for new in (new_email, new_mobile):
        warm = Person(api, new())
        warm.ask_for_code()
        warm.log_in()
    return WorkCounter(monkeypatch, redis)


@pytest.fixture(params=["a password", "only codes", "unproven", "no account"])
def someone(request: pytest.FixtureRequest, api: Api) -> Person:
    """A person with a password, with codes only, with an unproven account or without an account."""
    ann = Person(api)
    match request.param:
        case "a password":
            return Person.with_password(api, at=datetime(2026, 1, 1, tzinfo=UTC))
        case "only codes":
            ann.prove(at=datetime(2026, 1, 1, tzinfo=UTC))
        case "unproven":
            ann.sign_up()
    return ann


def test_a_wrong_password_causes_the_same_calls_with_or_without_an_account(
    counter: WorkCounter, someone: Person
) -> None:
    with counter.count() as work:
        assert someone.log_in("wrong password").status == 401
    assert work == Work([BATCH_GET, GET, TRANSACT], hashes=1)


@pytest.mark.parametrize("request_code", [Person.ask_for_code, Person.forget_password])
def test_a_request_for_a_code_causes_the_same_calls_with_or_without_an_account(
    counter: WorkCounter, someone: Person, request_code: Callable[..., Reply]
) -> None:
    with counter.count() as work:
        assert request_code(someone, at=NOW).status == 200
    assert work == Work([BATCH_GET, TRANSACT, MAIL], hashes=0)


def test_a_wrong_code_causes_the_same_calls_with_or_without_an_account(
    counter: WorkCounter, someone: Person
) -> None:
    someone.ask_for_code(at=NOW)
    wrong = f"{(int(someone.code()) + 1) % 1_000_000:06}"
    for act in (someone.verify, someone.reset):
        with counter.count() as work:
            assert act(wrong, at=NOW).status == 400
        assert work == Work([BATCH_GET, TRANSACT], hashes=0)


def test_each_account_endpoint_causes_the_expected_calls_and_hashes(
    counter: WorkCounter, api: Api
) -> None:
    ann, bob = Person(api), Person(api, new_mobile())
    with counter.count() as work:
        mine = ann.sign_up(at=NOW).data
    assert work == Work([BATCH_GET, TRANSACT], hashes=1)
    with counter.count() as work:
        bob.sign_up(None, at=NOW)
    assert work == Work([BATCH_GET, BATCH_GET, TRANSACT, TEXT], hashes=0)
    with counter.count() as work:
        assert bob.verify(bob.code(), at=NOW).status == 200
    assert work == Work([BATCH_GET, TRANSACT, GET, GET, BATCH_GET, TRANSACT], hashes=0), (
        "the first proof of a mobile number causes other calls than expected"
    )
    later = NOW + timedelta(minutes=1)
    bob.ask_for_code(at=later)
    with counter.count() as work:
        assert bob.verify(bob.code(), at=later).status == 200
    assert work == Work([BATCH_GET, TRANSACT, GET, BATCH_GET, TRANSACT], hashes=0)
    with counter.count() as work:
        assert ann.log_in(at=NOW).status == 200
    assert work == Work([BATCH_GET, GET, TRANSACT], hashes=1)
    for path in ("/auth/me", "/user/me"):
        with counter.count() as work:
            assert bob.get(path).status == 200
        assert work == Work([BATCH_GET])
        with counter.count() as work:
            assert ann.get(path).status == 200
        assert work == Work([BATCH_GET, BATCH_GET]), (
            "the second read is for the remaining prompts of an unproven identity"
        )
    with counter.count() as work:
        assert ann.refresh(mine["refreshToken"], at=NOW).status == 200
    assert work == Work([BATCH_GET, UPDATE])
    with counter.count() as work:
        api.post("/auth/logout", token=mine["token"], at=NOW)
    assert work == Work([TRANSACT, BATCH_GET])
    with counter.count() as work:
        ann.me("not a token")
    assert work == Work([])


def test_an_invalid_login_or_sign_up_causes_no_call(counter: WorkCounter, api: Api) -> None:
    bodies: list[dict[str, Any]] = [
        {"mobile": {"$gt": ""}, "password": PASSWORD},
        {"email": "ann@example com", "password": PASSWORD},
        {"email": "ann@example.com", "password": "x" * 129},
    ]
    with counter.count() as work:
        for body in bodies:
            assert api.post("/auth/login", body).status == 400
            assert api.post("/auth/signup", body).status == 400
    assert work == Work([], hashes=0)
