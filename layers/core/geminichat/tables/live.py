"""The live table: the connections that show a user's replies, and the prompts to stop.

There is one item per user, so that a worker reads everything at once. A connection stops counting
when its session ends, even if its entry is still in the item: see `read_watchers`.
"""

import math
import random
import time
from datetime import datetime, timedelta
from typing import Any

import msgspec
from pynamodb.attributes import MapAttribute, NumberAttribute, UnicodeAttribute, UnicodeSetAttribute
from pynamodb.expressions.condition import Condition, size
from pynamodb.expressions.update import Action

from geminichat.domain import tickets, times
from geminichat.domain.sessions import Claims
from geminichat.domain.tickets import TicketUsed
from geminichat.errors import Contended
from geminichat.tables import users
from geminichat.tables.table import Key, Table, batch_get, update_if
from geminichat.tables.users import User

MOST_CONNECTIONS = 8
"""The maximum number of connections per user; a further one closes the oldest."""
CONNECTION_LIFETIME = timedelta(minutes=15)
"""The time for which a connection counts after it was opened or prolonged."""
POLL_COUNTS = timedelta(seconds=20)
"""The time for which a user counts as present after polling for a reply's text."""
KEPT = timedelta(days=1)
"""The time from an item's last change until it expires."""
SETTLES = timedelta(seconds=10)
"""The time after which a new connection is ready; before that, a post may find it gone."""
ATTEMPTS = 16
"""The number of tries to add a connection while other connections of the user are added."""


class Live(Table):
    """A user's connections, the nonces of the tickets that opened them, and the prompts to stop.

    `connections` maps the id of each connection to its `session`, the epoch second at which it
    stops counting (`until`), and the epoch millisecond at which it was opened (`opened`). `nonces`
    maps each nonce to its expiry.
    """

    class Meta:
        setting = "LIVE_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    connections: MapAttribute[str, Any] = MapAttribute(null=True)
    nonces: MapAttribute[str, Any] = MapAttribute(null=True)
    stops = UnicodeSetAttribute(null=True)
    polls_until = NumberAttribute(null=True)
    expires_at = NumberAttribute()


class Watchers(msgspec.Struct, frozen=True):
    """The connections on which a user receives frames, and the ids of the prompts to stop."""

    connections: tuple[str, ...] = ()
    stops: frozenset[str] = frozenset()
    polls: bool = False
    """Whether the user has polled for the text of a reply within the last seconds."""
    hides_prompt: bool = False
    """Whether nobody may read the reply, because the prompt is hidden or its user is banned."""

    @property
    def is_anyone_there(self) -> bool:
        """Whether the user has a connection or polls, and so reads text while it is generated."""
        return bool(self.connections) or self.polls


def key_of(user_id: str) -> Key:
    """Return the key of a user's item, to read it together with other items."""
    return Key(Live, user_id)


def read_watchers(user_id: str, now: datetime) -> Watchers:
    """Return a user's connections, without those of ended sessions, and the prompts to stop."""
    return read_watchers_with(user_id, now)[0]


def read_watchers_with(user_id: str, now: datetime, *also: Key) -> tuple[Watchers, list[Any]]:
    """Return a user's watchers, and the items with further keys, by one network call.

    The call also reads the user's item, which lists the sessions that have not ended. Connections
    of other sessions receive nothing.
    """
    user, live, *others = batch_get(users.key_of(user_id), key_of(user_id), *also)
    is_banned = bool(user and user.banned_at)
    if live is None:
        return Watchers(hides_prompt=is_banned), others
    watchers = Watchers(
        connections=tuple(_list_counting(user, live, now)),
        stops=frozenset(live.stops or ()),
        polls=bool(live.polls_until and live.polls_until > now.timestamp()),
        hides_prompt=is_banned,
    )
    return watchers, others


