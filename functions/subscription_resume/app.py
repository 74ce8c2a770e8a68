"""POST /subscription/resume: undo the cancellation of a subscription before its period ends."""

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
    status = renewal.resume(request.caller, request.now)
    return ok(status, "The subscription renews at the end of its period.", headers=limit.headers())
