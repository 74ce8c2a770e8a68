"""Persons on each plan."""

import pytest

from geminichat.tables.messages import SHARDS, StoredMessage
from tests.support.lambdas import Api
from tests.support.person import Person


@pytest.fixture(scope="module", autouse=True)
def nothing_unfinished() -> None:
    """Delete unfinished prompts that earlier modules left, so that no sweep finds them."""
    for shard in range(SHARDS):
        for key in list(StoredMessage.unfinished.query(shard)):
            StoredMessage(key.chatroom_id, int(key.seq)).delete()


@pytest.fixture
def basic_user(api: Api) -> Person:
    """A user on the basic plan, with no prompt counted today."""
    return Person(api)


@pytest.fixture
def pro_user(api: Api) -> Person:
    """A user on the pro plan."""
    user = Person(api)
    user.subscribe()
    return user


@pytest.fixture(autouse=True)
def high_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits in flight and in money that only their own tests reach."""
    for name in ("BASIC_IN_FLIGHT", "PRO_IN_FLIGHT", "PRO_ATTEMPTS"):
        monkeypatch.setenv(name, "1000")
    monkeypatch.setenv("BASIC_ATTEMPTS", "20")
    for name in ("BASIC_DAILY_DOLLARS", "PRO_DAILY_DOLLARS", "STAGE_DAILY_DOLLARS"):
        monkeypatch.setenv(name, "1000000")
