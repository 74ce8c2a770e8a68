"""GET /subscription/status: the user's plan and today's remaining prompts."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.billing import SubscriptionStatus
from geminichat.tables import usage


@endpoint
def handler(request: Request) -> Response[SubscriptionStatus]:
    """Answer 200 with the status that Stripe last reported."""
    status = usage.subscription_status(request.user_id, request.session_id, request.now)
    return ok(status, "This is your plan.")
