"""POST /live: return the URL of a WebSocket that shows replies as they grow."""

from geminichat import config
from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain import tickets
from geminichat.domain.tickets import LiveAddress
from geminichat.tables import users


@endpoint
def handler(request: Request) -> Response[LiveAddress]:
    """Answer 200 with the URL of a WebSocket; its ticket opens one connection."""
    users.read_current(request.caller, request.now)

    signing = config.signing_keys()
    ticket = tickets.issue(
        request.caller,
        config.setting("STAGE"),
        signing.current,
        signing.keys[signing.current],
        request.now,
    )

    at_gateway = request.origin.replace("http", "ws", 1) + "/live"
    address = LiveAddress.of(config.setting("LIVE_URL") or at_gateway, ticket)
    return ok(address, "Open a WebSocket at this URL within a minute.", headers=NO_STORE)
