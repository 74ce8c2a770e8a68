"""GET /user/me: the same as GET /auth/me."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain.users import Account
from geminichat.tables import users


@endpoint
def handler(request: Request) -> Response[Account]:
    """Answer 200 with the user, its plan and what is left of today's prompts."""
    user = users.account(request.user_id, request.session_id, request.now)
    return ok(user, "This is your account.", headers=NO_STORE)
