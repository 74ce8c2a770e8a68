"""POST /auth/logout: end this session, or all sessions of the user."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.sessions import Logout
from geminichat.operations import live_connections
from geminichat.tables import users


@endpoint
def handler(request: Request) -> Response:
    """Answer 200, or 401 if this session has already ended."""
    asked = request.body(Logout, optional=True)

    if asked.everywhere:
        users.end_sessions_from(request.caller, request.now)
    else:
        users.end_session(request.caller, request.now)
    live_connections.close_ended(request.user_id, request.now)

    return ok(None, "Logged out everywhere." if asked.everywhere else "Logged out.")
