"""Users, and the wire between our code and AWS."""

from collections.abc import Iterator

import pytest

from geminichat.tables.messages import SHARDS, StoredMessage
from tests.integration.chat.people import User
from tests.integration.lambdas import Api
from tests.integration.wire import WIRE, Wire


@pytest.fixture(scope="module", autouse=True)
def nothing_unfinished() -> None:
    """What other modules sent and never had answered is none of this one's sweeps' business."""
    for shard in range(SHARDS):
        for key in list(StoredMessage.unfinished.query(shard)):
            StoredMessage(key.chatroom_id, int(key.seq)).delete()


@pytest.fixture(autouse=True)
def wire() -> Iterator[Wire]:
    """Every call to AWS, unbroken when a test begins and when it ends."""
    WIRE.reset()
    yield WIRE
    WIRE.reset()


@pytest.fixture
def basic_user(api: Api) -> User:
    """A user on the basic plan, with an empty day."""
    return User(api)


@pytest.fixture
def pro_user(api: Api) -> User:
    """A user on the pro plan."""
    user = User(api)
    user.subscribe()
    return user
