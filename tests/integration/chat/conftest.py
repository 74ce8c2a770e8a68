"""Users on each plan, and the poller of the titles queue."""

import pytest

from geminichat.tables.messages.stored import SHARDS, StoredMessage
from tests.support.lambdas import Api, Poller
from tests.support.person import Person
from tests.support.template import Values


@pytest.fixture(scope="module", autouse=True)
def nothing_unfinished() -> None:
    """Delete the unfinished prompts of earlier modules, so that no sweep finds them."""
    for shard in range(SHARDS):
        for key in list(StoredMessage.unfinished.query(shard)):
            StoredMessage(key.chatroom_id, int(key.seq)).delete()


@pytest.fixture
def titler(values: Values) -> Poller:
    """A poller of the titles queue; each poll titles one room."""
    return Poller([values.refs["TitlesQueue"]], "TitlesGenerate", batch_size=1)


@pytest.fixture
def basic_user(api: Api) -> Person:
    """A user on the basic plan who has sent no prompt."""
    return Person(api)


@pytest.fixture
def pro_user(api: Api) -> Person:
    """A user on the pro plan."""
    user = Person(api)
    user.subscribe()
    return user
