"""WebSocket authorizer: verify the ticket of a new connection, without a network call."""

from geminichat import config
from geminichat.domain import origins, tickets
from geminichat.domain.tickets import Ticket
from geminichat.websocket import Handshake, authorizer


@authorizer
def handler(handshake: Handshake) -> Ticket:
    """Return the ticket's contents. Raises InvalidTicket, ForeignOrigin."""
    allowed = [*config.setting("CORS_ORIGINS").split(","), config.setting("API_URL")]
    origins.require_allowed(handshake.origin, allowed)

    keys = config.signing_keys().keys
    return tickets.verify(handshake.ticket, config.setting("STAGE"), keys, handshake.now)
