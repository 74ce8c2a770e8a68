"""A user of the API, and what the tables hold of one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from geminichat import access_tokens, config
from geminichat.domain import ids, times
from geminichat.domain.sessions import Claims
from geminichat.tables.messages import StoredMessage
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.usage import Usage
from tests.support.lambdas import Api, Reply

NO_ROOM = "r_" + "a" * 26
"""An id that no room has."""


@dataclass
class User:
    """Someone with an access token; `at` in a request is the moment the gateway got it."""

    api: Api
    id: str = field(default_factory=lambda: ids.new("u"))

    def request(self, method: str, url: str, *, at: datetime | None = None, **more: Any) -> Reply:
        """Send a request with a token that is valid at that moment."""
        moment = at or datetime.now(UTC)
        signing = config.signing_keys()
        claims = Claims(self.id, "s_test")
        token = access_tokens.issue(claims, signing.current, signing.keys[signing.current], moment)
        return self.api.request(method, url, at=moment, token=token, **more)

    def get(self, url: str, **more: Any) -> Reply:
        """Send a GET."""
        return self.request("GET", url, **more)

    def open_room(self, **body: Any) -> str:
        """Open a room and return its id."""
        reply = self.request("POST", "/chatroom", json=body)
        assert reply.status == 201, reply.text
        return str(reply.data["id"])

    def send(self, room: str, content: str = "Hello", key: str | None = None, **more: Any) -> Reply:
        """Send a prompt."""
        headers = {} if key is None else {"idempotency-key": key}
        url = f"/chatroom/{room}/message"
        return self.request("POST", url, json={"content": content}, headers=headers, **more)

    def sent(self, room: str, content: str = "Hello", **more: Any) -> str:
        """Send a prompt that is accepted, and return its id."""
        reply = self.send(room, content, **more)
        assert reply.status == 202, reply.text
        return str(reply.data["messageId"])

    def retry(self, room: str, message: str, **more: Any) -> Reply:
        """Have a failed prompt answered after all."""
        return self.request("POST", f"/chatroom/{room}/message/{message}/retry", **more)

    def look(self, room: str, message: str) -> Any:
        """Return a message as the API shows it."""
        reply = self.get(f"/chatroom/{room}/message/{message}")
        assert reply.status == 200, reply.text
        return reply.data

    def delete(self, room: str) -> Reply:
        """Delete a room."""
        return self.request("DELETE", f"/chatroom/{room}")

    def subscribe(self, *, lasting: timedelta = timedelta(days=30)) -> None:
        """Be on the pro plan."""
        Subscription(self.id, pro_until=times.text(datetime.now(UTC) + lasting)).save()

    def counted(self, at: datetime | None = None) -> int:
        """Return the prompts that the table counts on the day."""
        return counted(self.id, times.day(at or datetime.now(UTC)))


def counted(user_id: str, day: str) -> int:
    """Return the prompts that the table counts for a user on a day."""
    try:
        return int(Usage.get(user_id, day, consistent_read=True).prompts)
    except Usage.DoesNotExist:
        return 0


def stored(room: str) -> list[StoredMessage]:
    """Return everything that the table holds of a room, in order."""
    return list(StoredMessage.query(room, consistent_read=True))


def prompts(room: str) -> Iterator[StoredMessage]:
    """Give the room's prompts, in order."""
    return (message for message in stored(room) if message.sender == "user")


def let_leases_end(room: str) -> None:
    """Let the time pass that a dead worker's lease lasts."""
    for prompt in prompts(room):
        if prompt.leased_until:
            prompt.update([StoredMessage.leased_until.set("2000-01-01T00:00:00.000Z")])
