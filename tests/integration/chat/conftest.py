"""Users."""

import pytest

from geminichat.tables.messages import SHARDS, StoredMessage
from tests.support.chat_people import User
from tests.support.lambdas import Api


@pytest.fixture(scope="module", autouse=True)
def nothing_unfinished() -> None:
    """What other modules sent and never had answered is none of this one's sweeps' business."""
    for shard in range(SHARDS):
        for key in list(StoredMessage.unfinished.query(shard)):
            StoredMessage(key.chatroom_id, int(key.seq)).delete()


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
