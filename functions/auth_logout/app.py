"""POST /auth/logout: end this session, or all of the user's."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.sessions import Logout
from geminichat.tables import sessions, users


@endpoint
def handler(request: Request) -> Response:
    """Answer 200; a session that has ended already is ended well, but cannot end the others."""
    wanted = request.body(Logout, optional=True)

    if wanted.everywhere:
        [user] = users.current(request.user_id, request.session_id, request.now)
        users.end_sessions(user)
        return ok(None, "Logged out everywhere.")
    sessions.end(request.user_id, request.session_id)
    return ok(None, "Logged out.")
