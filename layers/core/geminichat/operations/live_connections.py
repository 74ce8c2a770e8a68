"""Close the connections of sessions that have ended."""

from datetime import datetime

from geminichat.errors import Unavailable
from geminichat.runtime import log
from geminichat.tables import live


def close_ended(user_id: str, now: datetime) -> None:
    """Remove a user's connections whose sessions have ended.

    They receive nothing any more, removed or not; so a failure does not fail the request.
    """
    try:
        live.close_ended(user_id, now)
    except Unavailable:
        log.warning("connections of ended sessions remain", user_id=user_id)
