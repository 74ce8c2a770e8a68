"""POST /subscription/cancel: cancel the subscription at the end of its current period."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.clients import payments
from geminichat.domain.billing import SubscriptionStatus
from geminichat.errors import NoSubscription, TooManyRequests
from geminichat.operations import renewal
from geminichat.tables import usage


@endpoint(within=payments.WITHIN, errors=[NoSubscription, TooManyRequests, *payments.FAILURES])
def handler(request: Request) -> Response[SubscriptionStatus]:
    """Answer 200 with the status; a repeated request changes nothing."""
    limits = usage.count_stripe_request(request.user_id, request.now)
    status = renewal.change(request.caller, payments.cancel_renewal, request.now)
    return ok(
        status,
        "The subscription will not renew. You keep the pro plan until its period ends.",
        headers=limits,
    )
