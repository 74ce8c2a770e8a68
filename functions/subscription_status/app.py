"""GET /subscription/status: the user's plan, and what is left of today's prompts."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.billing import SubscriptionStatus
from geminichat.tables import usage


@endpoint
def handler(request: Request) -> Response[SubscriptionStatus]:
    """Answer 200 with the status, as it was last heard from Stripe."""
    return ok(usage.subscription_status(request.user_id, request.now), "This is your plan.")
