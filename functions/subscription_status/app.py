"""GET /subscription/status: the user's plan and today's remaining prompts."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.billing import SubscriptionStatus
from geminichat.operations.show_usage import show_subscription


@endpoint
def handler(request: Request) -> Response[SubscriptionStatus]:
    """Answer 200 with the status that Stripe last reported."""
    return ok(show_subscription(request.caller, request.now), "This is your plan.")
