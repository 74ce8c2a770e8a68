"""POST /auth/logout: end this session, or all of the user's."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.sessions import Logout
from geminichat.operations import live_connections
from geminichat.tables import users


@endpoint
def handler(request: Request) -> Response:
    """Answer 200. A session that has already ended cannot end the others."""
    asked = request.body(Logout, optional=True)

    if asked.everywhere:
        users.end_sessions_from(request.caller, request.now)
    else:
        users.end_session(request.caller, request.now)
    live_connections.close_ended(request.user_id, request.now)

    return ok(None, "Logged out everywhere." if asked.everywhere else "Logged out.")
