"""Close the connections on which a user watched replies."""

from datetime import datetime

from geminichat.clients import connections
from geminichat.errors import Unavailable
from geminichat.runtime import log
from geminichat.tables import live


def close_ended(user_id: str, now: datetime) -> None:
    """Close a user's connections whose sessions have ended.

    They receive nothing any more, closed or not; so a failure does not fail the request.
    """
    try:
        ended = live.close_ended(user_id, now)
    except Unavailable:
        log.warning("connections of ended sessions remain", user_id=user_id)
        return
    for connection_id in ended:
        connections.close(connection_id)


def close_all(user_id: str) -> None:
    """Close every connection of a user, and delete what the table holds of them."""
    for connection_id in live.close_all(user_id):
        connections.close(connection_id)
