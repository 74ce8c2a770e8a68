"""GET /user/me: return the user of the access token."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain.users import Account
from geminichat.operations.show_usage import show_account


@endpoint
def handler(request: Request) -> Response[Account]:
    """Answer 200 with the user, the plan and the prompts left today."""
    account = show_account(request.caller, request.now)
    return ok(account, "This is your account.", headers=NO_STORE)
