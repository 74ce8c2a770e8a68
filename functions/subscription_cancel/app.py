"""POST /subscription/cancel: cancel the subscription at the end of its current period."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.clients import payments
from geminichat.domain.billing import SubscriptionStatus
from geminichat.errors import (
    NoSubscription,
    PaymentInProgress,
    PaymentProviderFailed,
    PaymentsOff,
    TooManyRequests,
)
from geminichat.operations import renewal
from geminichat.tables import usage


@endpoint(
    within=payments.WITHIN,
    errors=[NoSubscription, PaymentInProgress, PaymentProviderFailed, PaymentsOff, TooManyRequests],
)
def handler(request: Request) -> Response[SubscriptionStatus]:
    """Answer 200 with the status; a repeated request changes nothing."""
    limit = usage.count_stripe_request(request.user_id, request.now)
    status = renewal.cancel(request.caller, request.now)
    return ok(
        status,
        "The subscription will not renew. You keep the pro plan until its period ends.",
        headers=limit.headers(),
    )
