"""Close a user's WebSocket connections."""

from datetime import datetime

from geminichat.clients import connections
from geminichat.errors import Unavailable
from geminichat.runtime import log
from geminichat.tables import live


def close_ended(user_id: str, now: datetime) -> None:
    """Close the connections of a user's ended sessions.

    A failure does not fail the request, since these connections receive nothing even if they stay
    open.
    """
    try:
        ended = live.close_ended(user_id, now)
    except Unavailable:
        log.warning("connections of ended sessions remain", user_id=user_id)
        return
    for connection_id in ended:
        connections.close(connection_id)


def close_all(user_id: str) -> None:
    """Close every connection of a user, and delete the user's item in the live table."""
    for connection_id in live.close_all(user_id):
        connections.close(connection_id)
