"""POST /subscription/resume: renew a subscription that would end with its period."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.clients import payments
from geminichat.domain.billing import SubscriptionStatus
from geminichat.errors import NoSubscription, PaymentProviderFailed, PaymentsOff
from geminichat.operations import renewal


@endpoint(within=payments.WITHIN, errors=[NoSubscription, PaymentProviderFailed, PaymentsOff])
def handler(request: Request) -> Response[SubscriptionStatus]:
    """Answer 200 with the status; a repeated request changes nothing."""
    status = renewal.resume(request.user_id, request.session_id, request.now)
    return ok(status, "The subscription renews at the end of its period.")