def open_connection(
    user_id: str, connection_id: str, session_id: str, nonce: str, now: datetime
) -> tuple[str, ...]:
    """Store a connection and the nonce of its ticket; return the connections to close.

    Connections that no longer count are to be closed, and the oldest ones if there are too many.
    Raises TicketUsed, and Unauthorized if the session has ended.
    """
    entry = {
        "session": session_id,
        "until": int((now + CONNECTION_LIFETIME).timestamp()),
        "opened": times.millis(now),
    }
    nonce_expiry = int((now + tickets.LIFETIME).timestamp()) + 1
    for attempt in range(ATTEMPTS):
        time.sleep(random.uniform(0, 0.02 * attempt))
        user, live = users.read_current(Claims(user_id, session_id), now, key_of(user_id))
        known = _connections(live)
        if nonce in _nonces(live):
            raise TicketUsed()
        counting = _list_counting(user, live, now)
        kept = counting[max(0, len(counting) + 1 - MOST_CONNECTIONS) :]
        removed = [one for one in known if one not in kept]
        actions: list[Action] = [_expiry(now)]
        condition: Condition
        if live is None or live.connections is None:
            actions += [
                Live.connections.set({connection_id: entry}),
                Live.nonces.set({nonce: nonce_expiry}),
            ]
            condition = Live.connections.does_not_exist()
        else:
            actions += [
                Live.connections[connection_id].set(entry),
                Live.nonces[nonce].set(nonce_expiry),
                *(Live.connections[one].remove() for one in removed),
                *(
                    Live.nonces[one].remove()
                    for one, expires_at in _nonces(live).items()
                    if expires_at <= now.timestamp()
                ),
            ]
            condition = Live.nonces[nonce].does_not_exist()
            condition &= size(Live.connections) < MOST_CONNECTIONS + len(removed)
            for one in removed:
                condition &= Live.connections[one].exists()
        if update_if(Live(user_id), actions, condition):
            return tuple(removed)
    raise Contended()


def prolong_connection(user_id: str, connection_id: str, session_id: str, now: datetime) -> bool:
    """Prolong a connection by 15 minutes; return False if the session or the connection ended."""
    user = users.find(user_id)
    if user is None or not users.has_valid_session(user, session_id, now):
        return False
    connection = Live.connections[connection_id]
    until = int((now + CONNECTION_LIFETIME).timestamp())
    return update_if(
        Live(user_id), [connection["until"].set(until), _expiry(now)], connection.exists()
    )


def close_connection(user_id: str, connection_id: str, *, gone_at: datetime | None = None) -> None:
    """Remove a connection.

    `gone_at` is the time at which a post found the connection gone. A connection that was opened
    just before that time may not be ready yet, so it is kept.
    """
    connection = Live.connections[connection_id]
    condition: Condition = connection.exists()
    if gone_at:
        condition = connection["opened"] < times.millis(gone_at - SETTLES)
    update_if(Live(user_id), [connection.remove()], condition)


def close_ended(user_id: str, now: datetime) -> tuple[str, ...]:
    """Remove the connections of sessions that have ended, and return them."""
    user, live = batch_get(users.key_of(user_id), key_of(user_id))
    counting = _list_counting(user, live, now)
    ended = tuple(one for one in _connections(live) if one not in counting)
    if ended:
        actions = [Live.connections[one].remove() for one in ended]
        update_if(Live(user_id), actions, Live.connections.exists())
    return ended


def close_all(user_id: str) -> tuple[str, ...]:
    """Delete a user's item, and return the connections that it had."""
    [live] = batch_get(key_of(user_id))
    if live is not None:
        live.delete()
    return tuple(_connections(live))


def note_poll(user_id: str, live: Live | None, now: datetime) -> None:
    """Record that a user polls for a reply's text; the user counts as present for POLL_COUNTS.

    `live` is the user's item. Most polls find a recent record in it and write nothing.
    """
    known = live.polls_until if live else None
    if known is None or known < (now + POLL_COUNTS / 2).timestamp():
        until = Live.polls_until.set(math.ceil((now + POLL_COUNTS).timestamp()))
        Live(user_id).update(actions=[until, _expiry(now)])


def request_stop(user_id: str, message_id: str, now: datetime) -> None:
    """Ask the worker that answers a prompt to stop."""
    Live(user_id).update(actions=[Live.stops.add({message_id}), _expiry(now)])


def clear_stop(user_id: str, message_id: str) -> None:
    """Remove the request to stop a prompt, after the prompt has ended."""
    requested = Live.stops.contains(message_id)
    update_if(Live(user_id), [Live.stops.delete({message_id})], requested)


def _list_counting(user: User | None, live: Live | None, now: datetime) -> list[str]:
    """Return the ids of the connections that still count, the oldest first."""
    known = _connections(live)
    return [
        connection_id
        for connection_id, entry in sorted(known.items(), key=lambda one: int(one[1]["opened"]))
        if int(entry["until"]) > now.timestamp()
        and user is not None
        and users.has_valid_session(user, entry["session"], now)
    ]


def _connections(live: Live | None) -> dict[str, Any]:
    return live.connections.as_dict() if live and live.connections else {}


def _nonces(live: Live | None) -> dict[str, Any]:
    return live.nonces.as_dict() if live and live.nonces else {}


def _expiry(now: datetime) -> Action:
    return Live.expires_at.set(int((now + KEPT).timestamp()))
